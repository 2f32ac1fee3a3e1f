//! Looks how replicas are, all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;

use crate::check::Violations;
use crate::check::marks::Marks;
use crate::group::Group;
use crate::world::Status;

/// Between two questions how replicas are.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How often each replica was started.
#[derive(Clone, Debug)]
pub struct Runs(Arc<[AtomicU32]>);

impl Runs {
    /// Of so many replicas.
    pub fn new(replicas: usize) -> Self {
        Self((0..replicas).map(|_| AtomicU32::new(0)).collect())
    }

    /// A replica is about to be started.
    pub fn begins(&self, replica: usize) {
        self.0[replica].fetch_add(1, Ordering::Relaxed);
    }

    fn of(&self, replica: usize) -> u32 {
        self.0[replica].load(Ordering::Relaxed)
    }
}

/// A task that looks.
pub struct Watch {
    /// Which run of each replica it is.
    pub runs: Runs,
    violations: Arc<Mutex<Violations>>,
    looking: tokio::task::JoinHandle<()>,
}

impl Watch {
    /// Begins to look.
    pub fn start(group: &Group, runs: Runs) -> Self {
        let violations: Arc<Mutex<Violations>> = Arc::default();
        let (group, seen, kept) = (group.clone(), runs.clone(), violations.clone());
        let looking = tokio::spawn(async move {
            let mut marks: Vec<Marks> = group.addrs.iter().map(|_| Marks::default()).collect();
            loop {
                sleep(LOOK_EVERY).await;
                for (at, addr) in group.addrs.iter().enumerate() {
                    let run = seen.of(at);
                    let Some(status) = Status::ask(&group.remote, *addr).await else { continue };
                    // Otherwise nobody knows which run of the replica answered.
                    if run == seen.of(at) {
                        marks[at].add(at + 1, run, &status, &mut kept.lock());
                    }
                }
            }
        });
        Self { runs, violations, looking }
    }

    /// Ends it: what it saw that cannot be.
    pub async fn finish(self) -> Violations {
        self.looking.abort();
        // It ends because it is aborted.
        let _ = self.looking.await;
        std::mem::take(&mut *self.violations.lock())
    }
}
