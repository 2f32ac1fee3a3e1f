//! One replica of a broker group: opens the store, starts every part, serves, stops.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use trireme_planted::{self as planted, Defect};
use trireme_raft::node::{Node, Progress, StartError, Store};
use trireme_raft::{LogId, StoredState};
use trireme_remoting::message::{UniqKeyGenerator, properties, property};
use trireme_remoting::server::BindError;
use trireme_remoting::{Client, ClientOptions, Server, ServerOptions};

use crate::applier::{self, Applier};
use crate::clock::Clock;
use crate::codec;
use crate::config::BrokerConfig;
use crate::disk::{self, Disk};
use crate::entry::Entry;
use crate::features::clients::Clients;
use crate::features::locks::Locks;
use crate::features::offsets::Gather;
use crate::features::pull::{Parked, Readers};
use crate::features::retention::{Policy, Retention};
use crate::features::scrub::{Mender, Scrub};
use crate::features::{
    clients, delay, leadership, members, offsets, pull, retention, scrub, upgrade, witness,
};
use crate::indexer;
use crate::queues::consume::{self, ConsumeQueues, Position, Rebuild};
use crate::queues::keys::{self, KeyIndex};
use crate::registration;
use crate::router::contact::{self, Contact};
use crate::router::{Router, forwarding};
use crate::saver::{self, Saver};
use crate::sequencer::Sequencer;
use crate::state::State;

/// How long open requests may take when the replica stops.
const DRAIN: Duration = Duration::from_secs(2);

