//! The called side: peers' connections, each served according to its lane.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use futures_util::future::{Either, select};
use futures_util::pin_mut;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Raft, type_config::alias::StoredMembershipOf};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Duration, timeout};
use trireme_commitlog::LogId;
use trireme_runtime::net::{TcpListener, TcpStream};

use super::link::Caller;
use super::requests::{bulk, control, snapshot};
use super::wire::{self, Hello, HelloMore, HelloReply, HelloReplyMore, Kind, Lane, Message, Outgoing};
use crate::adapter::Adapter;
use crate::codec::{from_wire, to_wire};
use crate::heard::Heard;
use crate::lease::Lease;
use crate::peers::OLDEST_VERSION;
use crate::room::Room;
use crate::types::{NodeId, TypeConfig};

/// A stranger has this long to say who he is.
const HELLO_WITHIN: Duration = Duration::from_secs(2);
/// Strangers who have not said yet who they are; more are turned away.
const STRANGERS: usize = 128;
/// What is still to be said has this long when the peer has closed its side.
const LINGER: Duration = Duration::from_secs(1);
/// Replies that may wait for the socket.
const REPLY_QUEUE: usize = 64;

/// What every connection needs.
pub struct Served {
    pub raft: Raft<TypeConfig, Adapter>,
    pub room: Room,
    pub us: Caller,
    /// Told of each heartbeat that is accepted.
    pub heard: Heard,
    _lease: Lease,
}

impl Served {
    /// What connections work on.
    pub fn new(raft: Raft<TypeConfig, Adapter>, room: Room, us: Caller, heard: Heard, lease: Lease) -> Self {
        Self { raft, room, us, heard, _lease: lease }
    }
}

/// The peer listener of one replica. Dropping it closes the listener and every connection.
pub struct PeerServer {
    accepting: JoinSet<()>,
}

impl PeerServer {
    /// Serves peers on `listener`.
    pub fn start(listener: TcpListener, served: Arc<Served>) -> Self {
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, served));
        Self { accepting }
    }

    /// Closes the listener and every connection. The port is free when it returns.
    pub async fn stop(mut self) {
        self.accepting.shutdown().await;
    }
}

/// Who is connected: one connection per peer and lane. A peer that connects again has given up the
/// last one, even if we cannot tell yet because its host vanished or because Raft is busy.
#[derive(Default)]
struct Lanes(Mutex<BTreeMap<(NodeId, Lane), Arc<Notify>>>);

impl Lanes {
    /// Ends the peer's last connection of this lane. The new one ends when it is told.
    fn enter(&self, peer: (NodeId, Lane)) -> Arc<Notify> {
        let replaced = Arc::new(Notify::new());
        if let Some(last) = self.0.lock().insert(peer, replaced.clone()) {
            last.notify_one();
        }
        replaced
    }

    fn leave(&self, peer: (NodeId, Lane), ours: &Arc<Notify>) {
        let mut lanes = self.0.lock();
        if lanes.get(&peer).is_some_and(|current| Arc::ptr_eq(current, ours)) {
            lanes.remove(&peer);
        }
    }
}

