//! The I/O actor: everything that must wait for the disk, in one order, on a thread of its own.
//!
//! openraft demands that log writes and votes become durable in the order they were issued
//! (`io_ordering`). So appends, truncations and votes pass through one queue. Whatever appends wait
//! when a sync ends share the next one: the sync itself forms the batch, no timer does.
//!
//! A failed sync is told to openraft, which stops the replica; the commit log refuses all further
//! writes by itself. It is never retried as if it had worked.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::storage::IOFlushed;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use trireme_commitlog::{CommitLog, LogId};
use trireme_runtime::Worker;

use crate::hard_state::HardState;
use crate::slow::SlowSyncs;
use crate::types::{TypeConfig, Vote};

/// How far the durable synced mark may trail, in time. A torn tail is told from corruption only above
/// it; writing it is a sync more, so not each time.
const MARK_EVERY: Duration = Duration::from_millis(100);

enum Job {
    Appended(IOFlushed<TypeConfig>),
    Vote(Vote, oneshot::Sender<io::Result<()>>),
    Truncate(Option<u64>, oneshot::Sender<io::Result<()>>),
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Job>,
    /// No more than what is queued.
    stopping: bool,
}

/// A handle to the two I/O threads of one replica; they end when [`Flusher::stop`] is called.
#[derive(Clone)]
pub struct Flusher {
    queue: Arc<Mutex<Queue>>,
    /// What the keeper shall persist lazily.
    committed: Arc<Mutex<Option<LogId>>>,
    flusher: Arc<Worker>,
    keeper: Arc<Worker>,
    flushed: watch::Receiver<Option<LogId>>,
}

impl Flusher {
    /// Starts the threads.
    pub fn start(log: Arc<CommitLog>, hard: HardState) -> io::Result<Self> {
        let (queue, committed) = (Arc::<Mutex<Queue>>::default(), Arc::<Mutex<Option<LogId>>>::default());
        let (publish, flushed) = watch::channel(log.flushed());
        let mut keeps = Keeps::new(log.clone(), hard.clone(), committed.clone());
        let keeper = Arc::new(Worker::start("keeper", Some(MARK_EVERY), move || keeps.work())?);
        let mut disk =
            Disk { log, hard, publish: Some(publish), keeper: keeper.clone(), slow: SlowSyncs::default() };
        let jobs = queue.clone();
        let flusher = Worker::start("flusher", None, move || disk.work(&jobs)).inspect_err(|_| keeper.stop());
        Ok(Self { queue, committed, flusher: Arc::new(flusher?), keeper, flushed })
    }

    /// The last entry on this replica's disk, now and whenever that changes. Closes when the thread
    /// ends.
    pub fn flushed(&self) -> watch::Receiver<Option<LogId>> {
        self.flushed.clone()
    }

    /// `done` is told once everything appended so far is durable.
    pub fn appended(&self, done: IOFlushed<TypeConfig>) {
        self.push(Job::Appended(done));
    }

