//! Truncate, trim and reset: the log's two ends are moved by nothing else.

use std::io;
use std::mem;
use std::sync::Arc;

use super::{CommitLog, next_after};
use crate::error::{EditError, Fault};
use crate::frame::LogId;
use crate::mark::{self, Mark};
use crate::recover;
use crate::segment::{Active, OFFSETS_END, log_name, sidecar_name};

impl CommitLog {
    /// Removes every entry after index `last_kept`; all of them for `None`. Durable on return.
    ///
    /// Raft does this to a follower whose tail its leader does not have. When it returns, no crash can bring a removed
    /// entry back: the synced mark has been lowered, whole segments have been removed, and what lies behind the new
    /// tail in its segment reads as zero. `flushed` falls to the new last entry if it was above. Waits for a flush
    /// that is under way. Slices that readers still hold of removed entries may turn to zeros.
    pub fn truncate_after(&self, last_kept: Option<u64>) -> Result<(), EditError> {
        let _writer = self.writer.lock();
        let _flusher = self.flusher.lock();
        self.check_fault()?;
        let next = last_kept.map_or(0, |index| index.saturating_add(1));
        let (trimmed, last) = {
            let state = self.state.read();
            (state.trimmed, state.last)
        };
        if let Some(trimmed) = trimmed.filter(|trimmed| next <= trimmed.index) {
            return Err(EditError::BelowTrimmed { kept: last_kept, trimmed });
        }
        if next_after(last) < next {
            return Err(EditError::AboveLast { index: next - 1, last });
        }
        if next_after(last) == next {
            return Ok(());
        }
        let kept = match next.checked_sub(1) {
            Some(index) => self.id_of(index)?,
            None => None,
        };
        // Before the active segment changes: upkeep may be preparing the one behind it.
        let _files = self.files.lock();
        let cut = self.cut_in_memory(next, kept)?;
        self.lower_mark(&cut)?;
        self.cut_on_disk(&cut)?;
        self.check();
        Ok(())
    }

    /// Makes entry `next - 1`, which is `kept`, the last one for every reader, before anything is changed on disk: a
    /// reader must not be sent to what is being removed.
    fn cut_in_memory(&self, next: u64, kept: Option<LogId>) -> Result<Cut, EditError> {
        let segment_bytes = self.options.segment_bytes;
        let (old_base, old_tail, holder) = {
            let state = self.state.read();
            let mut holder = state.sealed.partition_point(|segment| segment.next_index <= next);
            // When `next` is the first of its segment, the tail is in the segment before it, at the filler: that is
            // where the log would have gone on.
            let first_index = state.sealed.get(holder).map_or(state.active.first_index, |s| s.first_index);
            if first_index == next && 0 < holder {
                holder -= 1;
            }
            (state.active.base, state.tail, state.sealed.get(holder).cloned())
        };
        // The index of a sealed segment may have to be read, so it is asked for without the lock. `writer` is held:
        // the segments stay as they are.
        let reopened = match &holder {
            Some(segment) => Some((Arc::clone(segment), self.index_of(segment)?)),
            None => None,
        };
        let mut state = self.state.write();
        let (base, tail, written_end) = match reopened {
            None => {
                let keep = (next - state.active.first_index) as usize;
                // `next` is in the log, and no sealed segment holds it or ends with it.
                let tail = old_base + state.active.span(keep as u64, old_tail - old_base).pos;
                state.active.offsets.truncate(keep);
                (old_base, tail, old_tail)
            }
            Some((segment, index)) => {
                let keep = next - segment.first_index;
                let tail_pos = if keep < index.len() { index.span(keep).pos } else { index.end_pos() };
                state.sealed.retain(|sealed| sealed.base < segment.base);
                state.active = Active {
                    base: segment.base,
                    io: Arc::clone(&segment.io),
                    first_index: segment.first_index,
                    offsets: index.to_vec(keep),
                };
                state.spare = None;
                // Frames that were sealed may have been on disk since before this process.
                state.checked_from = segment.base + tail_pos;
                (segment.base, segment.base + tail_pos, segment.base + segment_bytes)
            }
        };
        state.tail = tail;
        state.last = kept;
        state.checked_from = state.checked_from.min(tail);
        state.prewritten = tail;
        if tail < state.flushed_end {
            state.flushed = kept;
            state.flushed_end = tail;
        }
        state.edits += 1;
        Ok(Cut { base, tail, written_end, old_base, last: kept })
    }

    /// First on disk: the mark must not say that what is about to be removed is durable.
    fn lower_mark(&self, cut: &Cut) -> Result<(), Fault> {
        let mut file = self.mark.lock();
        if file.current.synced_end <= cut.tail {
            return Ok(());
        }
        let lowered = Mark { synced: cut.last, synced_end: cut.tail, ..file.current };
        file.write_both(lowered).map_err(|error| self.fail("lower", mark::FILE, error))
    }

    /// Removes the segments behind the cut, the last one first, each durably before the next: a crash never leaves a
    /// hole between two segments. Then zeroes the rest of the segment that is cut.
    fn cut_on_disk(&self, cut: &Cut) -> Result<(), Fault> {
        let segment_bytes = self.options.segment_bytes;
        if cut.base < cut.old_base {
            // The one after the old active segment may have been prepared.
            let mut base = cut.old_base + segment_bytes;
            while cut.base < base {
                self.remove_durably(&[sidecar_name(base), log_name(base)])?;
                base -= segment_bytes;
            }
            self.remove_durably(&[sidecar_name(cut.base)])?;
        }
        let io = Arc::clone(&self.state.read().active.io);
        let name = log_name(cut.base);
        io.zero_range(cut.tail - cut.base, cut.written_end - cut.tail)
            .map_err(|error| self.fail("zero the truncated end of", &name, error))?;
        io.sync().map_err(|error| self.fail("sync", &name, error))
    }

