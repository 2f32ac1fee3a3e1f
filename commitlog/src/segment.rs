//! One segment in memory: sealed, or active.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::dir::SegmentIo;
use crate::index::{SegmentIndex, Span, pack, unpack};

/// Physical offsets stay below this, so that sums of them do not overflow: 4 EiB, which at 10 GB/s takes 14 years.
pub(crate) const OFFSETS_END: u64 = 1 << 62;
const LOG: &str = "log";
const SIDECAR: &str = "idx";
/// Digits of a physical offset in a file name: those of `u64::MAX`.
const DIGITS: usize = 20;

/// A sealed segment: a filler closes it, at least one entry is in it, and the next segment has one too.
pub(crate) struct Segment {
    /// First physical offset.
    pub base: u64,
    pub io: Arc<dyn SegmentIo>,
    /// Index of its first entry.
    pub first_index: u64,
    /// Index of the next segment's first entry.
    pub next_index: u64,
    pub index: Mutex<IndexState>,
}

/// What is known of a sealed segment's index.
#[derive(Debug)]
pub(crate) enum IndexState {
    /// Not needed yet since the log was opened.
    Unread,
    /// In memory only: the sidecar is to be written.
    Unsaved(SegmentIndex),
    /// In the sidecar as well.
    Saved(SegmentIndex),
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Segment({} with {}..{})", self.base, self.first_index, self.next_index)
    }
}

/// The segment that is being written.
#[derive(Debug)]
pub(crate) struct Active {
    /// First physical offset.
    pub base: u64,
    pub io: Arc<dyn SegmentIo>,
    /// Index of its first entry, which may not be there yet.
    pub first_index: u64,
    /// Position of each entry, packed.
    pub offsets: Vec<u32>,
}

impl Active {
    /// Index of the entry that comes next.
    pub fn next_index(&self) -> u64 {
        self.first_index + self.offsets.len() as u64
    }

    /// Where the `nth` entry lies, when the segment is written up to `end_pos`. Panics if there are fewer.
    pub fn span(&self, nth: u64, end_pos: u64) -> Span {
        let nth = nth as usize;
        let pos = unpack(self.offsets[nth]);
        let end = self.offsets.get(nth + 1).map_or(end_pos, |&offset| unpack(offset));
        Span { pos, len: end - pos }
    }

    /// Which entry's frame holds the byte at `pos`, which is below the tail. `None` if there is no entry.
    pub fn nth_at(&self, pos: u64) -> Option<u64> {
        let at = pack(pos);
        (self.offsets.partition_point(|&offset| offset <= at) as u64).checked_sub(1)
    }
}

/// File name of the segment that begins at `base`.
pub(crate) fn log_name(base: u64) -> String {
    format!("{base:0DIGITS$}.{LOG}")
}

/// File name of its sidecar.
pub(crate) fn sidecar_name(base: u64) -> String {
    format!("{base:0DIGITS$}.{SIDECAR}")
}

/// What a file name in the log's directory means.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum FileName {
    /// A segment, by its first physical offset.
    Log(u64),
    /// A sidecar, by its segment's first physical offset.
    Sidecar(u64),
    /// Not one of the log's segment files.
    Other,
}

/// The pair of [`log_name`] and [`sidecar_name`].
pub(crate) fn parse_name(name: &str) -> FileName {
    let Some((digits, extension)) = name.split_once('.') else {
        return FileName::Other;
    };
    if digits.len() != DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return FileName::Other;
    }
    match (digits.parse(), extension) {
        (Ok(base), LOG) => FileName::Log(base),
        (Ok(base), SIDECAR) => FileName::Sidecar(base),
        _ => FileName::Other,
    }
}