/// Why a broker replica does not start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The store or Raft.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The saved state does not decode.
    #[error(
        "the saved state in {path} is damaged: {reason}; replace this replica by a new one with a new id"
    )]
    State {
        /// The store.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The ConsumeQueues or the key index.
    #[error("derived files in {path}: {source}")]
    Queues {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        source: crate::queues::Error,
    },
    /// The log cannot be read where derived files are to be rebuilt from it.
    #[error("the commit log cannot be read while rebuilding derived files: {0}")]
    Rebuild(String),
    /// The system gives no threads.
    #[error("the threads that read for consumers cannot be started: {0}")]
    Threads(std::io::Error),
    /// The client listener.
    #[error("client port: {0}")]
    Listen(#[from] BindError),
}

/// What every request handler sees.
pub struct Shared {
    /// As started.
    pub config: BrokerConfig,
    /// Raft.
    pub node: Node,
    /// Replicated state.
    pub state: Arc<RwLock<State>>,
    /// Message positions per queue.
    pub queues: ConsumeQueues,
    /// Message positions per key.
    pub keys: KeyIndex,
    /// The way into the log.
    pub sequencer: Sequencer,
    /// Consumers' positions on their way into the log.
    pub gather: Gather,
    /// Who is connected; local.
    pub clients: Clients,
    /// Locks of ordered queues; local.
    pub locks: Locks,
    /// When this replica was out of contact with its group.
    pub contact: Contact,
    /// Pulls that wait for messages; local.
    pub parked: Parked,
    /// Who waits for the disk, for consumers that are behind.
    pub readers: Readers,
    /// What is done with old messages.
    pub retention: Retention,
    /// Connections to the group's other replicas and to name servers.
    pub remote: Client,
    /// Wall-clock time.
    pub clock: Clock,
    /// Free room on the disk.
    pub disk: Disk,
    /// Told when topics changed, so that name servers are.
    pub topics_changed: tokio::sync::Notify,
    /// The first entry that the key index does not contain yet.
    pub indexed: tokio::sync::watch::Sender<u64>,
    /// Damage of the key index that is to be mended.
    pub index_damage: indexer::Damage,
    /// Damage of the log.
    pub scrub: Scrub,
    /// Who mends it.
    pub mender: Arc<Mender>,
    /// This replica was removed from its group.
    pub removed: watch::Sender<bool>,
    /// Room for requests that wait for a leader.
    pub waiting: Arc<Semaphore>,
    /// What the broker adds to every message's properties.
    pub property_suffix: String,
    /// When this process started to serve, in milliseconds since 1970.
    pub boot_timestamp: i64,
    /// Ids for messages that come without.
    pub unique_keys: UniqKeyGenerator,
}

/// A running broker replica.
pub struct Broker {
    shared: Arc<Shared>,
    saver: Saver,
    servers: Mutex<Vec<Server>>,
    addr: SocketAddr,
    tasks: tokio::sync::Mutex<(JoinSet<()>, Option<oneshot::Sender<()>>)>,
    crashed: watch::Receiver<bool>,
}

impl Broker {
    /// Starts a replica. `store_id` is a random number, used if the store is new.
    ///
    /// Returns when clients and peers are served; whether anybody leads the group then, is another
    /// matter.
    pub async fn start(config: BrokerConfig, clock: Clock, store_id: u128) -> Result<Self, BrokerError> {
        let replica = config.replica();
        let open = move || {
            let path = replica.store.clone();
            disk::make_room(&path).map_err(|source| StartError::Io { what: "no room in", path, source })?;
            Store::open(&replica, store_id)
        };
        let store = trireme_runtime::blocking(open)
            .await
            .map_err(|error| BrokerError::Rebuild(error.to_string()))??;
        let opened = {
            let config = config.clone();
            trireme_runtime::blocking(move || Opened::open(&config, store))
                .await
                .map_err(|error| BrokerError::Rebuild(error.to_string()))??
        };
        let Opened { mut store, state, queues, keys, saved } = opened;
        let remote = Client::new(ClientOptions::default(), None);
        let mender = Arc::new(Mender::new(&config, &store, remote.clone()));
        store.mender = Some(mender.clone());
        let state = Arc::new(RwLock::new(state));
        let parked = Parked::new();
        let saver = Saver::new();
        let hard = store.hard.clone();
        let peers = store.peers.clone();
        let applier =
            Applier::new(state.clone(), queues.clone(), parked.clone(), saver.clone(), peers, saved);
        let readers = Readers::start().map_err(BrokerError::Threads)?;
        let node = Node::start(store, Box::new(applier)).await?;
        let policy = Policy { keep: config.retention, keep_bytes: config.retention_bytes };
        let shared = Arc::new(Shared {
            disk: Disk::new(config.store.clone(), config.disk_reserve_bytes, config.disk_trim_bytes),
            sequencer: Sequencer::new(clock.clone()),
            gather: Gather::new(),
            retention: Retention::new(policy),
            clients: Clients::new(),
            locks: Locks::new(),
            contact: Contact::default(),
            remote,
            topics_changed: tokio::sync::Notify::new(),
            indexed: tokio::sync::watch::channel(0).0,
            index_damage: indexer::Damage::default(),
            scrub: Scrub::default(),
            mender,
            removed: watch::channel(false).0,
            waiting: Arc::new(Semaphore::new(forwarding::MAX_WAITING)),
            boot_timestamp: clock.now_ms(),
            property_suffix: property_suffix(&config),
            unique_keys: UniqKeyGenerator::new(config.broker_addr().ip(), std::process::id(), salt(store_id)),
            config,
            node,
            state,
            queues,
            keys,
            parked,
            readers,
            clock,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let (state, queues, saves) = (shared.state.clone(), shared.queues.clone(), saver.clone());
            let copy = move || applier::copies(&state, &queues, &saves);
            let peers = shared.node.peers().clone();
            saver.clone().run(hard, peers, shared.queues.clone(), shared.keys.clone(), copy)
        });
        tasks.spawn({
            let shared = shared.clone();
            let state = shared.state.clone();
            let last = move || state.read().general.last_store_timestamp;
            let disk = shared.disk.clone();
            shared.sequencer.clone().run(shared.node.clone(), shared.queues.clone(), disk, last)
        });
        tasks.spawn(offsets::run(shared.clone()));
        tasks.spawn(delay::run(shared.clone()));
        tasks.spawn(pull::run(shared.clone()));
        tasks.spawn(clients::run(shared.clone()));
        tasks.spawn(indexer::run(shared.clone()));
        tasks.spawn(retention::run(shared.clone()));
        tasks.spawn(registration::run(shared.clone()));
        tasks.spawn(members::run(shared.clone()));
        tasks.spawn(scrub::run(shared.clone()));
        tasks.spawn(upgrade::run(shared.clone()));
        tasks.spawn(witness::run(shared.clone()));
        tasks.spawn(contact::run(shared.clone()));
        tasks.spawn(shared.disk.clone().watch());
        let (servers, addr) = listen(&shared)?;
        let (tell, crashed) = watch::channel(false);
        let (stop, stopped) = oneshot::channel();
        let mut supervisor = JoinSet::new();
        supervisor.spawn(supervise(tasks, tell, stopped));
        let (servers, tasks) = (Mutex::new(servers), tokio::sync::Mutex::new((supervisor, Some(stop))));
        Ok(Self { shared, saver, servers, addr, tasks, crashed })
    }

    /// Where clients are served.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Raft's side of the replica: who leads, how far the log is.
    pub fn node(&self) -> &Node {
        &self.shared.node
    }

    /// The marks of the log.
    pub fn progress(&self) -> Progress {
        self.shared.node.progress()
    }

    /// Messages applied so far, over all queues.
    pub fn message_count(&self) -> u64 {
        self.shared.queues.positions().iter().map(|p| p.next_queue_offset).sum()
    }

    /// The entry that was applied last, and a checksum of each part of the replicated state as of then: those of replicas
    /// that have applied the same entries are the same. `None` while an entry is being applied. Encodes all of the state.
    pub fn digest(&self) -> Option<(LogId, BTreeMap<String, u32>)> {
        let (at, parts, positions) = applier::copies(&self.shared.state, &self.shared.queues, &self.saver)?;
        // Where a queue begins is each replica's own.
        let mut ends: Vec<(u32, u32, u64)> =
            positions.iter().map(|p| (p.queue.topic_id, p.queue.queue_id, p.next_queue_offset)).collect();
        ends.retain(|(_, _, end)| *end > 0);
        ends.sort_unstable();
        let mut sums: BTreeMap<String, u32> =
            parts.into_iter().map(|(name, bytes)| (name, crc32c::crc32c(&bytes))).collect();
        sums.insert("queues".to_owned(), crc32c::crc32c(&codec::encode(&ends)));
        Some((at, sums))
    }

    /// Resolves when the replica has stopped by itself: a failed disk, a broken invariant; or shall stop, since it was
    /// removed from its group, or has less than it had.
    pub async fn stopped(&self) {
        let mut leadership = self.shared.node.leadership();
        let (mut crashed, mut removed) = (self.crashed.clone(), self.shared.removed.subscribe());
        let mut outdated = self.shared.node.peers().outdated();
        // An error means that the watching task ended, which it does when Raft stopped.
        tokio::select! {
            _ = leadership.wait_for(|now| now.role == trireme_raft::node::Role::Stopped) => {}
            _ = crashed.wait_for(|crashed| *crashed) => {}
            _ = removed.wait_for(|removed| *removed) => {}
            _ = outdated.wait_for(Option::is_some) => {}
        }
    }

    /// Stops in order: hands leadership over while it still serves, takes no more requests, answers those that
    /// are open, saves the state.
    pub async fn shutdown(&self) {
        leadership::hand_over(&self.shared).await;
        // A pull that waits for messages would hold up the drain for as long as that may take, and then hear
        // nothing.
        self.shared.parked.close();
        let servers = std::mem::take(&mut *self.servers.lock());
        let mut draining = JoinSet::new();
        for server in servers {
            draining.spawn(server.shutdown(DRAIN));
        }
        while draining.join_next().await.is_some() {}
        let shared = self.shared.clone();
        let _ = trireme_runtime::blocking(move || shared.readers.stop()).await;
        self.shared.node.shutdown().await;
        // Nothing is applied any more, unless apply has failed or hangs in the middle of an entry: then what
        // was saved last is what the next start goes on from.
        if let Some((at, parts, positions)) =
            applier::copies(&self.shared.state, &self.shared.queues, &self.saver)
        {
            self.saver.save(at, parts, positions);
        }
        self.saver.finish().await;
        self.shared.remote.shutdown();
        // Until they are gone they use the store, and nobody can open it again.
        let mut tasks = self.tasks.lock().await;
        let (supervisor, stop) = &mut *tasks;
        drop(stop.take());
        while supervisor.join_next().await.is_some() {}
    }
}

/// Waits for the replica's tasks, and tells of one that crashed: a leader whose sequencer is gone would hold
/// the lead and serve nobody. Ends them, and with them, when `stopped` says so; aborted, it aborts them.
async fn supervise(mut tasks: JoinSet<()>, crashed: watch::Sender<bool>, stopped: oneshot::Receiver<()>) {
    let watch = async {
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(%error, "a task of the replica crashed; the replica stops");
                crashed.send_replace(true);
            }
        }
        // Nobody is told that there is nothing left to wait for.
        std::future::pending::<()>().await
    };
    tokio::select! {
        () = watch => {}
        _ = stopped => {}
    }
    tasks.shutdown().await;
}

