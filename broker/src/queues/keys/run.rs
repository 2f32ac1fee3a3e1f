//! A run: an immutable file of sorted entries, searched through a static tree of fences.
//!
//! ```text
//!   [data page]... [fence page over data pages]... [fence page over fence pages]... ... [footer page]
//! ```
//!
//! The topmost fence page, the root, stays in memory: 4 KiB for up to 44 million entries with one more page
//! read per lookup below it. The file stays open as long as the run is used, so a query that began before
//! the run was trimmed or merged away ends undisturbed.

use std::fs::File;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

use super::entry::Entry;
use super::page::{Kind, PAGE_BYTES, PAGE_FENCES, Page, PageError};
use crate::queues::Error;

const MAGIC: [u8; 8] = *b"TRIRKEYS";
const VERSION: u64 = 1;
/// Magic and ten words.
const FOOTER_BYTES: usize = 8 * 11;

/// What a run holds, as its footer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    /// Runs are numbered in log order; a merged run takes the numbers of its sources, first to last
    /// (inclusive).
    pub first_number: u64,
    pub last_number: u64,
    /// 0 for a run of tables; a merge makes one of the next level.
    pub level: u64,
    pub entries: u64,
    /// Physical offsets, both inclusive.
    pub first_physical_offset: u64,
    pub last_physical_offset: u64,
    /// Store times (ms), both inclusive.
    pub min_store_time_ms: i64,
    pub max_store_time_ms: i64,
    pub data_pages: u64,
}

pub(super) struct Run {
    pub path: PathBuf,
    pub summary: Summary,
    file: File,
    seed: u32,
    /// Fence levels from the data pages upward.
    levels: Vec<Level>,
    /// The fences of the topmost level; empty if there is but one data page.
    root: Box<[u64]>,
}

/// The pages of one fence level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    pub first_page: u64,
    pub pages: u64,
}

/// The fence levels over `data_pages` pages: each has a page per 510 pages below it, up to a single one.
pub(super) fn fence_levels(data_pages: u64) -> Vec<Level> {
    let mut levels = Vec::new();
    let (mut below, mut first_page) = (data_pages, data_pages);
    while below > 1 {
        let pages = below.div_ceil(PAGE_FENCES as u64);
        levels.push(Level { first_page, pages });
        (below, first_page) = (pages, first_page + pages);
    }
    levels
}

/// The file name of the run with these numbers.
pub(super) fn file_name(first_number: u64, last_number: u64) -> String {
    format!("{first_number:020}-{last_number:020}.run")
}

/// The numbers in a name made by [`file_name`].
pub(super) fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (first, last) = name.strip_suffix(".run")?.split_once('-')?;
    let numbers = (first.parse().ok()?, last.parse().ok()?);
    (file_name(numbers.0, numbers.1) == name).then_some(numbers)
}

/// The start value of the checksums of a run's pages.
pub(super) fn checksum_seed(first_number: u64, last_number: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&first_number.to_be_bytes()), &last_number.to_be_bytes())
}

impl Summary {
    /// Writes the footer's payload; returns its length.
    pub fn encode(&self, payload: &mut [u8]) -> usize {
        let words = [
            VERSION,
            self.first_number,
            self.last_number,
            self.level,
            self.entries,
            self.first_physical_offset,
            self.last_physical_offset,
            self.min_store_time_ms.cast_unsigned(),
            self.max_store_time_ms.cast_unsigned(),
            self.data_pages,
        ];
        payload[..8].copy_from_slice(&MAGIC);
        for (bytes, word) in payload[8..FOOTER_BYTES].chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        FOOTER_BYTES
    }

    /// Whether this run comes next after `before`, by number and in the log.
    pub fn follows(&self, before: &Summary) -> bool {
        self.first_number == before.last_number + 1
            && self.first_physical_offset > before.last_physical_offset
    }

    fn decode(payload: &[u8]) -> Result<Summary, &'static str> {
        let (words, _) = payload[..FOOTER_BYTES].as_chunks::<8>();
        if words[0] != MAGIC {
            return Err("the footer is none");
        }
        let word = |index: usize| u64::from_be_bytes(words[index]);
        if word(1) != VERSION {
            return Err("the format version is unknown");
        }
        Ok(Summary {
            first_number: word(2),
            last_number: word(3),
            level: word(4),
            entries: word(5),
            first_physical_offset: word(6),
            last_physical_offset: word(7),
            min_store_time_ms: word(8).cast_signed(),
            max_store_time_ms: word(9).cast_signed(),
            data_pages: word(10),
        })
    }
}

