//! Prewrite: the disk's blocks ahead of the tail are written once, with zeros, before an entry needs them.
//!
//! Blocks that are only reserved are noted in the file system's metadata when they are first written, and `fdatasync`
//! waits for that too: a second write, or a journal's commit. In blocks that were written before, it waits for the data
//! alone (`docs/decisions/0009-prewrite.md`).
//!
//! Zeros are what such blocks read as anyway, so nobody can tell the difference: not a reader, not recovery, not a crash
//! in the middle. What must never happen is that zeros are written over an entry. An appender holds `writer` from
//! before it knows its place until the entry is written; a range to be prewritten is chosen, behind the tail, under
//! that lock, and announced; an appender that comes to an announced range waits until the zeros are written. It does
//! not wait for the disk: where that is slow, who waited here would be an appender that still has heartbeats to answer.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::{CommitLog, State};
use crate::dir::SegmentIo;
use crate::error::{Fault, is_full};
use crate::segment::log_name;

/// How far ahead of the tail, at most: some tenths of a second under full load.
const AHEAD: u64 = 16 << 20;
/// How much at once. Whoever syncs the segment meanwhile waits for this too.
const CHUNK: u64 = 512 << 10;
/// Where flushes are larger, what the metadata costs is little beside the data, and writing all twice is not.
const LARGE_FLUSH: u64 = 256 << 10;
/// File systems work in blocks of this size, or of a divisor of it.
const BLOCK: u64 = 4096;

/// The range that is being prewritten, as physical offsets.
#[derive(Debug, Default)]
pub(super) struct Prewriting {
    range: Mutex<Option<Range<u64>>>,
    done: Condvar,
}

impl Prewriting {
    fn announce(&self, range: Range<u64>) {
        *self.range.lock() = Some(range);
    }

    fn finish(&self) {
        *self.range.lock() = None;
        self.done.notify_all();
    }

    /// Waits until nothing of `entry` is being prewritten. The caller holds `writer`, so nothing new begins.
    pub fn wait_for(&self, entry: Range<u64>) {
        let mut range = self.range.lock();
        while range.as_ref().is_some_and(|range| range.start < entry.end && entry.start < range.end) {
            self.done.wait(&mut range);
        }
    }
}

impl State {
    /// So many bytes were made durable at once.
    pub(super) fn note_flush(&mut self, bytes: u64) {
        self.flush_bytes = (7 * self.flush_bytes + bytes) / 8;
    }
}

/// One piece of work.
struct Chunk {
    /// First physical offset of the segment.
    base: u64,
    io: Arc<dyn SegmentIo>,
    range: Range<u64>,
}

impl CommitLog {
    /// Whether the tail is about to run out of prewritten blocks.
    pub(super) fn wants_prewrite(&self, state: &State) -> bool {
        state.prewritten < state.tail + self.ahead() / 2 && self.next_chunk(state).is_some()
    }

    /// Writes zeros ahead of the tail. A full disk ends it early: where space cannot be reserved, there may be none.
    pub(super) fn prewrite(&self) -> Result<(), Fault> {
        loop {
            let (chunk, edits) = {
                let _writer = self.writer.lock();
                let state = self.state.read();
                let Some(chunk) = self.next_chunk(&state) else {
                    return Ok(());
                };
                self.prewriting.announce(chunk.range.clone());
                (chunk, state.edits)
            };
            let Chunk { base, io, range } = chunk;
            let written = io.prewrite(range.start - base, range.end - range.start);
            // Written is enough: what an appender writes there now lies over the zeros.
            self.prewriting.finish();
            match written.and_then(|()| io.sync_prewritten()) {
                Ok(()) => {}
                // If an entry was what did not fit, its flush fails.
                Err(error) if is_full(&error) => return Ok(()),
                Err(error) => return Err(self.fail("prewrite", &log_name(base), error)),
            }
            let mut state = self.state.write();
            // Otherwise it may have been written to a segment that is no more.
            if state.edits == edits {
                state.prewritten = range.end;
            }
        }
    }

    /// What to prewrite next: in the active segment, then in the one that is prepared behind it.
    fn next_chunk(&self, state: &State) -> Option<Chunk> {
        // What comes next to the tail is left to the appender, which is about to be there.
        let reach = state.tail.next_multiple_of(BLOCK) + self.chunk();
        let from = state.prewritten.max(reach);
        let (base, io) = match &state.spare {
            Some(spare) if state.active.base + self.options.segment_bytes <= from => {
                (state.active.base + self.options.segment_bytes, spare)
            }
            _ => (state.active.base, &state.active.io),
        };
        let end = (from + self.chunk()).min(base + self.options.segment_bytes);
        let wanted = from < end && from < state.tail + self.ahead() && state.flush_bytes <= LARGE_FLUSH;
        wanted.then(|| Chunk { base, io: Arc::clone(io), range: from..end })
    }

    fn ahead(&self) -> u64 {
        AHEAD.min(self.options.segment_bytes / 4)
    }

    fn chunk(&self) -> u64 {
        CHUNK.min(self.ahead() / 2).next_multiple_of(BLOCK)
    }
}
