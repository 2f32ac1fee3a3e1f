//! What a broker says of itself, and what it is answered.

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;
use trireme_remoting::body::DataVersion;

/// One registration, decoded and with its names checked.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The cluster of its group.
    pub cluster: String,
    /// Its group (`brokerName`).
    pub broker_name: String,
    /// Where clients reach it.
    pub address: String,
    /// Its id; 0 is the master.
    pub broker_id: i64,
    /// Where its slaves replicate from; may be empty.
    pub ha_address: String,
    /// Its zone, shown to clients.
    pub zone: Option<String>,
    /// After which silence it wants to be taken off; the server's default otherwise.
    pub timeout: Option<Duration>,
    /// Whether the smallest id may act as master; absent for brokers before 5.0.
    pub acting_master: Option<bool>,
    /// Whether it is a replica of a [Raft group](crate::RAFT_GROUP).
    pub raft_group: bool,
    /// Which state of its topics this is; `state_version` is the term or epoch of the master.
    pub version: DataVersion,
    /// Its topics.
    pub topics: BTreeMap<String, Queues>,
    /// Whether topics that are not named here are gone. Always so for a Raft group.
    pub complete: bool,
    /// The connection that it came on.
    pub connection: u64,
}

/// A topic's queues in one broker group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queues {
    /// How many queues consumers read.
    pub read: i32,
    /// How many queues producers write.
    pub write: i32,
    /// Bits: 1 inherit, 2 write, 4 read.
    pub perm: i32,
    /// RocketMQ's `topicSysFlag`.
    pub sys_flag: i32,
}

/// The answer to a registration that was taken, or rightly ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registered {
    /// Whom a slave replicates from: the master's address and the address of its replication port.
    pub master: Option<(String, String)>,
    /// How many of its topics are not routed because the table is full.
    pub left_out: usize,
}

/// Why a registration was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// It names a single topic and the broker was not listed: it may be half started, and all it has would be
    /// taken for that one topic.
    #[error("broker {0} is not registered yet and names one topic only")]
    HalfStarted(String),
    /// The name is taken by a living group of another cluster.
    #[error("broker name {name} belongs to cluster {cluster}")]
    OtherCluster {
        /// The name.
        name: String,
        /// Whose it is.
        cluster: String,
    },
    /// The table is full.
    #[error("the route table is full: {max} brokers")]
    TooManyBrokers {
        /// The limit.
        max: usize,
    },
}
