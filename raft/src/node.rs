//! A replica's Raft node: start on an opened store, propose, watch who leads, stop.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Config, Instant, Raft, ServerState, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::sync::futures::Notified;
use tokio::sync::watch;
use tokio::task::JoinSet;
use trireme_commitlog::{CommitLog, LogId};
use trireme_planted::{self as planted, Defect};
use trireme_runtime::net::{self, TcpListener};

use crate::adapter::{Adapter, Boundary};
use crate::bootstrap::bootstrap;
use crate::checkpoints::Checkpoints;
use crate::config::ReplicaConfig;
use crate::flusher::Flusher;
use crate::hard_state::HardState;
use crate::heard::Heard;
use crate::leadership::{GivenUp, has_lease, watch_leadership};
use crate::lease::{Leases, leases};
use crate::log_store::LogStore;
use crate::network::{self, Network, PeerServer, Served};
use crate::peers::Peers;
use crate::proposal::{Committed, Proposal, ProposeError, Reply, verdict};
use crate::room::Room;
use crate::state_machine::StateMachine;
use crate::types::{NodeId, RaftLogId, TypeConfig, committed_leader, from_raft, to_raft};

pub use crate::leadership::{Leadership, Role};
pub use crate::store::{StartError, Store};

/// Peers whose connections wait to be accepted.
const BACKLOG: u32 = 1024;
/// How long a trim waits for openraft: the entries may be on their way to a follower.
const TRIM_WITHIN: Duration = Duration::from_secs(30);
/// How long stopping waits for openraft's tasks to let go of the store.
const RELEASE_WITHIN: Duration = Duration::from_secs(10);

/// The marks of a replica's log, all inclusive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Last entry in the log.
    pub last_log: Option<LogId>,
    /// Last entry on this replica's disk.
    pub flushed: Option<LogId>,
    /// Last entry known to be on the disks of a quorum.
    pub committed: Option<LogId>,
    /// Last entry that the state contains.
    pub applied: Option<LogId>,
    /// Last entry that was trimmed.
    pub trimmed: Option<LogId>,
    /// Per replica (a leader knows): the index of the last entry that it has on disk.
    pub matched: BTreeMap<NodeId, Option<u64>>,
}

/// A running replica. Cheap to clone.
///
/// Stop it with [`Node::shutdown`]; when the last clone is dropped without, it stops too, some time
/// later.
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
    room: Room,
    checkpoints: Checkpoints,
    /// Where the log shall start, for the snapshot builder.
    trim_target: Arc<Mutex<Option<u64>>>,
    /// One trim at a time: they share the target.
    trimming: tokio::sync::Mutex<()>,
    leadership: watch::Receiver<Leadership>,
    applied: watch::Receiver<Option<LogId>>,
    heard: Heard,
    given_up: GivenUp,
    known: Arc<Peers>,
    running: tokio::sync::Mutex<Option<Running>>,
}

/// What [`Node::shutdown`] ends.
struct Running {
    server: PeerServer,
    bootstrap: JoinSet<()>,
    leadership: JoinSet<()>,
    leases: Leases,
}

impl Node {
    /// Starts the replica on an opened store. The state machine must be at [`StateMachine::saved`];
    /// what was committed behind it is applied again.
    pub async fn start(store: Store, machine: Box<dyn StateMachine>) -> Result<Self, StartError> {
        // First of all, so that nothing runs yet if somebody else is there.
        let listen = store.config.listen;
        let listener =
            net::listen(listen, BACKLOG).map_err(|source| StartError::Listen { addr: listen, source })?;
        let path = store.config.store.join("checkpoints");
        let checkpoints = Checkpoints::open(&path).map_err(|source| StartError::Io {
            what: "cannot open",
            path,
            source,
        })?;
        let flusher = Flusher::start(store.log.clone(), store.hard.clone()).map_err(|source| {
            let path = store.config.store.clone();
            StartError::Io { what: "cannot start the I/O threads for", path, source }
        })?;
        let launched = Inner::launch(store, machine, listener, checkpoints, flusher.clone()).await;
        if launched.is_err() {
            // Joins the threads, so that the store is free.
            let _ = trireme_runtime::blocking(move || flusher.stop()).await;
        }
        Ok(Self { inner: Arc::new(launched?) })
    }

