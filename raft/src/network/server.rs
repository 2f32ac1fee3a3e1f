//! The called side: peers' connections, each served according to its lane.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, select};
use futures_util::{StreamExt, pin_mut, stream};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, TransferLeaderError, TransferLeaderRequest, VoteRequest,
};
use openraft::{Raft, type_config::alias::StoredMembershipOf};
use parking_lot::Mutex;
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Duration, timeout};
use trireme_commitlog::{FrameRef, LogId};

use super::link::Caller;
use super::wire::{
    self, AppendHeader, AppendReply, Hello, HelloReply, Kind, Lane, Message, Outgoing, SnapshotHeader,
    SnapshotReply, TransferHeader, TransferReply, VoteHeader, VoteReply,
};
use crate::adapter::Adapter;
use crate::checkpoints::{Checkpoint, Stored};
use crate::codec::{log_id, raft_log_id};
use crate::entry::{Entry, Payload};
use crate::lease::Lease;
use crate::log_store::entry_of;
use crate::room::Room;
use crate::types::{NodeId, SnapshotMeta, StoredMembership, TypeConfig, Vote, from_raft};

/// A stranger has this long to say who he is.
const HELLO_WITHIN: Duration = Duration::from_secs(2);
/// Strangers who have not said yet who they are; more are turned away.
const STRANGERS: usize = 128;
/// What is still to be said has this long when the peer has closed its side.
const LINGER: Duration = Duration::from_secs(1);
/// Control requests of one peer that are worked on at a time.
const CONTROL_AT_ONCE: usize = 16;
/// Append requests of one stream between the socket and openraft.
const BULK_QUEUE: usize = 4;
/// Replies that may wait for the socket.
const REPLY_QUEUE: usize = 64;
/// A checkpoint larger than this is not ours.
const MAX_CHECKPOINT: u64 = 4 * 1024 * 1024 * 1024;

/// An append request with the id that its reply carries.
type Numbered = (u64, AppendEntriesRequest<TypeConfig>);

/// What every connection needs.
pub struct Served {
    pub raft: Raft<TypeConfig, Adapter>,
    pub room: Room,
    pub us: Caller,
    _lease: Lease,
}

impl Served {
    /// What connections work on.
    pub fn new(raft: Raft<TypeConfig, Adapter>, room: Room, us: Caller, lease: Lease) -> Self {
        Self { raft, room, us, _lease: lease }
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
    let hello: Hello = first.header("hello").map_err(|error| wire::invalid(error.to_string()))?;
    if first.kind != Kind::Hello || hello.magic != wire::MAGIC {
        return Err(wire::invalid("is not a Trireme peer"));
    }
    let members = served.raft.server_metrics().borrow_watched().membership_config.clone();
    let refused = objection(&served.us, &hello, &members);
    let initialized = members.log_id().is_some();
    let reply = HelloReply { refused: refused.clone(), store_id: served.us.store_id, initialized };
    let mut parts = Vec::new();
    Outgoing::new(Kind::Hello, first.id, &reply, Vec::new()).slices(&mut parts);
    wire::write_all(&mut stream, &parts).await?;
    if let Some(reason) = refused {
        tracing::warn!(peer = hello.from, %reason, "refused a peer");
        return Ok(());
    }
    drop(stranger);
    if hello.lane == Lane::Probe {
        return Ok(());
    }
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

/// Why this peer is refused, if it is.
fn objection(us: &Caller, hello: &Hello, members: &StoredMembershipOf<TypeConfig>) -> Option<String> {
    if hello.version != wire::VERSION {
        return Some(format!("peer protocol version {} is not {}", hello.version, wire::VERSION));
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
        // A peer that we do not know may lead a newer membership: Raft itself judges that.
        _ => None,
    }
}

async fn control(
    mut reader: OwnedReadHalf,
    mut buffer: BytesMut,
    served: &Arc<Served>,
    replies: mpsc::Sender<Outgoing>,
) -> io::Result<()> {
    let mut working = JoinSet::new();
    while let Some(message) = wire::read_message(&mut reader, &mut buffer, wire::MAX_MESSAGE).await? {
        while working.len() >= CONTROL_AT_ONCE {
            working.join_next().await;
        }
        let (served, replies) = (served.clone(), replies.clone());
        working.spawn(async move {
            match answer(&served, message).await {
                Ok(reply) => drop(replies.send(reply).await),
                Err(error) => tracing::debug!(%error, "a control request was not answered"),
            }
        });
        while working.try_join_next().is_some() {}
    }
    Ok(())
}

async fn answer(served: &Served, message: Message) -> io::Result<Outgoing> {
    let (kind, id) = (message.kind, message.id);
    let decoded = |error: crate::codec::DecodeError| wire::invalid(error.to_string());
    let stopped = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
    match kind {
        Kind::Vote | Kind::PreVote => {
            let header: VoteHeader = message.header("vote").map_err(decoded)?;
            let request = VoteRequest {
                vote: header.vote.into(),
                last_log_id: raft_log_id(header.last_log),
                leadership_transfer: header.transfer,
            };
            let response = if kind == Kind::Vote {
                served.raft.vote(request).await.map_err(|error| stopped(&error))?
            } else {
                served.raft.pre_vote(request).await.map_err(|error| stopped(&error))?
            };
            let reply = VoteReply {
                vote: (&response.vote).into(),
                granted: response.vote_granted,
                last_log: log_id(response.last_log_id.as_ref()),
            };
            Ok(Outgoing::new(kind, id, &reply, Vec::new()))
        }
        Kind::Append => {
            let (request, _) = append_request(&message)?;
            if !request.entries.is_empty() {
                return Err(wire::invalid("entries do not belong on this lane"));
            }
            let reply = heartbeat(&served.raft, request).await?;
            Ok(Outgoing::new(kind, id, &reply, Vec::new()))
        }
        Kind::Transfer => {
            let header: TransferHeader = message.header("transfer").map_err(decoded)?;
            let request = TransferLeaderRequest::new(
                Vote::from(header.from_leader),
                header.to,
                raft_log_id(header.last_log),
            );
            let reply =
                match served.raft.handle_transfer_leader(request).await.map_err(|error| stopped(&error))? {
                    Ok(()) => TransferReply::Taken,
                    Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                        TransferReply::VoteChanged { expected: (&expected).into(), actual: (&actual).into() }
                    }
                    Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                        TransferReply::NotFlushed {
                            expected: log_id(expected.as_ref()),
                            actual: log_id(actual.as_ref()),
                        }
                    }
                };
            Ok(Outgoing::new(kind, id, &reply, Vec::new()))
        }
        Kind::Hello | Kind::Snapshot => Err(wire::invalid(format!("{kind:?} does not belong on this lane"))),
    }
}

