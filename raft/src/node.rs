//! A replica's Raft node: open the store, start, propose, watch who leads, stop.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Config, Raft, ServerState, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use trireme_commitlog::{CommitLog, LogId, Options};

use crate::adapter::{Adapter, Boundary};
use crate::checkpoints::Checkpoints;
use crate::config::ReplicaConfig;
use crate::flusher::Flusher;
use crate::hard_state::{HardState, HardStateError};
use crate::log_store::LogStore;
use crate::network::{Network, PeerServer, probe};
use crate::proposal::{Committed, Proposal, ProposeError, Reply, verdict};
use crate::state_machine::StateMachine;
use crate::types::{Member, NodeId, TypeConfig, committed_leader};

/// Why a replica does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A directory or file of the store cannot be used.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The identity or the vote.
    #[error(transparent)]
    HardState(#[from] HardStateError),
    /// The commit log.
    #[error("commit log in {path}: {source}")]
    Log {
        /// The directory.
        path: PathBuf,
        /// What recovery found.
        source: trireme_commitlog::OpenError,
    },
    /// The peer listener.
    #[error("cannot listen for peers on {addr}: {source}")]
    Listen {
        /// The address.
        addr: std::net::SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// Raft itself.
    #[error("raft: {0}")]
    Raft(String),
}

/// An opened store: what a broker needs to rebuild its state before the node starts.
pub struct Store {
    config: ReplicaConfig,
    /// The commit log, for reading.
    pub log: Arc<CommitLog>,
    /// Identity, vote and the broker's saved metadata.
    pub hard: HardState,
}

impl Store {
    /// Opens the store of a replica, or makes it. Recovers the commit log. Blocks on the disk.
    ///
    /// `store_id` is a random number, used if the store is new.
    pub fn open(config: &ReplicaConfig, store_id: u128) -> Result<Self, StartError> {
        let dir = &config.store;
        let make = |path: &PathBuf| {
            std::fs::create_dir_all(path).map_err(|source| StartError::Io {
                what: "cannot make the directory",
                path: path.clone(),
                source,
            })
        };
        let log_path = dir.join("commitlog");
        make(&log_path)?;
        let has_log = std::fs::read_dir(&log_path)
            .map_err(|source| StartError::Io { what: "cannot read", path: log_path.clone(), source })?
            .next()
            .is_some();
        let hard = HardState::open(&dir.join("hardstate"), config.node, &config.settings, has_log, store_id)?;
        let options = Options { segment_bytes: config.settings.segment_bytes };
        let files = trireme_commitlog::DiskDir::open(&log_path).map_err(|source| StartError::Io {
            what: "cannot open",
            path: log_path.clone(),
            source,
        })?;
        let log = CommitLog::open(Arc::new(files), options)
            .map(Arc::new)
            .map_err(|source| StartError::Log { path: log_path, source })?;
        Ok(Self { config: config.clone(), log, hard })
    }
}

/// Who leads, as this replica sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The current term.
    pub term: u64,
    /// The leader of `term`, if known.
    pub leader: Option<NodeId>,
    /// What this replica is.
    pub role: Role,
    /// We lead, and our first entry of the term is applied: proposals may be made.
    pub ready: bool,
}

/// A replica's role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Takes proposals.
    Leader,
    /// Follows a leader, and votes.
    #[default]
    Follower,
    /// Stands for election.
    Candidate,
    /// Receives the log but has no vote.
    Learner,
    /// Stopped, by order or by a failure.
    Stopped,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Learner => "learner",
            Self::Stopped => "stopped",
        })
    }
}

/// The marks of a replica's log, all inclusive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Last entry in the log.
    pub last_log: Option<LogId>,
    /// Last entry on the disk.
    pub flushed: Option<LogId>,
    /// Last entry known to be on the disks of a quorum.
    pub committed: Option<LogId>,
    /// Last entry that the state contains.
    pub applied: Option<LogId>,
    /// Last entry that was trimmed.
    pub trimmed: Option<LogId>,
    /// Per follower (a leader knows): the last entry that it has on disk.
    pub matched: BTreeMap<NodeId, Option<u64>>,
}

