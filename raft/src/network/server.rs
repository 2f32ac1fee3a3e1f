//! The called side: peers' connections, each served according to its lane.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, TransferLeaderError, TransferLeaderRequest, VoteRequest,
};
use openraft::{Raft, type_config::alias::StoredMembershipOf};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Duration, timeout};
use trireme_commitlog::{CommitLog, FrameRef};

use super::link::Caller;
use super::wire::{
    self, AppendHeader, AppendReply, Hello, HelloReply, Kind, Lane, Message, Outgoing, SnapshotHeader,
    SnapshotReply, TransferHeader, TransferReply, VoteHeader, VoteReply,
};
use crate::adapter::Adapter;
use crate::checkpoints::{Checkpoint, Stored};
use crate::codec::{log_id, raft_log_id};
use crate::entry::Entry;
use crate::log_store::entry_of;
use crate::types::{SnapshotMeta, StoredMembership, TypeConfig, Vote, from_raft};

/// A stranger has this long to say who he is.
const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// Control requests of one peer that are worked on at a time.
const CONTROL_AT_ONCE: usize = 16;
/// Append requests of one stream between the socket and openraft.
const BULK_QUEUE: usize = 4;
/// Replies that may wait for the socket.
const REPLY_QUEUE: usize = 64;
/// A checkpoint larger than this is not ours.
const MAX_CHECKPOINT: u64 = 4 * 1024 * 1024 * 1024;
/// Room that a replica keeps in its log beyond what it accepts, for entries that Raft itself writes.
pub const RESERVED_BYTES: u64 = 64 * 1024;

/// An append request with the id that its reply carries.
type Numbered = (u64, AppendEntriesRequest<TypeConfig>);

/// What every connection needs.
pub struct Served {
    pub raft: Raft<TypeConfig, Adapter>,
    pub log: Arc<CommitLog>,
    pub us: Caller,
}

/// The peer listener of one replica. Dropping it closes the listener and every connection.
pub struct PeerServer {
    _accepting: JoinSet<()>,
}

impl PeerServer {
    /// Serves peers on `listener`.
    pub fn start(listener: TcpListener, served: Arc<Served>) -> Self {
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, served));
        Self { _accepting: accepting }
    }
}

async fn accept(listener: TcpListener, served: Arc<Served>) {
    // Owned here, so that connections end with the listener.
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let served = served.clone();
                connections.spawn(async move {
                    if let Err(error) = serve(stream, served).await {
                        tracing::info!(%peer, %error, "peer connection closed");
                    }
                });
                while connections.try_join_next().is_some() {}
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a peer connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(mut stream: TcpStream, served: Arc<Served>) -> io::Result<()> {
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
    let (reader, writer) = stream.into_split();
    let (replies, queue) = mpsc::channel(REPLY_QUEUE);
    let serving = async {
        match hello.lane {
            Lane::Control => control(reader, buffer, &served, replies).await,
            Lane::Bulk => bulk(reader, buffer, &served, replies).await,
            Lane::Snapshot => snapshot(reader, buffer, &served, replies).await,
            Lane::Probe => Ok(()),
        }
    };
    // Either side ending ends the connection; the writer ends when the lane dropped its last sender.
    let (served, written) = tokio::join!(serving, wire::run_writer(writer, queue));
    served.and(written)
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
            if !has_room(&served.log, message.body.len()) {
                return Ok(Outgoing::new(kind, id, &AppendReply::Busy, Vec::new()));
            }
            let (prev, last) = (request.prev_log_id, request.entries.last().map(Entry::id));
            let last = last.map(crate::types::to_raft).or(prev);
            let response = served.raft.append_entries(request).await.map_err(|error| stopped(&error))?;
            let reply = append_reply(response.into_stream_result(prev, last));
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
        let (request, number) = append_request(&message)?;
        if !has_room(&served.log, message.body.len()) {
            drop(replies.send(Outgoing::new(Kind::Append, message.id, &AppendReply::Busy, Vec::new())).await);
            // Later requests of this stream would leave a gap.
            session = Some((number, mpsc::channel(1).0));
            continue;
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

fn has_room(log: &CommitLog, entry_bytes: usize) -> bool {
    entry_bytes == 0 || log.room() >= entry_bytes as u64 + RESERVED_BYTES
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
        let end = header.at + message.body.len() as u64;
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