/// Answers a heartbeat as soon as Raft has taken note of it.
///
/// openraft answers when all that it accepted before is on disk, so a slow disk would pass for a lost
/// connection, and a leader whose followers are slow would refuse proposals. A heartbeat asks only
/// whether this replica follows. That is settled once openraft's core has handled the request, and it
/// handles the request and the question behind it in this order.
async fn heartbeat(
    raft: &Raft<TypeConfig, Adapter>,
    request: AppendEntriesRequest<TypeConfig>,
) -> io::Result<AppendReply> {
    let (vote, prev) = (request.vote, request.prev_log_id);
    let (tell, told) = oneshot::channel();
    let answered = raft.append_entries(request);
    let follows = async {
        let ask = raft.external_request(move |state| {
            let _ = tell.send(*state.vote_ref() == vote);
        });
        // An error, here or there, means that the core ended, which the answer will say.
        ask.await.is_ok() && told.await.unwrap_or(false)
    };
    pin_mut!(answered, follows);
    let response = match select(answered, follows).await {
        Either::Left((response, _)) => response,
        // Says nothing about the log: that is the bulk lane's business.
        Either::Right((true, _)) => return Ok(AppendReply::Flushed(None)),
        Either::Right((false, answered)) => answered.await,
    };
    let response = response.map_err(|error| io::Error::other(error.to_string()))?;
    Ok(append_reply(response.into_stream_result(prev, prev)))
}

/// Append requests, pipelined: the next is read and handed on while the last is being synced.
async fn bulk(
    mut reader: OwnedReadHalf,
    mut buffer: BytesMut,
    served: &Arc<Served>,
    replies: mpsc::Sender<Outgoing>,
) -> io::Result<()> {
    let mut session: Option<(u64, mpsc::Sender<Numbered>)> = None;
    let mut sessions = JoinSet::new();
    while let Some(message) = wire::read_message(&mut reader, &mut buffer, wire::MAX_MESSAGE).await? {
        if message.kind != Kind::Append {
            return Err(wire::invalid(format!("{:?} does not belong on this lane", message.kind)));
        }
        let (mut request, number) = append_request(&message)?;
        let proposals = request.entries.iter().any(|entry| matches!(entry.payload, Payload::Logged));
        if let Some(last) = request.entries.last_mut() {
            last.promise = served.room.accept(message.body.len() as u64, proposals).await;
            if last.promise.is_none() {
                let busy = Outgoing::new(Kind::Append, message.id, &AppendReply::Busy, Vec::new());
                drop(replies.send(busy).await);
                // Later requests of this stream would leave a gap.
                session = Some((number, mpsc::channel(1).0));
                continue;
            }
        }
        if session.as_ref().is_none_or(|(current, _)| *current != number) {
            let (tx, rx) = mpsc::channel(BULK_QUEUE);
            sessions.spawn(append_session(served.raft.clone(), rx, replies.clone()));
            session = Some((number, tx));
        }
        if let Some((_, requests)) = &session {
            // A session that failed takes no more; its late requests are dropped here.
            let _ = requests.send((message.id, request)).await;
        }
        while sessions.try_join_next().is_some() {}
    }
    Ok(())
}