/// As RocketMQ adds them: consumers' traces and request-reply read them.
fn property_suffix(config: &BrokerConfig) -> String {
    properties::build([
        (property::CLUSTER, config.cluster.as_str()),
        (property::MSG_REGION, "DefaultRegion"),
        (property::TRACE_ON, "true"),
    ])
}

fn salt(store_id: u128) -> u32 {
    (store_id >> 96) as u32
}

fn listen(shared: &Arc<Shared>) -> Result<(Vec<Server>, SocketAddr), BrokerError> {
    let router = Arc::new(Router::new(shared.clone()));
    let mut addrs = vec![shared.config.listen];
    if shared.config.vip_port && shared.config.listen.port() > 2 {
        let mut vip = shared.config.listen;
        vip.set_port(vip.port() - 2);
        addrs.push(vip);
    }
    let mut servers = Vec::new();
    for addr in addrs {
        let server = Server::bind(addr, ServerOptions::default(), router.clone())?;
        servers.push(server);
    }
    let addr = servers[0].local_addr();
    Ok((servers, addr))
}

/// Everything that is read from the disk before the replica runs.
struct Opened {
    store: Store,
    state: State,
    queues: ConsumeQueues,
    keys: KeyIndex,
    saved: Option<LogId>,
}

impl Opened {
    fn open(config: &BrokerConfig, store: Store) -> Result<Self, BrokerError> {
        let damaged = |reason: String| BrokerError::State { path: config.store.clone(), reason };
        let StoredState { mut log_id, mut parts } = store.hard.load_state().map_err(StartError::from)?;
        if planted::is(Defect::SavedAhead) {
            log_id = log_id.map(|id| LogId { index: id.index + 1, ..id });
        }
        if let Some(positions) =
            parts.get_mut("offsets").filter(|_| planted::is(Defect::SavedWithoutPositions))
        {
            *positions = State::new(&config.cluster, &config.group).checkpoint()["offsets"].clone();
        }
        // A store that was saved nothing yet starts with the state that every group starts with.
        let state = match log_id {
            Some(_) => State::restore(&parts).map_err(|error| damaged(error.to_string()))?,
            None => State::new(&config.cluster, &config.group),
        };
        let positions = saver::positions(&parts).map_err(|error| damaged(error.to_string()))?;
        let log_start = store.log.min_physical_offset();
        let queues_path = config.store.join("consumequeue");
        let opened = ConsumeQueues::open(&queues_path, consume::Options::STANDARD, &positions, log_start)
            .map_err(|source| BrokerError::Queues { path: queues_path, source })?;
        rebuild(&store, &opened.queues, &opened.rebuild, log_id)?;
        let keys_path = config.store.join("index");
        let options = keys::Options { range_bytes: config.segment_bytes, ..keys::Options::STANDARD };
        let keys = KeyIndex::open(&keys_path, options)
            .map_err(|source| BrokerError::Queues { path: keys_path, source })?;
        Ok(Self { store, state, queues: opened.queues, keys, saved: log_id })
    }
}

