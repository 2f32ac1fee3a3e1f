//! The power goes at every single step of every operation, and what recovery makes of it is one of the two states that
//! the operation's promise allows: `FORMAT.md`, "crash here".

#![allow(clippy::unwrap_used)]

mod support;

use support::*;
use trireme_commitlog::faulty::{FaultyDisk, Injection, Op};
use trireme_commitlog::{AppendError, CommitLog, EditError, LogId, MaintainError};

/// How many fates of the unsynced are tried at each step.
const SEEDS: u64 = 5;

/// All that can be asked of a log.
type Facts = (Option<LogId>, Vec<LogId>, u64, u64);

fn facts(log: &CommitLog) -> Facts {
    let ids = all(log).iter().map(|frame| frame.id).collect();
    (log.trimmed(), ids, log.min_physical_offset(), log.next_physical_offset())
}

/// Prepares a store with `prepare`, then does `act` with the power cut after each number of steps, until there are more
/// steps than it takes. After each cut and recovery `accept` judges; after `act` has returned, the result must be
/// `after` even through one more crash. Returns the number of steps.
fn at_every_step(
    prepare: impl Fn(&CommitLog),
    act: impl Fn(&CommitLog) -> bool,
    accept: impl Fn(&Facts) -> bool,
) -> u64 {
    let origin = FaultyDisk::new();
    prepare(&open(&origin));
    origin.kill();
    for step in 0.. {
        let mut finished = false;
        for seed in 0..SEEDS {
            let disk = origin.fork();
            let log = open(&disk);
            disk.cut_power_after(step);
            finished = act(&log);
            let promised = finished.then(|| facts(&log));
            disk.crash((seed > 0).then_some(seed));
            let log = open(&disk);
            let found = facts(&log);
            if let Some(promised) = promised {
                assert_eq!(found, promised, "returned, then the power went");
            }
            assert!(accept(&found), "power cut after {step} steps, seed {seed}: {found:?}");
            // The recovered log works, and recovers to itself.
            append(&log, id(9, found.1.last().or(found.0.as_ref()).map_or(0, |last| last.index + 1)), 500);
            log.flush().unwrap();
            let then = facts(&log);
            disk.crash(Some(seed));
            assert_eq!(facts(&open(&disk)), then);
        }
        if finished {
            return step;
        }
    }
    unreachable!("every operation ends")
}

fn ids(to: u64) -> Vec<LogId> {
    (0..to).map(|index| id(1, index)).collect()
}

/// Three segments and a prepared one, the mark in the last.
fn long(log: &CommitLog) {
    fill(log, 42, 4000);
    log.flush().unwrap();
    log.maintain().unwrap();
    log.mark_synced().unwrap();
    assert_eq!(log.segments().len(), 3);
}

#[test]
fn creating() {
    // `at_every_step` opens before it cuts, so the very first opening is cut here.
    for step in 0..40 {
        for seed in 0..SEEDS {
            let disk = FaultyDisk::new();
            disk.cut_power_after(step);
            let opened = try_open(&disk).is_ok();
            disk.crash(Some(seed));
            let log = open(&disk);
            assert_eq!(facts(&log), (None, Vec::new(), 0, 0));
            append(&log, id(1, 0), 10);
            assert!(opened || step < 20, "opening takes fewer steps");
        }
    }
}

/// Appends across a roll, then a flush: what the flush reported is there, what is there is a prefix.
#[test]
fn appending_and_flushing() {
    let act = |log: &CommitLog| {
        for index in 14..18 {
            if try_append(log, id(1, index), 4000).is_err() {
                return false;
            }
        }
        log.flush().is_ok()
    };
    let prepare = |log: &CommitLog| {
        fill(log, 14, 4000);
        log.flush().unwrap();
    };
    let steps =
        at_every_step(prepare, act, |(_, found, ..)| 14 <= found.len() && *found == ids(found.len() as u64));
    assert!(8 < steps);
}

/// A truncation back over two segments: each entry that goes is gone from the end, none in the middle.
#[test]
fn truncating() {
    for keep in [None, Some(2), Some(15), Some(20), Some(40)] {
        let kept = keep.map_or(0, |index: u64| index + 1);
        let accept = |(_, found, ..): &Facts| kept <= found.len() as u64 && *found == ids(found.len() as u64);
        assert!(2 <= at_every_step(long, |log| log.truncate_after(keep).is_ok(), accept));
    }
}