/// A running replica. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    config: ReplicaConfig,
    raft: Raft<TypeConfig, Adapter>,
    log: Arc<CommitLog>,
    hard: HardState,
    flusher: Flusher,
    boundary: Boundary,
    checkpoints: Checkpoints,
    leadership: watch::Receiver<Leadership>,
    applied: watch::Receiver<Option<LogId>>,
    server: Mutex<Option<PeerServer>>,
    tasks: Mutex<JoinSet<()>>,
}

impl Node {
    /// Starts the replica on an opened store. The state machine must be at [`StateMachine::saved`];
    /// what was committed behind it is applied again.
    pub async fn start(store: Store, machine: Box<dyn StateMachine>) -> Result<Self, StartError> {
        let Store { config, log, hard } = store;
        let checkpoint_path = config.store.join("checkpoints");
        let checkpoints = Checkpoints::open(&checkpoint_path).map_err(|source| StartError::Io {
            what: "cannot open",
            path: checkpoint_path,
            source,
        })?;
        let flusher = Flusher::start(log.clone(), hard.clone()).map_err(|source| StartError::Io {
            what: "cannot start the I/O threads for",
            path: config.store.clone(),
            source,
        })?;
        let (applied_tx, applied) = watch::channel(None);
        let boundary = Boundary::new(checkpoints.clone(), log.clone());
        let raft_failed = |error: &dyn std::fmt::Display| StartError::Raft(error.to_string());
        let adapter = Adapter::new(
            machine,
            log.clone(),
            hard.clone(),
            boundary.clone(),
            config.settings.segment_bytes,
            applied_tx,
        )
        .map_err(|error| raft_failed(&error))?;
        let logs = LogStore::new(log.clone(), hard.clone(), flusher.clone(), checkpoints.clone())
            .map_err(|error| raft_failed(&error))?;
        let us = crate::network::caller(&config, hard.identity().store_id);
        let network = Network::new(us.clone(), config.peers.clone(), config.replication_window);
        let raft_config = Arc::new(raft_config(&config).validate().map_err(|error| raft_failed(&error))?);
        let raft = Raft::new(config.node, raft_config, network, logs, adapter)
            .await
            .map_err(|error| raft_failed(&error))?;
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(|source| StartError::Listen { addr: config.listen, source })?;
        let served = crate::network::Served { raft: raft.clone(), log: log.clone(), us: us.clone() };
        let server = PeerServer::start(listener, Arc::new(served));

        let (leadership_tx, leadership) = watch::channel(Leadership::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(watch_leadership(raft.clone(), config.node, applied.clone(), leadership_tx));
        if config.peers.keys().next() == Some(&config.node) {
            tasks.spawn(bootstrap(raft.clone(), config.clone(), us));
        }
        Ok(Self {
            inner: Arc::new(Inner {
                config,
                raft,
                log,
                hard,
                flusher,
                boundary,
                checkpoints,
                leadership,
                applied,
                server: Mutex::new(Some(server)),
                tasks: Mutex::new(tasks),
            }),
        })
    }

    /// Proposes one entry as the leader of `term`; `done` is called exactly once, on the task that
    /// applies, so it must not block. Returns when the proposal is queued: entries proposed one after
    /// the other are appended in that order.
    pub async fn propose(
        &self,
        term: u64,
        proposal: Proposal,
        done: impl FnOnce(Result<Committed, ProposeError>) + Send + 'static,
    ) {
        let appended = proposal.appended.clone();
        let reply = Reply::new(move |result| done(verdict(term, &appended, result)));
        // A failure to queue drops the reply slot, which answers.
        let queued =
            self.inner.raft.write(proposal).with_leader(committed_leader(term)).responder(reply).await;
        if let Err(error) = queued {
            tracing::debug!(%error, "proposal not queued");
        }
    }

    /// Who leads, now and whenever it changes.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.clone()
    }