    /// Proposes one entry as the leader of `term`; `done` is called exactly once, on the task that
    /// applies, so it must not block. Returns when the proposal is queued: entries proposed one after
    /// the other are appended in that order.
    ///
    /// A leader that lost its quorum may still believe to lead: it refuses what it is sure about
    /// ([`ProposeError::NotLeader`], also with the term that [`Node::leadership`] shows), and `done` for
    /// what it appended comes when the group has a leader again, however late. Ask [`Node::makes_room`]
    /// before: an entry for which there is none stops the replica.
    pub async fn propose(
        &self,
        term: u64,
        mut proposal: Proposal,
        done: impl FnOnce(Result<Committed, ProposeError>) + Send + 'static,
    ) {
        proposal.promise = Some(self.inner.room.promise(proposal.frame.frame_len()));
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

    /// Whether this replica leads and may say so: it is ready, has not given its term up, and within its lease no other can lead.
    ///
    /// What a leader answers without writing to the log, it must ask this for, at the time it answers: one
    /// that was frozen, or that is cut off from its group, is still ready by its own lights.
    pub fn leads(&self) -> bool {
        let inner = &self.inner;
        if planted::is(Defect::LeaseNotChecked) {
            return inner.leadership.borrow().ready;
        }
        let may_lead = {
            let now = inner.leadership.borrow();
            now.ready && !inner.given_up.is_given_up(now.term)
        };
        may_lead && has_lease(&inner.raft, inner.config.timing.election_max)
    }

    /// Whether this replica led, and gave its term up since no quorum answers: [`Leadership::cut_off`].
    pub fn is_cut_off(&self) -> bool {
        self.inner.leadership.borrow().cut_off
    }

    /// Whether a leader was heard of so lately that it is likely to answer what is passed on to it. One that is frozen, or
    /// cut off, is followed until another is elected.
    pub fn hears_leader(&self) -> bool {
        self.inner.heard.within(self.inner.config.timing.election_min)
    }

    /// The next heartbeat of a leader, counted from when the future is enabled or first polled.
    pub fn next_heartbeat(&self) -> Notified<'_> {
        self.inner.heard.next()
    }

    /// What is known of the other replicas, beside what Raft does.
    pub fn peers(&self) -> &Arc<Peers> {
        &self.inner.known
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

    /// Identity and saved metadata.
    pub fn hard_state(&self) -> &HardState {
        &self.inner.hard
    }

    /// The marks of the log.
    pub fn progress(&self) -> Progress {
        let metrics = self.inner.raft.data_metrics().borrow_watched().clone();
        let ours = |id: Option<RaftLogId>| id.as_ref().map(from_raft);
        let matched = metrics.replication.into_iter().flatten();
        Progress {
            last_log: self.inner.log.last(),
            flushed: self.inner.log.flushed(),
            committed: ours(metrics.local_committed),
            applied: *self.inner.applied.borrow(),
            trimmed: self.inner.log.trimmed(),
            matched: matched.map(|(node, id)| (node, id.map(|id| id.index()))).collect(),
        }
    }

    /// Whether a proposal with a payload of so many bytes fits beside those that wait to be appended; if
    /// not, the disk is full, or the proposal is larger than a segment or a message between peers can
    /// be, and it must not be made. Entries of less than 7/16 of a segment fit as long as the disk has
    /// space for a segment.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.inner.room.fits(bytes)
    }

    /// The same, and waits until the next segment is prepared, if that is all that is missing: on a slow disk it may come later than
    /// what is to go there.
    pub async fn makes_room(&self, bytes: u64) -> bool {
        self.inner.room.makes_room(bytes).await
    }

    /// Physical offsets at which the log can be made to start, ascending: where checkpoints are of what is applied. After
    /// a start there may be later ones, which the last run has recorded and this one is about to. One that is damaged may
    /// be among them. Blocks on the disk.
    pub fn trim_points(&self) -> io::Result<Vec<u64>> {
        let checkpoints = &self.inner.checkpoints;
        let mut points = checkpoints.list()?;
        // What cannot be read at the end is no place to start from, and says nothing of what lies before it.
        let is_applied =
            |at| matches!(checkpoints.load(at), Ok(Some(stored)) if self.has_applied(stored.log_id));
        while points.pop_if(|at| !is_applied(*at)).is_some() {}
        Ok(points)
    }

    fn has_applied(&self, id: LogId) -> bool {
        self.inner.applied.borrow().is_some_and(|applied| id.index <= applied.index)
    }

    /// What the state machine wrote for the checkpoint at one of [`Node::trim_points`]. `None` if there is none. Blocks on
    /// the disk.
    ///
    /// Errors: `InvalidData` if it is damaged.
    pub fn checkpoint(&self, physical_offset: u64) -> io::Result<Option<Bytes>> {
        let stored = self.inner.checkpoints.load(physical_offset)?;
        Ok(stored.map(|stored| stored.checkpoint.state))
    }

