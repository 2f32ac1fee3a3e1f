//! Damage of the commit log: looked for all the time, mended from another replica's copy.
//!
//! Disks give back other bytes than they were given, rarely and silently. What is committed is the same on all replicas, byte
//! for byte and at the same place, so a damaged frame is asked for and written again. Until then nobody is given it: pulls
//! of it are to come again, and replication reads no frame that it has not checked. Request code 20002, which is Trireme's
//! own.
//!
//! ConsumeQueues are derived: damaged units are made again from the log.

mod handler;
mod mender;
mod queue;
mod task;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use trireme_commitlog::ReadError;

use crate::queues;
use crate::queues::consume::{Bounds, QueueId, Unit};
use crate::replica::Shared;

pub use handler::read_log;
pub use mender::Mender;
pub use task::run;

/// Before what could not be mended is tried again.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// What is known of damage.
#[derive(Debug, Default)]
pub struct Scrub {
    /// By the physical offset where it begins.
    damaged: Mutex<BTreeMap<u64, Damaged>>,
    /// By the queue.
    queues: Mutex<BTreeMap<QueueId, DamagedQueue>>,
    found: Notify,
    scrubbed: AtomicU64,
}

/// Damage of the log.
#[derive(Clone, Copy, Debug)]
struct Damaged {
    /// Its exclusive end, a physical offset.
    to: u64,
    /// How often nobody could mend it.
    failures: u32,
}

/// Damage of a queue's units.
#[derive(Clone, Copy, Debug)]
struct DamagedQueue {
    /// The queue offset where it begins.
    from: u64,
    /// When it could not be made again.
    failed_at: Option<Instant>,
}

/// For people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Damaged ranges that are to be mended.
    pub damaged: usize,
    /// Bytes that were looked at in the background since the replica was started.
    pub scrubbed: u64,
}

impl Scrub {
    /// How it stands.
    pub fn figures(&self) -> Figures {
        Figures { damaged: self.damaged.lock().len(), scrubbed: self.scrubbed.load(Ordering::Relaxed) }
    }

    /// Somebody came across damage; it is told, once, and mended soon.
    fn report(&self, error: &ReadError) {
        let ReadError::Corrupt(found) = error else { return };
        let mut damaged = self.damaged.lock();
        let Entry::Vacant(new) = damaged.entry(found.from) else { return };
        new.insert(Damaged { to: found.to, failures: 0 });
        drop(damaged);
        tracing::error!(error = %found, "asking other replicas for what is damaged here");
        self.found.notify_one();
    }

    /// Whether what this is about is likely to be mended in a moment: nobody has tried in vain.
    pub fn is_hopeful(&self, error: &ReadError) -> bool {
        let ReadError::Corrupt(found) = error else { return false };
        self.damaged.lock().get(&found.from).is_none_or(|damaged| damaged.failures == 0)
    }

    /// The same, of a queue.
    pub fn is_queue_hopeful(&self, error: &queues::Error) -> bool {
        let queues::Error::DamagedQueue { queue, .. } = error else { return false };
        self.queues.lock().get(queue).is_none_or(|damaged| damaged.failed_at.is_none())
    }

    /// Somebody came across a damaged unit. What could not be made again is tried again now and then.
    fn report_queue(&self, error: &queues::Error) {
        let queues::Error::DamagedQueue { queue, queue_offset, .. } = error else { return };
        let mut queues = self.queues.lock();
        let is_known = queues
            .get(queue)
            .is_some_and(|known| known.failed_at.is_none_or(|at| at.elapsed() < RETRY_EVERY));
        if is_known {
            return;
        }
        queues.insert(*queue, DamagedQueue { from: *queue_offset, failed_at: None });
        drop(queues);
        tracing::warn!(%error, "making it again from the commit log");
        self.found.notify_one();
    }

    fn damaged_queues(&self) -> Vec<(QueueId, u64)> {
        let queues = self.queues.lock();
        let untried = queues.iter().filter(|(_, damaged)| damaged.failed_at.is_none());
        untried.map(|(queue, damaged)| (*queue, damaged.from)).collect()
    }

    fn was_made_again(&self, queue: QueueId, done: bool) {
        let mut queues = self.queues.lock();
        match queues.get_mut(&queue) {
            Some(damaged) if !done => damaged.failed_at = Some(Instant::now()),
            _ => drop(queues.remove(&queue)),
        }
    }

    /// Where it is damaged, and how often nobody could mend it.
    fn damaged(&self) -> Vec<(Range<u64>, u32)> {
        let damaged = self.damaged.lock();
        damaged.iter().map(|(from, damaged)| (*from..damaged.to, damaged.failures)).collect()
    }

    fn is_mended(&self, from: u64) {
        self.damaged.lock().remove(&from);
    }

    fn is_not_mended(&self, from: u64) {
        if let Some(damaged) = self.damaged.lock().get_mut(&from) {
            damaged.failures += 1;
        }
    }
}

/// Reads units of a queue. Those that are damaged are going to be made again.
pub fn units(
    shared: &Shared,
    queue: QueueId,
    from: u64,
    max_units: usize,
    out: &mut Vec<Unit>,
) -> Result<Bounds, queues::Error> {
    let read = shared.queues.read(queue, from, max_units, out);
    read.inspect_err(|error| shared.scrub.report_queue(error))
}

/// Brings bytes of the log into memory, whole. What is damaged is going to be mended. Waits for the disk.
pub fn load(shared: &Shared, physical_offset: u64, len: u32) -> Result<(), ReadError> {
    shared.node.log().load(physical_offset, len).inspect_err(|error| shared.scrub.report(error))
}
