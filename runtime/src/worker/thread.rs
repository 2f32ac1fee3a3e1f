use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use parking_lot::Mutex;

/// A thread that does `work` when it begins, whenever it was woken meanwhile, every so often if wanted, and a last time when
/// it ends. `work` takes everything that there is to do: woken twice, it may be called once.
pub struct Worker {
    thread: Thread,
    ending: Arc<AtomicBool>,
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    /// Starts it. Errors: the system gives no thread.
    pub fn start(
        name: &str,
        every: Option<Duration>,
        mut work: impl FnMut() + Send + 'static,
    ) -> io::Result<Self> {
        let ending = Arc::new(AtomicBool::new(false));
        let told = ending.clone();
        let body = move || {
            loop {
                // Before the work: what was asked for until it was to end is done.
                let is_last = told.load(Ordering::Acquire);
                work();
                if is_last {
                    return;
                }
                // Whoever wakes it meanwhile has left a token.
                match every {
                    Some(every) => std::thread::park_timeout(every),
                    None => std::thread::park(),
                }
            }
        };
        let handle = std::thread::Builder::new().name(name.to_owned()).spawn(body)?;
        let thread = handle.thread().clone();
        Ok(Self { thread, ending, handle: Mutex::new(Some(handle)) })
    }

    /// There is something to do.
    pub fn wake(&self) {
        self.thread.unpark();
    }

    /// Ends it, after a last time. Returns at once.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Release);
        self.wake();
    }

    /// As [`Worker::end`], and waits for it. Blocks.
    pub fn stop(&self) {
        self.end();
        if let Some(handle) = self.handle.lock().take()
            && handle.join().is_err()
        {
            tracing::error!(thread = self.thread.name(), "a thread panicked");
        }
    }
}