    /// Makes the log start at `physical_offset`, one of [`Node::trim_points`]. Returns when the entries
    /// before it can no longer be read; the segments that hold them go away in the background. Does
    /// nothing if the log starts there or later.
    ///
    /// Errors: `NotFound` if there is no checkpoint; `WouldBlock` if it is ahead of what is applied; `TimedOut` if the
    /// entries are still on their way to a follower. They are then trimmed when it has them or is given up.
    pub async fn trim(&self, physical_offset: u64) -> io::Result<()> {
        let inner = &self.inner;
        let _one_at_a_time = inner.trimming.lock().await;
        let checkpoints = inner.checkpoints.clone();
        let loaded = blocking(move || checkpoints.load(physical_offset)).await?;
        let stored = loaded.ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("there is no checkpoint at {physical_offset}"))
        })?;
        if !self.has_applied(stored.log_id) {
            let reason = format!("cannot trim to {physical_offset}: what lies before it is not applied yet");
            return Err(io::Error::new(io::ErrorKind::WouldBlock, reason));
        }
        if inner.log.min_physical_offset() < physical_offset {
            let wanted = Some(to_raft(stored.log_id));
            let late = |error: &dyn std::fmt::Display| {
                io::Error::new(io::ErrorKind::TimedOut, format!("cannot trim to {physical_offset}: {error}"))
            };
            *inner.trim_target.lock() = Some(physical_offset);
            inner.raft.trigger().snapshot().await.map_err(io::Error::other)?;
            let taken = inner.raft.wait(Some(TRIM_WITHIN));
            taken
                .metrics(|metrics| wanted <= metrics.snapshot, "the snapshot is at the boundary")
                .await
                .map_err(|error| late(&error))?;
            *inner.trim_target.lock() = None;
            let checkpoints = inner.checkpoints.clone();
            blocking(move || checkpoints.sync()).await?;
            inner.raft.trigger().purge_log(stored.log_id.index).await.map_err(io::Error::other)?;
            let trimmed = inner.raft.wait(Some(TRIM_WITHIN));
            trimmed
                .metrics(|metrics| wanted <= metrics.purged, "no follower is being sent the entries")
                .await
                .map_err(|error| late(&error))?;
        }
        // Only now, and only what lies before the log as it is: its start needs its checkpoint.
        let (checkpoints, start) = (inner.checkpoints.clone(), inner.log.min_physical_offset());
        blocking(move || checkpoints.remove_before(start)).await
    }

    /// Asks `to` to take over. Returns at once; watch [`Node::leadership`]. From then on this replica leads no more, whether or
    /// not `to` does. Does nothing on a replica that does not lead.
    ///
    /// Errors: `InvalidInput` if `to` is not another voter of the group.
    pub async fn transfer_leader(&self, to: NodeId) -> io::Result<()> {
        let (members, state, term) = {
            let metrics = self.inner.raft.server_metrics();
            let now = metrics.borrow_watched();
            (now.membership_config.clone(), now.state, now.vote.leader_id.term)
        };
        if to == self.inner.config.node || !members.membership().voter_ids().any(|voter| voter == to) {
            let reason = format!("node {to} is not another voter of this group");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        if state != ServerState::Leader {
            return Ok(());
        }
        self.inner.given_up.give_up(term, &self.inner.raft, to).await.map_err(io::Error::other)
    }

    /// Hands leadership over, if there is somebody to take it; then stops the peer listener, Raft and the
    /// I/O threads. What was acknowledged is on disk already: this only saves the group an election
    /// timeout, proposers an unknown outcome, and the next start some time.
    ///
    /// On return nothing is applied any more, and nobody but this node and its clones uses the store.
    pub async fn shutdown(&self) {
        let mut slot = self.inner.running.lock().await;
        let Some(mut running) = slot.take() else { return };
        self.hand_over().await;
        running.server.stop().await;
        running.bootstrap.shutdown().await;
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::warn!(%error, "raft ended with an error");
        }
        // Ends by itself, having published that we stopped.
        while running.leadership.join_next().await.is_some() {}
        let flusher = self.inner.flusher.clone();
        let stopped = trireme_runtime::blocking(move || flusher.stop()).await;
        if let Err(error) = stopped {
            tracing::warn!(%error, "the I/O threads ended with an error");
        }
        if tokio::time::timeout(RELEASE_WITHIN, running.leases.ended()).await.is_err() {
            tracing::warn!("a task of the stopped replica still uses its store");
        }
    }
}

impl Node {
    /// Lets another replica lead, and returns when it does and what this one appended is applied here. Does
    /// nothing on a replica that does not lead. Takes an election timeout at most: after that the others help
    /// themselves.
    ///
    /// Who is to take over does so when the last entry is on its disk, and gives up if that takes an election timeout. So the
    /// others are asked as well, and again, until one does: who comes first has the old leader's vote.
    pub async fn hand_over(&self) {
        let us = self.inner.config.node;
        let mut leadership = self.leadership();
        if leadership.borrow().role != Role::Leader {
            return;
        }
        let timing = self.inner.config.timing;
        let successors = self.successors();
        if successors.is_empty() {
            return;
        }
        let handed_over = async {
            for to in successors.iter().cycle() {
                self.transfer_leader(*to).await.ok()?;
                let led = leadership.wait_for(|now| now.leader.is_some_and(|leader| leader != us));
                if let Ok(led) = tokio::time::timeout(timing.election_min / 4, led).await {
                    led.ok()?;
                    break;
                }
            }
            // What we appended is committed by the next leader; our proposers hear it from us.
            let last = self.inner.log.last();
            let mut applied = self.applied();
            applied.wait_for(|applied| last <= *applied).await.ok().map(drop)
        };
        if tokio::time::timeout(timing.election_max, handed_over).await.is_err() {
            tracing::info!(node = us, ?successors, "leadership not handed over in time");
        }
    }

