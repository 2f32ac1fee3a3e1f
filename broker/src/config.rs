//! What one broker replica is told at start.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use trireme_raft::config::{ClusterSettings, ReplicaConfig, Timing};
pub use trireme_raft::peers::{NEWEST_VERSION, OLDEST_VERSION};

/// Where one replica of the group is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaAddr {
    /// `host:port` of its peer listener.
    pub peer: String,
    /// Where clients reach it. An IP address: it goes into message ids.
    pub broker: SocketAddr,
}

/// One replica of one broker group.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// RocketMQ's `brokerClusterName`.
    pub cluster: String,
    /// The broker group, RocketMQ's `brokerName`.
    pub group: String,
    /// This replica; from 1.
    pub node: u64,
    /// Every replica of the group, this one included.
    pub replicas: BTreeMap<u64, ReplicaAddr>,
    /// It is to be taken into a group that exists.
    pub joins: bool,
    /// Where clients are served.
    pub listen: SocketAddr,
    /// Where peers are served.
    pub peer_listen: SocketAddr,
    /// The directory that holds everything this replica knows.
    pub store: PathBuf,
    /// Name servers, `host:port`; all of them are told.
    pub namesrv: Vec<String>,
    /// Bytes of a commit log segment; the same in the whole group.
    pub segment_bytes: u64,
    /// Memory, in the page cache, that the commit log's files may take, about.
    pub log_cache_bytes: u64,
    /// The newest format version that this replica announces: the group writes no newer one.
    pub format_version: u32,
    /// Election and heartbeat times.
    pub timing: Timing,
    /// The first message to an unknown topic makes it.
    pub auto_create_topic: bool,
    /// The first consumer of an unknown group makes it.
    pub auto_create_group: bool,
    /// Queues that `TBW102` offers to new topics.
    pub default_topic_queues: u32,
    /// The largest message body in bytes; the same for a whole batch.
    pub max_message_bytes: usize,
    /// 2 write, 4 read: what clients may do here at all.
    pub permission: u32,
    /// Also listen on `listen`'s port - 2, where RocketMQ's dashboard connects.
    pub vip_port: bool,
    /// Messages are kept for so long, unless they go before for want of room.
    pub retention: Duration,
    /// So many bytes of the log are kept, if that is less; `None`: all that are young enough.
    pub retention_bytes: Option<u64>,
    /// With less room left on the disk, the oldest messages go, however young. 0: never.
    pub disk_trim_bytes: u64,
    /// So many bytes of the commit log are looked at in a second, for damage. 0: only what is read.
    pub scrub_bytes_per_second: u64,
    /// Free bytes that must remain on the disk; below it messages are refused.
    pub disk_reserve_bytes: u64,
}

impl BrokerConfig {
    /// The part that Raft is told.
    pub fn replica(&self) -> ReplicaConfig {
        ReplicaConfig {
            settings: ClusterSettings {
                cluster: self.cluster.clone(),
                group: self.group.clone(),
                segment_bytes: self.segment_bytes,
            },
            node: self.node,
            store: self.store.clone(),
            listen: self.peer_listen,
            peers: self.replicas.iter().map(|(node, addr)| (*node, addr.peer.clone())).collect(),
            client_addrs: self.replicas.iter().map(|(node, addr)| (*node, addr.broker.to_string())).collect(),
            joins: self.joins,
            timing: self.timing,
            replication_window: 2,
            log_cache_bytes: self.log_cache_bytes,
            format_version: self.format_version,
        }
    }

    /// Where clients reach this replica.
    pub fn broker_addr(&self) -> SocketAddr {
        self.replicas.get(&self.node).map_or(self.listen, |addr| addr.broker)
    }
}
