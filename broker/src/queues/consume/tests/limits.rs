//! What queues cost: memory, files, descriptors.

use std::fs;

use super::*;

/// Descriptors of this process on files below `dir`.
fn open_descriptors(dir: &Path) -> usize {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap();
    descriptors
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter(|target| target.starts_with(dir) && target != dir)
        .count()
}

/// Ten thousand queues: nothing at all while unused, one short file each and no tail once used and idle, and
/// never more descriptors than the bound. They survive a restart.
#[test]
fn ten_thousand_queues_cost_what_is_in_use() {
    const QUEUES: u32 = 10_000;
    let dir = tempfile::tempdir().unwrap();
    let options = Options { open_files_max: 64, ..Options::STANDARD };
    let ids: Vec<_> = (0..QUEUES).map(|n| QueueId { topic_id: n / 16, queue_id: n % 16 }).collect();
    let unused: Vec<_> =
        ids.iter().map(|&queue| Position { queue, min_queue_offset: 0, next_queue_offset: 0 }).collect();
    let queues = open(dir.path(), options, &unused, 0);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    assert_eq!(queues.tail_bytes(), 0);
    assert!(size_of::<queue::Queue>() <= 128, "a queue takes {} bytes", size_of::<queue::Queue>());

    for &q in &ids {
        append_up_to(&queues, q, 3);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "no file before anything asks for it");
    queues.flush().unwrap();
    assert_eq!(queues.tail_bytes(), 0, "the tails of idle queues are given back");
    let mut bytes = 0;
    for &q in &ids {
        let [file] = &chunk_files_flat(dir.path(), q)[..] else { panic!("queue {q} has not one file") };
        bytes += fs::metadata(file).unwrap().len();
    }
    assert_eq!(bytes, u64::from(QUEUES) * 3 * 24);
    assert!(open_descriptors(dir.path()) <= 64);

    let positions = queues.positions();
    drop(queues);
    let queues = open(dir.path(), options, &positions, 0);
    for &q in &ids {
        assert_eq!(read_all(&queues, q), [unit(0), unit(1), unit(2)]);
    }
    assert!(open_descriptors(dir.path()) <= 64);
    queues.check();
}

/// The first chunk file without listing the directory ten thousand times.
fn chunk_files_flat(dir: &Path, q: QueueId) -> Vec<PathBuf> {
    let second = chunk::path(dir, q, Options::STANDARD.units_per_chunk);
    [chunk::path(dir, q, 0), second].into_iter().filter(|path| path.exists()).collect()
}

/// The tails of many busy queues together stay within the bound, but for the last tail's growth; nothing is
/// lost.
#[test]
fn tails_stay_within_their_bound() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        Options { units_per_chunk: 1000, spill_units: 64, tail_bytes_max: 20_000, open_files_max: 8 };
    let queues = open(dir.path(), options, &[], 0);
    let growth_max = options.spill_units * size_of::<Unit>();
    for round in 1..=40 {
        for queue_id in 0..100 {
            append_up_to(&queues, QueueId { topic_id: 0, queue_id }, round * 3);
            assert!(queues.tail_bytes() <= options.tail_bytes_max + growth_max);
        }
    }
    queues.check();
    for queue_id in 0..100 {
        let units = read_all(&queues, QueueId { topic_id: 0, queue_id });
        assert_eq!(units, (0..120).map(unit).collect::<Vec<_>>());
    }
}

/// Trimming removes whole files behind the minimum but the last trimmed unit's, and `remove_topic` all of
/// them, directory included.
#[test]
fn trimming_and_removing_free_files() {
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), SMALL, &[], 0);
    append_up_to(&queues, QUEUE, 30);
    queues.flush().unwrap();
    for (min_physical_offset, min, files) in [
        (0, 0, 5),
        (6_000, 6, 5),
        (7_000, 7, 5),
        (7_001, 8, 4),
        (14_500, 15, 3),
        (14_000, 15, 3),
        (90_000, 30, 1),
    ] {
        queues.trim(min_physical_offset).unwrap();
        assert_eq!(queues.min_queue_offset(QUEUE), min, "log from {min_physical_offset}");
        assert_eq!(chunk_files(dir.path(), QUEUE).len(), files, "log from {min_physical_offset}");
    }
    append_up_to(&queues, QUEUE, 40);
    assert_eq!(read_all(&queues, QUEUE), (30..40).map(unit).collect::<Vec<_>>());
    queues.remove_topic(QUEUE.topic_id).unwrap();
    assert_eq!(queues.bounds(QUEUE), Bounds::EMPTY);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    assert_eq!(open_descriptors(dir.path()), 0);
}

/// Trimming may run ahead of the files, into tails that are not written yet; the files then still make
/// sense to a checkpoint recorded before it.
#[test]
fn trimming_may_run_ahead_of_files() {
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), SMALL, &[], 0);
    append_up_to(&queues, QUEUE, 9);
    assert_eq!(queues.queue(QUEUE).unwrap().state.lock().spilled, 5);
    let positions = queues.positions();
    queues.trim(9_000).unwrap();
    assert_eq!(queues.min_queue_offset(QUEUE), 9);
    queues.flush().unwrap();
    drop(queues);
    let queues = open(dir.path(), SMALL, &positions, 8_000);
    assert_eq!(read_all(&queues, QUEUE), [unit(8)]);
}

/// The applier's paired assertions: a wrong queue offset, a physical offset that stands still, an empty
/// message.
#[test]
fn wrong_appends_panic() {
    let cases = [
        ("a gap", 4, unit(4)),
        ("a repetition", 2, unit(2)),
        ("a physical offset that stands still", 3, unit(2)),
        ("an empty message", 3, Unit { size: 0, ..unit(3) }),
    ];
    for (name, queue_offset, unit) in cases {
        let dir = tempfile::tempdir().unwrap();
        let queues = open(dir.path(), SMALL, &[], 0);
        append_up_to(&queues, QUEUE, 3);
        let append = std::panic::AssertUnwindSafe(|| queues.append(QUEUE, queue_offset, unit));
        assert!(std::panic::catch_unwind(append).is_err(), "{name} was accepted");
    }
}
