//! What peers ask of us, lane by lane.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, select};
use futures_util::{StreamExt, pin_mut, stream};
use openraft::Raft;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, TransferLeaderError, TransferLeaderRequest, VoteRequest,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use trireme_commitlog::{FrameRef, LogId};
use trireme_runtime::net::OwnedReadHalf;

use super::server::Served;
use super::wire::{
    self, AppendHeader, AppendReply, Kind, Message, Outgoing, SnapshotHeader, SnapshotReply, TransferHeader,
    TransferReply, VoteHeader, VoteReply,
};
use crate::adapter::Adapter;
use crate::checkpoints::{Checkpoint, Stored};
use crate::codec::{log_id, raft_log_id};
use crate::entry::{Entry, Payload};
use crate::log_store::entry_of;
use crate::types::{SnapshotMeta, StoredMembership, TypeConfig, Vote, from_raft};

/// Control requests of one peer that are worked on at a time.
const CONTROL_AT_ONCE: usize = 16;
/// Append requests of one stream between the socket and openraft.
const BULK_QUEUE: usize = 4;
/// A checkpoint larger than this is not ours.
const MAX_CHECKPOINT: u64 = 4 * 1024 * 1024 * 1024;

/// An append request with the id that its reply carries.
type Numbered = (u64, AppendEntriesRequest<TypeConfig>);

pub async fn control(
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
            if matches!(reply, AppendReply::Flushed(_)) {
                served.heard.note();
            }
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
pub async fn bulk(
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

pub fn append_request(message: &Message) -> io::Result<(AppendEntriesRequest<TypeConfig>, u64)> {
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

pub async fn snapshot(
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
