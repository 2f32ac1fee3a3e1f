//! What is done to the cluster, drawn from the seed.

use std::fmt;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

use crate::machine::Cut;

/// Replicas of the group.
pub const REPLICAS: usize = 3;

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL: what was written is there when it starts again.
    Kill(usize),
    /// The power is gone: what was not synced is lost, and nobody is told.
    Power(usize, Cut),
    /// For all at once.
    PowerAll(Cut),
    /// Killed again and again while it starts.
    Storm(usize, u32),
    /// Nothing comes to a replica or from it; what was sent comes later.
    Alone(usize),
    /// The same for clients and name server alone, or for peers alone.
    Cut {
        /// The replica.
        at: usize,
        /// Whether it is its peers that it is cut off from.
        peers: bool,
    },
    /// Two replicas do not hear each other.
    Pair(usize, usize),
    /// Everything takes long, up to so many milliseconds.
    Slow(u64),
    /// The name server is killed.
    NameServer,
    /// Syncs fail, then the power is cut: what was not synced is lost.
    SyncFails(usize, Cut),
    /// Everything on any disk takes up to so many milliseconds longer.
    SlowDisks(u64),
    /// A clock is so many seconds ahead, or behind, and right again later.
    Clock(usize, i64),
    /// Another replica is to lead, by order.
    Transfer(usize),
    /// A disk is full, and has room again later.
    Full(usize),
    /// A replica's store is lost, and another replica takes its place; unless that is so already.
    Lost(usize),
}

impl Fault {
    /// Any.
    pub fn draw(random: &mut StdRng) -> Self {
        let at = random.random_range(0..REPLICAS);
        let cut = |random: &mut StdRng| match random.random_range(0..4) {
            0 => Cut::All,
            1 => Cut::Later,
            _ => Cut::Torn,
        };
        match random.random_range(0..100) {
            0..10 => Self::Kill(at),
            10..15 => Self::Lost(at),
            15..19 => Self::Full(at),
            19..35 => Self::Power(at, cut(random)),
            35..43 => Self::PowerAll(cut(random)),
            43..49 => Self::Storm(at, random.random_range(2..5)),
            49..60 => Self::Alone(at),
            60..67 => Self::Cut { at, peers: random.random() },
            67..73 => Self::Pair(at, (at + 1) % REPLICAS),
            73..79 => Self::Slow(random.random_range(20..400)),
            79..82 => Self::NameServer,
            82..88 => Self::SyncFails(at, cut(random)),
            88..92 => Self::SlowDisks(random.random_range(10..200)),
            92..96 => {
                let seconds = random.random_range(1..=100 * 60 * 60);
                Self::Clock(at, if random.random() { seconds } else { -seconds })
            }
            _ => Self::Transfer(at),
        }
    }

    /// How long it lasts.
    pub fn lasts(random: &mut StdRng) -> Duration {
        let millis = match random.random_range(0..4) {
            0 => random.random_range(1..100),
            1 | 2 => random.random_range(100..1_500),
            _ => random.random_range(1_500..6_000),
        };
        Duration::from_millis(millis)
    }

    /// Before the next one.
    pub fn rests(random: &mut StdRng) -> Duration {
        Duration::from_millis(random.random_range(10..3_000))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(at) => write!(f, "kill replica {}", at + 1),
            Self::Power(at, cut) => write!(f, "power cut of replica {} ({cut:?})", at + 1),
            Self::PowerAll(cut) => write!(f, "power cut of all ({cut:?})"),
            Self::Storm(at, times) => write!(f, "kill replica {} {times} times while it starts", at + 1),
            Self::Alone(at) => write!(f, "replica {} is alone", at + 1),
            Self::Cut { at, peers: true } => write!(f, "replica {} does not reach its peers", at + 1),
            Self::Cut { at, peers: false } => write!(f, "replica {} does not reach clients", at + 1),
            Self::Pair(one, other) => {
                write!(f, "replicas {} and {} do not hear each other", one + 1, other + 1)
            }
            Self::Slow(millis) => write!(f, "the network takes up to {millis} ms"),
            Self::NameServer => f.write_str("kill the name server"),
            Self::SyncFails(at, cut) => {
                write!(f, "syncs of replica {} fail, and a power cut ({cut:?})", at + 1)
            }
            Self::SlowDisks(millis) => write!(f, "disks take up to {millis} ms longer"),
            Self::Clock(at, seconds) => write!(f, "the clock of replica {} is {seconds} s ahead", at + 1),
            Self::Transfer(at) => write!(f, "replica {} shall lead", at + 1),
            Self::Full(at) => write!(f, "the disk of replica {} is full", at + 1),
            Self::Lost(at) => write!(f, "the store of replica {} is lost", at + 1),
        }
    }
}
