//! When the leader was heard of.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When this replica has last accepted a heartbeat. Clones are the same.
#[derive(Clone, Debug)]
pub struct Heard {
    began: Instant,
    /// Milliseconds after `began`; 0: never.
    at: Arc<AtomicU64>,
}

impl Heard {
    /// Nothing was heard yet.
    pub fn new() -> Self {
        Self { began: Instant::now(), at: Arc::default() }
    }

    /// Now.
    pub fn note(&self) {
        self.at.store(self.now().max(1), Ordering::Relaxed);
    }

    /// Whether it was, since so long ago.
    pub fn within(&self, lately: Duration) -> bool {
        let at = self.at.load(Ordering::Relaxed);
        at > 0 && u128::from(self.now().saturating_sub(at)) < lately.as_millis()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
