//! Saves the applied state now and then, so that a restart applies little again.
//!
//! Off the apply path: the applier hands over copies made between two entries; a task of its own makes
//! the ConsumeQueues and the key index durable up to there, then writes the state with its log id as
//! one batch. A crash in between leaves the older save, which is as good, only older.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::{Notify, oneshot};
use trireme_raft::peers::Peers;
use trireme_raft::{HardState, LogId, StoredState};

use crate::codec;
use crate::queues::consume::{ConsumeQueues, Position, QueueId};
use crate::queues::keys::KeyIndex;

/// Saves are this far apart, or closer when much is applied: see the next.
const EVERY: Duration = Duration::from_secs(5);
/// Bytes of entries that a restart shall not have to apply again, about: under full load they come within two seconds,
/// and reading them from a cold disk takes most of the time until a replica serves.
const MUCH: u64 = 256 * 1024 * 1024;
/// For the last save, when the replica stops.
const SAVED_WITHIN: Duration = Duration::from_secs(30);
const QUEUES: &str = "queues";

/// A handle for the applier. Cheap to clone.
#[derive(Clone)]
pub struct Saver {
    shared: Arc<Shared>,
}

struct Shared {
    next: Mutex<Next>,
    arrived: Notify,
    at: Mutex<Option<LogId>>,
    /// The newest save that is on disk.
    on_disk: Mutex<Option<LogId>>,
}

/// What was handed over: the state's parts, the queues' positions, and the entry that they belong to.
pub type Copies = (LogId, BTreeMap<String, Vec<u8>>, Vec<Position>);

struct Next {
    due: Instant,
    waiting: Option<Copies>,
    /// Something was handed over that is not on disk yet.
    busy: bool,
    done: Vec<oneshot::Sender<()>>,
}