    /// The voters that answered lately, those that have most of our log first.
    fn successors(&self) -> Vec<NodeId> {
        let us = self.inner.config.node;
        let members = self.inner.raft.server_metrics().borrow_watched().membership_config.clone();
        let Some(matched) = self.inner.raft.data_metrics().borrow_watched().replication.clone() else {
            return Vec::new();
        };
        let lately = self.inner.config.timing.election_min;
        let voters =
            members.membership().voter_ids().filter(|node| *node != us && self.was_heard(*node, lately));
        let mut voters: Vec<NodeId> = voters.collect();
        voters.sort_by_key(|node| std::cmp::Reverse(matched.get(node).copied().flatten()));
        voters
    }

    /// Whether a replica has answered this one, which leads, since so long ago.
    pub(crate) fn was_heard(&self, node: NodeId, within: Duration) -> bool {
        let metrics = self.inner.raft.data_metrics().borrow_watched().clone();
        let last = metrics.heartbeat.and_then(|heard| heard.get(&node).copied().flatten());
        last.is_some_and(|at| at.elapsed() < within)
    }

    pub(crate) fn raft(&self) -> &Raft<TypeConfig, Adapter> {
        &self.inner.raft
    }
}

impl Inner {
    async fn launch(
        store: Store,
        machine: Box<dyn StateMachine>,
        listener: TcpListener,
        checkpoints: Checkpoints,
        flusher: Flusher,
    ) -> Result<Self, StartError> {
        let Store { config, log, hard, peers: known, mender } = store;
        let failed = |error: &dyn std::fmt::Display| StartError::Raft(error.to_string());
        let (lease, leases) = leases();
        let (tell_applied, applied) = watch::channel(None);
        let boundary = Boundary::new(checkpoints.clone(), log.clone(), lease.clone());
        let trim_target = boundary.target.clone();
        let adapter = Adapter::new(machine, hard.clone(), boundary, flusher.flushed(), tell_applied)
            .map_err(|error| failed(&error))?;
        let logs =
            LogStore::new(log.clone(), hard.clone(), flusher.clone(), checkpoints.clone(), lease.clone())
                .map_err(|error| failed(&error))?
                .mended_by(mender);
        let us = network::caller(&config, hard.identity().store_id, known.clone());
        let peers = Network::new(us.clone(), config.peers.clone(), config.replication_window);
        let raft_config = Arc::new(raft_config(&config).validate().map_err(|error| failed(&error))?);
        let raft = Raft::new(config.node, raft_config, peers, logs, adapter)
            .await
            .map_err(|error| failed(&error))?;

        known.watch(raft.data_metrics());
        let room = Room::new(log.clone());
        let heard = Heard::new();
        let served = Served::new(raft.clone(), room.clone(), us.clone(), heard.clone(), lease);
        let server = PeerServer::start(listener, Arc::new(served));
        let (tell_leadership, leadership) = watch::channel(Leadership::default());
        let mut watching = JoinSet::new();
        let given_up = GivenUp::new();
        let (node, timing) = (config.node, config.timing);
        let watch =
            watch_leadership(raft.clone(), node, timing, applied.clone(), given_up.clone(), tell_leadership);
        watching.spawn(watch);
        let mut founding = JoinSet::new();
        if !config.joins && config.peers.keys().next() == Some(&config.node) {
            founding.spawn(bootstrap(raft.clone(), config.clone(), us));
        }
        let running = Running { server, bootstrap: founding, leadership: watching, leases };
        Ok(Self {
            config,
            raft,
            log,
            hard,
            flusher,
            room,
            checkpoints,
            trim_target,
            trimming: tokio::sync::Mutex::default(),
            leadership,
            applied,
            heard,
            given_up,
            known,
            running: tokio::sync::Mutex::new(Some(running)),
        })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.flusher.end();
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
        // A leader that starts again must be elected anew. It may have lost, with its machine's power,
        // entries that its followers had on disk and committed; going on in the same term it would
        // give their log ids to other entries.
        enable_leader_restore: Some(false),
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

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    trireme_runtime::blocking(work).await.map_err(io::Error::other)?
}
