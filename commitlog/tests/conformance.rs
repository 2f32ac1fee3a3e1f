//! One suite for every `LogDir`: first the contract of `dir.rs`, then the log on top of it. It runs on a real
//! directory and on the faulty disk without faults, which is what makes the latter's other tests mean something.

#![allow(clippy::unwrap_used)]

mod support;
#[path = "support/watched.rs"]
mod watched;

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use support::*;
use tempfile::TempDir;
use trireme_commitlog::faulty::{FaultyDisk, Injection, Op};
use trireme_commitlog::frame::{self, FrameError};
use trireme_commitlog::{
    AppendError, CommitLog, DiskDir, EditError, FrameBuf, FrameRef, LogDir, LogId, Options, ReadError,
    SegmentInfo,
};
use watched::{Access, Watched};

/// A place for one log, that outlives the processes that use it. One process at a time.
trait World {
    fn new() -> Self;
    fn dir(&self) -> Arc<dyn LogDir>;
}

struct Real(TempDir);

impl World for Real {
    fn new() -> Real {
        Real(tempfile::tempdir().unwrap())
    }

    fn dir(&self) -> Arc<dyn LogDir> {
        Arc::new(DiskDir::open(self.0.path()).unwrap())
    }
}

struct Faulty(FaultyDisk);

impl World for Faulty {
    fn new() -> Faulty {
        Faulty(FaultyDisk::new())
    }

    fn dir(&self) -> Arc<dyn LogDir> {
        self.0.handle()
    }
}

fn log(world: &impl World) -> CommitLog {
    CommitLog::open(world.dir(), options()).unwrap()
}

