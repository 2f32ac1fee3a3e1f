//! Making queues durable, at a checkpoint.

use std::io::ErrorKind;

use super::ConsumeQueues;
use super::append::Buffer;
use super::queue::Queue;
use crate::queues::{Error, disk};

impl ConsumeQueues {
    /// Makes all units that were appended before the call durable, and gives back the memory of tails.
    ///
    /// Blocks for one `fdatasync` per chunk file written since the last flush: call it from a thread that may
    /// block, never on the write path. Appends and reads go on meanwhile.
    ///
    /// Errors: `Io`; after an error of a tail's write (a full disk) it may be tried again. After a failed
    /// sync every later call returns `SyncFailed`: the kernel may have dropped the pages and would call the
    /// next sync a success.
    pub fn flush(&self) -> Result<(), Error> {
        let _flushing = self.shared.flushing.lock();
        if let Some(path) = self.shared.sync_failed.get() {
            return Err(Error::SyncFailed { path: path.clone() });
        }
        let queues = self.sorted_queues();
        for queue in &queues {
            if !queue.state.lock().tail.is_empty() {
                self.spill(queue, Buffer::Release)?;
            }
        }
        // Directories after the writes and before the claim: a file is durable when its name is, too.
        let dirs = std::mem::take(&mut *self.shared.unsynced_dirs.lock());
        for dir in &dirs {
            match disk::sync_dir(dir) {
                // Removed with its topic meanwhile.
                Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    self.shared.sync_failed.get_or_init(|| dir.clone());
                    return Err(error);
                }
                Ok(()) => {}
            }
        }
        queues.iter().try_for_each(|queue| self.sync(queue))
    }

    /// Syncs the chunk files that hold units between `synced` and `spilled`.
    fn sync(&self, queue: &Queue) -> Result<(), Error> {
        let shared = &*self.shared;
        let (start, end, incarnation) = {
            let mut state = queue.state.lock();
            if state.tail.is_empty() && state.tail.capacity() > 0 {
                shared.release_tail(&mut state);
            }
            let first_on_disk = state.first_chunk * shared.options.units_per_chunk;
            (state.synced.max(first_on_disk), state.spilled, state.incarnation)
        };
        if start >= end {
            return Ok(());
        }
        for chunk in shared.chunk_of(start)..=shared.chunk_of(end - 1) {
            let file = match self.chunk_file(queue, incarnation, chunk) {
                Ok(file) => file,
                Err(error) => {
                    // A removal tells of itself at the latest when it lets go of `io`.
                    let _io = queue.io.lock();
                    let state = queue.state.lock();
                    if state.removed || state.incarnation != incarnation {
                        return Ok(());
                    }
                    if chunk < state.first_chunk {
                        continue;
                    }
                    return Err(error);
                }
            };
            file.sync_data().map_err(|source| {
                let path = shared.chunk_path(queue.id, chunk);
                shared.sync_failed.get_or_init(|| path.clone());
                Error::Io { action: "fdatasync", path, source }
            })?;
        }
        let mut state = queue.state.lock();
        if state.incarnation == incarnation {
            state.synced = state.synced.max(end);
        }
        Ok(())
    }
}
