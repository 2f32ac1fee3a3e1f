//! Recovery, row by row of the table in `FORMAT.md`: a store is built, damaged behind the log's back, and opened.

#![allow(clippy::unwrap_used)]

mod support;

use support::*;
use trireme_commitlog::faulty::FaultyDisk;
use trireme_commitlog::{CommitLog, Corruption, FrameBuf, LogId, OpenError, ReadError};

/// A store whose first `durable` entries are below the synced mark, and all of them flushed.
fn store(count: u64, durable: u64, len: usize) -> FaultyDisk {
    let disk = FaultyDisk::new();
    let log = open(&disk);
    fill(&log, durable, len);
    log.flush().unwrap();
    log.mark_synced().unwrap();
    fill(&log, count - durable, len);
    log.flush().unwrap();
    disk.crash(None);
    disk
}

/// Where each frame of the store lies, as physical offsets.
fn ranges(disk: &FaultyDisk) -> Vec<(u64, u64)> {
    let log = open(&disk.fork());
    all(&log)
        .iter()
        .map(|frame| (frame.physical_offset, frame.physical_offset + frame.frame.len() as u64))
        .collect()
}

fn first() -> String {
    segment_name(0)
}

#[track_caller]
fn indexes(log: &CommitLog) -> Vec<u64> {
    all(log).iter().map(|frame| frame.id.index).collect()
}

#[track_caller]
fn corruption(result: Result<CommitLog, OpenError>) -> Corruption {
    match result {
        Err(OpenError::Corrupt(corruption)) => corruption,
        Err(other) => panic!("another error: {other}"),
        Ok(log) => panic!("it opened, with {:?}", indexes(&log)),
    }
}

/// Opens, and expects exactly the entries `0..count`; then that they, and the tail, stay so over appends, a power cut
/// and another recovery: nothing that was cut comes back.
#[track_caller]
fn holds(disk: &FaultyDisk, count: u64) {
    let log = open(disk);
    assert_eq!(indexes(&log), (0..count).collect::<Vec<_>>());
    assert_eq!(log.flushed(), log.last());
    assert_eq!(log.synced(), log.last());
    append(&log, id(9, count), 5);
    log.flush().unwrap();
    disk.crash(None);
    let log = open(disk);
    assert_eq!(indexes(&log), (0..=count).collect::<Vec<_>>());
    assert_eq!(log.id_of(count).unwrap(), Some(id(9, count)));
}

/// Rows: a torn tail above the mark is cut wherever it tears; below, a short file is corruption from the frame that is
/// hit. Both for a file that ends there and for one whose rest is zero.
#[test]
fn every_cut() {
    let disk = store(5, 2, 61);
    let ranges = ranges(&disk);
    let tail = ranges[4].1;
    for at in 0..=tail {
        // The last bytes are padding, zero anyway: a frame that only lost those is whole.
        let hit = ranges.iter().position(|&(from, _)| at < from + HEADER + 61).unwrap_or(ranges.len());
        let short = disk.fork();
        short.cut(&first(), at);
        let blank = disk.fork();
        blank.overwrite(&first(), at, &vec![0; (tail - at) as usize]);
        for damaged in [short, blank] {
            if 2 <= hit {
                holds(&damaged, hit as u64);
            } else if let Err(error) = try_open(&damaged) {
                let OpenError::Corrupt(found) = error else { panic!("{error}") };
                assert_eq!(found.from, ranges[hit].0, "cut at {at}");
                assert!(ranges[hit].0 < found.to);
            } else {
                // Only headers are looked at below the mark. What is missing of a payload is noticed when it is read.
                unreadable(&open(&damaged), hit as u64, ranges[hit]);
            }
        }
    }
}