/// The suite: each function is one test on each implementation.
macro_rules! suite {
    ($($name:ident)*) => {
        mod real {
            $(#[test] fn $name() { super::$name(&<super::Real as super::World>::new()); })*
        }
        mod faulty {
            $(#[test] fn $name() { super::$name(&<super::Faulty as super::World>::new()); })*
        }
    };
}

suite! {
    names
    positioned_bytes
    slices_outlive_names
    preallocation
    zeroing
    data_is_not_skipped
    survives_a_restart
    stamps
    largest_frame
    refuses_what_does_not_follow
    followers_are_identical
    refuses_frames_of_another_log
    reads_within_limits
    slices_within_bounds
    loading
    truncation
    truncation_to_a_segments_end
    truncation_of_everything
    trimming
    room
    frames_off_the_wire
    trimming_everything
    refused_edits
    resetting
    listing
    marks
    readers_beside_edits
}

fn names(world: &impl World) {
    let dir = world.dir();
    assert_eq!(dir.list().unwrap(), Vec::<String>::new());
    assert_eq!(dir.open("a").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(dir.remove("a").unwrap_err().kind(), ErrorKind::NotFound);
    dir.create("a").unwrap();
    dir.create("b").unwrap();
    assert_eq!(dir.create("a").unwrap_err().kind(), ErrorKind::AlreadyExists);
    dir.sync_dir().unwrap();
    let mut names = dir.list().unwrap();
    names.sort();
    assert_eq!(names, ["a", "b"]);
    dir.remove("a").unwrap();
    assert_eq!(dir.list().unwrap(), ["b"]);
    assert!(dir.path_of("b").contains('b'));
}

fn positioned_bytes(world: &impl World) {
    let dir = world.dir();
    let file = dir.create("a").unwrap();
    assert!(file.is_empty().unwrap());
    file.write_at(5000, b"world").unwrap();
    file.write_at(4998, b"o ").unwrap();
    assert_eq!(file.len().unwrap(), 5005);
    let mut buf = [7; 10];
    assert_eq!(file.read_at(4997, &mut buf).unwrap(), 8, "short at the end of the file");
    assert_eq!(&buf[..8], b"\0o world");
    assert_eq!(file.read_at(6000, &mut buf).unwrap(), 0);
    file.sync().unwrap();
    file.release();
    file.write_at(0, b"again").unwrap();
    let other = dir.open("a").unwrap();
    assert_eq!(other.read_at(0, &mut buf[..5]).unwrap(), 5);
    assert_eq!(&buf[..5], b"again");
}

fn slices_outlive_names(world: &impl World) {
    let dir = world.dir();
    let file = dir.create("a").unwrap();
    file.preallocate(8192).unwrap();
    file.write_at(100, b"hello").unwrap();
    let slice = file.slice(100, 5).unwrap();
    assert_eq!(file.slice(8190, 3).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(file.slice(u64::MAX, 3).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    dir.remove("a").unwrap();
    file.release();
    drop(file);
    drop(dir);
    assert_eq!(&slice[..], b"hello");
}

fn preallocation(world: &impl World) {
    let file = world.dir().create("a").unwrap();
    file.write_at(10, b"kept").unwrap();
    file.preallocate(1 << 20).unwrap();
    assert_eq!(file.len().unwrap(), 1 << 20);
    file.preallocate(100).unwrap();
    assert_eq!(file.len().unwrap(), 1 << 20, "never shrinks");
    assert_eq!(file.slice(8, 8).unwrap(), &b"\0\0kept\0\0"[..]);
    assert!(file.slice(16, (1 << 20) - 16).unwrap().iter().all(|&byte| byte == 0));
}

fn zeroing(world: &impl World) {
    let file = world.dir().create("a").unwrap();
    file.preallocate(1 << 20).unwrap();
    file.write_at(0, &[1; 20_000]).unwrap();
    file.zero_range(5000, (1 << 20) - 5000).unwrap();
    file.zero_range(10, 0).unwrap();
    file.sync().unwrap();
    assert_eq!(file.len().unwrap(), 1 << 20);
    let mut bytes = vec![9; 1 << 20];
    file.read_at(0, &mut bytes).unwrap();
    assert!(bytes[..5000].iter().all(|&byte| byte == 1) && bytes[5000..].iter().all(|&byte| byte == 0));
    assert!(file.slice(0, 1 << 20).unwrap() == bytes, "maps and reads agree");
}

fn data_is_not_skipped(world: &impl World) {
    let file = world.dir().create("a").unwrap();
    file.preallocate(1 << 20).unwrap();
    for at in [0, 70_001, 500_000, (1 << 20) - 1] {
        file.write_at(at, b"x").unwrap();
    }
    let mut found = Vec::new();
    let mut pos = 0;
    while let Some(data) = file.next_data(pos).unwrap() {
        assert!(pos <= data);
        let mut byte = [0];
        if file.read_at(data, &mut byte).unwrap() == 1 && byte == *b"x" {
            found.push(data);
        }
        pos = data + 1;
    }
    assert_eq!(found, [0, 70_001, 500_000, (1 << 20) - 1]);
}

/// What was appended and flushed is there after a restart, over several segments, with and without upkeep.
fn survives_a_restart(world: &impl World) {
    let before = {
        let log = log(world);
        for index in 0..200 {
            append(&log, id(1 + index / 50, index), 2000 + index as usize);
            if index < 100 && log.maintenance_due() {
                log.maintain().unwrap();
            }
        }
        assert_eq!(log.flush().unwrap(), Some(id(4, 199)));
        assert_eq!((log.flushed(), log.synced()), (Some(id(4, 199)), None));
        log.segments()
    };
    assert!(6 < before.len());
    let log = log(world);
    assert_eq!(log.segments(), before);
    assert_eq!((log.flushed(), log.synced()), (Some(id(4, 199)), Some(id(4, 199))));
    let frames = all(&log);
    assert_eq!(frames.len(), 200);
    for (index, frame) in frames.iter().enumerate() {
        let id = id(1 + index as u64 / 50, index as u64);
        assert_eq!((frame.id, frame.kind), (id, KIND));
        assert_eq!(frame.payload(), payload(id, 2000 + index));
        assert_eq!(log.id_of(id.index).unwrap(), Some(id));
        for at in [frame.physical_offset, frame.physical_offset + frame.frame.len() as u64 - 1] {
            assert_eq!(log.index_at(at).unwrap(), Some(id.index));
        }
    }
}

/// The producer's closure sees the payload and where it will lie, and what it patches is what is read.
fn stamps(world: &impl World) {
    let log = log(world);
    for index in 0..50 {
        let offset = log
            .append(id(1, index), frame(&[0xff; 3000]), |payload, at| {
                assert_eq!(payload.len(), 3000);
                payload[10..18].copy_from_slice(&at.to_le_bytes());
            })
            .unwrap();
        let frame = log.read(index, index + 1, 0).unwrap().remove(0);
        assert_eq!(frame.physical_offset, offset);
        assert_eq!(frame.payload_physical_offset(), offset + HEADER);
        assert_eq!(frame.payload()[10..18], (offset + HEADER).to_le_bytes());
        assert_eq!(offset % 8, 0);
        assert!(offset % SEGMENT + frame.frame.len() as u64 + HEADER <= SEGMENT, "room for a filler");
    }
}

/// A frame that fills a segment but for its filler fits; one byte more is refused, and changes nothing.
fn largest_frame(world: &impl World) {
    let log = log(world);
    let largest = (options().max_frame_bytes() - HEADER) as usize;
    for index in 0..3 {
        assert_eq!(append(&log, id(1, index), largest), index * SEGMENT);
    }
    let error = try_append(&log, id(1, 3), largest + 1).unwrap_err();
    assert!(matches!(error, AppendError::TooLarge { bytes, max } if bytes == max + 8));
    assert_eq!(append(&log, id(1, 3), 0), 3 * SEGMENT);
    assert_eq!(all(&log)[2].payload(), payload(id(1, 2), largest));
    log.flush().unwrap();
    drop(log);
    assert_eq!(all(&self::log(world)).len(), 4);
}

fn refuses_what_does_not_follow(world: &impl World) {
    let log = log(world);
    for first in [id(1, 1), id(0, u64::MAX)] {
        assert!(matches!(try_append(&log, first, 1), Err(AppendError::OutOfSequence { expected: 0, .. })));
    }
    append(&log, id(0, 0), 1);
    append(&log, id(5, 1), 1);
    for wrong in [id(5, 1), id(5, 3), id(4, 2)] {
        let error = try_append(&log, wrong, 1).unwrap_err();
        assert!(
            matches!(error, AppendError::OutOfSequence { last, expected: 2, found } if last == Some(id(5, 1)) && found == wrong)
        );
    }
    append(&log, id(5, 2), 1);
    assert_eq!(all(&log).len(), 3);
}

/// A log that is fed with another's frames has the same files, byte for byte.
fn followers_are_identical(world: &impl World) {
    let leader = log(world);
    for index in 0..100 {
        append(&leader, id(1, index), (index * 97 % 5000) as usize);
    }
    let disk = FaultyDisk::new();
    let follower = open(&disk);
    for frame in all(&leader) {
        assert_eq!(follower.append_frame(&frame.frame).unwrap(), frame.id);
    }
    assert_eq!(follower.segments(), leader.segments());
    for segment in leader.segments() {
        let base = segment.first_physical_offset;
        let bytes = world_bytes(&leader, segment);
        assert!(disk.contents(&segment_name(base))[..bytes.len()] == bytes, "segment at {base}");
    }
}

fn world_bytes(log: &CommitLog, segment: SegmentInfo) -> Vec<u8> {
    let len = segment.next_physical_offset - segment.first_physical_offset;
    log.slice(segment.first_physical_offset, len as u32).unwrap().to_vec()
}

fn refuses_frames_of_another_log(world: &impl World) {
    let leader = open(&FaultyDisk::new());
    fill(&leader, 40, 4000);
    let frames = all(&leader);
    let log = log(world);
    for frame in &frames[..20] {
        log.append_frame(&frame.frame).unwrap();
    }
    let next = &frames[20].frame;
    let at = frames[20].physical_offset;

    let mut flipped = next.to_vec();
    flipped[100] ^= 1;
    let error = log.append_frame(&flipped).unwrap_err();
    assert!(matches!(error, AppendError::BadFrame(FrameError::Checksum { .. })));
    let error = log.append_frame(&next[..next.len() - 8]).unwrap_err();
    assert!(matches!(error, AppendError::BadFrame(FrameError::Truncated { .. })));
    let error = log.append_frame(&[next, &[0; 8][..]].concat()).unwrap_err();
    assert!(matches!(error, AppendError::BadFrame(FrameError::Trailing { extra: 8 })));
    let error = log.append_frame(&[]).unwrap_err();
    assert!(matches!(error, AppendError::BadFrame(FrameError::Truncated { have: 0, .. })));
    assert!(matches!(log.append_frame(&frames[21].frame), Err(AppendError::OutOfSequence { .. })));

    let mut elsewhere = frame(b"moved");
    let error = log.append_frame(elsewhere.finish(id(1, 20), at + 8)).unwrap_err();
    assert!(
        matches!(error, AppendError::Misplaced { expected, found, .. } if expected == at && found == at + 8)
    );
    let mut early = frame(b"rolls too early");
    let error = log.append_frame(early.finish(id(1, 20), 2 * SEGMENT)).unwrap_err();
    assert!(matches!(error, AppendError::Misplaced { .. }));

    let filler = log.slice(frames[15].physical_offset + frames[15].frame.len() as u64, 40).unwrap();
    assert_eq!(frame::decode(&filler).unwrap().header.kind, frame::FILLER);
    assert!(matches!(log.append_frame(&filler), Err(AppendError::BadFrame(FrameError::Filler))));

    log.append_frame(next).unwrap();
    assert_eq!(log.last(), Some(id(1, 20)));
}

fn reads_within_limits(world: &impl World) {
    let log = log(world);
    assert!(log.read(0, 10, 1000).unwrap().is_empty());
    fill(&log, 40, 4000);
    let count = |from, to, max_bytes| log.read(from, to, max_bytes).unwrap().len();
    assert_eq!(count(0, u64::MAX, u64::MAX), 40);
    assert_eq!(count(3, 7, u64::MAX), 4);
    assert_eq!(count(3, 7, 0), 1, "one, however large");
    assert_eq!(count(3, 7, 4040), 1);
    assert_eq!(count(3, 7, 8079), 1);
    assert_eq!(count(3, 7, 8080), 2);
    assert_eq!(count(14, 20, 6 * 4040), 6, "over a segment's end");
    assert_eq!(count(39, 50, u64::MAX), 1);
    assert_eq!(count(40, 50, u64::MAX), 0);
    assert_eq!(count(7, 7, u64::MAX), 0);
    assert_eq!(count(8, 7, u64::MAX), 0);
    assert_eq!(log.id_of(40).unwrap(), None);
    // More entries than are located at once.
    fill(&log, 3000, 1);
    assert_eq!(count(0, 3040, u64::MAX), 3040);
}

fn slices_within_bounds(world: &impl World) {
    let log = log(world);
    fill(&log, 20, 4000);
    log.trim(id(1, 2)).unwrap();
    let frame = log.read(17, 18, 0).unwrap().remove(0);
    assert_eq!(log.slice(frame.payload_physical_offset(), 4000).unwrap(), frame.payload());
    assert_eq!(log.slice(log.next_physical_offset(), 0).unwrap().len(), 0);
    let base = log.min_physical_offset();
    assert_eq!(log.slice(base, 4040).unwrap(), log.read(3, 4, 0).unwrap()[0].frame);
    assert!(matches!(log.slice(base - 1, 1), Err(ReadError::Trimmed { first, .. }) if first == base));
    assert!(matches!(log.slice(SEGMENT - 10, 20), Err(ReadError::OutOfRange { .. })));
    assert!(matches!(log.slice(log.next_physical_offset(), 1), Err(ReadError::OutOfRange { .. })));
    assert!(matches!(log.slice(u64::MAX, u32::MAX), Err(ReadError::OutOfRange { .. })));
    assert_eq!(log.index_at(base - 1).unwrap(), None);
    assert_eq!(log.index_at(base).unwrap(), Some(3));
    assert_eq!(log.index_at(SEGMENT - 1).unwrap(), None, "behind a filler");
    assert_eq!(log.index_at(log.next_physical_offset()).unwrap(), None);
    assert_eq!(log.frame_range(2).unwrap(), None);
    assert_eq!(log.frame_range(3).unwrap(), Some((base, base + 4040)));
    assert_eq!(log.frame_range(20).unwrap(), None);
}

/// The log after a truncation is as if the removed entries had never been, also after a restart.
fn loading(world: &impl World) {
    {
        let log = log(world);
        fill(&log, 3, 5000);
        let (first, tail) = (log.min_physical_offset(), log.next_physical_offset());
        assert!(log.is_recent(first));
        log.load(first, (tail - first) as u32).unwrap();
        assert!(matches!(log.load(first, (tail - first) as u32 + 1), Err(ReadError::OutOfRange { .. })));
        log.flush().unwrap();
    }
    let log = log(world);
    let (first, tail) = (log.min_physical_offset(), log.next_physical_offset());
    // Whatever was in memory belonged to another process.
    assert!(!log.is_recent(first));
    log.load(first, (tail - first) as u32).unwrap();
    fill(&log, 1, 100);
    assert!(log.is_recent(tail) && !log.is_recent(tail - 1));
    assert!(log.is_entry_recent(3) && !log.is_entry_recent(2) && !log.is_entry_recent(4));
}

#[test]
fn a_disk_that_fails_while_loading_is_an_error() {
    let disk = FaultyDisk::new();
    let log = CommitLog::open(disk.handle(), options()).unwrap();
    fill(&log, 1, 5000);
    disk.inject(Injection::eio(Op::Read, 0));
    let (first, len) = (log.min_physical_offset(), 5000);
    assert!(matches!(log.load(first, len), Err(ReadError::Io { .. })));
    // Nothing is wrong with the log itself.
    assert!(log.fault().is_none());
    log.load(first, len).unwrap();
}

fn truncation(world: &impl World) {
    let log = log(world);
    let ends: Vec<u64> = (0..60).map(|index| append(&log, id(1, index), 4000)).collect();
    log.flush().unwrap();
    log.mark_synced().unwrap();
    for keep in [58, 50, 35, 33, 3] {
        log.truncate_after(Some(keep)).unwrap();
        assert_eq!((log.last(), log.flushed()), (Some(id(1, keep)), Some(id(1, keep))));
        assert!(log.synced() <= log.last());
        assert_eq!(log.next_physical_offset(), ends[keep as usize] + 4040);
        assert_eq!(all(&log).len() as u64, keep + 1);
        assert!(log.read(keep + 1, 100, u64::MAX).unwrap().is_empty());
    }
    log.truncate_after(Some(3)).unwrap();
    assert_eq!(append(&log, id(2, 4), 10), ends[4]);
    drop(log);
    let log = self::log(world);
    assert_eq!(all(&log).iter().map(|frame| frame.id.term).collect::<Vec<_>>(), [1, 1, 1, 1, 2]);
}

/// When all of a segment goes, the segment before it is open again: the next entry goes where it would have gone.
fn truncation_to_a_segments_end(world: &impl World) {
    let log = log(world);
    fill(&log, 20, 4000);
    let end = log.frame_range(15).unwrap().unwrap().1;
    assert!(SEGMENT - end < 4040);
    log.truncate_after(Some(15)).unwrap();
    assert_eq!(log.next_physical_offset(), end);
    assert_eq!(log.segments().len(), 1);
    assert_eq!(append(&log, id(2, 16), 8), end);
    assert_eq!(append(&log, id(2, 17), 4000), SEGMENT);
    log.flush().unwrap();
    drop(log);
    assert_eq!(all(&self::log(world)).len(), 18);
}

fn truncation_of_everything(world: &impl World) {
    let log = log(world);
    fill(&log, 20, 4000);
    log.flush().unwrap();
    log.truncate_after(None).unwrap();
    assert_eq!((log.last(), log.flushed(), log.next_physical_offset()), (None, None, 0));
    log.truncate_after(None).unwrap();
    assert_eq!(append(&log, id(7, 0), 8), 0);
}

fn trimming(world: &impl World) {
    let log = log(world);
    fill(&log, 60, 4000);
    let held = log.read(0, 1, 0).unwrap().remove(0);
    let (to_boundary, inside) = (id(1, 31), id(1, 40));
    for (up_to, base) in [(to_boundary, 2 * SEGMENT), (inside, log.frame_range(41).unwrap().unwrap().0)] {
        log.trim(up_to).unwrap();
        assert_eq!(log.flushed(), Some(id(1, 59)), "what trimming reports is durable");
        assert_eq!((log.trimmed(), log.min_physical_offset()), (Some(up_to), base));
        assert_eq!(log.segments()[0].first_physical_offset, 2 * SEGMENT);
        assert!(matches!(log.read(up_to.index, 60, 0), Err(ReadError::Trimmed { .. })));
        assert_eq!(log.id_of(up_to.index).unwrap(), Some(up_to));
        assert_eq!(log.id_of(up_to.index - 1).unwrap(), None);
        assert_eq!(all(&log)[0].id.index, up_to.index + 1);
    }
    log.trim(id(1, 5)).unwrap();
    assert_eq!(log.trimmed(), Some(inside), "trimming what is trimmed does nothing");
    assert!(log.maintenance_due());
    log.maintain().unwrap();
    assert!(!log.maintenance_due());
    assert_eq!(held.payload(), payload(id(1, 0), 4000), "a reader keeps what it holds");
    drop(log);
    let dir = world.dir();
    assert!(!dir.list().unwrap().contains(&segment_name(SEGMENT)));
    drop(dir);
    let log = self::log(world);
    assert_eq!((log.trimmed(), all(&log).len()), (Some(inside), 19));
}

/// The room says what can be appended without another file.
fn room(world: &impl World) {
    let log = log(world);
    let most = options().max_frame_bytes();
    assert_eq!(log.room(), most);
    fill(&log, 15, 4000);
    assert_eq!(log.room(), most - 15 * 4040);
    log.maintain().unwrap();
    assert_eq!(log.room(), most, "the prepared segment counts");
    append(&log, id(1, 15), (most - HEADER) as usize);
    assert_eq!(log.room(), 0);
}

/// Frames that a peer sent one behind the other are split off without copying; what is no frame stays.
fn frames_off_the_wire(world: &impl World) {
    let log = log(world);
    fill(&log, 3, 100);
    let sent = all(&log);
    let mut bytes = log.slice(0, log.next_physical_offset() as u32).unwrap();
    for frame in &sent {
        let taken = FrameRef::take(&mut bytes).unwrap();
        assert_eq!((taken.id, taken.physical_offset), (frame.id, frame.physical_offset));
        assert_eq!((&taken.frame, taken.payload()), (&frame.frame, frame.payload()));
    }
    assert!(bytes.is_empty());
    assert!(matches!(FrameRef::take(&mut bytes), Err(FrameError::Truncated { .. })));
    let mut cut = sent[0].frame.slice(..100);
    assert!(FrameRef::take(&mut cut).is_err());
    assert_eq!(cut.len(), 100);
}

fn trimming_everything(world: &impl World) {
    let log = log(world);
    fill(&log, 30, 4000);
    log.trim(id(1, 29)).unwrap();
    let tail = log.next_physical_offset();
    assert_eq!((log.last(), log.min_physical_offset()), (Some(id(1, 29)), tail));
    assert!(all(&log).is_empty());
    drop(log);
    let log = self::log(world);
    assert_eq!(
        (log.last(), log.trimmed(), log.next_physical_offset()),
        (Some(id(1, 29)), Some(id(1, 29)), tail)
    );
    assert_eq!(append(&log, id(1, 30), 10), tail);
    log.truncate_after(Some(29)).unwrap();
    assert_eq!(log.next_physical_offset(), tail);
}

/// Edits that make no sense are refused, and change nothing.
fn refused_edits(world: &impl World) {
    let log = log(world);
    fill(&log, 10, 100);
    log.trim(id(1, 3)).unwrap();
    let before = (log.trimmed(), log.last(), log.next_physical_offset(), log.segments());
    assert!(matches!(log.truncate_after(Some(2)), Err(EditError::BelowTrimmed { .. })));
    assert!(matches!(log.truncate_after(None), Err(EditError::BelowTrimmed { .. })));
    assert!(matches!(log.truncate_after(Some(10)), Err(EditError::AboveLast { index: 10, .. })));
    assert!(matches!(log.truncate_after(Some(u64::MAX)), Err(EditError::AboveLast { .. })));
    assert!(matches!(log.trim(id(2, 5)), Err(EditError::OtherTerm { found, .. }) if found == id(1, 5)));
    assert!(matches!(log.trim(id(1, 10)), Err(EditError::AboveLast { .. })));
    assert!(matches!(log.trim(id(1, u64::MAX)), Err(EditError::AboveLast { .. })));
    assert!(matches!(log.reset(id(1, 50), SEGMENT + 8), Err(EditError::OffGrid { .. })));
    assert_eq!((log.trimmed(), log.last(), log.next_physical_offset(), log.segments()), before);
    log.truncate_after(Some(9)).unwrap();
    log.truncate_after(Some(3)).unwrap();
    assert_eq!(log.last(), Some(id(1, 3)));
}

/// A replica that takes over a checkpoint begins again behind it, at the leader's physical offset, ahead of or behind
/// where it was.
fn resetting(world: &impl World) {
    let log = log(world);
    fill(&log, 60, 4000);
    for (trimmed, base) in [(id(4, 1000), 50 * SEGMENT), (id(5, 70), 2 * SEGMENT), (id(6, 71), 0)] {
        log.reset(trimmed, base).unwrap();
        let three = (log.last(), log.flushed(), log.trimmed());
        assert_eq!(three, (Some(trimmed), Some(trimmed), Some(trimmed)));
        assert_eq!((log.min_physical_offset(), log.next_physical_offset()), (base, base));
        assert_eq!(append(&log, id(7, trimmed.index + 1), 100), base);
        log.flush().unwrap();
        assert_eq!(all(&log).len(), 1);
    }
    drop(log);
    let log = self::log(world);
    assert_eq!((log.trimmed(), log.last()), (Some(id(6, 71)), Some(id(7, 72))));
}

fn listing(world: &impl World) {
    let log = log(world);
    let empty = SegmentInfo {
        first_physical_offset: 0,
        next_physical_offset: 0,
        first_index: 0,
        last_index: None,
        sealed: false,
    };
    assert_eq!(log.segments(), [empty]);
    fill(&log, 17, 4000);
    let sealed = SegmentInfo { next_physical_offset: SEGMENT, last_index: Some(15), sealed: true, ..empty };
    let active = SegmentInfo {
        first_physical_offset: SEGMENT,
        next_physical_offset: SEGMENT + 4040,
        first_index: 16,
        last_index: Some(16),
        sealed: false,
    };
    assert_eq!(log.segments(), [sealed, active]);
}

/// The mark follows the flusher when it is told to, and never leads it.
fn marks(world: &impl World) {
    let log = log(world);
    assert_eq!(log.mark_synced().unwrap(), None);
    fill(&log, 3, 10);
    assert_eq!(log.mark_synced().unwrap(), None);
    log.flush().unwrap();
    assert_eq!(log.synced(), None);
    for _ in 0..3 {
        assert_eq!(log.mark_synced().unwrap(), Some(id(1, 2)));
    }
    assert_eq!(log.synced(), Some(id(1, 2)));
}

/// Readers, a flusher and upkeep run beside a writer that appends, truncates and trims: no reader ever sees an error
/// other than "trimmed", a wrong entry, or a gap.
fn readers_beside_edits(world: &impl World) {
    let log = Arc::new(log(world));
    let done = Arc::new(AtomicBool::new(false));
    let spawn = |work: fn(&CommitLog)| {
        let (log, done) = (Arc::clone(&log), Arc::clone(&done));
        thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                work(&log);
            }
        })
    };
    let threads = [
        spawn(read_some),
        spawn(read_some),
        spawn(|log| {
            log.flush().unwrap();
            log.mark_synced().unwrap();
        }),
        spawn(|log| log.maintain().unwrap()),
    ];
    let mut term = 1;
    for round in 0..24 {
        for _ in 0..30 {
            let next = log.last().map_or(0, |last| last.index + 1);
            append(&log, id(term, next), 1000 + (next % 3000) as usize);
        }
        let last = log.last().unwrap().index;
        match round % 3 {
            0 => {
                log.truncate_after(Some(last - 25)).unwrap();
                term += 1;
            }
            1 if round % 2 == 1 => {
                let up_to = log.id_of(last - 28).unwrap().unwrap();
                log.trim(up_to).unwrap();
            }
            _ => {}
        }
    }
    done.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(log.fault().is_none());
}

fn read_some(log: &CommitLog) {
    let first = log.trimmed().map_or(0, |trimmed| trimmed.index + 1);
    let frames = match log.read(first, first + 50, 100_000) {
        Ok(frames) => frames,
        Err(ReadError::Trimmed { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    for (n, frame) in frames.iter().enumerate() {
        assert_eq!(frame.id.index, first + n as u64);
        // A truncation may have zeroed what this thread still holds.
        let truncated = log.id_of(frame.id.index).unwrap() != Some(frame.id);
        assert!(
            truncated
                || frame::decode(&frame.frame).is_ok()
                || log.id_of(frame.id.index).unwrap() != Some(frame.id)
        );
    }
    if let Some(frame) = frames.first() {
        match log.index_at(frame.physical_offset) {
            Ok(_) | Err(ReadError::Trimmed { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Opening a log whose active segment is a GiB that is mostly unwritten reads what was written, and not the rest, also
/// after what lies behind the tail has been read into the page cache.
#[test]
fn opening_skips_what_was_never_written() {
    let world = Real::new();
    let open = || {
        let read = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&read);
        let dir = Watched::new(world.dir(), move |access| {
            if let Access::Read(bytes) = access {
                counter.fetch_add(bytes, Ordering::Relaxed);
            }
        });
        let log = CommitLog::open(dir, Options { segment_bytes: 1 << 30 }).unwrap();
        (log, read.load(Ordering::Relaxed))
    };
    let (log, _) = open();
    fill(&log, 100, 10_000);
    log.flush().unwrap();
    log.mark_synced().unwrap();
    drop(log);
    let file = world.dir().open(&segment_name(0)).unwrap();
    file.read_at(3 << 20, &mut vec![0; 20 << 20]).unwrap();
    drop(file);
    for _ in 0..2 {
        let (log, read) = open();
        assert_eq!(log.last(), Some(id(1, 99)));
        assert!(read < 8 << 20, "{read} bytes read");
    }
}

/// What a reader has located is taken away before it looks: a truncation, a trim, a reset between the two. It answers
/// with what is true then: no damage, no mixture of before and after.
#[test]
fn edits_between_locating_and_reading() {
    /// The edit, and what the read then gives.
    type Case = (fn(&CommitLog), fn(Result<Vec<FrameRef>, ReadError>));
    let edits: [Case; 4] = [
        (|log| log.truncate_after(Some(4)).unwrap(), |read| assert!(read.unwrap().is_empty())),
        (
            |log| {
                log.truncate_after(Some(11)).unwrap();
                for index in 12..30 {
                    append(log, id(2, index), 3000);
                }
            },
            |read| {
                let terms: Vec<u64> = read.unwrap().iter().map(|frame| frame.id.term).collect();
                assert_eq!(terms[..3], [1, 1, 2]);
                assert_eq!(terms.len(), 20);
            },
        ),
        (
            |log| log.trim(id(1, 20)).unwrap(),
            |read| assert!(matches!(read, Err(ReadError::Trimmed { first: 21, .. }))),
        ),
        (
            |log| log.reset(id(3, 50), 0).unwrap(),
            |read| assert!(matches!(read, Err(ReadError::Trimmed { first: 51, .. }))),
        ),
    ];
    for (edit, expect) in edits {
        let disk = FaultyDisk::new();
        fill(&open(&disk), 40, 4000);
        let log: Arc<OnceLock<CommitLog>> = Arc::default();
        let once = AtomicBool::new(false);
        let seen = Arc::clone(&log);
        disk.kill();
        let dir = Watched::new(disk.handle(), move |access| {
            let is_read = matches!(access, Access::Read(_));
            if let Some(log) = seen.get().filter(|_| is_read && !once.swap(true, Ordering::Relaxed)) {
                edit(log);
            }
        });
        let log = log.get_or_init(|| CommitLog::open(dir, options()).unwrap());
        expect(log.read(10, 30, u64::MAX));
        assert!(log.fault().is_none());
    }
}

/// Two logs on one directory would destroy each other.
#[test]
fn a_real_directory_is_locked() {
    let world = Real::new();
    let dir = world.dir();
    assert_eq!(DiskDir::open(world.0.path()).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(dir);
    DiskDir::open(world.0.path()).unwrap();
    let nested = world.0.path().join("a").join("b");
    let log = CommitLog::open(Arc::new(DiskDir::open(&nested).unwrap()), Options::default()).unwrap();
    assert_eq!(log.options().segment_bytes, 1 << 30);
    let mut frame = FrameBuf::new(1);
    frame.writer().extend_from_slice(b"in a segment of a GiB");
    log.append(LogId { term: 1, index: 0 }, frame, |_, _| {}).unwrap();
    log.flush().unwrap();
}
