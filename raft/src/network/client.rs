//! openraft's outgoing RPCs over our links.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, Either, select};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, pin_mut, stream};
use openraft::entry::RaftEntry;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RPCTypes, RaftNetworkFactory, v2::RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use parking_lot::Mutex;
use trireme_planted::{self as planted, Defect};

use super::link::{Call, Callee, Caller, Link};
use super::wire::{
    self, AppendHeader, AppendReply, Kind, Lane, SnapshotHeader, SnapshotReply, TransferHeader,
    TransferReply, VoteHeader, VoteReply,
};
use crate::checkpoints::Checkpoint;
use crate::codec::{log_id, raft_log_id};
use crate::types::{Member, NodeId, RaftLogId, TypeConfig, Vote};

type Rpc<T> = Result<T, RPCError<TypeConfig>>;

/// A follower that answers nothing on the bulk lane for this long is taken for dead and its connection
/// for stale. Generous: a slow disk must not look like a dead host.
const BULK_SILENCE: Duration = Duration::from_secs(3);
/// The same for the control lane, where an answer needs no disk. Far above the time that one heartbeat
/// waits for its answer: making a connection again takes longer than a short pause of the peer.
const CONTROL_SILENCE: Duration = Duration::from_secs(1);
/// For one piece of a checkpoint.
const SNAPSHOT_SILENCE: Duration = Duration::from_secs(10);

/// Makes the clients that openraft asks for. Clients of one peer share its links.
pub struct Network {
    caller: Caller,
    /// Addresses from the configuration; they win over those in the membership, so that a replica can
    /// move to another address.
    addresses: BTreeMap<NodeId, String>,
    window: usize,
    control: Mutex<BTreeMap<NodeId, (Callee, Arc<Link>)>>,
    sessions: Arc<AtomicU64>,
}

impl Network {
    /// `window`: append requests under way to one follower.
    pub fn new(caller: Caller, addresses: BTreeMap<NodeId, String>, window: usize) -> Self {
        let sessions = Arc::new(AtomicU64::new(1));
        Self { caller, addresses, window: window.max(1), control: Mutex::default(), sessions }
    }

    fn callee(&self, node: NodeId, member: &Member) -> Callee {
        let addr = self.addresses.get(&node).map_or(member.peer_addr(), String::as_str).to_owned();
        Callee { node, addr, store_id: Some(member.store_id) }
    }

    /// Votes come with a client each; they share the connection that heartbeats keep open.
    fn control_link(&self, callee: &Callee) -> Arc<Link> {
        let mut links = self.control.lock();
        match links.get(&callee.node) {
            Some((known, link)) if known == callee => link.clone(),
            _ => {
                let link = Arc::new(Link::new(self.caller.clone(), callee.clone(), Lane::Control));
                links.insert(callee.node, (callee.clone(), link.clone()));
                link
            }
        }
    }

    fn client(&self, node: NodeId, member: &Member, lane: Lane) -> Client {
        let callee = self.callee(node, member);
        let control = self.control_link(&callee);
        let data = match lane {
            Lane::Bulk | Lane::Snapshot => Arc::new(Link::new(self.caller.clone(), callee, lane)),
            Lane::Control | Lane::Probe => control.clone(),
        };
        let window = if lane == Lane::Bulk { self.window } else { 1 };
        Client {
            node: self.caller.node,
            target: node,
            control,
            data,
            lane,
            window,
            sessions: self.sessions.clone(),
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: NodeId, node: &Member) -> Client {
        self.client(target, node, Lane::Bulk)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, node: &Member) -> Client {
        self.client(target, node, Lane::Control)
    }

    async fn new_snapshot_client(&mut self, target: NodeId, node: &Member) -> Client {
        self.client(target, node, Lane::Snapshot)
    }
}

/// One client of one peer.
pub struct Client {
    node: NodeId,
    target: NodeId,
    control: Arc<Link>,
    data: Arc<Link>,
    lane: Lane,
    window: usize,
    sessions: Arc<AtomicU64>,
}

impl Client {
    /// Every failure to reach a peer is `Unreachable`, so that openraft backs off before it retries.
    fn failed(&self, error: &io::Error) -> RPCError<TypeConfig> {
        match error.kind() {
            io::ErrorKind::TimedOut => RPCError::Network(NetworkError::new(error)),
            _ => RPCError::Unreachable(Unreachable::new(error)),
        }
    }