/// Asserts that entries before `index` can be read, and that reading `index` names exactly its frame.
#[track_caller]
fn unreadable(log: &CommitLog, index: u64, range: (u64, u64)) {
    assert_eq!(log.read(0, index, u64::MAX).unwrap().len() as u64, index);
    match log.read(index, index + 1, u64::MAX) {
        Err(ReadError::Corrupt(found)) => assert_eq!((found.from, found.to), range),
        other => panic!("read gave {other:?}"),
    }
}

/// Rows: one flipped bit in every byte of every frame. In the last frame above the mark it is a torn tail, in an earlier
/// one corruption of exactly that frame. Below the mark it is corruption of exactly that frame, at once if the chain of
/// headers shows it, and at the latest when the entry is read. Never is wrong data given out.
#[test]
fn every_flipped_byte() {
    let disk = store(6, 3, 29);
    let ranges = ranges(&disk);
    for (nth, &(from, end)) in ranges.iter().enumerate() {
        for at in from..end {
            for mask in [0x01, 0x80] {
                let damaged = disk.fork();
                damaged.flip(&first(), at, mask);
                let above = 3 <= nth;
                let last = nth + 1 == ranges.len();
                if above && last {
                    holds(&damaged, nth as u64);
                    continue;
                }
                match try_open(&damaged) {
                    Err(OpenError::Corrupt(found)) => {
                        assert_eq!((found.from, found.to), (from, end), "{at} {mask}")
                    }
                    Err(error) => panic!("{error}"),
                    Ok(log) => {
                        assert!(!above, "opened with byte {at} flipped above the mark");
                        unreadable(&log, nth as u64, (from, end));
                    }
                }
            }
        }
    }
}

/// Rows: what a power cut during one flush of several frames leaves. Every subset of the 512-byte sectors above the
/// mark is lost: the log is what lies before the first of them, and opens.
#[test]
fn every_subset_of_lost_sectors() {
    let disk = store(6, 1, 700);
    let ranges = ranges(&disk);
    let (synced_end, tail) = (ranges[0].1, ranges[5].1);
    let sectors: Vec<u64> = (synced_end / 512..tail.div_ceil(512)).collect();
    assert!(sectors.len() <= 12, "few enough to try all subsets");
    for lost in 0..1u64 << sectors.len() {
        let damaged = disk.fork();
        let mut survivors = ranges.len();
        for (n, sector) in sectors.iter().enumerate().filter(|(n, _)| lost >> n & 1 == 1) {
            let (from, to) = ((sector * 512).max(synced_end), ((sector + 1) * 512).min(tail));
            damaged.overwrite(&first(), from, &vec![0; (to - from) as usize]);
            let hit = ranges.iter().position(|&(_, end)| from < end).unwrap();
            survivors = survivors.min(hit);
            assert!(n < 64);
        }
        let log = open(&damaged);
        assert_eq!(indexes(&log), (0..survivors as u64).collect::<Vec<_>>(), "lost sectors {lost:#b}");
        // Nothing of what was cut is left behind the tail.
        let tail = log.next_physical_offset() as usize;
        assert!(damaged.contents(&first())[tail..].iter().all(|&byte| byte == 0));
    }
}

/// Row: a frame that is sound by itself but out of sequence is corruption, above the mark too: neither a lost write nor
/// a truncation leaves one.
#[test]
fn out_of_sequence() {
    let disk = store(3, 2, 100);
    let tail = ranges(&disk)[2].1;
    for (id, at) in [(id(1, 4), tail), (id(1, 2), tail), (id(0, 3), tail), (id(1, u64::MAX), tail)] {
        let damaged = disk.fork();
        let mut frame: FrameBuf = frame(b"elsewhere");
        damaged.overwrite(&first(), at, frame.finish(id, at));
        let found = corruption(try_open(&damaged));
        assert_eq!(found.from, at, "{id}");
        assert!(found.reason.contains("entry") || found.reason.contains("term"), "{}", found.reason);
    }
}

