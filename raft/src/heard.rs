//! When the leader was heard of.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// When this replica has last accepted a heartbeat. Clones are the same.
#[derive(Clone, Debug)]
pub struct Heard {
    began: Instant,
    /// Milliseconds after `began`; 0: never.
    at: Arc<AtomicU64>,
    next: Arc<Notify>,
}

impl Heard {
    /// Nothing was heard yet.
    pub fn new() -> Self {
        Self { began: Instant::now(), at: Arc::default(), next: Arc::default() }
    }

    /// Now.
    pub fn note(&self) {
        self.at.store(self.now().max(1), Ordering::Relaxed);
        self.next.notify_waiters();
    }

    /// Whether it was, since so long ago.
    pub fn within(&self, lately: Duration) -> bool {
        let at = self.at.load(Ordering::Relaxed);
        at > 0 && u128::from(self.now().saturating_sub(at)) < lately.as_millis()
    }

    /// The next time, counted from when the future is enabled or first polled.
    pub fn next(&self) -> Notified<'_> {
        self.next.notified()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