/// Rebuilds the queues whose files are damaged or shorter than they were saved, from the log.
fn rebuild(
    store: &Store,
    queues: &ConsumeQueues,
    damaged: &[Rebuild],
    saved: Option<LogId>,
) -> Result<(), BrokerError> {
    let (Some(saved), false) = (saved, damaged.is_empty()) else { return Ok(()) };
    let failed = |error: &dyn std::fmt::Display| BrokerError::Rebuild(error.to_string());
    for one in damaged {
        tracing::warn!(queue = %one.position.queue, reason = %one.reason, "rebuilding a ConsumeQueue from the log");
    }
    let mut waiting: HashSet<_> = damaged.iter().map(|one| one.position.queue).collect();
    let all = waiting.clone();
    let mut next = store.log.trimmed().map_or(0, |id| id.index + 1);
    while next <= saved.index {
        let frames =
            store.log.read(next, saved.index + 1, 16 * 1024 * 1024).map_err(|error| failed(&error))?;
        if frames.is_empty() {
            break;
        }
        for frame in frames {
            next = frame.id.index + 1;
            if frame.kind != trireme_raft::proposal::KIND {
                continue;
            }
            let entry = Entry::parse(&frame.payload()).map_err(|error| failed(&error))?;
            for stored in entry.stored() {
                let stored = stored.map_err(|error| failed(&error))?;
                if !all.contains(&stored.queue) {
                    continue;
                }
                if waiting.remove(&stored.queue) {
                    queues.reset_queue(stored.queue, stored.queue_offset).map_err(|error| failed(&error))?;
                }
                let unit = stored.unit(frame.payload_physical_offset());
                queues.append(stored.queue, stored.queue_offset, unit).map_err(|error| failed(&error))?;
            }
        }
    }
    // Queues without a message in the log only remember where they were.
    for Position { queue, next_queue_offset, .. } in damaged.iter().map(|one| one.position) {
        if waiting.contains(&queue) {
            queues.reset_queue(queue, next_queue_offset).map_err(|error| failed(&error))?;
        }
    }
    Ok(())
}
