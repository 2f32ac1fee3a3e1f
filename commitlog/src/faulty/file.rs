//! One file's bytes: as the process sees them, and as a crash would leave them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;

use super::Fate;
use crate::scan::SECTOR;

/// Bytes are kept, and space is given, in pages.
pub(super) const PAGE: u64 = 4096;

type Page = Box<[u8; PAGE as usize]>;

#[derive(Clone, Debug, Default)]
pub(super) struct FileData {
    pub len: u64,
    /// Bytes of disk space.
    pub allocated: u64,
    durable_len: u64,
    /// What the process sees. A page that is missing is zero. Every page of `durable` is in here too.
    pages: BTreeMap<u64, Page>,
    durable: BTreeMap<u64, Page>,
    /// Sectors that differ, or may, and that the next sync writes.
    dirty: BTreeSet<u64>,
    /// Pages that cannot be read, until they are written as a whole.
    spoilt: BTreeSet<u64>,
    /// What the next sync fails with: dirty bytes were lost, and somebody else was told.
    pub untold: Option<ErrorKind>,
}

impl FileData {
    /// The page that holds `pos` cannot be read any more.
    pub fn spoil(&mut self, pos: u64) {
        self.spoilt.insert(pos / PAGE);
    }

    /// Whether one of the pages cannot be read.
    pub fn is_spoilt(&self, pos: u64, len: u64) -> bool {
        self.spoilt.range(pos / PAGE..(pos + len).div_ceil(PAGE)).next().is_some()
    }

    /// Pages that are written as a whole can be read again. Whether others are left that cannot, and so not be written in part.
    pub fn heal(&mut self, pos: u64, len: u64) -> bool {
        self.spoilt.retain(|page| page * PAGE < pos || pos + len < (page + 1) * PAGE);
        !self.is_spoilt(pos, len)
    }

    pub fn read(&self, pos: u64, buf: &mut [u8]) {
        for (page, at, range) in pieces(pos, buf.len() as u64) {
            match self.pages.get(&page) {
                Some(bytes) => {
                    let len = range.len();
                    buf[range].copy_from_slice(&bytes[at..at + len]);
                }
                None => buf[range].fill(0),
            }
        }
    }

    pub fn write(&mut self, pos: u64, bytes: &[u8]) {
        put(&mut self.pages, pos, bytes);
        self.len = self.len.max(pos + bytes.len() as u64);
        self.touch(pos, bytes.len() as u64);
    }

    pub fn zero(&mut self, pos: u64, len: u64) {
        let there: Vec<u64> =
            self.pages.range(pos / PAGE..(pos + len).div_ceil(PAGE)).map(|(&n, _)| n).collect();
        for page in there {
            let from = pos.max(page * PAGE);
            let to = (pos + len).min((page + 1) * PAGE);
            put(&mut self.pages, from, &[0; PAGE as usize][..(to - from) as usize]);
            self.touch(from, to - from);
        }
    }

    /// Changes both what the process sees and what is durable.
    pub fn overwrite(&mut self, pos: u64, bytes: &[u8]) {
        put(&mut self.pages, pos, bytes);
        put(&mut self.durable, pos, bytes);
        self.len = self.len.max(pos + bytes.len() as u64);
        self.durable_len = self.durable_len.max(self.len);
    }

    /// Shortens the file in both, and what comes back if it grows again is zero.
    pub fn cut(&mut self, len: u64) {
        blank_from(&mut self.pages, len);
        blank_from(&mut self.durable, len);
        self.len = len;
        self.durable_len = len;
    }

    pub fn next_data(&self, pos: u64) -> Option<u64> {
        let (&page, _) = self.pages.range(pos / PAGE..).next()?;
        let data = pos.max(page * PAGE);
        (data < self.len).then_some(data)
    }

    pub fn sync(&mut self) {
        for sector in std::mem::take(&mut self.dirty) {
            self.settle(sector);
        }
        self.durable_len = self.len;
    }

    /// What a failed sync leaves: the process still sees its bytes, but nothing will write them any more.
    pub fn lose_dirty(&mut self) {
        self.dirty.clear();
    }

    /// Keeps a subset of what was not synced, and forgets the rest.
    pub fn crash(&mut self, fate: &mut Fate) {
        for sector in std::mem::take(&mut self.dirty) {
            if fate.keeps() {
                self.settle(sector);
            }
        }
        if self.len == self.durable_len || !fate.keeps() {
            self.len = self.durable_len;
        }
        self.durable_len = self.len;
        self.untold = None;
        blank_from(&mut self.durable, self.len);
        self.pages = self.durable.clone();
    }

    /// Copies one sector to what is durable.
    fn settle(&mut self, sector: u64) {
        let mut bytes = [0; SECTOR as usize];
        self.read(sector * SECTOR, &mut bytes);
        put(&mut self.durable, sector * SECTOR, &bytes);
    }

    fn touch(&mut self, pos: u64, len: u64) {
        self.dirty.extend(pos / SECTOR..(pos + len).div_ceil(SECTOR));
    }
}

fn put(pages: &mut BTreeMap<u64, Page>, pos: u64, bytes: &[u8]) {
    for (page, at, range) in pieces(pos, bytes.len() as u64) {
        let page = pages.entry(page).or_insert_with(|| Box::new([0; PAGE as usize]));
        page[at..at + range.len()].copy_from_slice(&bytes[range]);
    }
}

/// Makes everything from `pos` on zero.
fn blank_from(pages: &mut BTreeMap<u64, Page>, pos: u64) {
    pages.split_off(&pos.div_ceil(PAGE));
    if let Some(page) = pages.get_mut(&(pos / PAGE)) {
        page[(pos % PAGE) as usize..].fill(0);
    }
}

/// Splits `pos..pos + len` at pages: page number, position in the page, range in the buffer.
fn pieces(pos: u64, len: u64) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if len <= done {
            return None;
        }
        let (page, at) = ((pos + done) / PAGE, (pos + done) % PAGE);
        let n = (PAGE - at).min(len - done);
        let range = done as usize..(done + n) as usize;
        done += n;
        Some((page, at as usize, range))
    })
}
