//! Pulls that wait for messages.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use trireme_planted::{self as planted, Defect};
use trireme_raft::node::Leadership;
use trireme_remoting::{Responder, response};

use super::{Filter, Found, Limits, read, respond};
use crate::queues::consume::QueueId;
use crate::replica::Shared;
use crate::router::Refusal;
use crate::sequencer::CUT_OFF;

/// Pulls that may wait at a replica. One more is answered at once with "nothing found".
const MAX_PARKED: usize = 100_000;

/// A pull that found nothing.
pub struct Waiting {
    pub queue: QueueId,
    /// Where it stands; moves on over messages that its filter does not want.
    pub offset: i64,
    pub limits: Limits,
    pub filter: Filter,
    pub responder: Responder,
    pub until: Instant,
}

/// The parked pulls of a replica. Cheap to clone.
#[derive(Clone, Default)]
pub struct Parked {
    shared: Arc<Lot>,
}

#[derive(Default)]
struct Lot {
    lot: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
struct State {
    queues: HashMap<QueueId, Vec<(u64, Waiting)>>,
    count: usize,
    next_number: u64,
    /// When each pull gives up, the earliest first.
    deadlines: BTreeSet<(Instant, u64, QueueId)>,
    grown: Vec<QueueId>,
    /// The replica is stopping: nobody waits any more.
    closed: bool,
}

impl Parked {
    /// Nothing waits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets nobody wait any more: who waits is answered now, and who comes, at once.
    pub fn close(&self) {
        self.shared.lot.lock().closed = true;
        self.shared.wake.notify_one();
    }

    /// Puts a pull in; gives it back if too many wait.
    fn put(&self, waiting: Waiting) -> Option<Waiting> {
        let mut state = self.shared.lot.lock();
        if state.count >= MAX_PARKED || state.closed {
            return Some(waiting);
        }
        let number = state.next_number;
        state.next_number += 1;
        state.count += 1;
        let earliest = state.deadlines.first().is_none_or(|(at, ..)| waiting.until < *at);
        state.deadlines.insert((waiting.until, number, waiting.queue));
        state.queues.entry(waiting.queue).or_default().push((number, waiting));
        drop(state);
        if earliest {
            self.shared.wake.notify_one();
        }
        None
    }

    /// Says that queues grew. Called by the applier once per run of entries; costs a look per queue.
    pub fn arrived(&self, queues: impl Iterator<Item = QueueId>) {
        let mut state = self.shared.lot.lock();
        if state.count == 0 {
            return;
        }
        let State { queues: waiting, grown, .. } = &mut *state;
        let before = grown.len();
        grown.extend(queues.filter(|queue| waiting.contains_key(queue)));
        if grown.len() > before {
            drop(state);
            self.shared.wake.notify_one();
        }
    }

    /// As if all queues had grown.
    fn wake_all(&self) {
        let mut state = self.shared.lot.lock();
        let State { queues: waiting, grown, .. } = &mut *state;
        grown.extend(waiting.keys());
        drop(state);
        self.shared.wake.notify_one();
    }