/// Trimming to a segment's end and into one: all or nothing, and nothing else is lost.
#[test]
fn trimming() {
    for up_to in [15, 20, 41] {
        let accept = |(trimmed, found, ..): &Facts| match trimmed {
            None => *found == ids(42),
            Some(trimmed) => *trimmed == id(1, up_to) && *found == ids(42)[up_to as usize + 1..],
        };
        let act = |log: &CommitLog| log.trim(id(1, up_to)).is_ok() && log.maintain().is_ok();
        assert!(4 <= at_every_step(long, act, accept));
    }
}

/// A reset happens as a whole: the old log or the empty new one, whether its base is among the old segments or not.
#[test]
fn resetting() {
    for base in [SEGMENT, 70 * SEGMENT] {
        let trimmed = id(5, 100);
        let accept = |(found_trimmed, found, min, next): &Facts| match found_trimmed {
            None => *found == ids(42),
            Some(found_trimmed) => {
                *found_trimmed == trimmed && found.is_empty() && (*min, *next) == (base, base)
            }
        };
        assert!(8 < at_every_step(long, |log| log.reset(trimmed, base).is_ok(), accept));
    }
}

/// Preparing, saving sidecars, marking: nothing that a reader could notice.
#[test]
fn upkeep() {
    let prepare = |log: &CommitLog| {
        fill(log, 42, 4000);
        log.flush().unwrap();
    };
    let act = |log: &CommitLog| log.maintain().is_ok() && log.mark_synced().is_ok();
    assert!(6 < at_every_step(prepare, act, |found| found.1 == ids(42)));
}

/// Recovery itself is interrupted at each step, again and again, over a store with all kinds of leftovers.
#[test]
fn recovering() {
    let origin = FaultyDisk::new();
    let log = open(&origin);
    long(&log);
    log.trim(id(1, 15)).unwrap();
    fill(&log, 20, 4000);
    origin.cut_power_after(1);
    let _ = log.flush();
    for seed in 0..SEEDS {
        let disk = origin.fork();
        disk.crash(Some(seed));
        let want = facts(&open(&disk.fork()));
        assert!(26 <= want.1.len());
        for step in 0..60 {
            let disk = disk.fork();
            disk.cut_power_after(step);
            let opened = try_open(&disk).is_ok();
            disk.crash(Some(seed + 1));
            assert_eq!(facts(&open(&disk)), want, "after {step} steps");
            assert!(opened || step < 50);
        }
    }
}

/// No space for the next segment: a typed refusal, again and again, and the log is as it was; with space it goes on.
#[test]
fn full_when_rolling() {
    let disk = FaultyDisk::new();
    let log = open(&disk);
    fill(&log, 10, 4000);
    disk.set_capacity(Some(disk.used() + 1000));
    assert!(matches!(log.maintain(), Err(MaintainError::Full { .. })));
    fill(&log, 6, 4000);
    let (before, names, room) = (facts(&log), disk.names(), log.room());
    assert!(room < 4040);
    for _ in 0..3 {
        let error = try_append(&log, id(1, 16), 4000).unwrap_err();
        assert!(matches!(error, AppendError::Full { bytes: SEGMENT, .. }), "{error}");
        assert_eq!((facts(&log), disk.names(), log.room()), (before.clone(), names.clone(), room));
    }
    // What still fits is taken.
    append(&log, id(1, 16), (room - HEADER) as usize);
    assert_eq!(log.room(), 0);
    disk.set_capacity(None);
    log.maintain().unwrap();
    assert_eq!(log.room(), options().max_frame_bytes());
    fill(&log, 3, 4000);
    log.flush().unwrap();
    disk.crash(None);
    assert_eq!(all(&open(&disk)).len(), 20);
}