/// Rows: a frame that lies elsewhere than its header says (a misdirected write) is no frame. At the tail it is rest of
/// a torn one; in the middle of the log it is corruption.
#[test]
fn misplaced_frame() {
    let disk = store(4, 1, 100);
    let ranges = ranges(&disk);
    let copy = disk.contents(&first())[ranges[2].0 as usize..ranges[2].1 as usize].to_vec();
    let at_tail = disk.fork();
    at_tail.overwrite(&first(), ranges[3].1, &copy);
    holds(&at_tail, 4);
    let middle = disk.fork();
    middle.overwrite(&first(), ranges[1].0, &copy);
    let found = corruption(try_open(&middle));
    assert_eq!((found.from, found.to), ranges[1]);
}

/// Rows: a missing segment is an error that names it, unless nothing durable was in it or behind it.
#[test]
fn missing_segments() {
    let disk = store(100, 60, 4000);
    let log = open(&disk.fork());
    let segments = log.segments();
    assert!(6 < segments.len());
    drop(log);
    let synced = disk.fork();
    let mark_segment = segments.iter().position(|segment| 59 < segment.first_index).unwrap() - 1;
    for (nth, segment) in segments.iter().enumerate() {
        let name = segment_name(segment.first_physical_offset);
        let damaged = synced.fork();
        damaged.lose(&name);
        let last = nth + 1 == segments.len();
        match try_open(&damaged) {
            Err(OpenError::MissingSegment { segment: missing }) => assert_eq!(missing, name),
            Err(error) => panic!("{error}"),
            // As if its creation had not happened: above the mark that cannot be told.
            Ok(log) => {
                assert!(last && mark_segment < nth);
                assert_eq!(log.last().unwrap().index + 1, segment.first_index);
            }
        }
    }
    // All of them.
    let damaged = synced.fork();
    for segment in &segments {
        damaged.lose(&segment_name(segment.first_physical_offset));
    }
    assert!(matches!(try_open(&damaged), Err(OpenError::MissingSegment { segment }) if segment == first()));
}

/// Rows: a sealed segment below the mark that is too short, or whose first header is damaged, is corruption with its
/// range; one that is too long, or off the grid, is refused.
#[test]
fn bad_segments_below_the_mark() {
    let disk = store(60, 60, 4000);
    let second = segment_name(SEGMENT);
    let short = disk.fork();
    short.cut(&second, 1000);
    let found = corruption(try_open(&short));
    assert_eq!((found.segment, found.from, found.to), (second.clone(), SEGMENT + 1000, 2 * SEGMENT));

    for at in [0, 4, 6, 24, 32] {
        let header = disk.fork();
        header.flip(&second, at, 0x10);
        let found = corruption(try_open(&header));
        assert_eq!((found.segment, found.from), (second.clone(), SEGMENT));
    }

    let long = disk.fork();
    long.overwrite(&second, SEGMENT, &[1]);
    assert!(matches!(try_open(&long), Err(OpenError::SegmentTooLong { found, .. }) if found == SEGMENT + 1));

    let stray = disk.fork();
    stray.handle().create(&segment_name(SEGMENT + 4096)).unwrap();
    assert!(matches!(try_open(&stray), Err(OpenError::StraySegment { .. })));
    let huge = disk.fork();
    huge.handle().create(&segment_name(u64::MAX / SEGMENT * SEGMENT)).unwrap();
    assert!(matches!(try_open(&huge), Err(OpenError::StraySegment { .. })));
}

/// Payload damage in a segment that recovery does not read is found when the entry is read, with its exact frame; its
/// neighbours can be read.
#[test]
fn damage_below_the_mark_is_found_on_reading() {
    let disk = store(60, 60, 4000);
    let log = open(&disk);
    let frame = log.read(7, 8, u64::MAX).unwrap().remove(0);
    let end = frame.physical_offset + frame.frame.len() as u64;
    disk.flip(&first(), frame.physical_offset + 1000, 4);
    unreadable(&log, 7, (frame.physical_offset, end));
    assert_eq!(log.read(8, 10, u64::MAX).unwrap().len(), 2);
}

