//! Commits of positions on their way into the log.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use trireme_planted::{self as planted, Defect};

use super::{CommitOffsets, Position};
use crate::command::Command;
use crate::replica::Shared;
use crate::sequencer::SubmitError;

/// Commits gather for this long when nobody waits for them: clients commit every five seconds, so a
/// tenth of one changes nothing for them and makes one entry of thousands of commits.
const GATHER_FOR: Duration = Duration::from_millis(100);
/// The most positions of one entry.
const MAX_POSITIONS: usize = 4096;
/// The most positions that wait; beyond it a commit is refused, the client commits again.
const MAX_WAITING: usize = 1_000_000;
/// The most requests that wait for what gathers; without a quorum none of them is answered.
const MAX_WAITERS: usize = 65_536;

type Key = (String, String, u32);
type Waiter = oneshot::Sender<Result<(), SubmitError>>;

/// Positions that are not in the log yet. Local to the leader: a commit that was not answered may be
/// lost with it, and clients commit again.
#[derive(Default)]
pub struct Gather {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    hurry: Notify,
}

#[derive(Default)]
struct Waiting {
    positions: HashMap<Key, i64>,
    /// Hand-overs that are being prepared: what comes is the next leader's.
    handing_over: usize,
    /// What was taken from here is not applied yet.
    proposing: bool,
    /// Told when everything that was gathered before them is applied.
    waiters: Vec<Waiter>,
}

/// Why a position is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// Too many wait.
    TooMany,
    /// The lead is about to be handed over.
    HandingOver,
}

/// While it lives, no position is taken.
pub struct HandingOver<'a>(&'a Gather);

impl Drop for HandingOver<'_> {
    fn drop(&mut self) {
        self.0.waiting.lock().handing_over -= 1;
    }
}

impl Gather {
    /// Nothing waits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a position; one for the same queue that still waits is replaced.
    pub fn add(&self, group: &str, topic: &str, queue_id: u32, next: i64) -> Result<(), NotTaken> {
        let mut waiting = self.waiting.lock();
        if waiting.handing_over > 0 {
            return Err(NotTaken::HandingOver);
        }
        if waiting.positions.len() >= MAX_WAITING {
            return Err(NotTaken::TooMany);
        }
        waiting.positions.insert((group.to_owned(), topic.to_owned(), queue_id), next);
        drop(waiting);
        self.arrived.notify_one();
        Ok(())
    }

    /// Takes no more until what it returns is dropped. What was taken waits for [`Gather::flushed`].
    pub fn hand_over(&self) -> HandingOver<'_> {
        self.waiting.lock().handing_over += 1;
        HandingOver(self)
    }

    /// Whether a position for this queue may be on its way.
    pub fn holds(&self, group: &str, topic: &str, queue_id: u32) -> bool {
        let waiting = self.waiting.lock();
        // What is being proposed is not searched: asking is rare, and it is applied in a moment.
        if waiting.proposing {
            return true;
        }
        !waiting.positions.is_empty()
            && waiting.positions.contains_key(&(group.to_owned(), topic.to_owned(), queue_id))
    }

    /// Resolves when everything taken so far is applied. What waits is proposed at once. Refused if too many
    /// wait.
    pub fn flushed(&self) -> oneshot::Receiver<Result<(), SubmitError>> {
        let (tx, rx) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            let count = waiting.waiters.len();
            if count >= MAX_WAITERS {
                // The receiver is in our hands.
                let _ = tx.send(Err(SubmitError::Waiting(count)));
                return rx;
            }
            waiting.waiters.push(tx);
        }
        self.arrived.notify_one();
        self.hurry.notify_one();
        rx
    }

    fn take(&self) -> (HashMap<Key, i64>, Vec<Waiter>) {
        let mut waiting = self.waiting.lock();
        waiting.proposing = !waiting.positions.is_empty();
        (std::mem::take(&mut waiting.positions), std::mem::take(&mut waiting.waiters))
    }

    /// What was taken is applied, or was refused.
    fn landed(&self) {
        self.waiting.lock().proposing = false;
    }
}

/// Proposes what gathers, until it is aborted. One proposal at a time, so a later position never
/// overtakes an earlier one, and what arrives meanwhile is the next.
pub async fn run(shared: Arc<Shared>) {
    let mut failure = String::new();
    loop {
        shared.gather.arrived.notified().await;
        tokio::select! {
            () = tokio::time::sleep(GATHER_FOR) => {}
            () = shared.gather.hurry.notified() => {}
        }
        let (positions, waiters) = shared.gather.take();
        let mut result = Ok(());
        let mut positions = positions.into_iter().map(|((group, topic, queue_id), next)| Position {
            group,
            topic,
            queue_id,
            next,
        });
        loop {
            let some: Vec<Position> = positions.by_ref().take(MAX_POSITIONS).collect();
            if some.is_empty() {
                break;
            }
            let count = some.len();
            let commit = CommitOffsets { positions: some };
            if planted::is(Defect::PositionsNotReplicated) {
                shared.state.write().offsets.commit(&commit, |_| true);
                continue;
            }
            let command = Command::CommitOffsets(commit);
            let proposed = shared.sequencer.propose(vec![command]).await;
            let news = proposed.as_ref().err().map(ToString::to_string).unwrap_or_default();
            // While a disk is full it would be the same again and again.
            if news != failure && !news.is_empty() {
                tracing::info!(count, reason = %news, "positions were not committed; their clients will commit again");
            }
            failure = news;
            result = result.and(proposed.map(drop));
        }
        shared.gather.landed();
        for waiter in waiters {
            // Whoever asked may have gone.
            let _ = waiter.send(result.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever takes over a queue must not read the position before the one that its last owner committed.
    #[test]
    fn a_position_is_on_its_way_until_it_is_applied() {
        let gather = Gather::new();
        assert!(!gather.holds("g", "t", 0));
        assert_eq!(gather.add("g", "t", 0, 7), Ok(()));
        assert!(gather.holds("g", "t", 0));
        assert!(!gather.holds("g", "t", 1));
        let (positions, _) = gather.take();
        assert_eq!(positions.len(), 1);
        assert!(gather.holds("g", "t", 0), "proposed, and not applied");
        gather.landed();
        assert!(!gather.holds("g", "t", 0));
    }

    /// What comes after those that are written before a hand-over would be lost with it.
    #[test]
    fn while_the_lead_is_handed_over_nothing_is_taken() {
        let gather = Gather::new();
        assert_eq!(gather.add("g", "t", 0, 7), Ok(()));
        let (first, second) = (gather.hand_over(), gather.hand_over());
        drop(first);
        assert_eq!(gather.add("g", "t", 0, 8), Err(NotTaken::HandingOver));
        assert_eq!(gather.take().0.into_values().collect::<Vec<_>>(), [7]);
        drop(second);
        assert_eq!(gather.add("g", "t", 0, 9), Ok(()));
    }

    #[test]
    fn too_many_that_wait_are_refused() {
        let gather = Gather::new();
        let mut waiting: Vec<_> = (0..MAX_WAITERS).map(|_| gather.flushed()).collect();
        assert!(waiting[0].try_recv().is_err(), "not answered yet");
        assert_eq!(gather.flushed().try_recv(), Ok(Err(SubmitError::Waiting(MAX_WAITERS))));
    }
}