    /// Durable when it returns, and so is all that was appended before.
    pub async fn save_vote(&self, vote: Vote) -> io::Result<()> {
        let (tx, rx) = oneshot::channel();
        self.push(Job::Vote(vote, tx));
        rx.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Cuts the tail behind `last_kept`; durable when it returns.
    pub async fn truncate_after(&self, last_kept: Option<u64>) -> io::Result<()> {
        let (tx, rx) = oneshot::channel();
        self.push(Job::Truncate(last_kept, tx));
        rx.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Remembers the commit mark, to be persisted off the write path.
    pub fn committed(&self, id: Option<LogId>) {
        *self.committed.lock() = id;
    }

    /// Ends both threads, what is queued first. Returns at once; what comes later is refused.
    pub fn end(&self) {
        self.queue.lock().stopping = true;
        self.flusher.end();
        self.keeper.end();
    }

    /// As [`Flusher::end`], and waits for it. Blocks.
    pub fn stop(&self) {
        self.end();
        self.flusher.stop();
        self.keeper.stop();
    }

    fn push(&self, job: Job) {
        let mut queue = self.queue.lock();
        // Dropped, a job that is waited for says that it failed.
        if !queue.stopping {
            queue.jobs.push(job);
            drop(queue);
            self.flusher.wake();
        }
    }
}

/// What the flusher thread works on.
struct Disk {
    log: Arc<CommitLog>,
    hard: HardState,
    /// `None` after a failed sync: nothing will be durable any more.
    publish: Option<watch::Sender<Option<LogId>>>,
    keeper: Arc<Worker>,
    slow: SlowSyncs,
}

impl Disk {
    /// Until nothing is queued: what comes during a sync shares the next one.
    fn work(&mut self, queue: &Mutex<Queue>) {
        let mut waiting: Vec<IOFlushed<TypeConfig>> = Vec::new();
        loop {
            let jobs = std::mem::take(&mut queue.lock().jobs);
            if jobs.is_empty() {
                return;
            }
            for job in jobs {
                match job {
                    Job::Appended(done) => waiting.push(done),
                    Job::Vote(vote, done) => {
                        let saved = self.flush(&mut waiting).and_then(|()| {
                            self.slow.watch(|| self.hard.save_vote(&vote)).map_err(io::Error::other)
                        });
                        let _ = done.send(saved);
                    }
                    Job::Truncate(last_kept, done) => {
                        let cut = self
                            .flush(&mut waiting)
                            .and_then(|()| self.log.truncate_after(last_kept).map_err(io::Error::other));
                        self.publish();
                        let _ = done.send(cut);
                    }
                }
            }
            // A failure was told to every callback, which stops the replica; nothing is left to do here.
            let _ = self.flush(&mut waiting);
        }
    }

    /// One sync for all that wait; each is told how it ended.
    fn flush(&mut self, waiting: &mut Vec<IOFlushed<TypeConfig>>) -> io::Result<()> {
        if waiting.is_empty() {
            return Ok(());
        }
        let result = self.slow.watch(|| self.log.flush());
        match &result {
            Ok(_) => self.publish(),
            Err(error) => {
                self.publish = None;
                tracing::error!(%error, "the commit log could not be synced; this replica stops");
            }
        }
        for done in waiting.drain(..) {
            done.io_completed(match &result {
                Ok(_) => Ok(()),
                Err(error) => Err(io::Error::other(error.to_string())),
            });
        }
        if self.log.maintenance_due() {
            self.keeper.wake();
        }
        result.map(|_| ()).map_err(io::Error::other)
    }

    fn publish(&self) {
        if let Some(publish) = &self.publish {
            publish.send_replace(self.log.flushed());
        }
    }
}

/// Off the write path: the synced mark, the next segment, the commit mark, the bound for memory.
struct Keeps {
    log: Arc<CommitLog>,
    hard: HardState,
    committed: Arc<Mutex<Option<LogId>>>,
    kept: Option<LogId>,
    /// What was told last; empty: all is well.
    complaint: String,
}

impl Keeps {
    fn new(log: Arc<CommitLog>, hard: HardState, committed: Arc<Mutex<Option<LogId>>>) -> Self {
        Self { log, hard, committed, kept: None, complaint: String::new() }
    }

    fn work(&mut self) {
        let committed = *self.committed.lock();
        self.log.shrink_cache();
        self.log.free_removed();
        // A fault of the log was told when it came; whatever is appended next stops the replica.
        let upkeep = match self.log.mark_synced() {
            Ok(_) if self.log.maintenance_due() => self.log.maintain().map_err(|error| error.to_string()),
            Ok(_) => Ok(()),
            Err(fault) => Err(fault.to_string()),
        };
        let news = upkeep.err().unwrap_or_default();
        if news != self.complaint {
            match news.as_str() {
                "" => tracing::info!("the log's files are looked after again"),
                reason => tracing::warn!(reason, "the log's files cannot be looked after; trying again"),
            }
            self.complaint = news;
        }
        if committed != self.kept {
            match self.hard.save_committed(committed) {
                Ok(()) => self.kept = committed,
                Err(error) => tracing::warn!(%error, "the commit mark could not be saved"),
            }
        }
    }
}

fn stopped() -> io::Error {
    io::Error::other("the replica is stopping")
}
