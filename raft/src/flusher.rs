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
use parking_lot::{Condvar, Mutex};
use tokio::sync::{oneshot, watch};
use trireme_commitlog::{CommitLog, LogId};

use crate::hard_state::HardState;
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
    jobs: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    jobs: Vec<Job>,
    /// No more than what is queued.
    stopping: bool,
    /// What the keeper shall persist lazily.
    committed: Option<LogId>,
}

/// A handle to the two I/O threads of one replica; they end when [`Flusher::stop`] is called.
#[derive(Clone)]
pub struct Flusher {
    queue: Arc<Queue>,
    threads: Arc<Mutex<Vec<std::thread::JoinHandle<()>>>>,
    keeper: Arc<Queue>,
    flushed: watch::Receiver<Option<LogId>>,
}

impl Flusher {
    /// Starts the threads.
    pub fn start(log: Arc<CommitLog>, hard: HardState) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let keeper = Arc::new(Queue::default());
        let (publish, flushed) = watch::channel(log.flushed());
        let this = Self { queue: queue.clone(), threads: Arc::default(), keeper: keeper.clone(), flushed };
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| -> io::Result<()> {
            let thread = std::thread::Builder::new().name(name.into()).spawn(body)?;
            this.threads.lock().push(thread);
            Ok(())
        };
        let mut disk =
            Disk { log: log.clone(), hard: hard.clone(), publish: Some(publish), keeper: keeper.clone() };
        let both = spawn("flusher", Box::new(move || disk.run(&queue)))
            .and_then(|()| spawn("keeper", Box::new(move || keep(&keeper, &log, &hard))));
        if let Err(error) = both {
            this.stop();
            return Err(error);
        }
        Ok(this)
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
        self.keeper.jobs.lock().committed = id;
    }

    /// Ends both threads, what is queued first. Returns at once; what comes later is refused.
    pub fn end(&self) {
        for queue in [&self.queue, &self.keeper] {
            queue.jobs.lock().stopping = true;
            queue.wake.notify_all();
        }
    }

    /// As [`Flusher::end`], and waits for it. Blocks.
    pub fn stop(&self) {
        self.end();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("an I/O thread panicked");
            }
        }
    }

    fn push(&self, job: Job) {
        let mut state = self.queue.jobs.lock();
        // Dropped, a job that is waited for says that it failed.
        if !state.stopping {
            state.jobs.push(job);
            self.queue.wake.notify_one();
        }
    }
}

/// What the flusher thread works on.
struct Disk {
    log: Arc<CommitLog>,
    hard: HardState,
    /// `None` after a failed sync: nothing will be durable any more.
    publish: Option<watch::Sender<Option<LogId>>>,
    keeper: Arc<Queue>,
}

impl Disk {
    fn run(&mut self, queue: &Queue) {
        let mut waiting: Vec<IOFlushed<TypeConfig>> = Vec::new();
        loop {
            let jobs = {
                let mut state = queue.jobs.lock();
                while state.jobs.is_empty() && !state.stopping {
                    queue.wake.wait(&mut state);
                }
                if state.jobs.is_empty() {
                    return;
                }
                std::mem::take(&mut state.jobs)
            };
            for job in jobs {
                match job {
                    Job::Appended(done) => waiting.push(done),
                    Job::Vote(vote, done) => {
                        let saved = self
                            .flush(&mut waiting)
                            .and_then(|()| self.hard.save_vote(&vote).map_err(io::Error::other));
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
        let result = self.log.flush();
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
            self.keeper.wake.notify_one();
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
fn keep(queue: &Queue, log: &CommitLog, hard: &HardState) {
    let mut kept = None;
    let mut complaint = String::new();
    loop {
        let (stopping, committed) = {
            let mut state = queue.jobs.lock();
            if !state.stopping {
                queue.wake.wait_for(&mut state, MARK_EVERY);
            }
            (state.stopping, state.committed)
        };
        log.shrink_cache();
        log.free_removed();
        // A fault of the log was told when it came; whatever is appended next stops the replica.
        let upkeep = match log.mark_synced() {
            Ok(_) if log.maintenance_due() => log.maintain().map_err(|error| error.to_string()),
            Ok(_) => Ok(()),
            Err(fault) => Err(fault.to_string()),
        };
        let news = upkeep.err().unwrap_or_default();
        if news != complaint {
            match news.as_str() {
                "" => tracing::info!("the log's files are looked after again"),
                reason => tracing::warn!(reason, "the log's files cannot be looked after; trying again"),
            }
            complaint = news;
        }
        if committed != kept {
            match hard.save_committed(committed) {
                Ok(()) => kept = committed,
                Err(error) => tracing::warn!(%error, "the commit mark could not be saved"),
            }
        }
        if stopping {
            return;
        }
    }
}

fn stopped() -> io::Error {
    io::Error::other("the replica is stopping")
}