impl Saver {
    /// Nothing is saved before [`Saver::run`] runs.
    pub fn new() -> Self {
        let next = Next { due: Instant::now() + EVERY, waiting: None, busy: false, done: Vec::new() };
        let shared = Shared {
            next: Mutex::new(next),
            arrived: Notify::new(),
            at: Mutex::default(),
            on_disk: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// State and queues are about to change: until [`Saver::whole`] they belong to no entry.
    pub fn changing(&self) {
        *self.shared.at.lock() = None;
    }

    /// State and queues are exactly as of `log_id`.
    pub fn whole(&self, log_id: LogId) {
        *self.shared.at.lock() = Some(log_id);
    }

    /// The entry that state and queues are exactly as of. `None` while an entry is being applied, also if
    /// that never ended: then they must not be saved, or half of the entry would be applied twice.
    pub fn at(&self) -> Option<LogId> {
        *self.shared.at.lock()
    }

    /// The newest save that is on disk: a restart goes on from there, or from a later one. `None` if nothing was
    /// saved yet.
    pub fn on_disk(&self) -> Option<LogId> {
        *self.shared.on_disk.lock()
    }

    /// A save is on disk.
    pub(crate) fn saved(&self, log_id: LogId) {
        *self.shared.on_disk.lock() = Some(log_id);
    }

    /// Whether to save, `unsaved` bytes of entries after the last time. Local, so it may read a clock.
    pub fn is_due(&self, unsaved: u64) -> bool {
        let next = self.shared.next.lock();
        // A slow disk is not asked for a second save before the first is there.
        Instant::now() >= next.due || (MUCH <= unsaved && !next.busy)
    }

    /// Hands over what to save, in place of what was not saved yet.
    pub fn save(&self, log_id: LogId, parts: BTreeMap<String, Vec<u8>>, queues: Vec<Position>) {
        let mut next = self.shared.next.lock();
        next.due = Instant::now() + EVERY;
        next.waiting = Some((log_id, parts, queues));
        next.busy = true;
        self.shared.arrived.notify_one();
    }

    /// Saves what is handed over, until it is aborted; and what `copy` gives when nothing is for a while, so that the
    /// end of a burst is saved too.
    pub async fn run(
        self,
        hard: HardState,
        peers: Arc<Peers>,
        queues: ConsumeQueues,
        keys: KeyIndex,
        copy: impl Fn() -> Option<Copies> + Send,
    ) {
        loop {
            let (log_id, mut parts, positions) = self.next(EVERY, &copy).await;
            let rows: Vec<(u32, u32, u64, u64)> = positions
                .iter()
                .map(|p| (p.queue.topic_id, p.queue.queue_id, p.min_queue_offset, p.next_queue_offset))
                .collect();
            parts.insert(QUEUES.into(), codec::encode(&rows));
            let (hard, queues, keys) = (hard.clone(), queues.clone(), keys.clone());
            // The state's, or one that is newer already.
            let version = peers.group_version();
            let saving = move || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
                queues.flush()?;
                // The index knows by itself how far it is on disk, so the state does not depend on it.
                if let Err(error) = keys.flush() {
                    tracing::warn!(%error, "the key index could not be flushed; a restart feeds it again");
                }
                hard.raise_version(version)?;
                hard.save_state(&StoredState { log_id: Some(log_id), parts })?;
                Ok(())
            };
            match trireme_runtime::blocking(saving).await {
                Ok(Ok(())) => {
                    self.saved(log_id);
                    tracing::debug!(%log_id, "state saved");
                }
                Ok(Err(error)) => {
                    tracing::error!(%error, "the state could not be saved; a restart takes longer")
                }
                Err(error) => tracing::error!(%error, "saving the state failed"),
            }
            let mut next = self.shared.next.lock();
            next.busy = next.waiting.is_some();
            if !next.busy {
                for done in next.done.drain(..) {
                    // Whoever waited may have given up.
                    let _ = done.send(());
                }
            }
        }
    }

    /// What to save next: what is handed over; or what `copy` gives, if nothing was for as long as `every` and there is
    /// something to save.
    async fn next(&self, every: Duration, copy: &(impl Fn() -> Option<Copies> + Send)) -> Copies {
        loop {
            let was_called = tokio::time::timeout(every, self.shared.arrived.notified()).await.is_ok();
            if let Some(copies) = self.shared.next.lock().waiting.take() {
                return copies;
            }
            let is_behind = || self.at().is_some_and(|at| self.on_disk() != Some(at));
            if !was_called
                && is_behind()
                && let Some(copies) = copy()
            {
                // Not through `save`: its call would be heard after this one was saved, and so on without a pause.
                let mut next = self.shared.next.lock();
                next.due = Instant::now() + EVERY;
                next.busy = true;
                // Handed over meanwhile, and older: not to be saved after this one.
                next.waiting.take_if(|waiting| waiting.0 <= copies.0);
                return copies;
            }
        }
    }

    /// Waits until what was handed over last is saved, or long enough: an older save is as good.
    pub async fn finish(&self) {
        let waiting = {
            let mut next = self.shared.next.lock();
            let (tx, rx) = oneshot::channel();
            next.busy.then(|| next.done.push(tx)).map(|()| rx)
        };
        if let Some(done) = waiting {
            // An error means that the saving task ended or hangs: then there is nothing to wait for.
            let _ = tokio::time::timeout(SAVED_WITHIN, done).await;
        }
    }
}

/// The queues' positions in a saved state.
pub fn positions(parts: &BTreeMap<String, Vec<u8>>) -> Result<Vec<Position>, codec::DecodeError> {
    let Some(bytes) = parts.get(QUEUES) else { return Ok(Vec::new()) };
    let rows: Vec<(u32, u32, u64, u64)> = codec::decode("queue positions", bytes)?;
    Ok(rows
        .into_iter()
        .map(|(topic_id, queue_id, min_queue_offset, next_queue_offset)| Position {
            queue: QueueId { topic_id, queue_id },
            min_queue_offset,
            next_queue_offset,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: u64) -> LogId {
        LogId { term: 1, index }
    }

    fn copies(index: u64) -> Copies {
        (id(index), BTreeMap::new(), Vec::new())
    }

    /// One save after the other would keep the disk busy for ever.
    #[tokio::test]
    async fn what_comes_now_and_then_is_saved_now_and_then() {
        let saver = Saver::new();
        let copy = || saver.at().map(|at| copies(at.index));
        let (soon, late) = (Duration::from_millis(1), Duration::from_secs(3600));
        saver.whole(id(1));
        assert_eq!(saver.next(soon, &copy).await.0, id(1), "nothing was handed over");
        saver.saved(id(1));
        saver.whole(id(2));
        let at_once = tokio::time::timeout(Duration::from_millis(50), saver.next(late, &copy)).await;
        assert!(at_once.is_err(), "{at_once:?}");
        saver.save(id(2), BTreeMap::new(), Vec::new());
        assert_eq!(saver.next(late, &copy).await.0, id(2), "it was handed over");
        saver.saved(id(2));
        let nothing = tokio::time::timeout(Duration::from_millis(50), saver.next(soon, &copy)).await;
        assert!(nothing.is_err(), "{nothing:?}");
    }
}
