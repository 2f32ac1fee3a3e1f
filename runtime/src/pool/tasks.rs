use std::io;

use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use tokio::task::JoinSet;

use super::{Job, run};

/// Tasks that do jobs, each when a disk might be done with it.
pub struct Pool {
    /// `None` when it has ended.
    tasks: Mutex<Option<JoinSet<()>>>,
    max_queued: usize,
}

impl Pool {
    /// It has no threads.
    pub fn start(_name: &str, _threads: usize, max_queued: usize) -> io::Result<Self> {
        Ok(Self { tasks: Mutex::new(Some(JoinSet::new())), max_queued })
    }

    /// Room for one job; `None` if too many wait already, or the pool has ended. To be taken at once.
    pub fn place(&self) -> Option<Place<'_>> {
        let mut tasks = MutexGuard::try_map(self.tasks.lock(), Option::as_mut).ok()?;
        while tasks.try_join_next().is_some() {}
        (tasks.len() < self.max_queued).then_some(Place { tasks })
    }

    /// What is queued is dropped.
    pub fn stop(&self) {
        let ended = self.tasks.lock().take();
        drop(ended);
    }
}

/// Room for one job, while nobody else takes it.
pub struct Place<'a> {
    tasks: MappedMutexGuard<'a, JoinSet<()>>,
}

impl Place<'_> {
    /// The job is done soon.
    pub fn take(mut self, job: Job) {
        self.tasks.spawn(async move {
            crate::sim::disk().await;
            run(job);
        });
    }
}
