//! One connection, the same on both sides: requests, answers and one-way frames go either way.
//!
//! ```text
//!   socket --> reader task --> frames --> requests:  RequestHandler::on_request(frame, Responder)
//!                                    \--> responses: whoever waits in invoke()
//!   invoke, oneway, Responder --> outbox (bytes) --> writer task --> socket, vectored
//! ```
//! The reader decodes all that one read brought and hands it over in a loop, without a switch of tasks. Answers
//! are encoded by whoever gives them, straight into the outbox; the writer takes all that is queued at once.
//! A peer that does not read its answers is not read from either, and closed when even so too much piles up.

mod driver;
mod options;
mod outbox;
mod pending;
mod pressure;
mod reason;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::fields::Header;
use crate::frame::{Body, Frame, FrameError, Head};
use outbox::Outbox;
use pending::{NoAnswer, Pending};

pub(crate) use driver::{Socket, spawn};
pub use options::ConnectionOptions;
pub(crate) use pressure::{InboundBudget, Pressure};
pub use reason::{CloseReason, InvokeError};

/// The deadline of who sets none that a clock could tell.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// A handle to a connection; clones are the same connection, which lives on until it is closed.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

struct Shared {
    id: u64,
    peer: SocketAddr,
    local: SocketAddr,
    options: ConnectionOptions,
    outbox: Mutex<Outbox>,
    pending: Pending,
    pressure: Pressure,
    opened: Instant,
    /// When bytes last moved, in ms after `opened`.
    active_ms: AtomicU64,
    /// When bytes last came, in ms after `opened`; 0: none did.
    heard_ms: AtomicU64,
    /// Permit for the writer: the outbox is no longer empty, or closed.
    wake_writer: Notify,
    /// Whether the outbox is closed, for those who only look.
    is_closed: AtomicBool,
    /// For the reader and all who wait for room: the connection is closed.
    closed: Notify,
}

