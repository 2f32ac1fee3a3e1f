use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A task that does what a thread does elsewhere. It waits as long as a disk might before each time.
pub struct Worker {
    shared: Arc<Shared>,
}

struct Shared {
    woken: Notify,
    ending: AtomicBool,
    /// `None` after the last time.
    work: Mutex<Option<Box<dyn FnMut() + Send>>>,
}

impl Worker {
    /// Starts it, in the runtime that this is called in.
    pub fn start(
        _name: &str,
        every: Option<Duration>,
        work: impl FnMut() + Send + 'static,
    ) -> io::Result<Self> {
        let work: Box<dyn FnMut() + Send> = Box::new(work);
        let work = Mutex::new(Some(work));
        let shared = Arc::new(Shared { woken: Notify::new(), ending: AtomicBool::new(false), work });
        let ours = shared.clone();
        tokio::spawn(async move {
            loop {
                crate::sim::disk().await;
                let is_last = ours.ending.load(Ordering::Acquire);
                match ours.work.lock().as_mut() {
                    Some(work) => work(),
                    None => return,
                }
                if is_last {
                    *ours.work.lock() = None;
                    return;
                }
                match every {
                    Some(every) => drop(tokio::time::timeout(every, ours.woken.notified()).await),
                    None => ours.woken.notified().await,
                }
            }
        });
        Ok(Self { shared })
    }

    /// There is something to do.
    pub fn wake(&self) {
        self.shared.woken.notify_one();
    }

    /// Ends it, after a last time. Returns at once.
    pub fn end(&self) {
        self.shared.ending.store(true, Ordering::Release);
        self.wake();
    }

    /// As [`Worker::end`], and it has ended.
    pub fn stop(&self) {
        self.end();
        if let Some(mut work) = self.shared.work.lock().take() {
            work();
        }
    }
}