async fn accept(listener: TcpListener, served: Arc<Served>) {
    // Owned here, so that connections end with the listener.
    let mut connections = JoinSet::new();
    let lanes = Arc::new(Lanes::default());
    let strangers = Arc::new(Semaphore::new(STRANGERS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Ok(stranger) = strangers.clone().try_acquire_owned() else {
                    tracing::debug!(%peer, "too many strangers on the peer port");
                    continue;
                };
                let (served, lanes) = (served.clone(), lanes.clone());
                connections.spawn(async move {
                    if let Err(error) = serve(stream, &served, &lanes, stranger).await {
                        tracing::info!(%peer, %error, "peer connection closed");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a peer connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    served: &Arc<Served>,
    lanes: &Lanes,
    stranger: OwnedSemaphorePermit,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = BytesMut::new();
    let first = timeout(HELLO_WITHIN, wire::read_message(&mut stream, &mut buffer, wire::MAX_HELLO)).await;
    let Some(first) = first.map_err(|_| wire::invalid("said nothing in time"))?? else { return Ok(()) };
    let (hello, more) = read_hello(&served.us, &first)?;
    let members = served.raft.server_metrics().borrow_watched().membership_config.clone();
    let had = more.and_then(|more| from_wire(more.had));
    let refused = objection(&served.us, &hello, had, &members);
    let reply = HelloReply {
        refused: refused.clone(),
        store_id: served.us.store_id,
        initialized: members.log_id().is_some(),
    };
    let reply = match more {
        None => Outgoing::new(Kind::Hello, first.id, &reply, Vec::new()),
        Some(_) => {
            let peers = &served.us.peers;
            let had = to_wire(peers.had(hello.from, hello.from_store));
            let more = HelloReplyMore { version: peers.version(), had };
            Outgoing::new(Kind::Hello, first.id, &(reply, more), Vec::new())
        }
    };
    let mut parts = Vec::new();
    reply.slices(&mut parts);
    wire::write_all(&mut stream, &parts).await?;
    if let Some(reason) = refused {
        // Who only asks, asks again and again.
        if hello.lane == Lane::Probe {
            tracing::debug!(peer = hello.from, %reason, "refused a peer");
        } else {
            tracing::warn!(peer = hello.from, %reason, "refused a peer");
        }
        return Ok(());
    }
    drop(stranger);
    if hello.lane == Lane::Probe {
        return Ok(());
    }
    served.us.peers.announced(hello.from, hello.version);
    let peer = (hello.from, hello.lane);
    let replaced = lanes.enter(peer);
    let result = tokio::select! {
        result = talk(stream, buffer, hello.lane, served) => result,
        () = replaced.notified() => Ok(()),
    };
    lanes.leave(peer, &replaced);
    result
}

async fn talk(stream: TcpStream, buffer: BytesMut, lane: Lane, served: &Arc<Served>) -> io::Result<()> {
    let (reader, writer) = stream.into_split();
    let (replies, queue) = mpsc::channel(REPLY_QUEUE);
    let serving = async {
        match lane {
            Lane::Control => control(reader, buffer, served, replies).await,
            Lane::Bulk => bulk(reader, buffer, served, replies).await,
            Lane::Snapshot => snapshot(reader, buffer, served, replies).await,
            Lane::Probe => Ok(()),
        }
    };
    // The writer ends when the lane dropped its last sender, or when the peer takes nothing any more:
    // then nobody reads our answers, and there is nothing left to do either.
    let writing = wire::run_writer(writer, queue);
    pin_mut!(serving, writing);
    match select(serving, writing).await {
        Either::Left((served, writing)) => {
            let written = timeout(LINGER, writing).await;
            served.and(written.unwrap_or(Ok(())))
        }
        Either::Right((written, _)) => written,
    }
}

/// Reads a hello as a release of our version does: of version 1, it says no more than that one knows.
fn read_hello(us: &Caller, first: &Message) -> io::Result<(Hello, Option<HelloMore>)> {
    let read = match us.peers.version() {
        OLDEST_VERSION => first.header::<Hello>("hello").map(|hello| (hello, None)),
        _ => first.header_and_more("hello"),
    };
    let (hello, more) = read.map_err(|error| wire::invalid(error.to_string()))?;
    if first.kind != Kind::Hello || hello.magic != wire::MAGIC {
        return Err(wire::invalid("is not a Trireme peer"));
    }
    if more.is_some() != (OLDEST_VERSION < hello.version) {
        return Err(wire::invalid(format!("its hello is not one of version {}", hello.version)));
    }
    Ok((hello, more))
}

/// Why this peer is refused, if it is. `had`: what it says that was on our disk.
fn objection(
    us: &Caller,
    hello: &Hello,
    had: Option<LogId>,
    members: &StoredMembershipOf<TypeConfig>,
) -> Option<String> {
    if let Some(reason) = us.peers.too_old(hello.from, hello.version) {
        return Some(reason);
    }
    if hello.to != us.node {
        return Some(format!("this is node {}, not node {}", us.node, hello.to));
    }
    let differences = us.settings.differences(&hello.settings);
    if !differences.is_empty() {
        return Some(differences.join("; "));
    }
    if hello.lane == Lane::Probe {
        return None;
    }
    if hello.to_store.is_some_and(|store| store != us.store_id) {
        return Some(format!(
            "the store of node {} is not the one that joined the group; a replaced store must join under a new id",
            us.node
        ));
    }
    match members.membership().get_node(&hello.from) {
        Some(member) if member.store_id != hello.from_store => Some(format!(
            "the store of node {} was replaced since it joined; it must join under a new id",
            hello.from
        )),
        Some(_) => us.peers.judge(hello.from, had).err(),
        // A peer that we do not know may lead a newer membership: Raft itself judges that.
        None => None,
    }
}

#[cfg(test)]
#[path = "server_test.rs"]
mod server_test;
