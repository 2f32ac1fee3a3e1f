//! Upkeep: what the write path would rather not wait for.

use std::io;
use std::sync::Arc;

use super::CommitLog;
use crate::error::MaintainError;
use crate::segment::{FileName, IndexState, Segment, log_name, parse_name};

impl CommitLog {
    /// Whether [`CommitLog::maintain`] has something to do. Cheap enough to ask after every flush.
    pub fn maintenance_due(&self) -> bool {
        let state = self.state.read();
        !state.doomed.is_empty()
            || self.wants_spare(&state)
            || self.wants_prewrite(&state)
            || state.sealed.back().is_some_and(|newest| is_unsaved(newest))
    }

    /// Does the slow work of the log that nobody waits for: prepares the next segment once the active one is half
    /// full, writes zeros ahead of the tail, writes the sidecars of sealed segments, removes the files of trimmed ones.
    ///
    /// Blocks for as long as that takes (allocating or unlinking a large file), so it belongs on a thread of its own,
    /// called whenever [`CommitLog::maintenance_due`]. Appends, flushes and reads go on meanwhile. If it is never
    /// called the log still works, but rolling makes the appender wait.
    pub fn maintain(&self) -> Result<(), MaintainError> {
        self.check_fault()?;
        self.remove_doomed();
        self.save_sidecars();
        self.prepare_spare()?;
        Ok(self.prewrite()?)
    }

    /// Brings the memory that the log's files take back to its bound ([`LogDir::shrink_cache`]). Blocks. It is called
    /// some times a second; the more is written or read in between, the further is the bound exceeded.
    ///
    /// [`LogDir::shrink_cache`]: crate::LogDir::shrink_cache
    pub fn shrink_cache(&self) {
        self.dir.shrink_cache();
    }

    /// Gives back some of the room of removed segments ([`LogDir::free_removed`]). To be called some times a second.
    ///
    /// [`LogDir::free_removed`]: crate::LogDir::free_removed
    pub fn free_removed(&self) {
        self.dir.free_removed();
    }

    /// Bytes of trimmed segments whose room is still to be given back to the disk.
    pub fn leaving_bytes(&self) -> u64 {
        let is_segment = |name: &&String| matches!(parse_name(name), FileName::Log(_));
        let doomed = self.state.read().doomed.iter().filter(is_segment).count() as u64;
        doomed * self.options.segment_bytes + self.dir.leaving_bytes()
    }

    fn wants_spare(&self, state: &super::State) -> bool {
        state.spare.is_none() && self.options.segment_bytes / 2 <= state.tail - state.active.base
    }

    fn prepare_spare(&self) -> Result<(), MaintainError> {
        let _files = self.files.lock();
        let base = {
            let state = self.state.read();
            if !self.wants_spare(&state) {
                return Ok(());
            }
            state.active.base + self.options.segment_bytes
        };
        // `files` is held: nobody rolls without a spare, truncates or resets before it is in place.
        let spare = self
            .create_segment(base)?
            .map_err(|source| MaintainError::Full { file: self.dir.path_of(&log_name(base)), source })?;
        self.state.write().spare = Some(spare);
        Ok(())
    }

    /// Writes the sidecars that are missing, for segments that are durable as a whole. A failure costs a rebuild after
    /// the next start and nothing else.
    fn save_sidecars(&self) {
        let mut files = self.files.lock();
        let unsaved: Vec<Arc<Segment>> = {
            let state = self.state.read();
            let durable =
                |segment: &&Arc<Segment>| segment.base + self.options.segment_bytes <= state.flushed_end;
            state.sealed.iter().filter(durable).filter(|segment| is_unsaved(segment)).cloned().collect()
        };
        for segment in unsaved {
            let saved = self.save_sidecar(&segment);
            if let Err(error) = &saved
                && !files.sidecars_fail
            {
                let physical_offset = segment.base;
                tracing::warn!(physical_offset, %error, "sidecar index not written; trying again");
            }
            files.sidecars_fail = saved.is_err();
        }
    }

    /// The caller holds `files`.
    fn save_sidecar(&self, segment: &Segment) -> io::Result<()> {
        let index = match &*segment.index.lock() {
            IndexState::Unsaved(index) => index.clone(),
            _ => return Ok(()),
        };
        index.write_sidecar(&*self.dir, segment)?;
        *segment.index.lock() = IndexState::Saved(index);
        Ok(())
    }

    /// One file at a time: `files` is held so that a reset cannot make a file of that name meanwhile, and let go of in
    /// between so that nobody waits for more than one.
    fn remove_doomed(&self) {
        let doomed = self.state.read().doomed.clone();
        for name in doomed {
            let _files = self.files.lock();
            if !self.state.read().doomed.contains(&name) {
                continue;
            }
            match self.dir.remove(&name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(file = self.dir.path_of(&name), %error, "trimmed file not removed");
                }
                _ => self.state.write().doomed.retain(|doomed| *doomed != name),
            }
        }
    }
}

/// Does not wait for a reader that is just loading the index: the callers hold the state's lock.
fn is_unsaved(segment: &Segment) -> bool {
    segment.index.try_lock().is_some_and(|index| matches!(*index, IndexState::Unsaved(_)))
}