    /// The last applied entry, now and whenever it changes.
    pub fn applied(&self) -> watch::Receiver<Option<LogId>> {
        self.inner.applied.clone()
    }

    /// The commit log, for reading.
    pub fn log(&self) -> &Arc<CommitLog> {
        &self.inner.log
    }

    /// What the replica was started with.
    pub fn config(&self) -> &ReplicaConfig {
        &self.inner.config
    }

    /// The marks of the log.
    pub fn progress(&self) -> Progress {
        let metrics = self.inner.raft.data_metrics().borrow_watched().clone();
        let ours = |id: Option<crate::types::RaftLogId>| id.as_ref().map(crate::types::from_raft);
        Progress {
            last_log: self.inner.log.last(),
            flushed: self.inner.log.flushed(),
            committed: ours(metrics.local_committed),
            applied: *self.inner.applied.borrow(),
            trimmed: self.inner.log.trimmed(),
            matched: metrics
                .replication
                .into_iter()
                .flatten()
                .map(|(node, id)| (node, id.as_ref().map(|id| id.index())))
                .collect(),
        }
    }

    /// Whether a proposal of so many bytes fits; if not, the disk is full and it must be refused.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.inner.log.room() >= bytes + crate::network::RESERVED_BYTES
    }

    /// Physical offsets at which the log can be made to start: where checkpoints are.
    pub fn trim_points(&self) -> io::Result<Vec<u64>> {
        self.inner.checkpoints.list()
    }

    /// Makes the log start at `physical_offset`, one of [`Node::trim_points`]. The entries before it,
    /// and the segments that hold them, go away in the background.
    pub async fn trim(&self, physical_offset: u64) -> io::Result<()> {
        let stored = self.inner.checkpoints.load(physical_offset)?.ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("there is no checkpoint at {physical_offset}"))
        })?;
        *self.inner.boundary.target.lock() = Some(physical_offset);
        let raft = &self.inner.raft;
        raft.trigger().snapshot().await.map_err(io::Error::other)?;
        let wanted = Some(crate::types::to_raft(stored.log_id));
        raft.wait(Some(Duration::from_secs(30)))
            .metrics(|metrics| metrics.snapshot >= wanted, "the snapshot is at the boundary")
            .await
            .map_err(io::Error::other)?;
        raft.trigger().purge_log(stored.log_id.index).await.map_err(io::Error::other)?;
        self.inner.checkpoints.remove_before(physical_offset)
    }

    /// Asks `to` to take over. Returns at once; watch [`Node::leadership`].
    pub async fn transfer_leader(&self, to: NodeId) -> io::Result<()> {
        self.inner.raft.trigger().transfer_leader(to).await.map_err(io::Error::other)
    }

    /// Stops Raft, the I/O threads and the peer listener. What was acknowledged is on disk already;
    /// this only makes the next start shorter.
    pub async fn shutdown(&self) {
        self.inner.server.lock().take();
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::warn!(%error, "raft ended with an error");
        }
        self.inner.tasks.lock().abort_all();
        let flusher = self.inner.flusher.clone();
        let stopped = tokio::task::spawn_blocking(move || flusher.stop()).await;
        if let Err(error) = stopped {
            tracing::warn!(%error, "the I/O threads ended with an error");
        }
    }

    /// Identity and saved metadata.
    pub fn hard_state(&self) -> &HardState {
        &self.inner.hard
    }
}