async fn append_session(
    raft: Raft<TypeConfig, Adapter>,
    requests: mpsc::Receiver<Numbered>,
    replies: mpsc::Sender<Outgoing>,
) {
    // Answers come in the order of the requests, so their ids are a queue.
    let (ids, mut answered) = mpsc::unbounded_channel();
    let input = stream::unfold((requests, ids), |(mut requests, ids)| async move {
        let (id, request) = requests.recv().await?;
        ids.send(id).ok()?;
        Some((request, (requests, ids)))
    });
    let mut results = std::pin::pin!(raft.stream_append(input));
    while let Some(result) = results.next().await {
        let Some(id) = answered.recv().await else { return };
        let Ok(result) = result else { return };
        let over = result.is_err();
        if replies.send(Outgoing::new(Kind::Append, id, &append_reply(result), Vec::new())).await.is_err()
            || over
        {
            return;
        }
    }
}

fn append_reply(
    result: Result<Option<crate::types::RaftLogId>, StreamAppendError<TypeConfig>>,
) -> AppendReply {
    match result {
        Ok(id) => AppendReply::Flushed(log_id(id.as_ref())),
        Err(StreamAppendError::Conflict(id)) => {
            let id = from_raft(&id);
            AppendReply::Conflict((id.term, id.index))
        }
        Err(StreamAppendError::HigherVote(vote)) => AppendReply::HigherVote((&vote).into()),
    }
}

fn append_request(message: &Message) -> io::Result<(AppendEntriesRequest<TypeConfig>, u64)> {
    let header: AppendHeader = message.header("append").map_err(|error| wire::invalid(error.to_string()))?;
    let entries = entries(message.body.clone(), header.entries)?;
    check_sequence(header.prev.map(|(term, index)| LogId { term, index }), &entries)?;
    let request = AppendEntriesRequest {
        vote: header.vote.into(),
        prev_log_id: raft_log_id(header.prev),
        entries,
        leader_commit: raft_log_id(header.leader_commit),
    };
    Ok((request, header.session))
}

/// Cuts the body into frames. Every checksum is checked here, before Raft sees an entry; the frames
/// stay slices of what was received.
fn entries(mut body: Bytes, count: u32) -> io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    while !body.is_empty() {
        let frame = FrameRef::take(&mut body).map_err(|error| wire::invalid(error.to_string()))?;
        found.push(entry_of(frame)?);
    }
    if found.len() != count as usize {
        return Err(wire::invalid(format!("{} entries where {count} were announced", found.len())));
    }
    Ok(found)
}

/// Raft takes it for granted that a leader's entries follow each other.
fn check_sequence(mut last: Option<LogId>, entries: &[Entry]) -> io::Result<()> {
    for id in entries.iter().map(Entry::id) {
        let next = last.map_or(Some(0), |last| last.index.checked_add(1));
        if next != Some(id.index) || last.is_some_and(|last| id.term < last.term) {
            return Err(wire::invalid(format!("entry {id} does not follow {last:?}")));
        }
        last = Some(id);
    }
    Ok(())
}

async fn snapshot(
    mut reader: OwnedReadHalf,
    mut buffer: BytesMut,
    served: &Arc<Served>,
    replies: mpsc::Sender<Outgoing>,
) -> io::Result<()> {
    let mut received = Vec::new();
    while let Some(message) = wire::read_message(&mut reader, &mut buffer, wire::MAX_MESSAGE).await? {
        let header: SnapshotHeader =
            message.header("snapshot").map_err(|error| wire::invalid(error.to_string()))?;
        if header.at == 0 {
            received.clear();
        }
        let end = received.len() as u64 + message.body.len() as u64;
        if header.at != received.len() as u64 || end > header.total || header.total > MAX_CHECKPOINT {
            return Err(wire::invalid(format!(
                "piece at {} of a checkpoint, expected {}",
                header.at,
                received.len()
            )));
        }
        received.extend_from_slice(&message.body);
        let reply = if end < header.total {
            SnapshotReply::Next
        } else {
            install(served, header, std::mem::take(&mut received)).await
        };
        let _ = replies.send(Outgoing::new(Kind::Snapshot, message.id, &reply, Vec::new())).await;
    }
    Ok(())
}

async fn install(served: &Served, header: SnapshotHeader, state: Vec<u8>) -> SnapshotReply {
    let membership = match StoredMembership::try_from(header.membership) {
        Ok(membership) => membership,
        Err(error) => return SnapshotReply::Failed(error.to_string()),
    };
    let meta = SnapshotMeta { last_log_id: raft_log_id(header.last_log), last_membership: membership };
    let checkpoint = Checkpoint { physical_offset: header.physical_offset, state: state.into() };
    let Some(stored) = Stored::from_snapshot(&meta, checkpoint) else {
        return SnapshotReply::Failed("a checkpoint without a log id".into());
    };
    match served.raft.install_full_snapshot(header.vote.into(), stored.into_snapshot()).await {
        Ok(response) => SnapshotReply::Done((&response.vote).into()),
        Err(error) => SnapshotReply::Failed(error.to_string()),
    }
}

#[cfg(test)]
#[path = "server_test.rs"]
mod server_test;
