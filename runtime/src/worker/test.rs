#![allow(clippy::unwrap_used)]

use std::sync::atomic::AtomicU64;
use std::sync::mpsc;

use super::*;

#[test]
fn what_is_asked_for_before_the_end_is_done() {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    for _ in 0..200 {
        let asked = Arc::new(AtomicU64::new(0));
        let (done, told) = mpsc::channel();
        let theirs = asked.clone();
        let worker = Worker::start("test", None, move || {
            let _ = done.send(theirs.load(Ordering::SeqCst));
        });
        let worker = worker.unwrap();
        asked.store(1, Ordering::SeqCst);
        worker.wake();
        assert!(told.iter().any(|seen| seen == 1), "woken, it works");
        asked.store(2, Ordering::SeqCst);
        worker.stop();
        assert_eq!(told.iter().last(), Some(2), "it works a last time, and is gone");
    }
}

#[test]
fn it_works_every_so_often() {
    let (done, told) = mpsc::channel();
    let every = Some(std::time::Duration::from_millis(1));
    let worker = Worker::start("test", every, move || {
        let _ = done.send(());
    })
    .unwrap();
    assert_eq!(told.iter().take(5).count(), 5);
    worker.stop();
}
