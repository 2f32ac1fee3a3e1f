//! ConsumeQueues: where the n-th message of a queue lies in the commit log.
//!
//! One writer (the applier) appends; any number of readers pull. A queue is a run of 20-byte units, one per
//! message and without gaps, in `[min_queue_offset, next_queue_offset)`:
//!
//! ```text
//!        trimmed            in chunk files               in memory
//!   ├───────────────┼─────────────────────────────┼─────────────────────┤
//!   0        min_queue_offset                  spilled         next_queue_offset
//!                                  └ synced ┘ (durable up to here, moved by `flush` alone)
//! ```
//!
//! - An append costs no system call: units gather in the queue's tail, and the tail is written in one piece
//!   when it is full, when all tails together pass their bound (oldest first), or by `flush`.
//! - A read copies from the tail under the queue's lock, or reads the file with no lock held.
//! - A queue that was never appended to exists nowhere; an idle one costs one small file and some 200 bytes
//!   of memory. Open files are bounded by a cache.
//!
//! Locks, in the order in which they may nest: `writer` -> `queues` map -> a queue's `io` -> its `state`;
//! `flushing` is taken before any of them, the file cache's and `unsynced_dirs` inside any of them. `io` is
//! held over writes and removals of that queue's files but never over an `fdatasync`; `state` and the map
//! are never held over a system call.

mod append;
mod chunk;
mod flush;
pub mod inspect;
mod mend;
mod open;
mod open_files;
mod queue;
mod read;
mod search;
mod trim;
mod unit;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};

pub use open::{Opened, Rebuild};
pub use queue::Bounds;
pub use search::Boundary;
pub use unit::{QueueId, UNIT_BYTES, Unit};

use open_files::OpenFiles;
use queue::Queue;

/// Sizes and bounds of a [`ConsumeQueues`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Units per chunk file. Part of the format: a directory must always be opened with the same value.
    pub units_per_chunk: u64,
    /// Units gathered in one queue's tail before it is written to the file.
    pub spill_units: usize,
    /// Bound on the memory of all tails together (bytes); above it the oldest tails are written and freed.
    pub tail_bytes_max: usize,
    /// Bound on chunk files kept open. A few more are open for moments while calls are in them.
    pub open_files_max: usize,
}

impl Options {
    /// What a broker uses: RocketMQ's 300,000 units per file, 512-unit writes, 64 MiB of tails, 1,024 files.
    pub const STANDARD: Options = Options {
        units_per_chunk: 300_000,
        spill_units: 512,
        tail_bytes_max: 64 << 20,
        open_files_max: 1024,
    };
}

/// A queue's bounds as a checkpoint records them, and as [`ConsumeQueues::open`] takes them back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The queue.
    pub queue: QueueId,
    /// First queue offset that is still readable (inclusive).
    pub min_queue_offset: u64,
    /// Queue offset of the next append (exclusive end).
    pub next_queue_offset: u64,
}

/// All ConsumeQueues of one replica. Cloning gives another handle to the same queues.
///
/// `append`, `truncate`, `reset_queue`, `remove_topic` and `reset` are for the one writer; everything else
/// may be called from anywhere at any time. Calls that reach files block: keep them off the async runtime.
#[derive(Clone)]
pub struct ConsumeQueues {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    /// `dir`, open from the start: a `syncfs` reports the failures since its descriptor was opened.
    dir_handle: File,
    options: Options,
    queues: RwLock<HashMap<QueueId, Arc<Queue>>>,
    files: OpenFiles,
    writer: Mutex<append::Writer>,
    /// Held by a running `flush`, so that two cannot report each other's work as done.
    flushing: Mutex<()>,
    /// Directories in which files were created that are not known to be durable.
    unsynced_dirs: Mutex<BTreeSet<PathBuf>>,
    /// Capacity of all tails (bytes).
    tail_bytes: AtomicUsize,
    /// The next [`queue::State::incarnation`].
    next_incarnation: AtomicU64,
    /// The file or directory whose sync failed first, if any did.
    sync_failed: OnceLock<PathBuf>,
}

impl ConsumeQueues {
    /// The queue's bounds at one instant; `0..0` for a queue that was never appended to.
    pub fn bounds(&self, q: QueueId) -> Bounds {
        self.queue(q).map_or(Bounds::EMPTY, |queue| queue.state.lock().bounds())
    }

    /// The queue offset that the next append takes (exclusive end of what is readable).
    pub fn next_queue_offset(&self, q: QueueId) -> u64 {
        self.bounds(q).next_queue_offset
    }

    /// The first queue offset that is readable, if any is (inclusive).
    pub fn min_queue_offset(&self, q: QueueId) -> u64 {
        self.bounds(q).min_queue_offset
    }

    /// Every queue's bounds, ordered by queue.
    ///
    /// Called by the writer between two appends it is the state at exactly that log position, which is what
    /// a checkpoint records.
    pub fn positions(&self) -> Vec<Position> {
        self.sorted_queues()
            .iter()
            .map(|queue| {
                let Bounds { min_queue_offset, next_queue_offset } = queue.state.lock().bounds();
                Position { queue: queue.id, min_queue_offset, next_queue_offset }
            })
            .collect()
    }

    /// Memory held by tails that are not written to files yet (bytes).
    pub fn tail_bytes(&self) -> usize {
        self.shared.tail_bytes.load(Ordering::Relaxed)
    }

    fn queue(&self, q: QueueId) -> Option<Arc<Queue>> {
        self.shared.queues.read().get(&q).cloned()
    }

    /// All queues, in an order that does not depend on hashing, so that a run is repeatable.
    fn sorted_queues(&self) -> Vec<Arc<Queue>> {
        let mut queues: Vec<_> = self.shared.queues.read().values().cloned().collect();
        queues.sort_unstable_by_key(|queue| queue.id);
        queues
    }

    fn new_incarnation(&self) -> u64 {
        self.shared.next_incarnation.fetch_add(1, Ordering::Relaxed)
    }
}
