//! Watches the free room of the store's disk, so that old messages go and new ones are refused before it is full.
//!
//! What is acknowledged must also be applied, and applying writes files of its own (ConsumeQueues, key
//! index, saved state). So a reserve is kept for them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A handle. Cheap to clone.
#[derive(Clone)]
pub struct Disk {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    reserve_bytes: u64,
    trim_bytes: u64,
    full: AtomicBool,
    free_bytes: AtomicU64,
}

impl Disk {
    /// The disk that holds `path`; `reserve_bytes` of it must stay free, and `trim_bytes` should.
    pub fn new(path: PathBuf, reserve_bytes: u64, trim_bytes: u64) -> Self {
        let shared = Shared {
            path,
            reserve_bytes,
            trim_bytes,
            full: AtomicBool::new(false),
            free_bytes: AtomicU64::new(u64::MAX),
        };
        let disk = Self { shared: Arc::new(shared) };
        disk.look();
        disk
    }

    /// Whether less than the reserve is free.
    pub fn is_full(&self) -> bool {
        self.shared.full.load(Ordering::Relaxed)
    }

    /// So many bytes of old messages should go, for room.
    pub fn wanted_bytes(&self) -> u64 {
        self.shared.trim_bytes.saturating_sub(self.free_bytes())
    }

    /// Free bytes when last looked.
    pub fn free_bytes(&self) -> u64 {
        self.shared.free_bytes.load(Ordering::Relaxed)
    }

    /// Looks again and again.
    pub async fn watch(self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.look();
        }
    }

    fn look(&self) {
        let free = match rustix::fs::statvfs(&self.shared.path) {
            Ok(found) => found.f_bavail.saturating_mul(found.f_frsize),
            Err(error) => return tracing::warn!(%error, "cannot tell how much room the disk has"),
        };
        self.shared.free_bytes.store(free, Ordering::Relaxed);
        let full = free < self.shared.reserve_bytes;
        if full != self.shared.full.swap(full, Ordering::Relaxed) {
            let (path, reserve_bytes) = (self.shared.path.display(), self.shared.reserve_bytes);
            if full {
                tracing::error!(%path, free_bytes = free, reserve_bytes, "disk full: messages are refused");
            } else {
                tracing::info!(%path, free_bytes = free, "the disk has room again: messages are taken");
            }
        }
    }
}