    async fn control<T, R>(
        &self,
        kind: Kind,
        header: &T,
        what: &'static str,
        action: RPCTypes,
        limit: Duration,
    ) -> Rpc<R>
    where
        T: serde::Serialize,
        R: serde::de::DeserializeOwned,
    {
        match self.control.call(kind, header, Vec::new(), limit).await {
            Ok(message) => {
                message.header(what).map_err(|error| RPCError::Unreachable(Unreachable::new(&error)))
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                self.control.disconnect_if_silent(CONTROL_SILENCE);
                Err(Timeout { action, id: self.node, target: self.target, timeout: limit }.into())
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    async fn ask_vote(
        &self,
        kind: Kind,
        rpc: VoteRequest<TypeConfig>,
        limit: Duration,
    ) -> Rpc<VoteResponse<TypeConfig>> {
        let header = VoteHeader {
            vote: (&rpc.vote).into(),
            last_log: log_id(rpc.last_log_id.as_ref()),
            transfer: rpc.leadership_transfer,
        };
        let reply: VoteReply = self.control(kind, &header, "vote reply", RPCTypes::Vote, limit).await?;
        Ok(VoteResponse::new(Vote::from(reply.vote), raft_log_id(reply.last_log), reply.granted))
    }

    async fn send_append(&self, session: u64, rpc: AppendEntriesRequest<TypeConfig>) -> io::Result<InFlight> {
        let header = AppendHeader {
            session,
            vote: (&rpc.vote).into(),
            prev: log_id(rpc.prev_log_id.as_ref()),
            leader_commit: log_id(rpc.leader_commit.as_ref()),
            entries: u32::try_from(rpc.entries.len()).expect("a request is bounded by max_payload_entries"),
        };
        let frames: Vec<Bytes> = rpc
            .entries
            .into_iter()
            .map(|entry| entry.frame.expect("entries are read from the log, so they have a frame").frame)
            .collect();
        let link = if self.lane == Lane::Control { &self.control } else { &self.data };
        Ok(InFlight { call: link.send(Kind::Append, &header, frames).await? })
    }
}

/// An append request whose reply is awaited.
struct InFlight {
    call: Call,
}

impl InFlight {
    async fn reply(self) -> Rpc<StreamAppendResult<TypeConfig>> {
        let message =
            self.call.reply().await.map_err(|error| RPCError::Unreachable(Unreachable::new(&error)))?;
        let reply: AppendReply = message
            .header("append reply")
            .map_err(|error| RPCError::Unreachable(Unreachable::new(&error)))?;
        Ok(match reply {
            AppendReply::Flushed(id) => Ok(raft_log_id(id)),
            AppendReply::Conflict(id) => {
                Err(StreamAppendError::Conflict(raft_log_id(Some(id)).expect("mapped from Some")))
            }
            AppendReply::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote.into())),
            AppendReply::Busy => {
                let full = io::Error::new(io::ErrorKind::StorageFull, "the peer has no room for entries");
                return Err(RPCError::Unreachable(Unreachable::new(&full)));
            }
        })
    }
}

impl RaftNetworkV2<TypeConfig> for Client {
    type SnapshotData = Checkpoint;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<TypeConfig>> {
        let session = self.sessions.fetch_add(1, Ordering::Relaxed);
        let answered = async {
            let sent = self.send_append(session, rpc).await.map_err(|error| self.failed(&error))?;
            sent.reply().await
        };
        match tokio::time::timeout(option.soft_ttl(), answered).await {
            Ok(result) => result.map(AppendEntriesResponse::from),
            Err(_) => Err(self.silent(RPCTypes::AppendEntries, option.soft_ttl())),
        }
    }