fn raft_config(config: &ReplicaConfig) -> Config {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Config {
        cluster_name: config.settings.group.clone(),
        heartbeat_interval: millis(config.timing.heartbeat),
        election_timeout_min: millis(config.timing.election_min),
        election_timeout_max: millis(config.timing.election_max),
        enable_pre_vote: Some(true),
        // Bounded by bytes where entries are read; this bound is only against tiny ones.
        max_payload_entries: 4096,
        // The log is trimmed by retention alone, at recorded checkpoints.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        replication_lag_threshold: u64::MAX,
        // A follower that comes back is found within this; a refused connection costs nothing.
        backoff: "50ms 100ms 200ms ..200ms".into(),
        install_snapshot_timeout: 10_000,
        ..Config::default()
    }
}

/// Publishes who leads. A leader is ready once an entry of its own term is applied: from then on its
/// state holds everything that any leader before it acknowledged.
async fn watch_leadership(
    raft: Raft<TypeConfig, Adapter>,
    node: NodeId,
    mut applied: watch::Receiver<Option<LogId>>,
    publish: watch::Sender<Leadership>,
) {
    let mut metrics = raft.server_metrics();
    loop {
        let (vote, state, leader) = {
            let now = metrics.borrow_watched();
            (now.vote, now.state, now.current_leader)
        };
        let role = match state {
            ServerState::Leader => Role::Leader,
            ServerState::Follower => Role::Follower,
            ServerState::Candidate => Role::Candidate,
            ServerState::Learner => Role::Learner,
            ServerState::Shutdown => Role::Stopped,
        };
        let term = vote.leader_id.term;
        let ready = role == Role::Leader && applied.borrow_and_update().is_some_and(|id| id.term == term);
        let seen = Leadership { term, leader, role, ready };
        publish.send_if_modified(|last| {
            let changed = *last != seen;
            if changed && (last.role != seen.role || last.leader != seen.leader) {
                tracing::info!(node, term, role = %seen.role, leader = ?seen.leader, "leadership changed");
            }
            *last = seen;
            changed
        });
        let waiting_to_be_ready = role == Role::Leader && !ready;
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() { break },
            changed = applied.changed(), if waiting_to_be_ready => if changed.is_err() { break },
        }
    }
    publish.send_modify(|last| {
        last.role = Role::Stopped;
        last.ready = false;
        last.leader = None;
    });
    tracing::error!(node, "raft stopped");
}

/// Makes the group, once in its life: the replica with the lowest id waits until it has met all the
/// others, all with empty stores, and writes the first membership with everyone's store id. So a store
/// that is lost later can never pass for the one that joined.
async fn bootstrap(raft: Raft<TypeConfig, Adapter>, config: ReplicaConfig, us: crate::network::Caller) {
    let mut members = BTreeMap::new();
    let own = config.peers.get(&config.node).cloned().unwrap_or_default();
    members.insert(config.node, Member { peer_addr: own, store_id: us.store_id });
    let mut told = false;
    loop {
        match raft.is_initialized().await {
            Ok(false) => {}
            Ok(true) | Err(_) => return,
        }
        for (node, addr) in config.peers.iter().filter(|(node, _)| **node != config.node) {
            match probe(&us, *node, addr, Duration::from_millis(500)).await {
                Ok(reply) => match reply.refused {
                    Some(reason) => tracing::error!(peer = node, %addr, %reason, "peer refused us"),
                    None if reply.initialized => {
                        tracing::error!(
                            peer = node,
                            "this store is empty but the peer's group exists: add this replica under a new id"
                        );
                    }
                    None => {
                        let member = Member { peer_addr: addr.clone(), store_id: reply.store_id };
                        members.insert(*node, member);
                    }
                },
                Err(error) => tracing::debug!(peer = node, %addr, %error, "peer not reached"),
            }
        }
        if members.len() == config.peers.len() {
            match raft.initialize(members.clone()).await {
                Ok(()) => {
                    tracing::info!(group = %config.settings.group, replicas = members.len(), "group made")
                }
                Err(error) => tracing::warn!(%error, "cannot make the group"),
            }
        } else if !told {
            told = true;
            tracing::info!(
                met = members.len(),
                of = config.peers.len(),
                "waiting for the group's other replicas"
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
