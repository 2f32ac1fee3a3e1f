//! Readers: threads that wait for the disk, for consumers that are behind.
//!
//! A page of the log that is not in memory stops whoever touches it, and the threads that run requests have
//! producers to answer. So a pull of anything but the newest messages is read, and brought into memory, here;
//! what is left for the connection is to write it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use trireme_remoting::{Frame, Responder, response};

use super::handler::{Pull, answer};
use super::{Found, respond};
use crate::replica::Shared;

/// Threads: so many reads are under way at the disk.
const READERS: usize = 4;
/// Pulls that may wait for a reader. One more is refused; its client comes again.
const MAX_QUEUED: usize = 10_000;

/// The threads of one replica. They end with [`Readers::stop`].
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

struct Job {
    shared: Arc<Shared>,
    responder: Responder,
    what: What,
}

enum What {
    /// Where its messages lie is in a file too.
    Pull(Pull, Frame),
    /// What an answer is made of.
    Load(Found),
}

impl Readers {
    /// Starts the threads.
    pub fn start() -> io::Result<Self> {
        let this = Self { queue: Arc::default(), threads: Mutex::default() };
        for nth in 0..READERS {
            let queue = this.queue.clone();
            let thread = std::thread::Builder::new().name(format!("reader-{nth}"));
            match thread.spawn(move || run(&queue)) {
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
        let dropped = {
            let mut state = self.queue.state.lock();
            state.stopping = true;
            std::mem::take(&mut state.jobs)
        };
        drop(dropped);
        self.queue.wake.notify_all();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a reader panicked");
            }
        }
    }

    /// Answers a pull whose messages are not in memory.
    pub(super) fn pull(&self, shared: &Arc<Shared>, pull: Pull, request: Frame, responder: Responder) {
        self.push(Job { shared: shared.clone(), responder, what: What::Pull(pull, request) });
    }

    /// Sends what was found once it is in memory.
    pub(super) fn load(&self, shared: &Arc<Shared>, responder: Responder, found: Found) {
        self.push(Job { shared: shared.clone(), responder, what: What::Load(found) });
    }

    fn push(&self, job: Job) {
        let mut state = self.queue.state.lock();
        if state.stopping || state.jobs.len() >= MAX_QUEUED {
            drop(state);
            let reason = "too many consumers wait for messages from the disk";
            return job.responder.refuse(response::SYSTEM_BUSY, reason);
        }
        state.jobs.push_back(job);
        drop(state);
        self.queue.wake.notify_one();
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
        let Job { shared, responder, what } = job;
        if responder.connection().is_closed() {
            continue;
        }
        match what {
            What::Pull(pull, request) => answer(&shared, pull, request, responder),
            What::Load(found) => load(&shared, responder, &found),
        }
    }
}

fn load(shared: &Shared, responder: Responder, found: &Found) {
    let log = shared.node.log();
    for range in &found.ranges {
        if let Err(error) = log.load(range.physical_offset, range.bytes) {
            tracing::error!(physical_offset = range.physical_offset, %error, "messages cannot be read");
            return responder.refuse(response::SYSTEM_ERROR, error.to_string());
        }
    }
    respond::in_memory(shared, responder, found);
}
