//! The two tasks of a connection.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tracing::{debug, warn};
use trireme_runtime::net::{self, OwnedReadHalf};

use super::{CloseReason, Connection, ConnectionOptions, InboundBudget};
use crate::frame::{Frame, FrameDecoder};
use crate::response;
use crate::server::{RequestHandler, Responder};
use crate::stall;
use crate::version::{self, Language};

/// How long what is queued may take to be written after the connection was closed.
const FLUSH: Duration = Duration::from_secs(3);

/// How much is read at once: little while a connection is quiet, more while reads come back full.
const READ_MIN: usize = 4 * 1024;
const READ_MAX: usize = 256 * 1024;

/// What the system knows of a socket is told within this, after a standstill; and what was under way arrives, after the server
/// was cut off.
const NEWS: Duration = Duration::from_millis(20);

/// What is read then at once, at most.
const NEWS_BYTES: usize = 8 * 1024 * 1024;

/// Entries of one vectored write.
const WRITE_RUNS: usize = 64;

/// An open socket, its two halves and its two ends.
pub(crate) struct Socket<R, W> {
    pub(crate) reader: R,
    pub(crate) writer: W,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// The reading half of a socket.
pub(crate) trait Reader: AsyncRead + Unpin + Send + 'static {
    /// Whether the peer has sent its last byte, as far as is known without asking: there may be more to read.
    fn peer_has_ended(&self) -> bool;
}

impl Reader for OwnedReadHalf {
    fn peer_has_ended(&self) -> bool {
        net::peer_has_ended(self)
    }
}

/// Starts the tasks of a connection and returns its handle.
///
/// `ended` runs after the last byte was written and the handler heard of the end.
pub(crate) fn spawn<R, W>(
    socket: Socket<R, W>,
    options: ConnectionOptions,
    inbound: Arc<InboundBudget>,
    handler: Arc<dyn RequestHandler>,
    ended: impl FnOnce(&Connection) + Send + 'static,
) -> Connection
where
    R: Reader,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let connection = Connection::new(socket.peer, socket.local, options, inbound);
    let mut writer = tokio::spawn(write(connection.clone(), socket.writer));
    let end = End {
        connection: connection.clone(),
        handler: handler.clone(),
        writer: writer.abort_handle(),
        ended: Some(ended),
    };
    tokio::spawn({
        let connection = connection.clone();
        async move {
            let end = end;
            let read = Read::new(&connection, handler).run(socket.reader).await;
            connection.close_with(read);
            let reason = connection.close_reason().unwrap_or(CloseReason::Local);
            if reason.is_ordinary() {
                debug!(peer = %connection.peer_addr(), %reason, "connection closed");
            } else {
                warn!(peer = %connection.peer_addr(), %reason, "connection closed");
            }
            if reason.lets_flush() {
                // A peer that does not read in time loses the rest; `end` aborts the writer.
                let _ = tokio::time::timeout(FLUSH, &mut writer).await;
            }
            drop(end);
        }
    });
    connection
}

/// Ends a connection exactly once, also when a handler panics in the reader.
struct End<F: FnOnce(&Connection)> {
    connection: Connection,
    handler: Arc<dyn RequestHandler>,
    writer: AbortHandle,
    ended: Option<F>,
}

impl<F: FnOnce(&Connection)> Drop for End<F> {
    fn drop(&mut self) {
        self.connection.close_with(CloseReason::Panicked);
        self.writer.abort();
        self.handler.on_close(&self.connection);
        if let Some(ended) = self.ended.take() {
            ended(&self.connection);
        }
    }
}

/// The reader's state.
struct Read<'a> {
    connection: &'a Connection,
    handler: Arc<dyn RequestHandler>,
    decoder: FrameDecoder,
    buffer: BytesMut,
    chunk: usize,
    first_frame_seen: bool,
    /// What is read now was sent while this process stood still or was cut off, by somebody who has gone since.
    is_late: bool,
    /// The peer has sent its last byte, and it is read.
    has_ended: bool,
    /// The last standstill of this process that was noticed here.
    stall: Option<u64>,
    /// Since when the buffer has held a part of a frame.
    partial_since: Option<Instant>,
}

impl<'a> Read<'a> {
    fn new(connection: &'a Connection, handler: Arc<dyn RequestHandler>) -> Self {
        let options = &connection.shared.options;
        Self {
            connection,
            handler,
            decoder: FrameDecoder { max_frame: options.max_frame, max_header: options.max_header },
            buffer: BytesMut::new(),
            chunk: READ_MIN,
            first_frame_seen: false,
            is_late: false,
            has_ended: false,
            stall: None,
            partial_since: None,
        }
    }

