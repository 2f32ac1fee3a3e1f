//! Damage of what was written long ago: found before it is given to anybody, and put right from a copy.

#![allow(clippy::unwrap_used)]

mod support;

use support::{SEGMENT, all, append, fill, id, open, segment_name};
use trireme_commitlog::faulty::FaultyDisk;
use trireme_commitlog::{CommitLog, ReadError, RepairError};

/// A disk with a log of three sealed segments, all of it durable and below the mark; and the same log on another one.
fn twins() -> (FaultyDisk, CommitLog) {
    twins_of(3000)
}

/// The same, with entries of so many bytes.
fn twins_of(len: usize) -> (FaultyDisk, CommitLog) {
    let make = || {
        let disk = FaultyDisk::new();
        let log = open(&disk);
        while log.segments().len() < 4 {
            fill(&log, 1, len);
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

/// Every byte of a frame in a sealed segment, also of its first: header, payload, padding.
#[test]
fn damage_is_found_and_mended_wherever_it_is() {
    let (disk, twin) = twins();
    let sealed = twin.segments()[1];
    for index in [sealed.first_index, sealed.first_index + 1] {
        let (from, to) = twin.frame_range(index).unwrap().unwrap();
        let whole = twin.read(index, index + 1, u64::MAX).unwrap().remove(0).frame;
        let len = (to - from) as u32;
        for at in (from..to).filter(|at| at - from < 64 || to - at < 16 || at % 97 == 0) {
            disk.flip(
                &segment_name(sealed.first_physical_offset),
                at - sealed.first_physical_offset,
                1 << (at % 8),
            );
            // Opening reads headers and what lies above the mark: it does not see this, or knows better.
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

/// What a disk reads and writes at once.
const PAGE: u64 = 4096;

/// Each page of a sealed segment, with frames that are longer than a page, shorter, and far shorter.
#[test]
fn what_the_disk_cannot_read_is_told_and_mended() {
    for len in [10_000, 3000, 100] {
        let (disk, twin) = twins_of(len);
        let sealed = twin.segments()[1];
        let base = sealed.first_physical_offset;
        let last = sealed.last_index.unwrap();
        let end = twin.frame_range(last).unwrap().unwrap().1;
        for page in (base..base + SEGMENT).step_by(PAGE as usize) {
            disk.spoil(&segment_name(base), page - base);
            let log = open(&disk);
            if end <= page {
                // There is nothing there that anybody needs.
                log.load(base, (end - base) as u32).unwrap();
                scrubbed(&log).unwrap();
                continue;
            }
            let first = twin.index_at(page).unwrap().unwrap();
            let last = twin.index_at((page + PAGE).min(end) - 1).unwrap().unwrap();
            let touching =
                (twin.frame_range(first).unwrap().unwrap().0, twin.frame_range(last).unwrap().unwrap().1);
            let asked = page.max(base);
            assert_eq!(range(log.load(asked, 1).unwrap_err()), touching, "{len}: the page at {page}");
            assert_eq!(range(log.read(first, first + 1, 0).unwrap_err()), touching);
            assert_eq!(range(scrubbed(&log).unwrap_err()), touching);
            let frames = twin.read(first, last + 1, u64::MAX).unwrap();
            if frames.len() > 2 {
                let one = log.repair(&frames[1].frame);
                assert!(matches!(one, Err(RepairError::Unreadable { .. })), "{one:?}");
            }
            let whole = copy(&twin, touching.0, touching.1);
            assert_eq!(log.repair(&whole).unwrap(), id(1, last));
            log.load(touching.0, whole.len() as u32).unwrap();
            assert_eq!(log.slice(touching.0, whole.len() as u32).unwrap(), whole);
            scrubbed(&log).unwrap();
        }
        // The filler is as it was, too.
        disk.crash(None);
        assert_eq!(all(&open(&disk)).len(), all(&twin).len());
    }
}

/// What lies side by side is mended together, whether or not somebody asked for it.
#[test]
fn unreadable_pages_are_told_together() {
    let (disk, twin) = twins();
    let base = twin.segments()[1].first_physical_offset;
    (2..7).for_each(|page| disk.spoil(&segment_name(base), page * PAGE));
    let log = open(&disk);
    let (from, to) = range(log.load(base + 3 * PAGE, 8).unwrap_err());
    assert!(
        base + 3 * PAGE - 3064 < from && from <= base + 3 * PAGE,
        "from the first page that was asked for"
    );
    assert!(base + 7 * PAGE <= to && to < base + 7 * PAGE + 3064);
    // The first frame begins in a page that cannot be read either, and is found again with that one.
    let mut rounds = 0;
    while let Err(error) = log.load(base + 3 * PAGE, 8) {
        let (from, to) = range(error);
        log.repair(&copy(&twin, from, to)).unwrap();
        rounds += 1;
    }
    assert_eq!(rounds, 2);
    scrubbed(&log).unwrap();
}

/// The frames that lie there.
fn copy(log: &CommitLog, from: u64, to: u64) -> Vec<u8> {
    let (first, last) = (log.index_at(from).unwrap().unwrap(), log.index_at(to - 1).unwrap().unwrap());
    let frames = log.read(first, last + 1, u64::MAX).unwrap();
    frames.iter().flat_map(|frame| frame.frame.to_vec()).collect()
}