/// Rows: a sidecar that is missing, damaged in any byte, cut, or of another segment is not believed: the index is
/// rebuilt, and saved again.
#[test]
fn bad_sidecars() {
    let disk = FaultyDisk::new();
    let log = open(&disk);
    fill(&log, 40, 4000);
    log.flush().unwrap();
    log.maintain().unwrap();
    log.mark_synced().unwrap();
    drop(log);
    disk.kill();
    let name = sidecar_name(0);
    let good = disk.contents(&name);
    let check = |damaged: &FaultyDisk| {
        let log = open(damaged);
        assert_eq!(indexes(&log), (0..40).collect::<Vec<_>>());
        assert_eq!(log.index_at(SEGMENT - 1).unwrap(), None);
        assert_eq!(log.index_at(100).unwrap(), Some(0));
        log.maintain().unwrap();
        assert_eq!(damaged.contents(&name), good);
    };
    check(&disk.fork());
    for at in 0..good.len() as u64 {
        let damaged = disk.fork();
        damaged.flip(&name, at, 1);
        check(&damaged);
    }
    let cut = disk.fork();
    cut.cut(&name, good.len() as u64 - 4);
    check(&cut);
    let missing = disk.fork();
    missing.lose(&name);
    check(&missing);
    let other = disk.fork();
    other.overwrite(&name, 0, &disk.contents(&sidecar_name(SEGMENT)));
    check(&other);
}

/// A sidecar goes with the content that it describes: after the segment was truncated and sealed again with other
/// entries, the old one is not there to be believed.
#[test]
fn truncation_removes_sidecars() {
    let disk = FaultyDisk::new();
    let log = open(&disk);
    fill(&log, 40, 4000);
    log.flush().unwrap();
    log.maintain().unwrap();
    assert!(disk.names().contains(&sidecar_name(0)));
    log.truncate_after(Some(3)).unwrap();
    assert!(!disk.names().contains(&sidecar_name(0)));
    assert!(!disk.names().contains(&sidecar_name(SEGMENT)));
    for index in 4..60 {
        append(&log, id(2, index), 1000);
    }
    log.flush().unwrap();
    log.mark_synced().unwrap();
    disk.crash(None);
    let log = open(&disk);
    assert_eq!(indexes(&log), (0..60).collect::<Vec<_>>());
}

/// Row: the sidecar of a segment that is not sealed any more, here because the next one was lost above the mark, goes:
/// it must not be believed when the segment is sealed again, with other entries.
#[test]
fn recovery_removes_stale_sidecars() {
    let disk = FaultyDisk::new();
    let log = open(&disk);
    fill(&log, 17, 4000);
    log.flush().unwrap();
    log.maintain().unwrap();
    assert!(disk.names().contains(&sidecar_name(0)));
    disk.kill();
    disk.lose(&segment_name(SEGMENT));
    let log = open(&disk);
    assert_eq!(log.last(), Some(id(1, 15)));
    append(&log, id(2, 16), 100);
    append(&log, id(2, 17), 4000);
    log.flush().unwrap();
    log.mark_synced().unwrap();
    disk.crash(None);
    assert_eq!(indexes(&open(&disk)), (0..18).collect::<Vec<_>>());
}

