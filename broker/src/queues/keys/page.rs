//! The 4 KiB page that run files consist of: a payload and a trailer that checks it.

use crate::queues::Error;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use trireme_commitlog::is_unreadable;

use super::entry::{ENTRY_BYTES, Entry};

pub(super) const PAGE_BYTES: usize = 4096;

/// Page number 8, count 2, kind 2, CRC-32C 4.
const TRAILER_BYTES: usize = 16;
const PAYLOAD_BYTES: usize = PAGE_BYTES - TRAILER_BYTES;

/// Entries in a full data page.
pub(super) const PAGE_ENTRIES: usize = PAYLOAD_BYTES / ENTRY_BYTES;
/// Fences in a full fence page: the first hash of each page below it.
pub(super) const PAGE_FENCES: usize = PAYLOAD_BYTES / 8;

const _: () = assert!(PAGE_ENTRIES == 170 && PAGE_ENTRIES * ENTRY_BYTES == PAYLOAD_BYTES);
const _: () = assert!(PAGE_FENCES == 510 && PAGE_FENCES * 8 == PAYLOAD_BYTES);

/// What a page's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data = 1,
    Fence = 2,
    Footer = 3,
}

impl Kind {
    fn capacity(self) -> usize {
        match self {
            Kind::Data => PAGE_ENTRIES,
            Kind::Fence => PAGE_FENCES,
            Kind::Footer => PAYLOAD_BYTES,
        }
    }
}

/// One page in memory.
pub(super) struct Page {
    bytes: [u8; PAGE_BYTES],
}

impl Page {
    pub fn new() -> Page {
        Page { bytes: [0; PAGE_BYTES] }
    }

    pub fn payload(&self) -> &[u8] {
        &self.bytes[..PAYLOAD_BYTES]
    }

    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..PAYLOAD_BYTES]
    }

    pub fn set_entry(&mut self, index: usize, entry: Entry) {
        self.bytes[index * ENTRY_BYTES..][..ENTRY_BYTES].copy_from_slice(&entry.to_bytes());
    }

    pub fn set_fence(&mut self, index: usize, hash: u64) {
        self.bytes[index * 8..][..8].copy_from_slice(&hash.to_be_bytes());
    }

    /// The first `count` entries; `count` is what [`Page::read`] returned.
    pub fn entries(&self, count: usize) -> impl DoubleEndedIterator<Item = Entry> + ExactSizeIterator {
        let (entries, _) = self.bytes[..count * ENTRY_BYTES].as_chunks();
        entries.iter().map(Entry::from_bytes)
    }

    /// The first `count` fences; `count` is what [`Page::read`] returned.
    pub fn fences(&self, count: usize) -> impl ExactSizeIterator<Item = u64> {
        let (fences, _) = self.bytes[..count * 8].as_chunks();
        fences.iter().map(|bytes| u64::from_be_bytes(*bytes))
    }

    /// Fills in the trailer, zeroes what `count` items leave free, and returns the bytes to write.
    ///
    /// `seed` is the run's: it keeps a page of another run, put here by a misdirected write, from passing.
    pub fn seal(&mut self, seed: u32, number: u64, kind: Kind, count: usize) -> &[u8; PAGE_BYTES] {
        let used = match kind {
            Kind::Data => count * ENTRY_BYTES,
            Kind::Fence => count * 8,
            Kind::Footer => count,
        };
        self.bytes[used..PAYLOAD_BYTES].fill(0);
        let trailer = &mut self.bytes[PAYLOAD_BYTES..];
        trailer[..8].copy_from_slice(&number.to_be_bytes());
        trailer[8..10].copy_from_slice(&(count as u16).to_be_bytes());
        trailer[10..12].copy_from_slice(&(kind as u16).to_be_bytes());
        let checksum = crc32c::crc32c_append(seed, &self.bytes[..PAGE_BYTES - 4]);
        self.bytes[PAGE_BYTES - 4..].copy_from_slice(&checksum.to_be_bytes());
        &self.bytes
    }

    /// Reads page `number` and returns its count, or what is wrong with it.
    pub fn read(&mut self, file: &File, seed: u32, number: u64, kind: Kind) -> Result<usize, PageError> {
        match file.read_exact_at(&mut self.bytes, number * PAGE_BYTES as u64) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(PageError::Damaged("the file ends before a page"));
            }
            Err(error) if is_unreadable(&error) => {
                return Err(PageError::Damaged("the disk cannot read a page"));
            }
            outcome => outcome.map_err(PageError::Io)?,
        }
        self.check(seed, number, kind).map_err(PageError::Damaged)
    }

    fn check(&self, seed: u32, number: u64, kind: Kind) -> Result<usize, &'static str> {
        let (covered, checksum) = self.bytes.split_at(PAGE_BYTES - 4);
        if checksum != crc32c::crc32c_append(seed, covered).to_be_bytes() {
            return Err("a page fails its checksum");
        }
        let trailer = &self.bytes[PAYLOAD_BYTES..];
        let count = usize::from(u16::from_be_bytes([trailer[8], trailer[9]]));
        let is_this_page = trailer[..8] == number.to_be_bytes()
            && trailer[10..12] == (kind as u16).to_be_bytes()
            && (1..=kind.capacity()).contains(&count);
        if is_this_page { Ok(count) } else { Err("a page is not the one that belongs here") }
    }
}

/// Why a page cannot be used.
pub(super) enum PageError {
    Io(io::Error),
    Damaged(&'static str),
}

impl PageError {
    /// Adds whose page it is.
    pub fn of_run(self, path: &Path, first_physical_offset: u64) -> Error {
        let path = path.to_path_buf();
        match self {
            PageError::Io(source) => Error::Io { action: "read", path, source },
            PageError::Damaged(reason) => Error::DamagedRun { path, first_physical_offset, reason },
        }
    }
}
