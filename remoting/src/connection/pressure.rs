//! Back-pressure: what is under way, when to stop reading, when to go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::ConnectionOptions;

/// Bytes of request bodies that all connections of a server together hold unanswered.
///
/// Counted after a frame was read, so each connection can exceed the bound by one frame.
#[derive(Debug)]
pub(crate) struct InboundBudget {
    bytes: AtomicUsize,
    max: usize,
    freed: Notify,
}

impl InboundBudget {
    pub(crate) fn new(max: usize) -> Self {
        Self { bytes: AtomicUsize::new(0), max, freed: Notify::new() }
    }

    fn is_spent(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.max
    }

    fn release(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        if before > self.max && before - bytes <= self.max {
            self.freed.notify_waiters();
        }
    }
}

/// One connection's counts.
#[derive(Debug)]
pub(crate) struct Pressure {
    /// Bytes given to the outbox and not yet written to the socket.
    queued: AtomicUsize,
    pause_above: usize,
    /// Requests handed to the handler and not answered.
    in_flight: AtomicUsize,
    max_in_flight: usize,
    inbound: Arc<InboundBudget>,
    draining: AtomicBool,
    /// Something that somebody may wait for became true.
    eased: Notify,
}

impl Pressure {
    pub(super) fn new(options: &ConnectionOptions, inbound: Arc<InboundBudget>) -> Self {
        Self {
            queued: AtomicUsize::new(0),
            pause_above: options.outbound_pause,
            in_flight: AtomicUsize::new(0),
            max_in_flight: options.max_in_flight,
            inbound,
            draining: AtomicBool::new(false),
            eased: Notify::new(),
        }
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.queued.load(Ordering::Acquire)
    }

    /// Returns how many bytes are queued now.
    pub(super) fn queue(&self, bytes: usize) -> usize {
        self.queued.fetch_add(bytes, Ordering::AcqRel) + bytes
    }

    pub(super) fn wrote(&self, bytes: usize) {
        let before = self.queued.fetch_sub(bytes, Ordering::AcqRel);
        let now = before - bytes;
        let resume = self.pause_above / 2;
        if (before > resume && now <= resume) || (now == 0 && self.is_draining()) {
            self.eased.notify_waiters();
        }
    }

    pub(crate) fn begin_request(&self, bytes: usize) {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.inbound.bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// After the answer was queued, so that a drain sees either the request or its answer's bytes.
    pub(crate) fn end_request(&self, bytes: usize) {
        self.inbound.release(bytes);
        let before = self.in_flight.fetch_sub(1, Ordering::AcqRel);
        if before >= self.max_in_flight || (before == 1 && self.is_draining()) {
            self.eased.notify_waiters();
        }
    }

    /// Whether reading has to stop.
    pub(super) fn must_pause(&self) -> bool {
        self.queued_bytes() > self.pause_above || self.requests_are_full()
    }

    /// Waits until reading may go on, with some room so that it does not stop at once again.
    pub(super) async fn may_resume(&self) {
        self.when(|| self.queued_bytes() <= self.pause_above / 2 && !self.requests_are_full()).await;
    }

    pub(super) fn outbound_has_room(&self) -> bool {
        self.queued_bytes() <= self.pause_above
    }

    pub(super) async fn outbound_room(&self) {
        self.when(|| self.queued_bytes() <= self.pause_above / 2).await;
    }

    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Waits until nothing is in flight and nothing queued.
    pub(super) async fn quiet(&self) {
        self.when(|| self.in_flight.load(Ordering::Acquire) == 0 && self.queued_bytes() == 0).await;
    }

    fn requests_are_full(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) >= self.max_in_flight || self.inbound.is_spent()
    }

    /// Waits for a condition that `eased` or a freed budget announces. Listens before it looks, so that no
    /// announcement is missed.
    async fn when(&self, condition: impl Fn() -> bool) {
        loop {
            let eased = self.eased.notified();
            let freed = self.inbound.freed.notified();
            tokio::pin!(eased, freed);
            eased.as_mut().enable();
            freed.as_mut().enable();
            if condition() {
                return;
            }
            tokio::select! {
                () = eased => {}
                () = freed => {}
            }
        }
    }
}
