//! Watches the free room of the store's disk, so that old messages go and new ones are refused before it is full.
//!
//! What is acknowledged must also be applied, and applying writes files of its own (ConsumeQueues, key
//! index, saved state). So a reserve is kept for them. Somebody else may take that too. For the last that a replica must
//! write to go on at all, its vote, a file is kept whose room nobody else can take; it is given up when nothing else is left.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::FallocateFlags;

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The file that is given up.
const KEPT: &str = "reserve";
/// Its size, unless the reserve is small.
const KEPT_BYTES: u64 = 16 << 20;
/// With less room the hard state's database cannot be opened: it would be damaged by the attempt.
const LEAST_BYTES: u64 = 1 << 20;

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
    keeps: AtomicBool,
}

/// Makes the directory of a store, and room on its disk if there is none left and some was kept.
///
/// Errors: `StorageFull` with less than a replica needs; nothing of the store was touched.
pub fn make_room(store: &Path) -> io::Result<()> {
    fs::create_dir_all(store)?;
    if free_bytes(store)? < LEAST_BYTES && give_up(store)? {
        tracing::warn!(store = %store.display(), "the disk is full: giving up the room that was kept");
    }
    match free_bytes(store)? {
        free if free < LEAST_BYTES => {
            let reason = format!("{free} bytes are free, a replica needs {LEAST_BYTES} to start: make room");
            Err(io::Error::new(io::ErrorKind::StorageFull, reason))
        }
        _ => Ok(()),
    }
}

fn free_bytes(path: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Whether there was something to give up.
fn give_up(store: &Path) -> io::Result<bool> {
    match fs::remove_file(store.join(KEPT)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn keep(store: &Path, bytes: u64) -> io::Result<()> {
    let file = File::create(store.join(KEPT))?;
    Ok(rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes)?)
}

impl Disk {
    /// The disk that holds `path`; `reserve_bytes` of it must stay free, and `trim_bytes` should.
    pub fn new(path: PathBuf, reserve_bytes: u64, trim_bytes: u64) -> Self {
        let keeps = path.join(KEPT).exists();
        let shared = Shared {
            path,
            reserve_bytes,
            trim_bytes,
            full: AtomicBool::new(false),
            free_bytes: AtomicU64::new(u64::MAX),
            keeps: AtomicBool::new(keeps),
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
        let free = match free_bytes(&self.shared.path) {
            Ok(free) => free,
            Err(error) => return tracing::warn!(%error, "cannot tell how much room the disk has"),
        };
        self.keep_or_give_up(free);
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

    fn keep_or_give_up(&self, free: u64) {
        let Shared { path, reserve_bytes, keeps, .. } = &*self.shared;
        let bytes = KEPT_BYTES.min(reserve_bytes / 4);
        let done = if free < LEAST_BYTES && keeps.load(Ordering::Relaxed) {
            tracing::warn!(path = %path.display(), "the disk is full: giving up the room that was kept");
            keeps.store(false, Ordering::Relaxed);
            give_up(path).map(drop)
        } else if bytes > 0 && reserve_bytes + 2 * bytes < free && !keeps.load(Ordering::Relaxed) {
            keeps.store(true, Ordering::Relaxed);
            keep(path, bytes)
        } else {
            return;
        };
        if let Err(error) = done {
            tracing::warn!(%error, path = %path.join(KEPT).display(), "room cannot be kept, or given up");
        }
    }
}
