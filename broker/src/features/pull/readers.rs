//! Readers: threads that wait for the disk, for consumers that are behind.
//!
//! A page of the log that is not in memory stops whoever touches it, and the threads that run requests have
//! producers to answer. So a pull of anything but the newest messages is read, and brought into memory, here;
//! what is left for the connection is to write it. Other requests for old messages are answered here altogether.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use tokio::runtime::Handle;
use trireme_remoting::{Frame, Responder, response};

use super::handler::{Pull, answer};
use super::{Found, respond};
use crate::features::scrub;
use crate::replica::Shared;

/// Threads. Of the log, one piece is read from the disk at a time, whoever asks; meanwhile the others serve what is in
/// memory after all, and read where messages lie.
const READERS: usize = 4;
/// Pulls that may wait for a reader. One more is refused; its client comes again.
const MAX_QUEUED: usize = 10_000;

/// The threads of one replica. They end with it, or with [`Readers::stop`], which waits for them.
pub struct Readers {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    stopping: bool,
}

type Job = Box<dyn FnOnce() + Send>;

impl Readers {
    /// Starts the threads. They belong to the runtime that this is called in: what they pass on may become a task of it.
    pub fn start() -> io::Result<Self> {
        let this = Self { queue: Arc::default(), threads: Mutex::default() };
        let runtime = Handle::current();
        for nth in 0..READERS {
            let (queue, runtime) = (this.queue.clone(), runtime.clone());
            let thread = std::thread::Builder::new().name(format!("reader-{nth}"));
            let body = move || {
                let _runtime = runtime.enter();
                run(&queue);
            };
            match thread.spawn(body) {
                Ok(thread) => this.threads.lock().push(thread),
                Err(error) => {
                    this.stop();
                    return Err(error);
                }
            }
        }
        Ok(this)
    }

    /// Ends the threads and waits for what each is reading; what is queued is dropped. Blocks.
    pub fn stop(&self) {
        self.end();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a reader panicked");
            }
        }
    }

    fn end(&self) {
        let dropped = {
            let mut state = self.queue.state.lock();
            state.stopping = true;
            std::mem::take(&mut state.jobs)
        };
        // Whoever asked is told that there is no answer.
        drop(dropped);
        self.queue.wake.notify_all();
    }

    /// Answers a pull whose messages are not in memory, and whose queue says in a file where they lie.
    pub(super) fn pull(&self, shared: &Arc<Shared>, pull: Pull, request: Frame, responder: Responder) {
        let shared = shared.clone();
        self.answer(responder, move |responder| answer(&shared, pull, request, responder));
    }

    /// Sends what was found once it is in memory.
    pub(super) fn load(&self, shared: &Arc<Shared>, responder: Responder, found: Found) {
        let shared = shared.clone();
        self.answer(responder, move |responder| load(&shared, responder, &found));
    }

    /// Answers a request on one of the threads, where waiting for the disk holds up nobody who does not.
    pub fn answer(&self, responder: Responder, answer: impl FnOnce(Responder) + Send + 'static) {
        let mut state = self.queue.state.lock();
        if state.stopping || state.jobs.len() >= MAX_QUEUED {
            drop(state);
            let reason = "too many consumers wait for messages from the disk";
            return responder.refuse(response::SYSTEM_BUSY, reason);
        }
        state.jobs.push_back(Box::new(move || {
            if !responder.connection().is_closed() {
                answer(responder);
            }
        }));
        drop(state);
        self.queue.wake.notify_one();
    }
}

/// A replica that does not get as far as serving leaves no threads behind.
impl Drop for Readers {
    fn drop(&mut self) {
        self.end();
    }
}

fn run(queue: &Queue) {
    loop {
        let job = {
            let mut state = queue.state.lock();
            loop {
                if state.stopping {
                    return;
                }
                if let Some(job) = state.jobs.pop_front() {
                    break job;
                }
                queue.wake.wait(&mut state);
            }
        };
        // The next one is not to blame; whoever asked is told that there is no answer.
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            tracing::error!("a reader failed in the middle of a pull");
        }
    }
}

fn load(shared: &Shared, responder: Responder, found: &Found) {
    for range in &found.ranges {
        if let Err(error) = scrub::load(shared, range.physical_offset, range.bytes) {
            return respond::unreadable(shared, responder, found, &error);
        }
    }
    respond::in_memory(shared, responder, found);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    /// A follower passes some pulls on to the leader, which is a task; and a defect costs one answer, not a thread.
    #[tokio::test]
    async fn readers_spawn_tasks_and_survive() {
        let readers = Readers::start().unwrap();
        let push = |job: Job| {
            readers.queue.state.lock().jobs.push_back(job);
            readers.queue.wake.notify_one();
        };
        for _ in 0..2 * READERS {
            push(Box::new(|| panic!("as planned")));
        }
        let (done, told) = oneshot::channel();
        push(Box::new(move || {
            tokio::spawn(async move { done.send(()) });
        }));
        told.await.unwrap();
        readers.stop();
        assert!(readers.threads.lock().is_empty());
    }

    #[tokio::test]
    async fn readers_end_with_their_replica() {
        let readers = Readers::start().unwrap();
        let threads = std::mem::take(&mut *readers.threads.lock());
        drop(readers);
        let ended =
            tokio::task::spawn_blocking(|| threads.into_iter().for_each(|thread| thread.join().unwrap()));
        tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap().unwrap();
    }
}
