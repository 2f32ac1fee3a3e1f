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
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use trireme_commitlog::ReadError;

use crate::queues;
use crate::queues::consume::{Bounds, QueueId, Unit};
use crate::replica::Shared;

pub use handler::read_log;
pub use mender::Mender;
pub use task::run;

/// What is known of damage.
#[derive(Debug, Default)]
pub struct Scrub {
    /// Physical offsets: where damage begins, and its exclusive end.
    damaged: Mutex<BTreeMap<u64, u64>>,
    /// Queue offsets: where a queue's units are damaged.
    queues: Mutex<BTreeMap<QueueId, u64>>,
    found: Notify,
    scrubbed: AtomicU64,
}

/// For people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Damaged ranges that are to be mended.
    pub damaged: usize,
    /// Bytes that were looked at since then, in the background.
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
        let is_new = self.damaged.lock().insert(found.from, found.to).is_none();
        if is_new {
            tracing::error!(error = %found, "asking other replicas for what is damaged here");
            self.found.notify_one();
        }
    }

    /// Somebody came across a damaged unit.
    fn report_queue(&self, error: &queues::Error) {
        let queues::Error::DamagedQueue { queue, queue_offset, .. } = error else { return };
        let is_new = self.queues.lock().insert(*queue, *queue_offset).is_none();
        if is_new {
            tracing::warn!(%error, "making it again from the commit log");
            self.found.notify_one();
        }
    }

    fn first_queue(&self) -> Option<(QueueId, u64)> {
        self.queues.lock().first_key_value().map(|(queue, from)| (*queue, *from))
    }

    fn is_made_again(&self, queue: QueueId) {
        self.queues.lock().remove(&queue);
    }

    fn first(&self) -> Option<Range<u64>> {
        self.damaged.lock().first_key_value().map(|(from, to)| *from..*to)
    }

    fn is_mended(&self, from: u64) {
        self.damaged.lock().remove(&from);
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
