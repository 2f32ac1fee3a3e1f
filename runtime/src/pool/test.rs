#![allow(clippy::unwrap_used)]

use tokio::sync::oneshot;

use super::*;

/// A job may spawn tasks; and a defect costs one job, not a thread.
#[tokio::test]
async fn jobs_spawn_tasks_and_threads_survive() {
    let pool = Pool::start("test", 2, 100).unwrap();
    for _ in 0..4 {
        pool.place().unwrap().take(Box::new(|| panic!("as planned")));
    }
    let (done, told) = oneshot::channel();
    let job = Box::new(move || {
        tokio::spawn(async move { done.send(()) });
    });
    pool.place().unwrap().take(job);
    told.await.unwrap();
    pool.stop();
    assert!(pool.place().is_none(), "it has ended");
}

/// What waits is bounded, and dropped at the end.
#[tokio::test]
async fn what_is_queued_is_bounded_and_dropped() {
    let pool = Pool::start("test", 1, 2).unwrap();
    let (begun, has_begun) = std::sync::mpsc::channel();
    let (go, goes) = std::sync::mpsc::channel::<()>();
    let first = Box::new(move || {
        begun.send(()).unwrap();
        let _ = goes.recv();
    });
    pool.place().unwrap().take(first);
    has_begun.recv().unwrap();
    let (kept, mut is_dropped) = oneshot::channel::<()>();
    let job = Box::new(move || {
        let _ = kept.send(());
    });
    pool.place().unwrap().take(job);
    pool.place().unwrap().take(Box::new(|| ()));
    assert!(pool.place().is_none(), "two wait");
    drop(pool);
    assert!(is_dropped.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed));
    go.send(()).unwrap();
}
