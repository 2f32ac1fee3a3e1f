//! Segments of the log, kept for the checks: replicas let go of what is old while a run lasts.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::task::JoinHandle;

use crate::group::Group;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A segment is copied when the leader's log goes on for so many behind it: then it is full, and no election takes any of
/// it away.
const BEHIND: u64 = 4;

/// Copies of segments, from the log's first on.
pub struct Archive {
    copying: Arc<Copying>,
    task: JoinHandle<()>,
}

struct Copying {
    group: Group,
    stores: Vec<PathBuf>,
    dir: PathBuf,
    segment_bytes: u64,
    /// All before it is copied.
    next: AtomicU64,
}

impl Archive {
    /// Begins to copy to `dir` from the replicas' stores, in the order of the group's addresses.
    pub fn start(
        dir: &Path,
        group: &Group,
        stores: Vec<PathBuf>,
        segment_bytes: u64,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(dir)?;
        let (group, dir) = (group.clone(), dir.to_owned());
        let copying = Arc::new(Copying { group, stores, dir, segment_bytes, next: AtomicU64::new(0) });
        let ours = copying.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                // A disk that has just lost its power is asked again when it, or another one, leads.
                if let Err(error) = ours.look().await {
                    tracing::debug!("{error:#}");
                }
            }
        });
        Ok(Self { copying, task })
    }

    /// Copies what is to be copied still, if a replica leads. Returns where the copies are. Who reads them notices if one is
    /// missing.
    pub async fn finish(self) -> PathBuf {
        self.task.abort();
        let _ = self.task.await;
        if let Err(error) = self.copying.look().await {
            tracing::warn!("the last segments are not copied: {error:#}");
        }
        self.copying.dir.clone()
    }
}

impl Copying {
    async fn look(self: &Arc<Self>) -> anyhow::Result<()> {
        let leader = self.group.leads().await.context("nobody leads")?;
        let status = self.group.statuses().await.swap_remove(leader).context("it does not answer")?;
        loop {
            let base = self.next.load(Ordering::Relaxed);
            if status.log_end < base + BEHIND * self.segment_bytes {
                return Ok(());
            }
            let ours = self.clone();
            tokio::task::spawn_blocking(move || ours.copy(leader, base)).await??;
            self.next.store(base + self.segment_bytes, Ordering::Relaxed);
        }
    }

    fn copy(&self, leader: usize, base: u64) -> anyhow::Result<()> {
        let name = format!("{base:020}.log");
        let (source, half) = (self.stores[leader].join("commitlog").join(&name), self.dir.join("half"));
        let copied = fs::copy(&source, &half).with_context(|| format!("segment {}", source.display()))?;
        ensure!(copied == self.segment_bytes, "{} has {copied} bytes", source.display());
        Ok(fs::rename(half, self.dir.join(name))?)
    }
}