    /// Takes the pulls of queues that grew, and those whose time is over.
    fn take(&self, now: Instant) -> (Vec<Waiting>, Vec<Waiting>) {
        let mut state = self.shared.lot.lock();
        if state.closed {
            state.deadlines.clear();
            state.grown.clear();
            state.count = 0;
            let all = state.queues.drain().flat_map(|(_, waiting)| waiting);
            return (Vec::new(), all.map(|(_, waiting)| waiting).collect());
        }
        let mut woken = Vec::new();
        for queue in std::mem::take(&mut state.grown) {
            for (number, waiting) in state.queues.remove(&queue).into_iter().flatten() {
                state.deadlines.remove(&(waiting.until, number, queue));
                woken.push(waiting);
            }
        }
        let mut over = Vec::new();
        while let Some((until, number, queue)) = state.deadlines.first().copied() {
            if until > now {
                break;
            }
            state.deadlines.pop_first();
            let Some(waiting) = state.queues.get_mut(&queue) else { continue };
            if let Some(at) = waiting.iter().position(|(found, _)| *found == number) {
                over.push(waiting.swap_remove(at).1);
            }
            if waiting.is_empty() {
                state.queues.remove(&queue);
            }
        }
        state.count -= woken.len() + over.len();
        (woken, over)
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.shared.lot.lock().deadlines.first().map(|(at, ..)| *at)
    }
}

/// Parks a pull that `found` nothing up to where it looked; gives it back if too many wait.
///
/// What arrived between the look and the parking was not announced to it, so the queue is looked at once
/// more: each pull that is parked, the first time or again, passes here.
pub fn park(shared: &Shared, mut waiting: Waiting, found: &Found) -> Option<Waiting> {
    let queue = waiting.queue;
    let moved = waiting.offset != found.next;
    waiting.offset = found.next;
    if let Some(back) = shared.parked.put(waiting) {
        return Some(back);
    }
    let next = shared.queues.next_queue_offset(queue);
    // A look over many unwanted messages ends early; as long as it gets on, it goes on.
    let ended_early = moved && u64::try_from(found.next).is_ok_and(|looked| looked < next);
    if next != found.bounds.next_queue_offset || ended_early || shared.node.is_cut_off() {
        shared.parked.arrived(std::iter::once(queue));
    }
    None
}

/// Answers parked pulls when their queue grows or their time is over, until it is aborted.
pub async fn run(shared: Arc<Shared>) {
    let parked = shared.parked.clone();
    let mut leadership = shared.node.leadership();
    let mut cut_off = false;
    loop {
        let deadline = parked.next_deadline().unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
        tokio::select! {
            () = parked.shared.wake.notified() => {}
            () = tokio::time::sleep_until(deadline) => {}
            now = changed(&mut leadership, cut_off) => {
                cut_off = now;
                parked.wake_all();
            }
        }
        let (woken, over) = parked.take(Instant::now());
        for waiting in woken {
            retry(&shared, waiting, false);
        }
        for waiting in over {
            retry(&shared, waiting, true);
        }
    }
}

/// Waits until a replica that led is `cut_off` or not, other than before.
async fn changed(leadership: &mut watch::Receiver<Leadership>, cut_off: bool) -> bool {
    match leadership.wait_for(|now| now.cut_off != cut_off).await.map(|now| now.cut_off) {
        Ok(now) => now,
        // The replica stops.
        Err(_) => std::future::pending().await,
    }
}

/// Tries a pull again; parks it again if it still finds nothing and its time is not `over`. Who led and is cut off will have
/// nothing new: others may.
fn retry(shared: &Arc<Shared>, mut waiting: Waiting, over: bool) {
    if waiting.responder.connection().is_closed() {
        return;
    }
    if planted::is(Defect::LongPollSkips) {
        let last = shared.queues.next_queue_offset(waiting.queue).saturating_sub(1);
        waiting.offset = waiting.offset.max(i64::try_from(last).unwrap_or(i64::MAX));
    }
    let found = match read(shared, waiting.queue, waiting.offset, waiting.limits, &waiting.filter) {
        Ok(found) => found,
        Err(error) => {
            return respond::failed(shared, waiting.responder, waiting.queue, waiting.offset, &error);
        }
    };
    let nothing = matches!(found.code, response::PULL_NOT_FOUND | response::PULL_RETRY_IMMEDIATELY);
    if nothing && shared.node.is_cut_off() {
        return Refusal::new(response::SERVICE_NOT_AVAILABLE, CUT_OFF).reply(waiting.responder);
    }
    if nothing && !over {
        match park(shared, waiting, &found) {
            None => return,
            Some(back) => waiting = back,
        }
    }
    respond::found(shared, waiting.responder, found);
}