    /// Keeps up to `window` requests under way. Two are enough: one travels while the other is
    /// written and synced; more would only make requests smaller, and the cost is per request.
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Rpc<BoxStream<'s, Rpc<StreamAppendResult<TypeConfig>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        let session = self.sessions.fetch_add(1, Ordering::Relaxed);
        let silence = if self.lane == Lane::Control { option.soft_ttl() } else { BULK_SILENCE };
        let state =
            Pipeline { client: self, input: Some(input), in_flight: VecDeque::new(), session, silence };
        let replies = stream::unfold(Some(state), |state| async move {
            let mut state = state?;
            let reply = state.next().await?;
            // After an error the stream is over; openraft starts another, which is another session.
            let go_on = matches!(reply, Ok(Ok(_)));
            Some((reply, go_on.then_some(state)))
        });
        Box::pin(async move { Ok(replies.boxed()) })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<VoteResponse<TypeConfig>> {
        self.ask_vote(Kind::Vote, rpc, option.soft_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<VoteResponse<TypeConfig>> {
        self.ask_vote(Kind::PreVote, rpc, option.soft_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::type_config::alias::SnapshotOf<TypeConfig, Checkpoint>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let sending = self.send_checkpoint(vote, snapshot);
        pin_mut!(sending, cancel);
        match select(sending, cancel).await {
            Either::Left((result, _)) => result.map(SnapshotResponse::new).map_err(StreamingError::from),
            Either::Right((closed, _)) => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<TransferLeaderResponse<TypeConfig>> {
        let header = TransferHeader {
            from_leader: req.from_leader().into(),
            to: *req.to_node_id(),
            last_log: log_id(req.last_log_id()),
        };
        let limit = option.soft_ttl();
        let reply: TransferReply =
            self.control(Kind::Transfer, &header, "transfer reply", RPCTypes::TransferLeader, limit).await?;
        Ok(match reply {
            TransferReply::Taken => Ok(()),
            TransferReply::VoteChanged { expected, actual } => {
                Err(TransferLeaderError::VoteChanged { expected: expected.into(), actual: actual.into() })
            }
            TransferReply::NotFlushed { expected, actual } => Err(TransferLeaderError::LogNotFlushed {
                expected: raft_log_id(expected),
                actual: raft_log_id(actual),
            }),
        })
    }
}

impl Client {
    /// The peer did not answer in time. If it was silent for long, the next request uses another
    /// connection.
    fn silent(&self, action: RPCTypes, timeout: Duration) -> RPCError<TypeConfig> {
        match self.lane {
            Lane::Control => self.control.disconnect_if_silent(CONTROL_SILENCE),
            Lane::Bulk | Lane::Snapshot | Lane::Probe => self.data.disconnect_if_silent(BULK_SILENCE),
        }
        Timeout { action, id: self.node, target: self.target, timeout }.into()
    }

    async fn send_checkpoint(
        &self,
        vote: Vote,
        snapshot: openraft::type_config::alias::SnapshotOf<TypeConfig, Checkpoint>,
    ) -> Rpc<Vote> {
        let bytes = snapshot.snapshot.state.clone();
        let mut at = 0;
        loop {
            let piece = bytes.slice(at..bytes.len().min(at + wire::SNAPSHOT_PIECE));
            let header = SnapshotHeader {
                vote: (&vote).into(),
                last_log: log_id(snapshot.meta.last_log_id.as_ref()),
                membership: (&snapshot.meta.last_membership).into(),
                physical_offset: snapshot.snapshot.physical_offset,
                total: bytes.len() as u64,
                at: at as u64,
            };
            at += piece.len();
            let message = self
                .data
                .call(Kind::Snapshot, &header, vec![piece], SNAPSHOT_SILENCE)
                .await
                .map_err(|error| self.failed(&error))?;
            let reply: SnapshotReply = message
                .header("snapshot reply")
                .map_err(|error| RPCError::Unreachable(Unreachable::new(&error)))?;
            match reply {
                SnapshotReply::Done(vote) => return Ok(vote.into()),
                SnapshotReply::Next if at < bytes.len() => {}
                SnapshotReply::Next => {
                    let error = wire::invalid("the peer asks for more than the whole checkpoint");
                    return Err(RPCError::Unreachable(Unreachable::new(&error)));
                }
                SnapshotReply::Failed(reason) => {
                    return Err(RPCError::Unreachable(Unreachable::new(&io::Error::other(reason))));
                }
            }
        }
    }
}

/// An append request of a stream.
struct Sent {
    /// The entry that it ends with; of one without entries, the entry before.
    last: Option<RaftLogId>,
    reply: BoxFuture<'static, Rpc<StreamAppendResult<TypeConfig>>>,
}

/// The state of one replication stream.
struct Pipeline<'s, S> {
    client: &'s mut Client,
    /// `None` when it has ended.
    input: Option<S>,
    in_flight: VecDeque<Sent>,
    session: u64,
    silence: Duration,
}

impl<S> Pipeline<'_, S>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
{
    /// The next reply, in the order of the requests; sends requests while it waits.
    async fn next(&mut self) -> Option<Rpc<StreamAppendResult<TypeConfig>>> {
        loop {
            let reply = self.next_in_order().await?;
            if !self.stands_for_later_ones(&reply) {
                return Some(reply);
            }
        }
    }

    /// Whether openraft would take a reply for that to a later request too.
    ///
    /// It tells replies by the entry that they reach, not by their order, and takes the time at which the last request up to
    /// there was sent for one at which the follower still followed. A request without entries, such as one that only moves
    /// the commit mark, reaches no further than the one before it. The reply to that one, when it comes late, would prolong
    /// the leader's lease by as much, and another one may lead by then. The later request's own reply, which comes right
    /// behind, says all that this one does.
    fn stands_for_later_ones(&self, reply: &Rpc<StreamAppendResult<TypeConfig>>) -> bool {
        let Ok(Ok(reached)) = reply else { return false };
        if planted::is(Defect::ReplyProlongsLease) {
            return false;
        }
        self.in_flight.front().is_some_and(|next| next.last <= *reached)
    }

    async fn next_in_order(&mut self) -> Option<Rpc<StreamAppendResult<TypeConfig>>> {
        loop {
            let room = self.in_flight.len() < self.client.window;
            let input = self.input.as_mut().filter(|_| room);
            match (self.in_flight.front_mut(), input) {
                (None, None) => return None,
                (None, Some(input)) => {
                    let request = input.next().await;
                    if let Err(error) = self.take(request).await {
                        return Some(Err(error));
                    }
                }
                (Some(_), None) => return Some(self.front().await),
                (Some(front), Some(input)) => match select(&mut front.reply, input.next()).await {
                    Either::Left((reply, _)) => {
                        self.in_flight.pop_front();
                        return Some(reply);
                    }
                    Either::Right((request, _)) => {
                        if let Err(error) = self.take(request).await {
                            return Some(Err(error));
                        }
                    }
                },
            }
        }
    }

    async fn take(&mut self, request: Option<AppendEntriesRequest<TypeConfig>>) -> Rpc<()> {
        let Some(request) = request else {
            self.input = None;
            return Ok(());
        };
        let last = request.entries.last().map(|entry| entry.log_id()).or(request.prev_log_id);
        let sending = self.client.send_append(self.session, request);
        match tokio::time::timeout(self.silence, sending).await {
            Ok(Ok(sent)) => {
                // The limit runs per reply, from when the request left.
                let limit = self.silence;
                let (node, target) = (self.client.node, self.client.target);
                let reply = Box::pin(async move {
                    tokio::time::timeout(limit, sent.reply()).await.unwrap_or_else(|_| {
                        Err(Timeout { action: RPCTypes::AppendEntries, id: node, target, timeout: limit }
                            .into())
                    })
                });
                self.in_flight.push_back(Sent { last, reply });
                Ok(())
            }
            Ok(Err(error)) => Err(self.client.failed(&error)),
            Err(_) => Err(self.client.silent(RPCTypes::AppendEntries, self.silence)),
        }
    }

    async fn front(&mut self) -> Rpc<StreamAppendResult<TypeConfig>> {
        let sent = self.in_flight.pop_front().expect("called only with a request in flight");
        let reply = sent.reply.await;
        if let Err(RPCError::Timeout(timeout)) = &reply {
            return Err(self.client.silent(RPCTypes::AppendEntries, timeout.timeout));
        }
        reply
    }
}

#[cfg(test)]
#[path = "client_test.rs"]
mod client_test;
