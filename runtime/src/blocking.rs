//! Work that may wait for a disk, off the tasks that must not.

use tokio::task::JoinHandle;

/// Does it on a thread for such work. Dropping the handle does not stop it.
#[cfg(not(trireme_sim))]
pub fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    tokio::task::spawn_blocking(work)
}

/// Does it when a disk might be done with it. Dropping the handle does not stop it.
#[cfg(trireme_sim)]
pub fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(async move {
        crate::sim::disk().await;
        work()
    })
}
