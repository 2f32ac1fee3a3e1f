use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::runtime::Handle;

use super::{Job, run};

/// Threads that do jobs. They end with it, or with [`Pool::stop`], which waits for them; what is queued then is dropped.
pub struct Pool {
    queue: Arc<Queue>,
    max_queued: usize,
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

impl Pool {
    /// Starts the threads. They belong to the runtime that this is called in: a job may spawn tasks of it. Errors: the
    /// system gives no threads.
    pub fn start(name: &str, threads: usize, max_queued: usize) -> io::Result<Self> {
        let this = Self { queue: Arc::default(), max_queued, threads: Mutex::default() };
        let runtime = Handle::current();
        for nth in 0..threads {
            let (queue, runtime) = (this.queue.clone(), runtime.clone());
            let thread = std::thread::Builder::new().name(format!("{name}-{nth}"));
            let body = move || {
                let _runtime = runtime.enter();
                while let Some(job) = queue.next() {
                    run(job);
                }
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

    /// Room for one job; `None` if too many wait already, or the pool has ended. To be taken at once.
    pub fn place(&self) -> Option<Place<'_>> {
        let state = self.queue.state.lock();
        let has_room = !state.stopping && state.jobs.len() < self.max_queued;
        has_room.then(|| Place { state, queue: &self.queue })
    }

    /// Ends the threads, and waits for what each is doing. Blocks.
    pub fn stop(&self) {
        self.end();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread panicked");
            }
        }
    }

    fn end(&self) {
        let dropped = {
            let mut state = self.queue.state.lock();
            state.stopping = true;
            std::mem::take(&mut state.jobs)
        };
        // Not under the lock: dropped, a job may tell somebody.
        drop(dropped);
        self.queue.wake.notify_all();
    }
}

/// Room for one job, while nobody else takes it.
pub struct Place<'a> {
    state: MutexGuard<'a, State>,
    queue: &'a Queue,
}

impl Place<'_> {
    /// The job is done on one of the threads, jobs in the order of their coming.
    pub fn take(mut self, job: Job) {
        self.state.jobs.push_back(job);
        drop(self.state);
        self.queue.wake.notify_one();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.end();
    }
}

impl Queue {
    fn next(&self) -> Option<Job> {
        let mut state = self.state.lock();
        loop {
            if state.stopping {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            self.wake.wait(&mut state);
        }
    }
}