    /// Reads until the connection ends; why it does.
    async fn run(mut self, mut reader: impl Reader) -> CloseReason {
        let connection = self.connection;
        let closed = connection.wait_closed();
        let timer = sleep_until(self.next_deadline());
        tokio::pin!(closed, timer);
        loop {
            let missing = self.decoder.missing(&self.buffer);
            reserve(&mut self.buffer, missing, self.chunk);
            tokio::select! {
                read = reader.read_buf(&mut self.buffer) => match read {
                    Ok(0) => return self.end_of_stream(),
                    Ok(bytes) => {
                        let cut_off = self.handler.was_cut_off_since(connection.last_heard());
                        connection.heard();
                        self.adapt(bytes);
                        if cut_off {
                            self.is_late = self.read_on(&mut reader).await;
                        } else {
                            self.is_late = self.stood_still().await && reader.peer_has_ended();
                        }
                    }
                    Err(error) => return CloseReason::Io(Arc::new(error)),
                },
                () = &mut closed => return CloseReason::Local,
                () = &mut timer => match self.expired() {
                    Some(reason) => return reason,
                    None => timer.as_mut().reset(self.next_deadline()),
                },
            }
            loop {
                match self.decoder.decode(&mut self.buffer) {
                    Ok(Some(frame)) => self.dispatch(frame),
                    Ok(None) => break,
                    Err(error) => return CloseReason::Malformed(error),
                }
                while connection.pressure().must_pause() {
                    tokio::select! {
                        () = connection.pressure().may_resume() => {}
                        () = &mut closed => return CloseReason::Local,
                        () = &mut timer => match self.expired() {
                            Some(reason) => return reason,
                            None => timer.as_mut().reset(self.next_deadline()),
                        },
                    }
                }
            }
            if self.has_ended {
                return self.end_of_stream();
            }
            self.note_partial(timer.as_mut());
        }
    }

    fn dispatch(&mut self, frame: Frame) {
        self.first_frame_seen = true;
        self.partial_since = None;
        if frame.is_response() {
            let opaque = frame.opaque;
            if !self.connection.shared.pending.complete(frame) {
                debug!(peer = %self.connection.peer_addr(), opaque, "response that nobody waits for");
            }
        } else if self.connection.pressure().is_draining() {
            self.turn_away(frame);
        } else if self.is_late && !frame.is_oneway() {
            // Nobody waits for its answer, and whoever did has sent it elsewhere: a message would be there twice, a
            // position be set back.
            debug!(peer = %self.connection.peer_addr(), code = frame.code, "request that came too late");
        } else {
            let responder = Responder::new(self.connection.clone(), &frame);
            self.handler.on_request(frame, responder);
        }
    }

    /// A request that came after shutdown began is not carried out. Java clients of 5.3.2 and later are told
    /// to come again at once; the others see the connection close.
    fn turn_away(&self, frame: Frame) {
        let understands = frame.language == Language::Java && frame.version > version::V5_3_1;
        if understands && !frame.is_oneway() {
            Responder::new(self.connection.clone(), &frame)
                .reply(Frame::response(response::GO_AWAY).with_remark("shutting down"));
        }
    }

    /// Whether what is read now may have been sent while this process stood still. Waits at the first read after that
    /// until it is known which peers have gone meanwhile.
    async fn stood_still(&mut self) -> bool {
        let lately = stall::lately();
        if lately.is_some() && lately != self.stall {
            self.stall = lately;
            sleep(NEWS).await;
        }
        lately.is_some()
    }

    /// Waits until all that was under way has arrived, and reads it. Whether the peer has gone.
    async fn read_on(&mut self, reader: &mut impl Reader) -> bool {
        sleep(NEWS).await;
        while self.buffer.len() < NEWS_BYTES {
            let missing = self.decoder.missing(&self.buffer);
            reserve(&mut self.buffer, missing, READ_MAX);
            let read = pin!(reader.read_buf(&mut self.buffer)).poll(&mut Context::from_waker(Waker::noop()));
            match read {
                Poll::Pending => break,
                Poll::Ready(Ok(0) | Err(_)) => {
                    self.has_ended = true;
                    return true;
                }
                Poll::Ready(Ok(_)) => {}
            }
        }
        reader.peer_has_ended()
    }

