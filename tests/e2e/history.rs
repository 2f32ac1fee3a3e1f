//! What was attempted, and what came of it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::watch;
use trireme_client::MessageQueue;

use crate::harness::LONG;

/// Tells one message from all others of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    /// The producer.
    pub client: u32,
    /// Its count.
    pub seq: u32,
}

/// Bytes of a body that are not padding: id, and a checksum over everything before it.
const FIXED: usize = 12;

impl Id {
    /// A body that says whose it is, so many bytes longer than it must be.
    pub fn body(self, padding: usize) -> Bytes {
        let mut body = BytesMut::with_capacity(FIXED + padding);
        body.put_u32(self.client);
        body.put_u32(self.seq);
        body.put_bytes(self.seq as u8, padding);
        let sum = crc32c::crc32c(&body);
        body.put_u32(sum);
        body.freeze()
    }

    /// Whose a body is. Errors: it is not a whole body of ours.
    pub fn of(body: &[u8]) -> Result<Self, String> {
        let Some((rest, sum)) = body.split_last_chunk::<4>().filter(|_| body.len() >= FIXED) else {
            return Err(format!("a body of {} bytes", body.len()));
        };
        if crc32c::crc32c(rest) != u32::from_be_bytes(*sum) {
            return Err(format!("a body of {} bytes whose checksum is wrong", body.len()));
        }
        let word = |at: usize| u32::from_be_bytes(rest[at..at + 4].try_into().unwrap());
        Ok(Self { client: word(0), seq: word(4) })
    }
}

/// What the sender of a message knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored, there.
    Acked(Place),
    /// It may be stored.
    Unknown,
    /// It is not stored, and never will be.
    Refused,
}

/// Where a message was said to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its queue.
    pub queue: MessageQueue,
    /// Its offset there.
    pub offset: i64,
    /// Its position in the group's commit log.
    pub physical_offset: i64,
    /// The replica that led when it was stored.
    pub stored_by: SocketAddr,
}

/// One send, as its caller saw it.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The message.
    pub id: Id,
    /// Whether one request was sent at most, so that it can be stored once at most.
    pub is_single: bool,
    /// Before it was sent.
    pub started: Instant,
    /// After its outcome was known.
    pub ended: Instant,
    /// The outcome.
    pub outcome: Outcome,
}

impl Attempt {
    /// Where it is, if it was acknowledged.
    pub fn place(&self) -> Option<&Place> {
        match &self.outcome {
            Outcome::Acked(place) => Some(place),
            Outcome::Unknown | Outcome::Refused => None,
        }
    }
}

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
