//! What the tests of the log share: entries with telling payloads, and a log on a faulty disk.

#![allow(dead_code, clippy::unwrap_used)]

use trireme_commitlog::faulty::FaultyDisk;
use trireme_commitlog::{AppendError, CommitLog, FrameBuf, FrameRef, LogId, OpenError, Options};

/// The smallest segment, so that tests roll often.
pub const SEGMENT: u64 = Options::MIN_SEGMENT_BYTES;
/// The kind of all entries here.
pub const KIND: u8 = 7;
pub const HEADER: u64 = trireme_commitlog::frame::HEADER_LEN as u64;

pub fn id(term: u64, index: u64) -> LogId {
    LogId { term, index }
}

pub fn options() -> Options {
    Options { segment_bytes: SEGMENT }
}

pub fn try_open(disk: &FaultyDisk) -> Result<CommitLog, OpenError> {
    CommitLog::open(disk.handle(), options())
}

#[track_caller]
pub fn open(disk: &FaultyDisk) -> CommitLog {
    try_open(disk).unwrap()
}

/// A payload of `len` bytes without a zero byte in it, different for each entry.
pub fn payload(id: LogId, len: usize) -> Vec<u8> {
    let seed = id.term.wrapping_mul(31).wrapping_add(id.index.wrapping_mul(7));
    (0..len as u64).map(|n| (seed.wrapping_add(n * n) % 255) as u8 + 1).collect()
}

pub fn frame(payload: &[u8]) -> FrameBuf {
    let mut frame = FrameBuf::with_capacity(KIND, payload.len());
    frame.extend_from_slice(payload);
    frame
}

pub fn try_append(log: &CommitLog, id: LogId, len: usize) -> Result<u64, AppendError> {
    log.append(id, frame(&payload(id, len)), |_, _| {})
}

#[track_caller]
pub fn append(log: &CommitLog, id: LogId, len: usize) -> u64 {
    try_append(log, id, len).unwrap()
}

/// Appends `count` entries of term 1 with `len` bytes each, behind what is there.
#[track_caller]
pub fn fill(log: &CommitLog, count: u64, len: usize) {
    for _ in 0..count {
        let next = log.last().map_or(0, |last| last.index + 1);
        append(log, id(1, next), len);
    }
}

/// All entries that can be read.
#[track_caller]
pub fn all(log: &CommitLog) -> Vec<FrameRef> {
    let first = log.trimmed().map_or(0, |trimmed| trimmed.index + 1);
    log.read(first, u64::MAX, u64::MAX).unwrap()
}

pub fn segment_name(base: u64) -> String {
    format!("{base:020}.log")
}

pub fn sidecar_name(base: u64) -> String {
    format!("{base:020}.idx")
}
