//! What a disk can do to chunk files, and what is then said.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use super::*;

/// A flushed store with `unit(0)..unit(20)` in three chunk files (7, 7, 6), reopened after `harm` was done
/// to it with `min_physical_offset` as the start of the log.
fn reopen_after(harm: impl FnOnce(&Path), min_physical_offset: u64) -> (tempfile::TempDir, Opened) {
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), SMALL, &[], 0);
    append_up_to(&queues, QUEUE, 20);
    let positions = queues.positions();
    queues.flush().unwrap();
    drop(queues);
    harm(dir.path());
    let opened = ConsumeQueues::open(dir.path(), SMALL, &positions, min_physical_offset).unwrap();
    for rebuild in &opened.rebuild {
        assert_eq!(opened.queues.bounds(rebuild.position.queue), Bounds::EMPTY);
        assert_eq!(chunk_files(dir.path(), rebuild.position.queue), [] as [PathBuf; 0]);
    }
    (dir, opened)
}

fn flip_bit(path: &Path, position: u64, bit: u8) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).unwrap();
    file.write_all_at(&[byte[0] ^ 1 << bit], position).unwrap();
}

/// Each way to lose a part of the files of a queue: named for rebuilding where units are gone that should be
/// there, accepted where they were trimmed.
#[test]
fn missing_parts_are_told_from_trimmed_ones() {
    const RECORD: u64 = unit::RECORD_BYTES as u64;
    let cut = |queue_offset: u64, length: u64| {
        move |dir: &Path| {
            let file = OpenOptions::new().write(true).open(chunk_file(dir, QUEUE, queue_offset)).unwrap();
            file.set_len(length).unwrap();
        }
    };
    let remove = |queue_offsets: &'static [u64]| {
        move |dir: &Path| {
            queue_offsets.iter().for_each(|&at| fs::remove_file(chunk_file(dir, QUEUE, at)).unwrap());
        }
    };
    type Harm = Box<dyn FnOnce(&Path)>;
    let cases: Vec<(&str, Harm, u64, Result<u64, u64>)> = vec![
        ("nothing", Box::new(|_| ()), 0, Ok(0)),
        ("nothing, log trimmed inside a chunk", Box::new(|_| ()), 9_500, Ok(10)),
        ("nothing, log trimmed at a unit", Box::new(|_| ()), 9_000, Ok(9)),
        ("nothing, log trimmed past all units", Box::new(|_| ()), 50_000, Ok(20)),
        ("last file cut inside its last record", Box::new(cut(14, 6 * RECORD - 1)), 0, Err(19)),
        ("last file cut at a record", Box::new(cut(14, 3 * RECORD)), 0, Err(19)),
        ("last file empty", Box::new(cut(14, 0)), 0, Err(19)),
        ("last file gone", Box::new(remove(&[14])), 0, Err(19)),
        ("all files gone", Box::new(remove(&[0, 7, 14])), 0, Err(19)),
        ("all files gone, log trimmed past all units", Box::new(remove(&[0, 7, 14])), 50_000, Err(19)),
        ("first file gone", Box::new(remove(&[0])), 0, Err(0)),
        ("first file gone, log begins in it", Box::new(remove(&[0])), 6_000, Err(0)),
        ("first file gone, log begins at the second", Box::new(remove(&[0])), 7_000, Err(0)),
        ("first file gone, log begins in the second", Box::new(remove(&[0])), 7_001, Ok(8)),
        ("first two gone, log begins in the third", Box::new(remove(&[0, 7])), 15_000, Ok(15)),
        ("middle file gone", Box::new(remove(&[7])), 0, Err(0)),
        ("middle file cut", Box::new(cut(7, 5 * RECORD)), 0, Err(0)),
        ("middle file cut, log begins in the third", Box::new(cut(7, 5 * RECORD)), 14_001, Ok(15)),
        (
            "last record flipped",
            Box::new(|dir| flip_bit(&chunk_file(dir, QUEUE, 19), 5 * RECORD + 19, 0)),
            0,
            Err(19),
        ),
        ("first record flipped", Box::new(|dir| flip_bit(&chunk_file(dir, QUEUE, 0), 0, 7)), 0, Err(0)),
    ];
    for (name, harm, min_physical_offset, expect) in cases {
        let (_dir, opened) = reopen_after(harm, min_physical_offset);
        match (expect, &opened.rebuild[..]) {
            (Ok(min), []) => {
                let bounds = Bounds { min_queue_offset: min, next_queue_offset: 20 };
                assert_eq!(opened.queues.bounds(QUEUE), bounds, "{name}");
                assert_eq!(
                    read_all(&opened.queues, QUEUE),
                    (min..20).map(unit).collect::<Vec<_>>(),
                    "{name}"
                );
            }
            (
                Err(at),
                [Rebuild { position, reason: Error::DamagedQueue { queue: QUEUE, queue_offset, .. } }],
            ) => {
                assert_eq!((position.min_queue_offset, position.next_queue_offset), (0, 20), "{name}");
                assert_eq!(*queue_offset, at, "{name}");
            }
            (expect, rebuild) => panic!("{name}: expected {expect:?}, got {rebuild:?}"),
        }
    }
}

