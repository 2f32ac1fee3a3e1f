//! What was attempted so far, and waiting for more of it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;
use trireme_chaos::history::Attempt;

use crate::harness::LONG;

/// All attempts of a test, in the order of their ends.
#[derive(Default)]
pub struct History {
    attempts: Mutex<Vec<Attempt>>,
    grown: watch::Sender<()>,
}

impl History {
    /// Takes an attempt down.
    pub fn add(&self, attempt: Attempt) {
        self.attempts.lock().push(attempt);
        self.grown.send_replace(());
    }

    /// A copy of everything so far.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.attempts.lock().clone()
    }

    /// Waits for the first acknowledgement after `since` of a message that another replica than `not_by` stored.
    /// Returns how long after `since` it came.
    pub async fn first_ack(&self, since: Instant, not_by: SocketAddr) -> Duration {
        let is_it = |attempt: &&Attempt| {
            attempt.ended > since && attempt.place().is_some_and(|place| place.stored_by != not_by)
        };
        self.wait("an acknowledgement by a new leader", |attempts| {
            attempts.iter().find(is_it).map(|attempt| attempt.ended - since)
        })
        .await
    }

    /// Waits until `count` more messages are acknowledged, in every broker group that has any.
    pub async fn progress(&self, count: usize) {
        let since = Instant::now();
        self.wait("more acknowledgements", |attempts| {
            let mut groups: HashMap<&str, usize> = HashMap::new();
            for attempt in attempts {
                if let Some(place) = attempt.place() {
                    *groups.entry(&place.queue.broker_name).or_default() +=
                        usize::from(attempt.started > since);
                }
            }
            (!groups.is_empty() && groups.values().all(|new| *new >= count)).then_some(())
        })
        .await;
    }

    async fn wait<T>(&self, what: &str, answer: impl Fn(&[Attempt]) -> Option<T>) -> T {
        let mut grown = self.grown.subscribe();
        let waiting = async {
            loop {
                if let Some(answer) = answer(&self.attempts.lock()) {
                    return answer;
                }
                grown.changed().await.expect("the history holds the sender");
            }
        };
        tokio::time::timeout(LONG, waiting).await.unwrap_or_else(|_| panic!("not within {LONG:?}: {what}"))
    }
}
