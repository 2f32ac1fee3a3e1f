//! Writing a run: under a temporary name, synced, then renamed, so that it is whole or absent.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::entry::Entry;
use super::page::{Kind, PAGE_BYTES, PAGE_ENTRIES, PAGE_FENCES, Page};
use super::run::{Run, Summary, checksum_seed, fence_levels, file_name};
use crate::queues::{Error, disk};

/// The ending of a file that is being written; `open` removes what a crash left.
pub(super) const TEMPORARY: &str = ".tmp";

/// Full pages gathered per write (64 KiB).
const PAGES_PER_WRITE: usize = 16;

/// Takes entries in order and makes a [`Run`] of them. Dropped unfinished it removes its file.
pub(super) struct RunWriter {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    seed: u32,
    summary: Summary,
    page: Page,
    page_entries: usize,
    /// Sealed pages that are not written yet.
    buffer: Vec<u8>,
    pages_written: u64,
    /// The first hash of each page of the level being written.
    fences: Vec<u64>,
    last: Option<Entry>,
    is_finished: bool,
}

impl RunWriter {
    pub fn create(dir: &Path, first_number: u64, last_number: u64, level: u64) -> Result<RunWriter, Error> {
        let path = dir.join(file_name(first_number, last_number));
        let mut temporary = path.clone().into_os_string();
        temporary.push(TEMPORARY);
        let temporary = PathBuf::from(temporary);
        let file = File::create(&temporary).map_err(Error::io("create", &temporary))?;
        let summary = Summary {
            first_number,
            last_number,
            level,
            entries: 0,
            first_physical_offset: u64::MAX,
            last_physical_offset: 0,
            min_store_time_ms: i64::MAX,
            max_store_time_ms: i64::MIN,
            data_pages: 0,
        };
        Ok(RunWriter {
            path,
            temporary,
            file,
            seed: checksum_seed(first_number, last_number),
            summary,
            page: Page::new(),
            page_entries: 0,
            buffer: Vec::with_capacity(PAGES_PER_WRITE * PAGE_BYTES),
            pages_written: 0,
            fences: Vec::new(),
            last: None,
            is_finished: false,
        })
    }

    /// Adds the next entry. Panics if it sorts before the one pushed last.
    pub fn push(&mut self, entry: Entry) -> Result<(), Error> {
        assert!(
            self.last.is_none_or(|last| last <= entry),
            "run {}: entries out of order",
            self.path.display()
        );
        if self.page_entries == PAGE_ENTRIES {
            self.end_data_page()?;
        }
        if self.page_entries == 0 {
            self.fences.push(entry.hash);
        }
        self.page.set_entry(self.page_entries, entry);
        self.page_entries += 1;
        self.last = Some(entry);
        let summary = &mut self.summary;
        summary.entries += 1;
        summary.first_physical_offset = summary.first_physical_offset.min(entry.physical_offset);
        summary.last_physical_offset = summary.last_physical_offset.max(entry.physical_offset);
        summary.min_store_time_ms = summary.min_store_time_ms.min(entry.store_time_ms);
        summary.max_store_time_ms = summary.max_store_time_ms.max(entry.store_time_ms);
        Ok(())
    }

    /// Makes the full buffers written so far durable.
    pub fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(Error::io("fdatasync", &self.temporary))
    }

    /// Completes the file, makes it durable under its name and opens it. Panics if nothing was pushed.
    pub fn finish(mut self) -> Result<Run, Error> {
        assert!(self.page_entries > 0, "run {}: no entries", self.path.display());
        self.end_data_page()?;
        self.summary.data_pages = self.page_number();
        for level in fence_levels(self.summary.data_pages) {
            debug_assert_eq!(level.first_page, self.page_number());
            self.write_fence_level()?;
        }
        let count = self.summary.encode(self.page.payload_mut());
        self.end_page(Kind::Footer, count)?;
        self.write_buffer()?;

        self.sync()?;
        fs::rename(&self.temporary, &self.path).map_err(Error::io("rename", &self.temporary))?;
        self.is_finished = true;
        if let Some(dir) = self.path.parent() {
            disk::sync_dir(dir)?;
        }
        Run::open(&self.path, self.summary.first_number, self.summary.last_number)
    }

    fn end_data_page(&mut self) -> Result<(), Error> {
        let count = std::mem::take(&mut self.page_entries);
        self.end_page(Kind::Data, count)
    }

    /// Writes one level of fence pages, and leaves the fences of the next in `fences`.
    fn write_fence_level(&mut self) -> Result<(), Error> {
        let fences = std::mem::take(&mut self.fences);
        for of_page in fences.chunks(PAGE_FENCES) {
            for (index, &fence) in of_page.iter().enumerate() {
                self.page.set_fence(index, fence);
            }
            self.end_page(Kind::Fence, of_page.len())?;
            self.fences.push(of_page[0]);
        }
        Ok(())
    }

    /// Where the next page will stand in the file.
    fn page_number(&self) -> u64 {
        self.pages_written + (self.buffer.len() / PAGE_BYTES) as u64
    }

    fn end_page(&mut self, kind: Kind, count: usize) -> Result<(), Error> {
        let number = self.page_number();
        self.buffer.extend_from_slice(self.page.seal(self.seed, number, kind, count));
        if self.buffer.len() >= PAGES_PER_WRITE * PAGE_BYTES { self.write_buffer() } else { Ok(()) }
    }

    fn write_buffer(&mut self) -> Result<(), Error> {
        self.file
            .write_all_at(&self.buffer, self.pages_written * PAGE_BYTES as u64)
            .map_err(Error::io("write", &self.temporary))?;
        self.pages_written += (self.buffer.len() / PAGE_BYTES) as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl Drop for RunWriter {
    fn drop(&mut self) {
        if !self.is_finished {
            // Nothing depends on it: `open` removes what is left.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
