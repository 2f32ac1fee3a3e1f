//! Zeros are written ahead of the tail, and never over an entry.

#![allow(clippy::unwrap_used)]

mod support;
#[path = "support/watched.rs"]
mod watched;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use support::*;
use trireme_commitlog::faulty::{FaultyDisk, Injection, Op};
use trireme_commitlog::{CommitLog, DiskDir, LogDir, Options};
use watched::{Access, Watched};

#[test]
fn blocks_ahead_of_the_tail_are_written() {
    const SEGMENT: u64 = 64 << 20;
    // A file system in memory may not tell what was written and what is a hole.
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let files = Arc::new(DiskDir::open(dir.path()).unwrap());
    let log = CommitLog::open(files.clone(), Options { segment_bytes: SEGMENT }).unwrap();
    append(&log, id(1, 0), 1000);
    log.flush().unwrap();
    let written = |pos| files.open(&segment_name(0)).unwrap().next_data(pos).unwrap() == Some(pos);
    assert!(!written(2 << 20));
    assert!(log.maintenance_due());
    log.maintain().unwrap();
    assert!(written(2 << 20) && written(15 << 20) && !written(20 << 20));
    assert!(!log.maintenance_due());

    // All of it is used, and read back.
    for _ in 0..150 {
        fill(&log, 10, 10_000);
        log.flush().unwrap();
    }
    assert!(log.maintenance_due());
    // Large flushes gain nothing by it.
    fill(&log, 300, 10_000);
    log.flush().unwrap();
    assert!(!log.maintenance_due());
    drop(log);
    let log = CommitLog::open(files, Options { segment_bytes: SEGMENT }).unwrap();
    assert_eq!(all(&log).len(), 1801);
}

#[test]
fn zeros_never_win_against_an_append() {
    let disk = FaultyDisk::new();
    let (reached, begun) = channel();
    let (go, wait) = channel();
    let wait = Mutex::new(wait);
    let first = AtomicBool::new(true);
    let dir = Watched::new(disk.handle(), move |access| {
        if let Access::Prewrite(pos) = access
            && first.swap(false, Ordering::Relaxed)
        {
            reached.send(pos).unwrap();
            wait.lock().unwrap().recv().unwrap();
        }
    });
    let log = Arc::new(CommitLog::open(dir, options()).unwrap());
    let upkeep = thread::spawn({
        let log = Arc::clone(&log);
        move || log.maintain().unwrap()
    });
    let zeros_at = begun.recv().unwrap() as usize;
    let (done, appended) = channel();
    let appender = thread::spawn({
        let log = Arc::clone(&log);
        move || {
            append(&log, id(1, 0), zeros_at + 2000);
            done.send(()).unwrap();
        }
    });
    // It reaches into what is being zeroed, so it waits. If it did not, the zeros would come after it now.
    let early = appended.recv_timeout(Duration::from_millis(200));
    go.send(()).unwrap();
    upkeep.join().unwrap();
    appender.join().unwrap();
    assert_eq!(early, Err(RecvTimeoutError::Timeout));
    assert_eq!(all(&log)[0].payload(), payload(id(1, 0), zeros_at + 2000));
    log.flush().unwrap();
    disk.kill();
    assert_eq!(all(&open(&disk)).len(), 1);
}

/// A disk that takes its time over zeros holds nobody up who appends, wherever that is.
#[test]
fn appends_do_not_wait_for_a_sync_of_zeros() {
    let disk = FaultyDisk::new();
    let (reached, begun) = channel();
    let (go, wait) = channel();
    let wait = Mutex::new(wait);
    let zeros_at = Mutex::new(0);
    let first = AtomicBool::new(true);
    let dir = Watched::new(disk.handle(), move |access| match access {
        Access::Prewrite(pos) => *zeros_at.lock().unwrap() = pos,
        Access::SyncPrewritten if first.swap(false, Ordering::Relaxed) => {
            reached.send(*zeros_at.lock().unwrap()).unwrap();
            wait.lock().unwrap().recv().unwrap();
        }
        _ => {}
    });
    let log = Arc::new(CommitLog::open(dir, options()).unwrap());
    let upkeep = thread::spawn({
        let log = Arc::clone(&log);
        move || log.maintain().unwrap()
    });
    let length = begun.recv().unwrap() as usize + 2000;
    let (done, appended) = channel();
    let appender = thread::spawn({
        let log = Arc::clone(&log);
        move || {
            append(&log, id(1, 0), length);
            done.send(()).unwrap();
        }
    });
    let meanwhile = appended.recv_timeout(Duration::from_secs(10));
    go.send(()).unwrap();
    upkeep.join().unwrap();
    appender.join().unwrap();
    assert_eq!(meanwhile, Ok(()));
    log.flush().unwrap();
    disk.kill();
    assert_eq!(all(&open(&disk))[0].payload(), payload(id(1, 0), length));
}

/// A sync of zeros is one of what was appended meanwhile too. If that is lost, whoever flushes must hear of it, however
/// soon it comes.
#[test]
fn a_failed_sync_of_zeros_is_one_of_entries() {
    for injection in [Injection::eio(Op::Sync, 0), Injection::full(Op::Sync, 0)] {
        let disk = FaultyDisk::new();
        let (reached, begun) = channel();
        let (go, wait) = channel();
        let wait = Mutex::new(wait);
        let armed = Arc::new(AtomicBool::new(false));
        let dir = Watched::new(disk.handle(), {
            let armed = Arc::clone(&armed);
            move |access| {
                if matches!(access, Access::Prewritten) && armed.swap(false, Ordering::Relaxed) {
                    reached.send(()).unwrap();
                    wait.lock().unwrap().recv().unwrap();
                }
            }
        });
        let log = Arc::new(CommitLog::open(dir, options()).unwrap());
        append(&log, id(1, 0), 100);
        disk.inject(injection);
        armed.store(true, Ordering::Relaxed);
        let upkeep = thread::spawn({
            let log = Arc::clone(&log);
            move || log.maintain()
        });
        begun.recv().unwrap();
        let flushed = log.flush();
        go.send(()).unwrap();
        // That the disk was full at the zeros is no fault of upkeep's; at an entry it is one.
        let _ = upkeep.join().unwrap();
        assert!(flushed.is_err());
        assert!(log.fault().is_some());
        assert!(log.flush().is_err());
    }
}

/// Where space could not be reserved, zeros may not fit; that harms nobody.
#[test]
fn no_room_for_zeros_is_no_fault() {
    let disk = FaultyDisk::new();
    let log = open(&disk);
    append(&log, id(1, 0), 100);
    disk.inject(Injection::full(Op::Write, 0).after_writing(100));
    log.maintain().unwrap();
    log.flush().unwrap();
    append(&log, id(1, 1), 20_000);
    log.flush().unwrap();
    disk.kill();
    assert_eq!(all(&open(&disk)).len(), 2);
}
