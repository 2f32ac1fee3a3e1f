//! Readers beside the writer, flushes and trimming.

use std::sync::atomic::{AtomicBool, AtomicU64};

use super::*;

/// While one thread appends, one flushes and one trims, readers see every unit of their range exactly as
/// appended, bounds that only move forward, and no error.
#[test]
fn readers_see_whole_units_whatever_goes_on() {
    const QUEUES: u32 = 5;
    const UNITS: u64 = 6_000;
    let dir = tempfile::tempdir().unwrap();
    let options =
        Options { units_per_chunk: 50, spill_units: 16, tail_bytes_max: 1 << 10, open_files_max: 4 };
    let queues = open(dir.path(), options, &[], 0);
    let (is_done, log_start) = (AtomicBool::new(false), AtomicU64::new(0));
    let id = |queue_id| QueueId { topic_id: 0, queue_id };

    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|reader| {
                let (queues, is_done) = (&queues, &is_done);
                scope.spawn(move || {
                    let mut units = Vec::new();
                    let mut last = [Bounds::EMPTY; QUEUES as usize];
                    let mut read = 0;
                    while !is_done.load(Ordering::Relaxed) || read == 0 {
                        for queue_id in 0..QUEUES {
                            let before = queues.bounds(id(queue_id));
                            // One reader pulls behind the writer, the other from the head, where trimming is.
                            let from = match reader {
                                0 => before.next_queue_offset.saturating_sub(40),
                                _ => before.min_queue_offset,
                            };
                            units.clear();
                            let bounds = queues.read(id(queue_id), from, 300, &mut units).unwrap();
                            assert!(bounds.min_queue_offset >= last[queue_id as usize].min_queue_offset);
                            assert!(bounds.next_queue_offset >= last[queue_id as usize].next_queue_offset);
                            last[queue_id as usize] = bounds;
                            for (offset, found) in (from..).zip(&units) {
                                assert_eq!(*found, unit(offset));
                            }
                            read += units.len();
                        }
                    }
                    read
                })
            })
            .collect();
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                queues.flush().unwrap();
            }
        });
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                queues.trim(log_start.load(Ordering::Relaxed)).unwrap();
            }
        });
        for queue_offset in 0..UNITS {
            for queue_id in 0..QUEUES {
                queues.append(id(queue_id), queue_offset, unit(queue_offset)).unwrap();
            }
            log_start.store(queue_offset.saturating_sub(400) * 1000, Ordering::Relaxed);
        }
        is_done.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() > 0, "a reader never read anything");
        }
    });

    queues.flush().unwrap();
    queues.check();
    let positions = queues.positions();
    drop(queues);
    let queues = open(dir.path(), options, &positions, log_start.into_inner());
    for queue_id in 0..QUEUES {
        let min = queues.min_queue_offset(id(queue_id));
        assert_eq!(min, UNITS - 1 - 400);
        assert_eq!(read_all(&queues, id(queue_id)), (min..UNITS).map(unit).collect::<Vec<_>>());
    }
}

/// Removing a topic while it is read, flushed and searched disturbs nobody: readers find nothing, no file
/// comes back, and the topic's number can be used afresh.
#[test]
fn removal_beside_readers_and_flushes() {
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), SMALL, &[], 0);
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut units = Vec::new();
            while !is_done.load(Ordering::Relaxed) {
                units.clear();
                queues.read(QUEUE, 0, 100, &mut units).unwrap();
                for (offset, found) in (0..).zip(&units) {
                    assert_eq!(*found, unit(offset));
                }
                queues.partition_point::<Error>(QUEUE, |unit| Ok(unit.physical_offset < 9_000)).unwrap();
            }
        });
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                queues.flush().unwrap();
            }
        });
        for _ in 0..200 {
            append_up_to(&queues, QUEUE, 30);
            queues.remove_topic(QUEUE.topic_id).unwrap();
            assert_eq!(queues.bounds(QUEUE), Bounds::EMPTY);
        }
        is_done.store(true, Ordering::Relaxed);
    });
    assert_eq!(chunk_files(dir.path(), QUEUE), [] as [PathBuf; 0]);
    assert_eq!(queues.tail_bytes(), 0);
}

/// Cutting a queue beside readers, again and again across whole chunk files: what is appended afterwards
/// goes to the files that a restart finds, never to one that a reader had kept open.
#[test]
fn truncation_beside_readers() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { open_files_max: 1, spill_units: 1, ..SMALL };
    let queues = open(dir.path(), options, &[], 0);
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut units = Vec::new();
                while !is_done.load(Ordering::Relaxed) {
                    for from in [0, 7, 14, 21] {
                        units.clear();
                        queues.read(QUEUE, from, 2, &mut units).unwrap();
                        for (offset, found) in (from..).zip(&units) {
                            assert_eq!(*found, unit(offset));
                        }
                    }
                }
            });
        }
        for round in 0..400 {
            append_up_to(&queues, QUEUE, 30);
            queues.truncate(QUEUE, round % 30).unwrap();
        }
        append_up_to(&queues, QUEUE, 30);
        is_done.store(true, Ordering::Relaxed);
    });
    queues.flush().unwrap();
    let positions = queues.positions();
    drop(queues);
    let queues = open(dir.path(), options, &positions, 0);
    assert_eq!(read_all(&queues, QUEUE), (0..30).map(unit).collect::<Vec<_>>());
}