/// Rows: one bad slot of the mark does no harm, whichever and however, also after a trim and a truncation; two make the
/// store one that must not vote; two in a store without segments make it a new one.
#[test]
fn bad_marks() {
    let disk = FaultyDisk::new();
    let log = open(&disk);
    fill(&log, 60, 4000);
    log.flush().unwrap();
    log.mark_synced().unwrap();
    log.truncate_after(Some(50)).unwrap();
    log.trim(id(1, 30)).unwrap();
    log.maintain().unwrap();
    assert!(!disk.names().contains(&first()), "trimmed segments are gone");
    drop(log);
    disk.crash(None);
    for slot in [0, 4096] {
        for at in 0..80 {
            let damaged = disk.fork();
            damaged.flip("mark", slot + at, 0x40);
            let log = open(&damaged);
            assert_eq!((log.trimmed(), log.last()), (Some(id(1, 30)), Some(id(1, 50))));
            // And the slot is repaired.
            let (bad, good) = (slot as usize, 4096 - slot as usize);
            drop(log);
            damaged.kill();
            damaged.overwrite("mark", good as u64, &[0; 80]);
            let log = open(&damaged);
            assert_eq!((log.trimmed(), log.last()), (Some(id(1, 30)), Some(id(1, 50))), "slot {bad}");
        }
    }
    let both = disk.fork();
    both.flip("mark", 20, 1);
    both.flip("mark", 4096 + 20, 1);
    assert!(matches!(try_open(&both), Err(OpenError::MarkLost { .. })));
    let gone = disk.fork();
    gone.lose("mark");
    assert!(matches!(try_open(&gone), Err(OpenError::MarkLost { .. })));
    let short = disk.fork();
    short.cut("mark", 40);
    assert!(matches!(try_open(&short), Err(OpenError::MarkLost { .. })));

    // A crash before the first mark was durable: nothing was ever promised.
    let fresh = FaultyDisk::new();
    fresh.handle().create("mark").unwrap();
    holds(&fresh, 0);
}

/// The mark knows its format version and the segment size.
#[test]
fn other_stores() {
    let disk = store(3, 3, 100);
    let other = trireme_commitlog::Options { segment_bytes: 2 * SEGMENT };
    assert!(matches!(
        CommitLog::open(disk.handle(), other),
        Err(OpenError::SegmentSizeMismatch { store: SEGMENT, options }) if options == 2 * SEGMENT
    ));
    for segment_bytes in [0, 4096, SEGMENT + 1, 1 << 60] {
        let options = trireme_commitlog::Options { segment_bytes };
        assert!(matches!(
            CommitLog::open(disk.handle(), options),
            Err(OpenError::InvalidSegmentBytes { .. })
        ));
    }
    // A slot of version 2, with a good checksum (at 8..12, of the slot with zeros there).
    let mut slot = disk.contents("mark")[..80].to_vec();
    slot[4] = 2;
    slot[8..12].fill(0);
    let crc = crc32c::crc32c(&slot);
    slot[8..12].copy_from_slice(&crc.to_le_bytes());
    disk.overwrite("mark", 0, &slot);
    assert!(matches!(try_open(&disk), Err(OpenError::UnsupportedVersion { found: 2, supported: 1, .. })));
}

/// Rows: a prepared segment is kept if it is whole, and made again if its creation was cut short.
#[test]
fn prepared_segments() {
    let disk = FaultyDisk::new();
    let log = open(&disk);
    fill(&log, 10, 4000);
    log.flush().unwrap();
    assert!(log.maintenance_due());
    log.maintain().unwrap();
    assert!(!log.maintenance_due());
    drop(log);
    disk.crash(None);
    let second = segment_name(SEGMENT);
    assert!(disk.names().contains(&second));
    let log = open(&disk);
    assert!(disk.names().contains(&second));
    disk.inject(trireme_commitlog::faulty::Injection::eio(trireme_commitlog::faulty::Op::Create, 0));
    fill(&log, 10, 4000);
    assert_eq!(log.segments().len(), 2, "rolled into the prepared one, created nothing");
    disk.heal();

    for len in [0, 1, 4096, SEGMENT - 1] {
        let disk = store(10, 5, 4000);
        let half = disk.handle().create(&second).unwrap();
        half.preallocate(len).unwrap();
        holds(&disk, 10);
        assert!(!disk.names().contains(&second), "length {len}");
    }
}