/// Every flipped bit of a file is found by the read that meets it and by `verify`; the units before it are
/// returned, and units elsewhere stay readable.
#[test]
fn flipped_bits_are_found_when_read() {
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), SMALL, &[], 0);
    append_up_to(&queues, QUEUE, 20);
    queues.flush().unwrap();
    let path = chunk_file(dir.path(), QUEUE, 7);
    for position in 0..fs::metadata(&path).unwrap().len() {
        let bad = 7 + position / unit::RECORD_BYTES as u64;
        let bit = (position % 8) as u8;
        flip_bit(&path, position, bit);
        let mut units = Vec::new();
        let error = queues.read(QUEUE, 0, 100, &mut units).unwrap_err();
        assert!(matches!(error, Error::DamagedQueue { queue_offset, .. } if queue_offset == bad), "{error}");
        assert_eq!(units, (0..bad).map(unit).collect::<Vec<_>>());
        assert!(
            matches!(queues.verify(QUEUE), Err(Error::DamagedQueue { queue_offset, .. }) if queue_offset == bad)
        );
        units.clear();
        queues.read(QUEUE, bad + 1, 100, &mut units).unwrap();
        assert_eq!(units, (bad + 1..20).map(unit).collect::<Vec<_>>());
        flip_bit(&path, position, bit);
    }
    queues.verify(QUEUE).unwrap();
}

/// What was written after the checkpoint is cut off, whole files included.
#[test]
fn units_behind_the_checkpoint_are_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), SMALL, &[], 0);
    append_up_to(&queues, QUEUE, 10);
    let positions = queues.positions();
    append_up_to(&queues, QUEUE, 30);
    queues.flush().unwrap();
    drop(queues);
    let queues = open(dir.path(), SMALL, &positions, 0);
    assert_eq!(read_all(&queues, QUEUE), (0..10).map(unit).collect::<Vec<_>>());
    let lengths: Vec<_> =
        chunk_files(dir.path(), QUEUE).iter().map(|file| fs::metadata(file).unwrap().len()).collect();
    assert_eq!(lengths, [7 * 24, 3 * 24]);
}

/// A file that belongs to another queue, or to another place in this one, is not taken for its own.
#[test]
fn exchanged_files_are_found() {
    let other = QueueId { queue_id: 3, ..QUEUE };
    for (from, to) in [(chunk_file(Path::new(""), other, 0), 0), (chunk_file(Path::new(""), QUEUE, 7), 0)] {
        let dir = tempfile::tempdir().unwrap();
        let queues = open(dir.path(), SMALL, &[], 0);
        append_up_to(&queues, QUEUE, 20);
        append_up_to(&queues, other, 20);
        let positions = queues.positions();
        queues.flush().unwrap();
        drop(queues);
        fs::copy(dir.path().join(from), chunk_file(dir.path(), QUEUE, to)).unwrap();
        let opened = ConsumeQueues::open(dir.path(), SMALL, &positions, 0).unwrap();
        assert!(matches!(opened.rebuild[..], [Rebuild { position: Position { queue: QUEUE, .. }, .. }]));
        assert_eq!(read_all(&opened.queues, other).len(), 20);
    }
}