/// A write that meets a full disk half-way, also the second one of a roll: nothing of it stays, and the next entry goes
/// where it would have gone.
#[test]
fn full_while_writing() {
    for (entries, nth) in [(3, 0), (16, 0), (16, 1)] {
        for written in [0, 1, 39, 40, 41, 3000] {
            let disk = FaultyDisk::new();
            let log = open(&disk);
            fill(&log, entries, 4000);
            log.maintain().unwrap();
            let (tail, before) = (log.next_physical_offset(), facts(&log));
            disk.inject(Injection::full(Op::Write, nth).after_writing(written));
            let error = try_append(&log, id(1, entries), 4000).unwrap_err();
            assert!(matches!(error, AppendError::Full { .. }), "{error}");
            assert_eq!(facts(&log), before);
            assert!(log.fault().is_none());
            for (base, from) in [(0, tail), (SEGMENT, 0)] {
                if disk.names().contains(&segment_name(base)) {
                    let bytes = disk.contents(&segment_name(base));
                    assert!(bytes[from as usize..].iter().all(|&byte| byte == 0), "{nth} {written}");
                }
            }
            assert_eq!(append(&log, id(1, entries), 8), tail, "a short one fits where the long one did not");
            log.flush().unwrap();
            disk.crash(None);
            assert_eq!(all(&open(&disk)).len() as u64, entries + 1);
        }
    }
}

/// Each kind of failure that leaves the disk in an unknown state stops the log for good, with the first error; reads go
/// on. After a restart everything that was reported durable is there.
#[test]
fn failures_stop_the_log() {
    /// What fails, whether all was flushed before, and the call that meets it.
    type Failing = (Op, bool, fn(&CommitLog) -> bool);
    let failing: [Failing; 8] = [
        (Op::Write, true, |log| matches!(try_append(log, id(1, 42), 10), Err(AppendError::Fault(_)))),
        (Op::Sync, false, |log| log.flush().is_err()),
        (Op::Sync, true, |log| log.mark_synced().is_err()),
        (Op::Write, true, |log| log.mark_synced().is_err()),
        (Op::Zero, true, |log| matches!(log.truncate_after(Some(20)), Err(EditError::Fault(_)))),
        (Op::Remove, true, |log| matches!(log.truncate_after(Some(20)), Err(EditError::Fault(_)))),
        (Op::SyncDir, true, |log| matches!(log.truncate_after(Some(20)), Err(EditError::Fault(_)))),
        (Op::Create, true, |log| matches!(log.reset(id(7, 7), 0), Err(EditError::Fault(_)))),
    ];
    for (op, flushed, fails) in failing {
        let disk = FaultyDisk::new();
        let log = open(&disk);
        fill(&log, 41, 4000);
        log.flush().unwrap();
        fill(&log, 1, 4000);
        if flushed {
            log.flush().unwrap();
        }
        disk.inject(Injection::eio(op, 0));
        assert!(fails(&log), "{op:?}");
        disk.heal();
        let first = log.fault().unwrap().to_string();
        let next = log.last().map_or(0, |last| last.index + 1);
        assert_eq!(log.flush().unwrap_err().to_string(), first);
        assert_eq!(log.mark_synced().unwrap_err().to_string(), first);
        assert_eq!(try_append(&log, id(8, next), 1).unwrap_err().to_string(), first);
        assert_eq!(log.maintain().unwrap_err().to_string(), first);
        assert_eq!(log.truncate_after(None).unwrap_err().to_string(), first);
        assert_eq!(log.reset(id(8, 8), 0).unwrap_err().to_string(), first);
        if !matches!(op, Op::Create) {
            log.read(0, 5, u64::MAX).unwrap();
        }
        disk.crash(None);
        let found = facts(&open(&disk));
        assert!(found.0 == Some(id(7, 7)) || 20 < found.1.len());
    }
}

/// What a failed sync did not write is not made durable by a later success: the process ends, the kernel still shows
/// the bytes as clean, the next process recovers them, and then a power cut must not lose what that one reported.
#[test]
fn recovery_does_not_trust_the_page_cache() {
    let disk = FaultyDisk::new();
    let log = open(&disk);
    fill(&log, 20, 4000);
    disk.inject(Injection::eio(Op::Sync, 0));
    assert!(log.flush().is_err());
    disk.kill();
    let log = open(&disk);
    let reported = log.flushed();
    assert_eq!(reported, Some(id(1, 19)));
    disk.crash(None);
    assert_eq!(open(&disk).last(), reported);
}
