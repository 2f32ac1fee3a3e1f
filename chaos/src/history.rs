//! What was attempted, and what came of it.
//!
//! All clients are in one process, so that the order of times is the real one.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use trireme_client::MessageQueue;

/// Microseconds since the run began.
pub type Micros = u64;

/// The clock of a run.
#[derive(Clone, Copy, Debug)]
pub struct Epoch(Instant);

impl Epoch {
    /// The run begins.
    pub fn now() -> Self {
        Self(Instant::now())
    }

    /// What time it is.
    pub fn micros(self) -> Micros {
        self.of(Instant::now())
    }

    /// What time it was then; 0 before the run.
    pub fn of(self, then: Instant) -> Micros {
        let since = then.saturating_duration_since(self.0);
        u64::try_from(since.as_micros()).expect("a run is shorter than 500 000 years")
    }
}

/// Tells one message from all others of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
        let word = |at: usize| rest[at..at + 4].iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
        Ok(Self { client: word(0), seq: word(4) })
    }
}

/// What the sender of a message knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored, there.
    Acked(Place),
    /// It may be stored.
    Unknown,
    /// It is not stored, and never will be.
    Refused,
}

/// Where a message was said to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its queue.
    pub queue: MessageQueue,
    /// Its offset there.
    pub offset: u64,
    /// Its position in the group's commit log.
    pub physical_offset: u64,
    /// The replica that led when it was stored.
    pub stored_by: SocketAddr,
}

/// One send, as its caller saw it.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The message.
    pub id: Id,
    /// Whether one request was sent at most, so that it can be stored once at most.
    pub is_single: bool,
    /// How many messages: this one, and those that follow it, in one request. They are stored side by side, or none is.
    pub messages: u32,
    /// Before it was sent.
    pub started: Instant,
    /// After its outcome was known.
    pub ended: Instant,
    /// The outcome.
    pub outcome: Outcome,
}

impl Attempt {
    /// One message in one request that was sent once, and whose outcome is known just now.
    pub fn once(id: Id, started: Instant, outcome: Outcome) -> Self {
        Self { id, is_single: true, messages: 1, started, ended: Instant::now(), outcome }
    }

    /// Its messages.
    pub fn ids(&self) -> impl Iterator<Item = Id> + use<> {
        let Self { id, messages, .. } = *self;
        (id.seq..id.seq + messages).map(move |seq| Id { seq, ..id })
    }

    /// Where it is, the first one of several, if it was acknowledged.
    pub fn place(&self) -> Option<&Place> {
        match &self.outcome {
            Outcome::Acked(place) => Some(place),
            Outcome::Unknown | Outcome::Refused => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_body_is_nobodys() {
        let id = Id { client: 7, seq: 5 };
        let mut body = id.body(20).to_vec();
        assert_eq!(Id::of(&body), Ok(id));
        body[10] ^= 1;
        assert!(Id::of(&body).is_err() && Id::of(&body[..5]).is_err());
    }
}