/// A queue named for rebuilding is rebuilt as its documentation says, and is then as good as new.
#[test]
fn rebuilding_gives_the_queue_back() {
    let (_dir, opened) = reopen_after(|dir| fs::remove_file(chunk_file(dir, QUEUE, 14)).unwrap(), 5_000);
    let position = opened.rebuild[0].position;
    let queues = opened.queues;
    queues.reset_queue(QUEUE, 5).unwrap();
    append_up_to(&queues, QUEUE, position.next_queue_offset);
    assert_eq!(read_all(&queues, QUEUE), (5..20).map(unit).collect::<Vec<_>>());
    queues.check();
}

/// Files that are not ours stay; files of queues that the checkpoint does not know go.
#[test]
fn opening_removes_what_is_ours_and_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), SMALL, &[], 0);
    append_up_to(&queues, QUEUE, 20);
    queues.flush().unwrap();
    drop(queues);
    let stranger = dir.path().join("1/notes.txt");
    fs::write(&stranger, "mine").unwrap();
    let queues = open(dir.path(), SMALL, &[], 0);
    assert_eq!(chunk_files(dir.path(), QUEUE), [] as [PathBuf; 0]);
    assert_eq!(fs::read(&stranger).unwrap(), b"mine");
    queues.remove_topic(1).unwrap();
    assert_eq!(fs::read(&stranger).unwrap(), b"mine");
}

/// A full disk refuses the append that needs a write, keeps every unit readable, and lets it be tried again.
#[test]
fn full_disk_is_an_error_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), SMALL, &[], 0);
    let file = chunk_file(dir.path(), QUEUE, 0);
    fs::create_dir(file.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();

    append_up_to(&queues, QUEUE, SMALL.spill_units as u64);
    for _ in 0..3 {
        let error = queues.append(QUEUE, 5, unit(5)).unwrap_err();
        assert!(error.to_string().contains(file.to_str().unwrap()), "the error names the file: {error}");
        let Error::Io { source, .. } = error else { panic!("not an I/O error: {error}") };
        assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
        assert_eq!(read_all(&queues, QUEUE), (0..5).map(unit).collect::<Vec<_>>());
        assert!(matches!(queues.flush(), Err(Error::Io { .. })));
    }
    fs::remove_file(&file).unwrap();
    // The handle of the full device is cached; make the store look at the directory again.
    let incarnation = queues.queue(QUEUE).unwrap().state.lock().incarnation;
    queues.shared.files.remove(open_files::ChunkKey { incarnation, chunk: 0 });
    append_up_to(&queues, QUEUE, 20);
    queues.flush().unwrap();
    assert_eq!(read_all(&queues, QUEUE), (0..20).map(unit).collect::<Vec<_>>());
    queues.check();
}

/// The same when the memory bound, not the queue's own tail, asks for the write.
#[test]
fn full_disk_under_memory_pressure_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), Options { tail_bytes_max: 0, ..SMALL }, &[], 0);
    let file = chunk_file(dir.path(), QUEUE, 0);
    fs::create_dir(file.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    append_up_to(&queues, QUEUE, 1);
    let other = QueueId { topic_id: 9, queue_id: 0 };
    for _ in 0..3 {
        assert!(matches!(queues.append(other, 0, unit(0)), Err(Error::Io { .. })));
        assert_eq!(read_all(&queues, QUEUE), [unit(0)]);
        assert_eq!(queues.next_queue_offset(other), 0);
        queues.check();
    }
}

/// A failed sync is never made good by a later one.
#[test]
fn failed_sync_is_final() {
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), SMALL, &[], 0);
    let file = chunk_file(dir.path(), QUEUE, 0);
    fs::create_dir(file.parent().unwrap()).unwrap();
    // The null device takes writes and refuses to sync.
    std::os::unix::fs::symlink("/dev/null", &file).unwrap();
    append_up_to(&queues, QUEUE, 3);
    assert!(matches!(queues.flush(), Err(Error::Io { action: "fdatasync", .. })));
    fs::remove_file(&file).unwrap();
    for _ in 0..2 {
        assert!(matches!(queues.flush(), Err(Error::SyncFailed { path }) if path == file));
    }
}
