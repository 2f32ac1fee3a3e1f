//! Damage of what was written long ago: found before it is given to anybody, and put right from a copy.

#![allow(clippy::unwrap_used)]

mod support;

use support::{SEGMENT, append, fill, id, open, segment_name};
use trireme_commitlog::faulty::FaultyDisk;
use trireme_commitlog::{CommitLog, ReadError, RepairError};

/// A disk with a log of three sealed segments, all of it durable and below the mark; and the same log on another one.
fn twins() -> (FaultyDisk, CommitLog) {
    let make = || {
        let disk = FaultyDisk::new();
        let log = open(&disk);
        while log.segments().len() < 4 {
            fill(&log, 1, 3000);
        }
        log.flush().unwrap();
        log.maintain().unwrap();
        log.mark_synced().unwrap();
        (disk, log)
    };
    (make().0, make().1)
}

/// The damaged range that is told.
fn range(error: ReadError) -> (u64, u64) {
    match error {
        ReadError::Corrupt(corruption) => (corruption.from, corruption.to),
        other => panic!("{other}"),
    }
}

/// Every byte of a frame in a sealed segment: header, payload, padding.
#[test]
fn damage_is_found_and_mended_wherever_it_is() {
    let (disk, twin) = twins();
    let sealed = twin.segments()[1];
    let index = sealed.first_index + 1;
    let (from, to) = twin.frame_range(index).unwrap().unwrap();
    let whole = twin.read(index, index + 1, u64::MAX).unwrap().remove(0).frame;
    let len = (to - from) as u32;
    for at in (from..to).filter(|at| at - from < 64 || to - at < 16 || at % 97 == 0) {
        disk.flip(
            &segment_name(sealed.first_physical_offset),
            at - sealed.first_physical_offset,
            1 << (at % 8),
        );
        // Opening reads headers and what lies above the mark: it does not see this.
        let log = open(&disk);
        assert_eq!(range(log.load(at, 1).unwrap_err()), (from, to), "byte {}", at - from);
        // Damage is told again and again, not once.
        assert_eq!(range(log.load(from, len).unwrap_err()), (from, to));
        assert_eq!(range(scrubbed(&log).unwrap_err()), (from, to));
        assert_eq!(log.repair(&whole).unwrap(), id(1, index));
        log.load(from, len).unwrap();
        assert_eq!(log.slice(from, len).unwrap(), whole);
        scrubbed(&log).unwrap();
    }
    // It was durable.
    disk.crash(None);
    scrubbed(&open(&disk)).unwrap();
}

/// Goes through all that is sealed. Returns where that ends.
fn scrubbed(log: &CommitLog) -> Result<u64, ReadError> {
    let mut at = 0;
    while let Some(next) = log.scrub(at, 10_000)? {
        assert!(at < next);
        at = next;
    }
    Ok(at)
}

#[test]
fn what_is_whole_is_looked_at_to_the_end_of_what_is_sealed() {
    let (disk, _) = twins();
    let log = open(&disk);
    let segments = log.segments();
    assert_eq!(scrubbed(&log).unwrap(), segments[3].first_physical_offset);
    assert_eq!(segments[3].first_physical_offset, 3 * SEGMENT);
    let all = log.trimmed();
    log.trim(id(1, segments[2].first_index - 1)).unwrap();
    assert_ne!(log.trimmed(), all);
    // From a place that is gone it goes on where the log starts.
    assert_eq!(scrubbed(&log).unwrap(), segments[3].first_physical_offset);
}

/// Nothing is written that has no place here.
#[test]
fn only_the_same_frame_mends() {
    let (disk, twin) = twins();
    let log = open(&disk);
    let index = twin.segments()[1].first_index;
    let whole = twin.read(index, index + 1, u64::MAX).unwrap().remove(0).frame;
    let mut damaged = whole.to_vec();
    damaged[70] ^= 1;
    assert!(matches!(log.repair(&damaged), Err(RepairError::BadFrame(_))));
    assert!(matches!(log.repair(&whole[..whole.len() - 8]), Err(RepairError::BadFrame(_))));
    // A log whose entries have other lengths.
    let other = open(&FaultyDisk::new());
    for _ in 0..=index {
        let next = other.last().map_or(0, |last| last.index + 1);
        append(&other, id(1, next), 2000);
    }
    let misplaced = other.read(index, index + 1, u64::MAX).unwrap().remove(0).frame;
    assert!(matches!(log.repair(&misplaced), Err(RepairError::Misplaced { .. })));
    // One behind the end.
    fill(&twin, 1, 100);
    let last = twin.last().unwrap().index;
    let behind = twin.read(last, last + 1, u64::MAX).unwrap().remove(0).frame;
    assert!(matches!(log.repair(&behind), Err(RepairError::Misplaced { .. })));
    assert!(log.fault().is_none());
}
