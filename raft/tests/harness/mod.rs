//! Replicas of one group in this process: real TCP on loopback, real files.

#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used)]

pub mod disk;
pub mod echo;
pub mod process;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;
use tempfile::TempDir;
use tokio::sync::oneshot;
use trireme_commitlog::{LogDir, LogId};
use trireme_raft::config::{ClusterSettings, ReplicaConfig, Timing};
use trireme_raft::node::{Leadership, Node, Role, StartError, Store};
use trireme_raft::peers::NEWEST_VERSION;
use trireme_raft::proposal::{Committed, ProposeError};

pub use echo::{Echo, proposal};

/// Whatever is waited for comes within this, on the slowest machine; usually at once.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A leader that is not deposed because the machine is busy with other tests.
pub const CALM: Timing = Timing {
    heartbeat: Duration::from_millis(100),
    election_min: Duration::from_millis(800),
    election_max: Duration::from_millis(1200),
};

/// `RUST_LOG=info` shows what the replicas say.
pub fn logging() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
}

/// Fails the test if `done` does not come in time.
#[track_caller]
pub fn within<F: Future>(limit: Duration, what: &str, done: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(limit, done).await {
            Ok(output) => output,
            Err(_) => panic!("not within {limit:?}: {what} ({caller})"),
        }
    }
}