/// Row: a filler whose next segment holds no frame closes nothing; the log goes on where it lies, as on a replica that
/// never rolled.
#[test]
fn trailing_filler() {
    let disk = FaultyDisk::new();
    let log = open(&disk);
    fill(&log, 15, 4000);
    let tail = log.next_physical_offset();
    log.flush().unwrap();
    log.mark_synced().unwrap();
    // The filler and the next segment's name are durable, its first frame is not.
    disk.cut_power_after(4);
    assert!(try_append(&log, id(1, 15), 60_000).is_err());
    disk.crash(Some(0));
    for keep in [false, true] {
        let disk = disk.fork();
        disk.overwrite(&first(), tail, &filler(id(1, 14), tail));
        if !keep {
            let second = segment_name(SEGMENT);
            if disk.names().contains(&second) {
                disk.lose(&second);
            }
        }
        let log = open(&disk);
        assert_eq!(log.next_physical_offset(), tail);
        assert_eq!(append(&log, id(2, 15), 100), tail);
    }
}

fn filler(last: LogId, at: u64) -> Vec<u8> {
    let mut bytes = vec![0; 40];
    bytes[0..4].copy_from_slice(b"TRMF");
    bytes[4] = 1;
    bytes[16..24].copy_from_slice(&last.term.to_le_bytes());
    bytes[24..32].copy_from_slice(&last.index.to_le_bytes());
    bytes[32..40].copy_from_slice(&at.to_le_bytes());
    let crc = crc32c::crc32c(&bytes);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Rows: the filler between two segments, with one flipped bit in each byte. Above the mark it is corruption, since
/// frames follow; below it nothing depends on it, and every entry can still be read.
#[test]
fn damaged_filler() {
    for (durable, above) in [(3, true), (40, false)] {
        let disk = store(40, durable, 4000);
        let at = open(&disk.fork()).frame_range(15).unwrap().unwrap().1;
        assert_eq!(disk.contents(&first())[at as usize..][..HEADER as usize], filler(id(1, 15), at));
        for byte in 0..HEADER {
            let damaged = disk.fork();
            damaged.flip(&first(), at + byte, 0x20);
            if above {
                let found = corruption(try_open(&damaged));
                assert_eq!((found.from, found.to), (at, SEGMENT));
            } else {
                assert_eq!(indexes(&open(&damaged)), (0..40).collect::<Vec<_>>());
            }
        }
    }
}

/// A disk that cannot be read stops recovery with the file's name: nothing is cut because it could not be seen.
#[test]
fn read_errors_are_not_torn_tails() {
    use trireme_commitlog::faulty::{Injection, Op};
    let disk = store(20, 5, 4000);
    let mut failed = 0;
    for nth in 0.. {
        let damaged = disk.fork();
        damaged.inject(Injection::eio(Op::Read, nth));
        match try_open(&damaged) {
            Ok(_) => break,
            Err(OpenError::Io { .. }) => failed += 1,
            Err(error) => panic!("{error}"),
        }
        damaged.heal();
        damaged.crash(None);
        assert_eq!(indexes(&open(&damaged)).len(), 20);
    }
    assert!(10 < failed);
}

/// Opening a log of many segments reads one header of each, and more only from the mark's segment on. Counted in bytes,
/// not in time.
#[test]
fn opening_reads_little() {
    let disk = FaultyDisk::new();
    let log = open(&disk);
    while log.segments().len() < 201 {
        fill(&log, 1, 2000);
        if log.maintenance_due() {
            log.flush().unwrap();
            log.maintain().unwrap();
        }
    }
    log.flush().unwrap();
    log.mark_synced().unwrap();
    let last = log.last();
    drop(log);
    disk.kill();
    disk.take_counters();
    let log = open(&disk);
    let counters = disk.take_counters();
    assert_eq!(log.last(), last);
    // The first frame of each segment.
    assert!(counters.bytes_read < 200 * (2000 + HEADER + 8) + 3 * SEGMENT, "{counters:?}");
    // An entry far back costs its segment's sidecar and itself.
    log.read(3000, 3001, u64::MAX).unwrap();
    assert!(disk.take_counters().bytes_read < 4000);
}
