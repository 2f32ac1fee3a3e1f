//! What can go wrong with a derived index.

use std::io;
use std::path::{Path, PathBuf};

use super::consume::QueueId;

/// A failure of a ConsumeQueue or key-index operation.
///
/// Both indexes are derived, so no variant means lost messages: the cure of damage is to feed the
/// commit log again, which the variants name the range for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed (no space, no permission, too many open files, a device error).
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The verb: `open`, `read`, `write`, ...
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A unit is missing or fails its checksum; the queue must be rebuilt from the commit log.
    #[error("queue {queue} is damaged at queue offset {queue_offset}: {reason} in {}", path.display())]
    DamagedQueue {
        /// The queue.
        queue: QueueId,
        /// The first queue offset found bad.
        queue_offset: u64,
        /// What is wrong.
        reason: &'static str,
        /// The chunk file.
        path: PathBuf,
    },
    /// A key-index run fails its checks: entries from `first_physical_offset` on must be fed again.
    #[error("key index from {first_physical_offset} on is damaged: {reason} in {}", path.display())]
    DamagedRun {
        /// The run file.
        path: PathBuf,
        /// The lowest physical offset indexed in it (bytes, inclusive).
        first_physical_offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// An earlier sync failed, so what it covered may be gone whatever later ones say.
    #[error("an earlier sync of {} failed: the consume queues must be reopened", path.display())]
    SyncFailed {
        /// The file or directory whose sync failed.
        path: PathBuf,
    },
}

impl Error {
    /// Wraps an I/O error: `.map_err(Error::io("open", &path))`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = path.to_path_buf();
        move |source| Error::Io { action, path, source }
    }
}