impl Connection {
    fn new(
        peer: SocketAddr,
        local: SocketAddr,
        options: ConnectionOptions,
        inbound: Arc<InboundBudget>,
    ) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        Self {
            shared: Arc::new(Shared {
                id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
                peer,
                local,
                pressure: Pressure::new(&options, inbound),
                options,
                outbox: Mutex::new(Outbox::default()),
                pending: Pending::default(),
                opened: Instant::now(),
                active_ms: AtomicU64::new(0),
                heard_ms: AtomicU64::new(0),
                wake_writer: Notify::new(),
                is_closed: AtomicBool::new(false),
                closed: Notify::new(),
            }),
        }
    }

    /// Unique among the connections of this process, and never used again.
    pub fn id(&self) -> u64 {
        self.shared.id
    }

    /// The other end.
    pub fn peer_addr(&self) -> SocketAddr {
        self.shared.peer
    }

    /// This end.
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.local
    }

    /// Whether the connection is closed, by whichever side.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed.load(Ordering::Acquire)
    }

    /// Why it is closed.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.shared.outbox.lock().closed().cloned()
    }

    /// Bytes that wait for the peer to read them.
    pub fn queued_bytes(&self) -> usize {
        self.shared.pressure.queued_bytes()
    }

    /// Sends a request and waits for its answer.
    ///
    /// Assigns the frame's opaque. Waits for room in the outbox first; `timeout` covers all of it. When the
    /// future is dropped the answer, should it come, is dropped too.
    /// Errors: [`InvokeError::Timeout`], [`InvokeError::Closed`] at once when the connection closes,
    /// [`InvokeError::Frame`] if the request cannot be encoded. After the first two the request may or may
    /// not have been carried out.
    pub async fn invoke(&self, mut frame: Frame, timeout: Duration) -> Result<Frame, InvokeError> {
        let ext = std::mem::take(&mut frame.ext);
        self.invoke_with(frame, &ext, timeout).await
    }

    /// As [`invoke`](Self::invoke), with `header`'s fields instead of the frame's: they need not become a map.
    pub async fn invoke_with(
        &self,
        mut frame: Frame,
        header: &(impl Header + Sync),
        timeout: Duration,
    ) -> Result<Frame, InvokeError> {
        let code = frame.code;
        let late = || InvokeError::Timeout { addr: self.peer_addr().to_string(), code, after: timeout };
        let now = Instant::now();
        let deadline = now.checked_add(timeout).unwrap_or_else(|| now + NEVER);
        if !self.shared.pressure.outbound_has_room() {
            timeout_at(deadline, self.room()).await.map_err(|_| late())??;
        }
        let waiting = self.shared.pending.register(deadline);
        frame.set_request(waiting.opaque());
        self.send_with(frame, header)?;
        waiting.answer().await.map_err(|reason| match reason {
            NoAnswer::Late => late(),
            NoAnswer::Closed => self.closed_error(),
        })
    }

    /// Queues a request that is not answered; it is written in the order of the calls.
    ///
    /// Errors: the connection is closed, or the frame cannot be encoded. Success says nothing of delivery.
    pub fn oneway(&self, mut frame: Frame) -> Result<(), InvokeError> {
        frame.set_request(self.shared.pending.next_opaque());
        frame.set_oneway();
        self.send(frame)
    }

    /// Closes the connection: nothing more is accepted, what is queued is flushed for a bounded time, requests
    /// that wait for an answer fail at once.
    pub fn close(&self) {
        self.close_with(CloseReason::Local);
    }

    /// Stops taking requests, waits until every one in flight is answered and written, then closes.
    pub(crate) async fn drain(&self) {
        self.shared.pressure.drain();
        tokio::select! {
            () = self.shared.pressure.quiet() => {}
            () = self.wait_closed() => {}
        }
        self.close_with(CloseReason::Shutdown);
    }

    pub(crate) fn send_response(&self, frame: Frame) -> Result<(), InvokeError> {
        self.send(frame)
    }

    pub(crate) fn pressure(&self) -> &Pressure {
        &self.shared.pressure
    }

    pub(crate) fn close_with(&self, reason: CloseReason) {
        if self.shared.outbox.lock().close(reason) {
            self.shared.is_closed.store(true, Ordering::Release);
            self.shared.wake_writer.notify_one();
            self.shared.closed.notify_waiters();
            self.shared.pending.fail_all();
        }
    }

    /// Waits for the connection to be closed by anyone.
    pub(crate) async fn wait_closed(&self) {
        let closed = self.shared.closed.notified();
        tokio::pin!(closed);
        closed.as_mut().enable();
        if !self.is_closed() {
            closed.await;
        }
    }

    async fn room(&self) -> Result<(), InvokeError> {
        tokio::select! {
            () = self.shared.pressure.outbound_room() => Ok(()),
            () = self.wait_closed() => Err(self.closed_error()),
        }
    }

    pub(crate) fn send_header(
        &self,
        head: &Head<'_>,
        header: &impl Header,
        body: Body,
    ) -> Result<(), InvokeError> {
        let Shared { outbox, options, pressure, .. } = &*self.shared;
        let pushed = outbox.lock().push_header(head, header, body, options.max_frame, pressure);
        self.sent(pushed)
    }

    fn send(&self, mut frame: Frame) -> Result<(), InvokeError> {
        let ext = std::mem::take(&mut frame.ext);
        self.send_with(frame, &ext)
    }

    fn send_with(&self, frame: Frame, header: &impl Header) -> Result<(), InvokeError> {
        let Shared { outbox, options, pressure, .. } = &*self.shared;
        let pushed = outbox.lock().push(frame, header, options.max_frame, pressure);
        self.sent(pushed)
    }

    fn sent(&self, pushed: Result<outbox::Pushed, outbox::PushError>) -> Result<(), InvokeError> {
        match pushed {
            Ok(push) => {
                if push.was_empty {
                    self.shared.wake_writer.notify_one();
                }
                // One frame is always let in: the bound is against a peer that does not read.
                if push.queued > self.shared.options.outbound_close && !push.was_empty {
                    self.close_with(CloseReason::Overflow { queued: push.queued });
                    return Err(self.closed_error());
                }
                Ok(())
            }
            Err(outbox::PushError::Closed) => Err(self.closed_error()),
            Err(outbox::PushError::Frame(error)) => Err(InvokeError::Frame(error)),
        }
    }

    fn closed_error(&self) -> InvokeError {
        let reason = self.close_reason().unwrap_or(CloseReason::Local);
        InvokeError::Closed { addr: self.peer_addr().to_string(), reason }
    }

    /// Whether the peer has sent anything since then.
    pub(crate) fn has_heard_since(&self, then: Instant) -> bool {
        let heard = self.shared.heard_ms.load(Ordering::Relaxed);
        let then = then.saturating_duration_since(self.shared.opened).as_millis() as u64;
        heard > 0 && heard >= then
    }

    /// When the peer was heard last; when the connection was made, if it never was.
    fn last_heard(&self) -> Instant {
        self.shared.opened + Duration::from_millis(self.shared.heard_ms.load(Ordering::Relaxed))
    }

    fn heard(&self) {
        let elapsed = self.touch();
        self.shared.heard_ms.store(elapsed.max(1), Ordering::Relaxed);
    }

    /// Returns the milliseconds that the connection is old.
    fn touch(&self) -> u64 {
        let elapsed = self.shared.opened.elapsed().as_millis() as u64;
        self.shared.active_ms.store(elapsed, Ordering::Relaxed);
        elapsed
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id())
            .field("peer", &self.peer_addr())
            .field("closed", &self.close_reason())
            .finish_non_exhaustive()
    }
}

impl PartialEq for Connection {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Connection {}

#[cfg(test)]
mod tests;
