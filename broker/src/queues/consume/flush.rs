//! Making queues durable, at a checkpoint.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ConsumeQueues;
use super::append::Buffer;
use super::queue::Queue;
use crate::queues::{Error, disk};

/// From so many files on, one `syncfs` takes the place of a sync per file: ten thousand queues of a few units
/// each take a fraction of a second instead of several, and the commit log beside them is not held up by as
/// many journal commits. It also writes what others have dirty in the file system, so a few files go alone.
const SYNCFS_FROM_FILES: u64 = 64;

/// Units of a queue that are in files and not known to be durable: `start..end`, never empty.
struct Unsynced {
    queue: Arc<Queue>,
    start: u64,
    end: u64,
    incarnation: u64,
}

impl ConsumeQueues {
    /// Makes all units that were appended before the call durable, and gives back the memory of tails.
    ///
    /// Blocks for the disk: call it from a thread that may, never on the write path. Appends and reads go on
    /// meanwhile. Needs Linux 5.8 or newer to hear of every failed write.
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
                self.spill(queue, Buffer::Keep)?;
            }
        }
        // After the writes: what was created for them is in here. A file is durable when its name is, too.
        let dirs = std::mem::take(&mut *self.shared.unsynced_dirs.lock());
        let unsynced: Vec<_> = queues.into_iter().filter_map(|queue| self.unsynced(queue)).collect();
        let chunk_of = |queue_offset| self.shared.chunk_of(queue_offset);
        let files: u64 = unsynced.iter().map(|of| chunk_of(of.end - 1) - chunk_of(of.start) + 1).sum();
        if files >= SYNCFS_FROM_FILES {
            let synced = rustix::fs::syncfs(&self.shared.dir_handle).map_err(io::Error::from);
            self.check_sync("syncfs", &self.shared.dir, synced)?;
        } else {
            self.sync_dirs(&dirs)?;
            unsynced.iter().try_for_each(|of| self.sync_chunks(of))?;
        }
        for of in &unsynced {
            let mut state = of.queue.state.lock();
            if state.incarnation == of.incarnation {
                state.synced = state.synced.max(of.end);
            }
        }
        Ok(())
    }

    /// What of the queue is to be synced; also gives back the memory of a tail that is written.
    fn unsynced(&self, queue: Arc<Queue>) -> Option<Unsynced> {
        let mut state = queue.state.lock();
        if state.tail.is_empty() && state.tail.capacity() > 0 {
            self.shared.release_tail(&mut state);
        }
        let first_on_disk = state.first_chunk * self.shared.options.units_per_chunk;
        let (start, end, incarnation) = (state.synced.max(first_on_disk), state.spilled, state.incarnation);
        drop(state);
        (start < end).then_some(Unsynced { queue, start, end, incarnation })
    }

    fn sync_dirs(&self, dirs: &BTreeSet<PathBuf>) -> Result<(), Error> {
        for dir in dirs {
            match disk::sync_dir(dir) {
                // Removed with its topic meanwhile.
                Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                Err(Error::Io { action, source, .. }) => self.check_sync(action, dir, Err(source))?,
                outcome => outcome?,
            }
        }
        Ok(())
    }

    fn sync_chunks(&self, Unsynced { queue, start, end, incarnation }: &Unsynced) -> Result<(), Error> {
        let shared = &*self.shared;
        for chunk in shared.chunk_of(*start)..=shared.chunk_of(end - 1) {
            match self.chunk_file(queue, *incarnation, chunk) {
                Ok(file) => {
                    let path = shared.chunk_path(queue.id, chunk);
                    self.check_sync("fdatasync", &path, file.sync_data())?;
                }
                Err(error) => {
                    // A removal tells of itself at the latest when it lets go of `io`.
                    let _io = queue.io.lock();
                    let state = queue.state.lock();
                    if state.removed || state.incarnation != *incarnation {
                        return Ok(());
                    }
                    if chunk >= state.first_chunk {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    /// Remembers a failed sync for good.
    fn check_sync(&self, action: &'static str, path: &Path, outcome: io::Result<()>) -> Result<(), Error> {
        outcome.map_err(|source| {
            self.shared.sync_failed.get_or_init(|| path.to_path_buf());
            Error::Io { action, path: path.to_path_buf(), source }
        })
    }
}
