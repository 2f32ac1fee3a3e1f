//! Writes checkpoints beside the apply task.
//!
//! A write takes two syncs, and on a full disk as long as the disk is full. Applying must not wait for that: openraft
//! builds snapshots on the apply task too, and without one the log cannot be trimmed, which may be what gives the disk
//! room.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::checkpoints::{Checkpoints, Stored};
use crate::lease::Lease;

/// Between two tries to write a checkpoint on a full disk.
const LOOK_FOR_ROOM_EVERY: Duration = Duration::from_millis(200);
/// Checkpoints that wait. There is one for each segment, so that a disk which is slower than this loses no sleep over
/// more.
const WAITING: usize = 4;

/// Writes one checkpoint after the other. Ends when it is dropped.
pub struct Recorder {
    waiting: mpsc::Sender<Stored>,
    _task: JoinSet<()>,
}

impl Recorder {
    /// Writes into `checkpoints`. Needs a runtime.
    pub fn start(checkpoints: Checkpoints, lease: Lease) -> Self {
        let (waiting, mut next) = mpsc::channel::<Stored>(WAITING);
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Some(stored) = next.recv().await {
                let (log_id, physical_offset) = (stored.log_id, stored.checkpoint.physical_offset);
                let bytes = stored.checkpoint.state.len();
                match save(&checkpoints, stored, &lease).await {
                    Ok(()) => tracing::info!(%log_id, physical_offset, bytes, "checkpoint"),
                    // The log cannot be made to start here, and that is all.
                    Err(error) => tracing::error!(%error, physical_offset, "checkpoint not written"),
                }
            }
        });
        Self { waiting, _task: task }
    }

    /// Has a checkpoint written some time. If too many wait already it is left out: the log can then not be made to
    /// start there.
    pub fn record(&self, stored: Stored) {
        let physical_offset = stored.checkpoint.physical_offset;
        if self.waiting.try_send(stored).is_err() {
            tracing::warn!(physical_offset, "checkpoint left out: the disk takes none");
        }
    }
}

/// Writes a checkpoint, or waits until the disk has room for it. Durable when it returns.
pub async fn save(checkpoints: &Checkpoints, stored: Stored, lease: &Lease) -> io::Result<()> {
    let stored = Arc::new(stored);
    let mut is_told = false;
    loop {
        let (checkpoints, stored, lease) = (checkpoints.clone(), stored.clone(), lease.clone());
        let saving = trireme_runtime::blocking(move || {
            let _until_written = lease;
            checkpoints.save(&stored)
        });
        match saving.await.map_err(io::Error::other)? {
            Err(error) if is_full(&error) => {
                if !is_told {
                    tracing::error!(%error, "no room for a checkpoint; waiting for it");
                }
                is_told = true;
                tokio::time::sleep(LOOK_FOR_ROOM_EVERY).await;
            }
            saved => return saved,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