    fn remove_durably(&self, names: &[String]) -> Result<(), Fault> {
        let mut removed = false;
        for name in names {
            match self.dir.remove(name) {
                Ok(()) => removed = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.fail("remove", name, error)),
            }
        }
        if removed {
            self.dir.sync_dir().map_err(|error| self.fail("sync the directory of", &names[0], error))?;
        }
        Ok(())
    }

    /// Removes every entry up to and including `up_to`, which must be in the log. Durable on return.
    ///
    /// Whole segments leave the disk, later, in [`CommitLog::maintain`]; the rest of a segment that holds other entries
    /// stays but can no longer be read. Remembers `up_to` and where the entry after it lies. Entries that were not
    /// durable yet are flushed first. Trimming below the trimmed end is no error and does nothing.
    ///
    /// The entry after `up_to`, if there is one in another segment, must be committed: truncating it later could not
    /// put the tail back into the segment that is gone.
    pub fn trim(&self, up_to: LogId) -> Result<(), EditError> {
        let _writer = self.writer.lock();
        self.check_fault()?;
        if self.trimmed().is_some_and(|trimmed| up_to.index <= trimmed.index) {
            return Ok(());
        }
        match self.id_of(up_to.index)? {
            Some(found) if found == up_to => {}
            Some(found) => return Err(EditError::OtherTerm { asked: up_to, found }),
            None => return Err(EditError::AboveLast { index: up_to.index, last: self.last() }),
        }
        let base = match self.frame_range(up_to.index + 1)? {
            Some((from, _)) => from,
            None => self.next_physical_offset(),
        };
        self.flush()?;
        self.record_trim(up_to, base)?;
        let mut state = self.state.write();
        while let Some(first) = state.sealed.front().filter(|first| first.next_index <= up_to.index + 1) {
            let base = first.base;
            state.doomed.extend([log_name(base), sidecar_name(base)]);
            state.sealed.pop_front();
        }
        state.trimmed = Some(up_to);
        state.base = base;
        state.edits += 1;
        drop(state);
        self.check();
        tracing::info!(trimmed = %up_to, physical_offset = base, "log trimmed");
        Ok(())
    }

    /// Both slots: once files are gone, an older mark would miss them.
    fn record_trim(&self, trimmed: LogId, base: u64) -> Result<(), Fault> {
        let mut file = self.mark.lock();
        let mut next = Mark { trimmed: Some(trimmed), base, ..file.current };
        {
            let state = self.state.read();
            next.synced = state.flushed;
            next.synced_end = state.flushed_end;
        }
        file.write_both(next).map_err(|error| self.fail("write", mark::FILE, error))
    }

    /// Drops everything and begins again after `trimmed`, at `base`: a replica that is too far behind has taken over a
    /// checkpoint that stands for everything up to `trimmed`. Durable on return.
    ///
    /// The next entry has index `trimmed.index + 1` and lies at `base`, a segment's start, as on the leader. The
    /// decision is durable before the first file goes, so that a crash anywhere leaves either the old log or the empty
    /// new one. Blocks while the old segments are unlinked. Panics if `trimmed` is the last index there can be.
    pub fn reset(&self, trimmed: LogId, base: u64) -> Result<(), EditError> {
        let segment_bytes = self.options.segment_bytes;
        if !base.is_multiple_of(segment_bytes) || OFFSETS_END <= base {
            return Err(EditError::OffGrid { base, segment_bytes });
        }
        assert!(trimmed.index < u64::MAX, "an entry must be able to follow");
        let _writer = self.writer.lock();
        let _flusher = self.flusher.lock();
        self.check_fault()?;
        let _files = self.files.lock();
        let mut file = self.mark.lock();
        let decided = Mark {
            segment_bytes,
            trimmed: Some(trimmed),
            base,
            synced: Some(trimmed),
            synced_end: base,
            resetting: true,
        };
        file.write_both(decided).map_err(|error| self.fail("write", mark::FILE, error))?;
        let io = recover::finish_reset(&*self.dir, &mut file)
            .map_err(|(action, name, error)| self.fail(action, &name, error))?;
        let mut state = self.state.write();
        state.sealed.clear();
        let active = Active { base, io, first_index: trimmed.index + 1, offsets: Vec::new() };
        drop(mem::replace(&mut state.active, active));
        state.spare = None;
        state.doomed.clear();
        state.tail = base;
        state.last = Some(trimmed);
        state.trimmed = Some(trimmed);
        state.base = base;
        state.flushed = Some(trimmed);
        state.flushed_end = base;
        state.prewritten = base;
        state.checked_from = base;
        state.edits += 1;
        drop(state);
        self.check();
        tracing::info!(%trimmed, physical_offset = base, "log reset");
        Ok(())
    }
}

/// A truncation that is done in memory and not yet on disk.
struct Cut {
    /// First physical offset of the segment that is active now.
    base: u64,
    tail: u64,
    /// Exclusive end of what may have been written in that segment.
    written_end: u64,
    /// First physical offset of the segment that was active before.
    old_base: u64,
    last: Option<LogId>,
}
