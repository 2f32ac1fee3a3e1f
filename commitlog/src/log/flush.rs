//! Flush: where an entry becomes durable; and the mark that remembers it.

use std::sync::Arc;

use trireme_planted::{self as planted, Defect};

use super::CommitLog;
use crate::dir::SegmentIo;
use crate::error::Fault;
use crate::frame::LogId;
use crate::mark;
use crate::segment::log_name;

impl CommitLog {
    /// Makes every entry written before the call durable, and returns the last entry now known to be.
    ///
    /// One `fdatasync` for each segment written since the last flush, sealed ones included, oldest first; their names
    /// are durable since they were created. Runs beside appends and reads; a second flush waits for the first.
    ///
    /// A failed sync poisons the log: the kernel may have dropped what it could not write, and a second sync would
    /// report success for it. Source: Rebello et al., "Can Applications Recover from fsync Failures?", ATC '20.
    pub fn flush(&self) -> Result<Option<LogId>, Fault> {
        let _flusher = self.flusher.lock();
        self.check_fault()?;
        let (dirty, last, tail) = {
            let state = self.state.read();
            if state.flushed_end == state.tail {
                return Ok(state.flushed);
            }
            // A segment whose end is at `flushed_end` cannot be: there is always room for a filler.
            let segment_bytes = self.options.segment_bytes;
            let mut dirty: Vec<(u64, Arc<dyn SegmentIo>)> = state
                .sealed
                .iter()
                .filter(|segment| state.flushed_end < segment.base + segment_bytes)
                .map(|segment| (segment.base, Arc::clone(&segment.io)))
                .collect();
            dirty.push((state.active.base, Arc::clone(&state.active.io)));
            (dirty, state.last, state.tail)
        };
        let sealed = dirty.len() - 1;
        for (n, (base, io)) in dirty.iter().enumerate() {
            io.sync().map_err(|error| self.fail("sync", &log_name(*base), error))?;
            if n < sealed {
                io.release();
            }
        }
        let mut state = self.state.write();
        let bytes = tail - state.flushed_end;
        state.note_flush(bytes);
        state.flushed = last;
        state.flushed_end = tail;
        Ok(last)
    }

    /// Writes the synced mark, durably, with what is flushed now. Returns the marked entry.
    ///
    /// Costs a write and a sync of a tiny file, so it is called beside the write path, about once a second: the mark
    /// trails the flusher, and recovery checks in full only what lies above it.
    pub fn mark_synced(&self) -> Result<Option<LogId>, Fault> {
        let mut file = self.mark.lock();
        self.check_fault()?;
        let mut next = file.current;
        {
            let state = self.state.read();
            next.synced = state.flushed;
            next.synced_end = state.flushed_end;
            if planted::is(Defect::MarkAhead) {
                (next.synced, next.synced_end) = (state.last, state.tail);
            }
        }
        if next != file.current {
            file.write(next).map_err(|error| self.fail("write", mark::FILE, error))?;
        }
        Ok(next.synced)
    }
}
