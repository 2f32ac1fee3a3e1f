//! A few threads that take jobs from one queue.

#[cfg(trireme_sim)]
#[path = "tasks.rs"]
mod kind;
#[cfg(not(trireme_sim))]
#[path = "threads.rs"]
mod kind;

pub use kind::{Place, Pool};

#[cfg(all(test, not(trireme_sim)))]
#[path = "test.rs"]
mod tests;

/// Something to do.
pub type Job = Box<dyn FnOnce() + Send>;

/// The next one is not to blame.
fn run(job: Job) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
        tracing::error!("a job failed in the middle");
    }
}