impl Run {
    /// Opens a run file and checks its name, length, footer and root; other pages are checked when read.
    pub fn open(path: &Path, first_number: u64, last_number: u64) -> Result<Run, Error> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let length = file.metadata().map_err(Error::io("stat", path))?.len();
        let seed = checksum_seed(first_number, last_number);
        let damaged = |reason| PageError::Damaged(reason).of_run(path, 0);

        let pages = length / PAGE_BYTES as u64;
        if pages == 0 || !length.is_multiple_of(PAGE_BYTES as u64) {
            return Err(damaged("the length is not one of whole pages"));
        }
        let mut page = Page::new();
        page.read(&file, seed, pages - 1, Kind::Footer).map_err(|error| error.of_run(path, 0))?;
        let summary = Summary::decode(page.payload()).map_err(damaged)?;
        // Checked before the levels are computed from it.
        if !(1..pages).contains(&summary.data_pages) {
            return Err(damaged("the footer does not fit the file"));
        }
        let levels = fence_levels(summary.data_pages);
        let expected_pages = summary.data_pages + levels.iter().map(|level| level.pages).sum::<u64>() + 1;
        if pages != expected_pages
            || (summary.first_number, summary.last_number) != (first_number, last_number)
        {
            return Err(damaged("the footer does not fit the file"));
        }
        let root = match levels.last() {
            Some(level) => {
                let count = page
                    .read(&file, seed, level.first_page, Kind::Fence)
                    .map_err(|error| error.of_run(path, summary.first_physical_offset))?;
                page.fences(count).collect()
            }
            None => Box::default(),
        };
        Ok(Run { path: path.to_path_buf(), summary, file, seed, levels, root })
    }

    /// Reads a page of this run; returns its count.
    pub fn read_page(&self, page: &mut Page, number: u64, kind: Kind) -> Result<usize, Error> {
        page.read(&self.file, self.seed, number, kind)
            .map_err(|error| error.of_run(&self.path, self.summary.first_physical_offset))
    }

    /// The error for damage that only a look at several pages shows.
    pub fn damaged(&self, reason: &'static str) -> Error {
        PageError::Damaged(reason).of_run(&self.path, self.summary.first_physical_offset)
    }

    /// The numbers of all fence pages.
    pub fn fence_pages(&self) -> Range<u64> {
        let end = self.levels.last().map_or(self.summary.data_pages, |root| root.first_page + root.pages);
        self.summary.data_pages..end
    }

    /// Gives the entries under `hash` to `each`, newest first, until it breaks.
    pub fn with_hash(
        &self,
        hash: u64,
        mut each: impl FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        let mut page = Page::new();
        let Some(last_page) = self.last_page_from(hash, &mut page)? else {
            return Ok(ControlFlow::Continue(()));
        };
        for number in (0..=last_page).rev() {
            let count = self.read_page(&mut page, number, Kind::Data)?;
            for entry in page.entries(count).rev().skip_while(|entry| entry.hash > hash) {
                if entry.hash < hash {
                    return Ok(ControlFlow::Continue(()));
                }
                if each(entry).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The last data page whose first hash is not above `hash`; `None` if every entry's is.
    fn last_page_from(&self, hash: u64, page: &mut Page) -> Result<Option<u64>, Error> {
        let Some((_, below_root)) = self.levels.split_last() else { return Ok(Some(0)) };
        let Some(mut child) = self.root.partition_point(|&fence| fence <= hash).checked_sub(1) else {
            return Ok(None);
        };
        for level in below_root.iter().rev() {
            let count = self.read_page(page, level.first_page + child as u64, Kind::Fence)?;
            let not_above = page.fences(count).take_while(|&fence| fence <= hash).count();
            child = child * PAGE_FENCES + not_above.saturating_sub(1);
        }
        Ok(Some(child as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fence levels for page counts at the edges of each height.
    #[test]
    fn fence_levels_end_in_one_page() {
        let level = |first_page, pages| Level { first_page, pages };
        for (data_pages, expect) in [
            (1, vec![]),
            (2, vec![level(2, 1)]),
            (510, vec![level(510, 1)]),
            (511, vec![level(511, 2), level(513, 1)]),
            (510 * 510, vec![level(260_100, 510), level(260_610, 1)]),
            (510 * 510 + 1, vec![level(260_101, 511), level(260_612, 2), level(260_614, 1)]),
        ] {
            assert_eq!(fence_levels(data_pages), expect, "{data_pages} data pages");
        }
    }

    /// Only names that we give are ours.
    #[test]
    fn names_round_trip_and_strangers_do_not_parse() {
        assert_eq!(parse_name(&file_name(7, 12)), Some((7, 12)));
        for stranger in [
            "7-12.run",
            "x.run",
            "00000000000000000007-00000000000000000012.run.tmp",
            "00000000000000000007.run",
        ] {
            assert_eq!(parse_name(stranger), None, "{stranger}");
        }
    }
}