/// Looks again and again, for what has no event of its own.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) -> impl Future<Output = ()> {
    within(PATIENCE, what, async move {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
}

/// A port below those that the system gives to outgoing connections, which nobody listens on.
pub fn free_port() -> u16 {
    loop {
        let port = rand::rng().random_range(10_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// What the replicas of a test's group agree on.
pub fn settings(segment_bytes: u64) -> ClusterSettings {
    ClusterSettings { cluster: "test".into(), group: "broker-a".into(), segment_bytes }
}

/// The configurations of a group of `replicas`, with ids from 1, whose stores are below `root`.
pub fn configs(
    root: &std::path::Path,
    replicas: u64,
    segment_bytes: u64,
    timing: Timing,
) -> Vec<ReplicaConfig> {
    let ports: BTreeMap<u64, u16> = (1..=replicas).map(|node| (node, free_port())).collect();
    let peers: BTreeMap<u64, String> =
        ports.iter().map(|(node, port)| (*node, format!("127.0.0.1:{port}"))).collect();
    let config = |(node, port): (&u64, &u16)| ReplicaConfig {
        settings: settings(segment_bytes),
        node: *node,
        store: root.join(format!("node-{node}")),
        listen: SocketAddr::from(([127, 0, 0, 1], *port)),
        peers: peers.clone(),
        client_addrs: BTreeMap::new(),
        joins: false,
        timing,
        replication_window: 2,
        log_cache_bytes: 64 << 20,
        format_version: NEWEST_VERSION,
    };
    ports.iter().map(config).collect()
}

/// A group; replicas are numbered as their node ids, from 1.
pub struct Cluster {
    pub replicas: BTreeMap<u64, Replica>,
    _root: TempDir,
}

pub struct Replica {
    pub config: ReplicaConfig,
    pub disk: Option<Arc<dyn LogDir>>,
    running: Option<(Node, Echo)>,
}

impl Cluster {
    /// Three replicas, none started.
    pub fn new(segment_bytes: u64, timing: Timing) -> Self {
        logging();
        let root = tempfile::tempdir().unwrap();
        let replica = |config: ReplicaConfig| (config.node, Replica { config, disk: None, running: None });
        let replicas = configs(root.path(), 3, segment_bytes, timing).into_iter().map(replica).collect();
        Self { replicas, _root: root }
    }

    /// Three replicas, started.
    pub async fn started(segment_bytes: u64, timing: Timing) -> Self {
        let mut cluster = Self::new(segment_bytes, timing);
        cluster.start_all().await;
        cluster
    }

    pub async fn start_all(&mut self) {
        for node in self.stopped() {
            self.start(node).await;
        }
    }

    pub async fn start(&mut self, node: u64) {
        self.try_start(node).await.unwrap();
    }

    pub async fn try_start(&mut self, node: u64) -> Result<(), StartError> {
        let replica = self.replicas.get_mut(&node).unwrap();
        let (config, store_id) = (replica.config.clone(), rand::rng().random());
        let disk = replica.disk.clone();
        let opened = tokio::task::spawn_blocking(move || match disk {
            Some(dir) => Store::open_with(&config, store_id, dir),
            None => Store::open(&config, store_id),
        });
        let echo = Echo::default();
        let node = Node::start(opened.await.unwrap()?, Box::new(echo.clone())).await?;
        replica.running = Some((node, echo));
        Ok(())
    }

    pub async fn stop(&mut self, node: u64) {
        let running = self.replicas.get_mut(&node).unwrap().running.take();
        let (running, _) = running.expect("only what runs is stopped");
        within(PATIENCE, "shutdown", running.shutdown()).await;
    }

    /// Drops a replica without stopping it.
    pub fn abandon(&mut self, node: u64) {
        self.replicas.get_mut(&node).unwrap().running.take();
    }

    pub async fn stop_all(&mut self) {
        for node in self.running() {
            self.stop(node).await;
        }
    }

    pub fn running(&self) -> Vec<u64> {
        self.replicas.iter().filter(|(_, replica)| replica.running.is_some()).map(|(node, _)| *node).collect()
    }

    pub fn stopped(&self) -> Vec<u64> {
        self.replicas.iter().filter(|(_, replica)| replica.running.is_none()).map(|(node, _)| *node).collect()
    }

    pub fn node(&self, node: u64) -> &Node {
        &self.replicas[&node].running.as_ref().expect("it runs").0
    }

    pub fn echo(&self, node: u64) -> &Echo {
        &self.replicas[&node].running.as_ref().expect("it runs").1
    }

    pub fn store(&self, node: u64) -> PathBuf {
        self.replicas[&node].config.store.clone()
    }

    /// Waits until somebody leads and may be proposed to: who, and in which term.
    pub async fn leader(&self) -> (u64, u64) {
        self.leader_after(0).await
    }

    /// As [`Cluster::leader`], of a term above `term`.
    pub async fn leader_after(&self, term: u64) -> (u64, u64) {
        let ready = self.running().into_iter().map(|node| {
            let mut leadership = self.node(node).leadership();
            Box::pin(async move {
                let seen = leadership.wait_for(|now| now.ready && term < now.term).await;
                match seen.map(|now| now.term) {
                    Ok(term) => (node, term),
                    // Stopped; it is for the others to lead.
                    Err(_) => std::future::pending().await,
                }
            })
        });
        within(PATIENCE, "a leader", futures_util::future::select_all(ready)).await.0
    }

    pub fn followers(&self, leader: u64) -> Vec<u64> {
        self.running().into_iter().filter(|node| *node != leader).collect()
    }

    /// Proposes at whoever leads until it is known to be committed. An unknown outcome is tried again,
    /// with the same tag.
    pub async fn commit(&self, tag: u64, length: usize) -> Committed {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (leader, term) = self.leader().await;
            match propose(self.node(leader), term, tag, length).await.await.unwrap() {
                Ok(committed) => return committed,
                Err(error) => assert!(Instant::now() < deadline, "tag {tag}: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Commits many, several at a time.
    pub async fn commit_many(&self, tags: std::ops::Range<u64>, length: usize) -> Vec<(u64, LogId)> {
        use futures_util::StreamExt;
        let commits = tags.map(|tag| async move { (tag, self.commit(tag, length).await.log_id) });
        futures_util::stream::iter(commits).buffered(16).collect().await
    }

    /// Waits until every running replica has applied what any of them knows to be committed.
    pub async fn settle(&self) {
        let committed = self.commit(u64::MAX, 16).await.log_id;
        for node in self.running() {
            self.applied(node, committed.index).await;
        }
    }

    pub async fn applied(&self, node: u64, index: u64) {
        let mut applied = self.node(node).applied();
        let reached = applied.wait_for(|id| id.is_some_and(|id| index <= id.index));
        within(PATIENCE, &format!("node {node} applies {index}"), reached).await.unwrap();
    }

    /// Settles, then compares all running replicas: the bytes of their logs, and what they applied.
    pub async fn assert_identical(&self) {
        self.settle().await;
        let nodes = self.running();
        let upto = nodes.iter().map(|n| self.node(*n).applied().borrow().unwrap().index).min().unwrap();
        let from = nodes.iter().map(|n| first_index(self.node(*n))).max().unwrap();
        let bytes = |node: u64| -> Vec<_> {
            let frames = self.node(node).log().read(from, upto + 1, u64::MAX).unwrap();
            assert_eq!(frames.len() as u64, upto + 1 - from);
            frames.into_iter().map(|frame| (frame.id, frame.physical_offset, frame.frame)).collect()
        };
        let records = |node: u64| -> Vec<_> {
            self.echo(node).records().into_iter().filter(|record| record.log_id.index <= upto).collect()
        };
        for node in &nodes[1..] {
            assert!(bytes(nodes[0]) == bytes(*node), "logs of {} and {node} differ", nodes[0]);
            assert_eq!(records(nodes[0]), records(*node), "states of {} and {node} differ", nodes[0]);
        }
    }

    /// Every acknowledged entry is in the state of every running replica, at the log id that was told.
    pub async fn assert_holds(&self, acknowledged: &[(u64, LogId)]) {
        for node in self.running() {
            let by_id: BTreeMap<LogId, u64> =
                self.echo(node).records().into_iter().map(|record| (record.log_id, record.tag)).collect();
            for (tag, log_id) in acknowledged {
                assert_eq!(by_id.get(log_id), Some(tag), "node {node} lost {tag} at {log_id}");
            }
        }
    }
}

/// Index of the first entry that is still in the log.
pub fn first_index(node: &Node) -> u64 {
    node.log().trimmed().map_or(0, |id| id.index + 1)
}

/// Proposes; the outcome comes through the channel.
pub async fn propose(
    node: &Node,
    term: u64,
    tag: u64,
    length: usize,
) -> oneshot::Receiver<Result<Committed, ProposeError>> {
    let (tell, told) = oneshot::channel();
    let done = move |result| {
        let _ = tell.send(result);
    };
    node.propose(term, proposal(tag, length), done).await;
    told
}

/// Waits for a leadership of `node`.
pub async fn leadership(node: &Node, what: &str, holds: impl FnMut(&Leadership) -> bool) -> Leadership {
    let mut leadership = node.leadership();
    within(PATIENCE, what, leadership.wait_for(holds)).await.unwrap().clone()
}

/// Waits until the replica has stopped.
pub async fn stopped(node: &Node) {
    let mut leadership = node.leadership();
    let _ = within(PATIENCE, "stopped", leadership.wait_for(|now| now.role == Role::Stopped)).await;
}