    fn adapt(&mut self, bytes: usize) {
        if self.buffer.len() == self.buffer.capacity() {
            self.chunk = (self.chunk * 2).min(READ_MAX);
        } else if bytes < self.chunk / 4 {
            self.chunk = (self.chunk / 2).max(READ_MIN);
        }
    }

    fn end_of_stream(&self) -> CloseReason {
        match self.decoder.missing(&self.buffer) {
            missing if !self.buffer.is_empty() => CloseReason::Truncated { missing },
            _ => CloseReason::Peer,
        }
    }

    /// Notes whether a part of a frame is left, and wakes earlier for it if need be.
    fn note_partial(&mut self, timer: Pin<&mut Sleep>) {
        if self.buffer.is_empty() {
            self.partial_since = None;
        } else {
            self.partial_since.get_or_insert_with(Instant::now);
            let deadline = self.next_deadline();
            if deadline < timer.deadline() {
                timer.reset(deadline);
            }
        }
    }

    fn idle_deadline(&self) -> Instant {
        let active = Duration::from_millis(self.connection.shared.active_ms.load(Ordering::Relaxed));
        self.connection.shared.opened + active + self.connection.shared.options.idle
    }

    fn first_frame_deadline(&self) -> Option<Instant> {
        let limit = self.connection.shared.options.first_frame.filter(|_| !self.first_frame_seen)?;
        Some(self.connection.shared.opened + limit)
    }

    fn completion_deadline(&self) -> Option<Instant> {
        Some(self.partial_since? + self.connection.shared.options.frame_completion)
    }

    fn next_deadline(&self) -> Instant {
        let deadlines = [Some(self.idle_deadline()), self.first_frame_deadline(), self.completion_deadline()];
        deadlines.into_iter().flatten().min().expect("the idle deadline is always there")
    }

    fn expired(&self) -> Option<CloseReason> {
        let now = Instant::now();
        let options = &self.connection.shared.options;
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if passed(self.first_frame_deadline()) {
            options.first_frame.map(CloseReason::FirstFrame)
        } else if passed(self.completion_deadline()) {
            Some(CloseReason::FrameCompletion(options.frame_completion))
        } else if passed(Some(self.idle_deadline())) {
            Some(CloseReason::Idle(options.idle))
        } else {
            None
        }
    }
}

/// Makes room for the next read: a chunk, or as much again as is there while more than that is missing. So the
/// buffer grows with what has arrived, whatever a length field promises.
pub(super) fn reserve(buffer: &mut BytesMut, missing: usize, chunk: usize) {
    let wanted = missing.min(buffer.len()).max(chunk);
    if buffer.capacity() - buffer.len() < wanted / 2 {
        buffer.reserve(wanted);
    }
}

/// The writer: takes all that is queued, writes it, sleeps when there is nothing.
async fn write(connection: Connection, mut writer: impl AsyncWrite + Unpin) {
    let mut batch = VecDeque::new();
    loop {
        let closed = {
            let mut outbox = connection.shared.outbox.lock();
            outbox.take(&mut batch);
            outbox.closed().is_some()
        };
        if !batch.is_empty() {
            if let Err(error) = write_batch(&connection, &mut writer, &mut batch).await {
                connection.close_with(CloseReason::Io(Arc::new(error)));
                return;
            }
        } else if closed {
            // The peer may be gone; there is nobody left to tell.
            let _ = writer.shutdown().await;
            return;
        } else {
            connection.shared.wake_writer.notified().await;
        }
    }
}

async fn write_batch(
    connection: &Connection,
    writer: &mut (impl AsyncWrite + Unpin),
    batch: &mut VecDeque<Bytes>,
) -> io::Result<()> {
    while !batch.is_empty() {
        let mut slices = [IoSlice::new(&[]); WRITE_RUNS];
        for (slice, run) in slices.iter_mut().zip(batch.iter()) {
            *slice = IoSlice::new(run);
        }
        let filled = batch.len().min(WRITE_RUNS);
        let written = writer.write_vectored(&slices[..filled]).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        advance(batch, written);
        connection.touch();
        connection.pressure().wrote(written);
    }
    Ok(())
}

fn advance(batch: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(run) = batch.front_mut() {
        if run.len() > written {
            run.advance(written);
            return;
        }
        written -= run.len();
        batch.pop_front();
    }
}
