//! Since when this replica has been in contact with its group, or out of it.
//!
//! One that was cut off reads, when it is back, what clients sent to it long ago, before they turned to others: done now, a
//! message would be there twice, a position or a lock be set back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::replica::Shared;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// All that was under way has arrived by then.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// The last time that contact was lost.
pub struct Contact {
    epoch: Instant,
    /// When there was contact last, in milliseconds since `epoch`. 0: it was never lost.
    lost: AtomicU64,
    /// When it was back. 0: it is not.
    back: AtomicU64,
}

impl Default for Contact {
    fn default() -> Self {
        let [lost, back] = [const { AtomicU64::new(0) }; 2];
        Self { epoch: Instant::now(), lost, back }
    }
}

impl Contact {
    /// Whether contact is lost, or was until a moment ago, and was there when somebody was `heard` last: what he is heard to
    /// say next, he may have said long ago.
    pub fn was_lost_since(&self, heard: Instant) -> bool {
        let lost = self.lost.load(Ordering::Acquire);
        if lost == 0 {
            return false;
        }
        let back = self.back.load(Ordering::Relaxed);
        let is_recent = back == 0 || self.millis(Instant::now()) < back + AFTERWARDS.as_millis() as u64;
        is_recent && self.millis(heard) <= lost
    }

    fn millis(&self, then: Instant) -> u64 {
        u64::try_from(then.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }

    /// What was seen, at a time since `epoch`; `last`: the time before at which there was contact.
    fn look(&self, now: u64, is_there: bool, last: &mut u64) {
        let is_lost = self.lost.load(Ordering::Relaxed) != 0 && self.back.load(Ordering::Relaxed) == 0;
        if is_there {
            *last = now;
            if is_lost {
                self.back.store(now.max(1), Ordering::Relaxed);
            }
        } else if !is_lost {
            self.back.store(0, Ordering::Relaxed);
            self.lost.store((*last).max(1), Ordering::Release);
        }
    }
}

/// Looks, until it is aborted.
pub async fn run(shared: Arc<Shared>) {
    let mut last = 0;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let is_there = shared.node.leads() || shared.node.hears_leader();
        shared.contact.look(shared.contact.millis(Instant::now()), is_there, &mut last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_was_heard_before_it_was_lost_may_be_late() {
        let contact = Contact::default();
        let at = |millis| contact.epoch + Duration::from_millis(millis);
        let mut last = 0;
        contact.look(50, true, &mut last);
        assert!(!contact.was_lost_since(at(0)), "it was never lost");
        contact.look(100, false, &mut last);
        contact.look(150, false, &mut last);
        assert!(contact.was_lost_since(at(50)) && !contact.was_lost_since(at(60)));
        tokio::time::advance(Duration::from_millis(200)).await;
        contact.look(200, true, &mut last);
        assert!(contact.was_lost_since(at(50)), "what was under way arrives now");
        tokio::time::advance(AFTERWARDS).await;
        assert!(!contact.was_lost_since(at(50)), "nothing is under way for so long");
    }
}
