//! The calling side of one connection to one peer: connects when needed, matches replies to requests.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use trireme_commitlog::LogId;
use trireme_runtime::net::{OwnedReadHalf, TcpStream};

use super::wire::{self, Hello, HelloMore, HelloReply, HelloReplyMore, Kind, Lane, Message, Outgoing};
use crate::codec::{from_wire, to_wire};
use crate::config::ClusterSettings;
use crate::peers::{OLDEST_VERSION, Peers};
use crate::types::NodeId;

/// Messages that may wait for the socket before a sender has to.
const QUEUE: usize = 64;
/// A peer that does not take our connection and introduce itself in this time is not there.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// Who calls.
#[derive(Clone)]
pub struct Caller {
    pub settings: ClusterSettings,
    pub node: NodeId,
    pub store_id: u128,
    /// What is known of the others.
    pub peers: Arc<Peers>,
}

/// What a replica says of itself when it is called.
#[derive(Clone, Debug)]
pub struct Told {
    /// Why it does not want us; `None` if we are welcome.
    pub refused: Option<String>,
    pub store_id: u128,
    /// It belongs to a group that has members already.
    pub initialized: bool,
    /// The newest format version that it reads.
    pub version: u32,
    /// What we had on our disk, as far as it knows.
    pub had: Option<LogId>,
}

/// Who is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callee {
    pub node: NodeId,
    pub addr: String,
    pub store_id: Option<u128>,
}

/// One lane to one peer. Dropping it closes its connection.
pub struct Link {
    to: Arc<Ends>,
    connection: Arc<tokio::sync::Mutex<Option<Arc<Connection>>>>,
}

struct Ends {
    caller: Caller,
    callee: Callee,
    lane: Lane,
    /// Why the peer last refused us: told once, not at every heartbeat.
    refused: Mutex<Option<String>>,
}

struct Connection {
    requests: mpsc::Sender<Outgoing>,
    pending: Arc<Pending>,
    task: AbortHandle,
}

struct Pending {
    next_id: AtomicU64,
    closed: AtomicBool,
    /// When the peer last said something.
    heard: Mutex<Instant>,
    replies: Mutex<HashMap<u64, oneshot::Sender<Message>>>,
}

/// A request under way. Dropping it forgets the reply.
pub struct Call {
    id: u64,
    pending: Arc<Pending>,
    reply: oneshot::Receiver<Message>,
}

impl Link {
    /// Nothing is connected before the first request.
    pub fn new(caller: Caller, callee: Callee, lane: Lane) -> Self {
        Self {
            to: Arc::new(Ends { caller, callee, lane, refused: Mutex::default() }),
            connection: Arc::default(),
        }
    }

    /// Sends a request; the reply is awaited with [`Call::reply`]. Requests of one link leave in the
    /// order of the calls.
    pub async fn send<T: Serialize>(&self, kind: Kind, header: &T, body: Vec<Bytes>) -> io::Result<Call> {
        let connection = self.connection().await?;
        let id = connection.pending.next_id.fetch_add(1, Ordering::Relaxed);
        let (tx, reply) = oneshot::channel();
        connection.pending.replies.lock().insert(id, tx);
        let call = Call { id, pending: connection.pending.clone(), reply };
        let sent = connection.requests.send(Outgoing::new(kind, id, header, body)).await;
        if sent.is_err() || call.pending.closed.load(Ordering::Acquire) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(call)
    }

    /// Sends a request and waits for its reply, `limit` in all.
    pub async fn call<T: Serialize>(
        &self,
        kind: Kind,
        header: &T,
        body: Vec<Bytes>,
        limit: Duration,
    ) -> io::Result<Message> {
        let answered = async { self.send(kind, header, body).await?.reply().await };
        match tokio::time::timeout(limit, answered).await {
            Ok(result) => result,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Forgets the connection, so that the next request makes a new one, if the peer has said nothing
    /// on it for so long: it may be a connection to a host that is gone.
    pub fn disconnect_if_silent(&self, silence: Duration) {
        // Locked means that it is being made, or was just found to be good.
        if let Ok(mut slot) = self.connection.try_lock()
            && slot.as_ref().is_some_and(|connection| silence <= connection.pending.heard.lock().elapsed())
        {
            *slot = None;
        }
    }

    async fn connection(&self) -> io::Result<Arc<Connection>> {
        let mut slot = self.connection.clone().lock_owned().await;
        if let Some(connection) = slot.as_ref().filter(|c| !c.pending.closed.load(Ordering::Acquire)) {
            return Ok(connection.clone());
        }
        *slot = None;
        // A task of its own, with the lock: callers who give up after a heartbeat's time must not undo
        // what is half done, and the next ones wait for the same connection.
        let to = self.to.clone();
        let connecting = tokio::spawn(async move {
            let connection = Connection::open(&to).await?;
            *slot = Some(connection.clone());
            Ok(connection)
        });
        connecting.await.map_err(io::Error::other)?
    }
}

impl Connection {
    async fn open(to: &Ends) -> io::Result<Arc<Self>> {
        let made = tokio::time::timeout(CONNECT_WITHIN, connect(&to.caller, &to.callee, to.lane)).await;
        let (stream, told, buffer) = made.map_err(|_| io::ErrorKind::TimedOut)??;
        let refused = told.refused.or_else(|| objection(&to.caller, &to.callee, told.version, told.had));
        let last = std::mem::replace(&mut *to.refused.lock(), refused.clone());
        if let Some(reason) = refused {
            if last.as_ref() != Some(&reason) {
                tracing::warn!(peer = to.callee.node, addr = %to.callee.addr, %reason, "no connection to a peer");
            }
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, reason));
        }
        to.caller.peers.announced(to.callee.node, told.version);
        let (reader, writer) = stream.into_split();
        let (requests, queue) = mpsc::channel(QUEUE);
        let pending = Arc::new(Pending {
            next_id: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            heard: Mutex::new(Instant::now()),
            replies: Mutex::default(),
        });
        let replies = pending.clone();
        let running = tokio::spawn(async move {
            tokio::select! {
                _ = read_replies(reader, buffer, &replies) => {}
                _ = wire::run_writer(writer, queue) => {}
            }
            replies.close();
        });
        Ok(Arc::new(Self { requests, pending, task: running.abort_handle() }))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Not left to the writer: it may be stuck in the socket of a peer that reads no more.
        self.task.abort();
        self.pending.close();
    }
}

