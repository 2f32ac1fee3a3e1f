//! What a replica's Raft part is told at start.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::types::NodeId;

/// What all replicas of a group must agree on. Exchanged when replicas meet; a difference is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSettings {
    /// RocketMQ's `brokerClusterName`.
    pub cluster: String,
    /// The broker group, RocketMQ's `brokerName`.
    pub group: String,
    /// Size of a commit log segment in bytes: it decides where frames are padded, so logs of different
    /// sizes would differ in every byte behind the first segment.
    pub segment_bytes: u64,
}

impl ClusterSettings {
    /// The differences to a peer's settings, in words; empty when there is none.
    pub fn differences(&self, peer: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |key: &str, ours: &dyn std::fmt::Display, theirs: &dyn std::fmt::Display| {
            let (ours, theirs) = (ours.to_string(), theirs.to_string());
            if ours != theirs {
                found.push(format!("{key} is {ours} here and {theirs} at the peer"));
            }
        };
        compare("cluster name", &self.cluster, &peer.cluster);
        compare("group name", &self.group, &peer.group);
        compare("segment size", &self.segment_bytes, &peer.segment_bytes);
        found
    }
}

/// Times that decide how fast a dead leader is replaced.
///
/// A follower stands for election when it heard nothing for `election_max` plus a random time in
/// `election_min..election_max`; with three replicas the median failover is near
/// `max + min + (max - min) / 3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader shows that it is alive.
    pub heartbeat: Duration,
    /// Lower bound of the random election timeout.
    pub election_min: Duration,
    /// Upper bound of the random election timeout; also the leader's lease.
    pub election_max: Duration,
}

impl Default for Timing {
    /// 50 ms, 200-400 ms: a failover takes about 0.7 s, and a replica may be starved of CPU for 0.35 s
    /// before it is deposed.
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(50),
            election_min: Duration::from_millis(200),
            election_max: Duration::from_millis(400),
        }
    }
}

/// One replica of one group.
#[derive(Clone, Debug)]
pub struct ReplicaConfig {
    /// What the group agrees on.
    pub settings: ClusterSettings,
    /// This replica.
    pub node: NodeId,
    /// The directory that holds everything this replica knows.
    pub store: PathBuf,
    /// Where peers connect to us.
    pub listen: SocketAddr,
    /// Every replica of the group, ourselves included: id to `host:port` of its peer listener.
    pub peers: BTreeMap<NodeId, String>,
    /// Where clients reach these, `host:port`: kept in the membership, for whoever is not told by its own configuration.
    pub client_addrs: BTreeMap<NodeId, String>,
    /// The replica waits until a group takes it in, and makes none.
    pub joins: bool,
    /// Election and heartbeat times.
    pub timing: Timing,
    /// Append requests in flight to one follower. Two keep a follower's disk busy while the next
    /// request travels; more only make requests smaller (`docs/decisions/0003-replication-window.md`).
    pub replication_window: usize,
    /// Bytes of the page cache that the commit log's files may take, about.
    pub log_cache_bytes: u64,
    /// The newest format version that this replica announces; see [`crate::peers`].
    pub format_version: u32,
}
