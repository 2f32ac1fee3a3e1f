//! A Trireme cluster inside a test: real replicas, real sockets on loopback, real files in a directory
//! that goes away with it. Nothing is simulated; only the process is shared.
//!
//! ```
//! # #[tokio::main(flavor = "multi_thread")]
//! # async fn main() -> anyhow::Result<()> {
//! use trireme_testkit::Cluster;
//!
//! let cluster = Cluster::start(3).await?;
//! println!("point any RocketMQ client at {}", cluster.namesrv());
//! let old = cluster.leader().await?;
//! cluster.stop(old).await;
//! assert_ne!(cluster.leader().await?, old, "the others have elected another");
//! cluster.shutdown().await;
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context, bail};
use tempfile::TempDir;
use tokio::sync::Mutex;
use trireme_broker::clock::Clock;
use trireme_broker::config::{BrokerConfig, NEWEST_VERSION, ReplicaAddr};
use trireme_broker::replica::Broker;
use trireme_namesrv::{NameServer, NameServerOptions};

/// A group that has no leader by then will not get one.
const LEADER_WITHIN: Duration = Duration::from_secs(20);
/// Small segments: a test should not need a gibibyte.
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// A name server and one broker group, `broker-a` of `DefaultCluster`.
///
/// Needs a multi-threaded runtime. Dropping it stops everything, not in order.
pub struct Cluster {
    namesrv: NameServer,
    configs: BTreeMap<u64, BrokerConfig>,
    running: Mutex<BTreeMap<u64, Broker>>,
    _dir: TempDir,
}

impl Cluster {
    /// Starts a cluster of `replicas` (1, 3 or 5), numbered from 1; returns when it has a leader.
    pub async fn start(replicas: u64) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir().context("cannot make a directory for the cluster")?;
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let namesrv = NameServer::start(NameServerOptions { listen, ..NameServerOptions::default() })?;
        let ports = free_ports(2 * usize::try_from(replicas)?)?;
        let addrs: BTreeMap<u64, ReplicaAddr> = (1..=replicas)
            .zip(ports.chunks_exact(2))
            .map(|(node, pair)| (node, ReplicaAddr { broker: pair[0], peer: pair[1].to_string() }))
            .collect();
        let configs = addrs
            .iter()
            .zip(ports.chunks_exact(2))
            .map(|((node, _), pair)| {
                let config = BrokerConfig {
                    joins: false,
                    scrub_bytes_per_second: 8 << 20,
                    cluster: "DefaultCluster".into(),
                    group: "broker-a".into(),
                    node: *node,
                    replicas: addrs.clone(),
                    listen: pair[0],
                    peer_listen: pair[1],
                    store: dir.path().join(node.to_string()),
                    namesrv: vec![namesrv.local_addr().to_string()],
                    segment_bytes: SEGMENT_BYTES,
                    log_cache_bytes: 64 << 20,
                    format_version: NEWEST_VERSION,
                    timing: Default::default(),
                    auto_create_topic: true,
                    auto_create_group: true,
                    default_topic_queues: 8,
                    max_message_bytes: 4 * 1024 * 1024,
                    permission: 6,
                    vip_port: false,
                    retention: Duration::from_secs(72 * 60 * 60),
                    retention_bytes: None,
                    disk_trim_bytes: 0,
                    disk_reserve_bytes: 0,
                };
                (*node, config)
            })
            .collect();
        let cluster = Self { namesrv, configs, running: Mutex::default(), _dir: dir };
        for node in 1..=replicas {
            cluster.restart(node).await?;
        }
        cluster.leader().await?;
        Ok(cluster)
    }

    /// The name server's address, `host:port`: what clients are given.
    pub fn namesrv(&self) -> String {
        self.namesrv.local_addr().to_string()
    }

    /// Where clients reach a replica, running or not; `None` if there is none of that number.
    pub fn broker_addr(&self, node: u64) -> Option<SocketAddr> {
        self.configs.get(&node).map(BrokerConfig::broker_addr)
    }

    /// The replica that leads, waited for.
    pub async fn leader(&self) -> anyhow::Result<u64> {
        let found = tokio::time::timeout(LEADER_WITHIN, async {
            loop {
                let running = self.running.lock().await;
                let leads = |broker: &&Broker| broker.node().leadership().borrow().ready;
                if let Some(broker) = running.values().find(leads) {
                    return broker.node().config().node;
                }
                drop(running);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        found.await.context("the group has no leader")
    }

    /// Stops a replica in order. Its files stay.
    pub async fn stop(&self, node: u64) {
        let stopped = self.running.lock().await.remove(&node);
        if let Some(broker) = stopped {
            broker.shutdown().await;
        }
    }

    /// Starts a replica that is not running, on the files that it has.
    pub async fn restart(&self, node: u64) -> anyhow::Result<()> {
        let Some(config) = self.configs.get(&node) else { bail!("there is no replica {node}") };
        let mut running = self.running.lock().await;
        if let Entry::Vacant(place) = running.entry(node) {
            place.insert(Broker::start(config.clone(), Clock::system(), rand::random()).await?);
        }
        Ok(())
    }

    /// Stops everything in order.
    pub async fn shutdown(self) {
        for broker in self.running.into_inner().into_values() {
            broker.shutdown().await;
        }
        self.namesrv.shutdown().await;
    }
}

/// Ports that were free a moment ago: replicas must know each other's before any of them listens.
fn free_ports(count: usize) -> anyhow::Result<Vec<SocketAddr>> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind(("127.0.0.1", 0)).context("no free port"))
        .collect::<anyhow::Result<_>>()?;
    listeners.iter().map(|listener| listener.local_addr().context("a listener without an address")).collect()
}