impl Pending {
    /// Fails every call that still waits, and those to come.
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.replies.lock().clear();
    }
}

async fn read_replies(mut reader: OwnedReadHalf, mut buffer: BytesMut, pending: &Pending) -> io::Result<()> {
    while let Some(message) = wire::read_message(&mut reader, &mut buffer, wire::MAX_MESSAGE).await? {
        *pending.heard.lock() = Instant::now();
        let waiting = pending.replies.lock().remove(&message.id);
        if let Some(waiting) = waiting {
            // The caller may have given up; then nobody misses the reply.
            let _ = waiting.send(message);
        }
    }
    Ok(())
}

impl Call {
    /// The reply, or an error when the connection breaks. Has no time limit of its own.
    pub async fn reply(mut self) -> io::Result<Message> {
        (&mut self.reply).await.map_err(|_| io::ErrorKind::ConnectionReset.into())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.pending.replies.lock().remove(&self.id);
    }
}

/// Why we must not talk to who was called, although it would.
fn objection(us: &Caller, callee: &Callee, version: u32, had: Option<LogId>) -> Option<String> {
    us.peers.too_old(callee.node, version).or_else(|| us.peers.judge(callee.node, had).err())
}

async fn connect(caller: &Caller, callee: &Callee, lane: Lane) -> io::Result<(TcpStream, Told, BytesMut)> {
    let version = caller.peers.version();
    match introduce(caller, callee, lane, version).await {
        // A release that knows version 1 alone closes the connection without a word (decision 0017).
        Err(error) if is_closed(&error) && OLDEST_VERSION < version => {
            introduce(caller, callee, lane, OLDEST_VERSION).await
        }
        done => done,
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}

/// Connects, and says who we are, in the words of that version.
async fn introduce(
    caller: &Caller,
    callee: &Callee,
    lane: Lane,
    version: u32,
) -> io::Result<(TcpStream, Told, BytesMut)> {
    let mut stream = TcpStream::connect(&callee.addr).await?;
    stream.set_nodelay(true)?;
    let hello = Hello {
        magic: wire::MAGIC,
        version,
        lane,
        settings: caller.settings.clone(),
        from: caller.node,
        from_store: caller.store_id,
        to: callee.node,
        to_store: callee.store_id,
    };
    let hello = match version {
        OLDEST_VERSION => Outgoing::new(Kind::Hello, 0, &hello, Vec::new()),
        _ => {
            let had = callee.store_id.and_then(|store_id| caller.peers.had(callee.node, store_id));
            let more = HelloMore { had: to_wire(had) };
            Outgoing::new(Kind::Hello, 0, &(hello, more), Vec::new())
        }
    };
    let mut parts = Vec::new();
    hello.slices(&mut parts);
    wire::write_all(&mut stream, &parts).await?;
    let mut buffer = BytesMut::new();
    let message = wire::read_message(&mut stream, &mut buffer, wire::MAX_HELLO).await?;
    let message = message.ok_or(io::ErrorKind::UnexpectedEof)?;
    let told = Told::of(&message)?;
    Ok((stream, told, buffer))
}

impl Told {
    fn of(message: &Message) -> io::Result<Self> {
        let (reply, more) = message
            .header_and_more::<HelloReply, HelloReplyMore>("hello reply")
            .map_err(|error| wire::invalid(error.to_string()))?;
        let HelloReply { refused, store_id, initialized } = reply;
        let version = more.map_or(OLDEST_VERSION, |more| more.version);
        let had = more.and_then(|more| from_wire(more.had));
        Ok(Self { refused, store_id, initialized, version, had })
    }
}

/// Asks a replica who it is.
pub async fn probe(caller: &Caller, callee: &Callee, limit: Duration) -> io::Result<Told> {
    match tokio::time::timeout(limit, connect(caller, callee, Lane::Probe)).await {
        Ok(result) => Ok(result?.1),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
