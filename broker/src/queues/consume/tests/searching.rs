//! Offsets by store time.

use super::*;

/// RocketMQ's boundary rules on a queue stored at the times 10 10 20 20 20 40, from offset 2 on after
/// trimming.
#[test]
fn offset_by_time_follows_rocketmq() {
    const TIMES: [i64; 6] = [10, 10, 20, 20, 20, 40];
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), SMALL, &[], 0);
    append_up_to(&queues, QUEUE, 6);
    let search = |time_ms, boundary| {
        let store_time = |unit: &Unit| Ok::<_, Error>(TIMES[(unit.physical_offset / 1000) as usize]);
        queues.offset_by_time(QUEUE, time_ms, boundary, store_time).unwrap()
    };
    let check = |time_ms, lower, upper| {
        assert_eq!(search(time_ms, Boundary::Lower), lower, "lower of {time_ms}");
        assert_eq!(search(time_ms, Boundary::Upper), upper, "upper of {time_ms}");
    };
    for (time_ms, lower, upper) in [
        (i64::MIN, 0, 0),
        (9, 0, 0),
        (10, 0, 1),
        (15, 2, 1),
        (20, 2, 4),
        (30, 5, 4),
        (40, 5, 5),
        (41, 6, 5),
        (i64::MAX, 6, 5),
    ] {
        check(time_ms, lower, upper);
    }
    queues.trim(2_000).unwrap();
    for (time_ms, lower, upper) in [(10, 2, 2), (20, 2, 4), (41, 6, 5)] {
        check(time_ms, lower, upper);
    }
    queues.trim(9_000).unwrap();
    check(20, 6, 6);
}

/// An error of the look-up in the commit log ends the search and comes out as it is.
#[test]
fn lookup_errors_end_the_search() {
    #[derive(Debug, PartialEq)]
    enum LookupError {
        Missing(u64),
        Queues,
    }
    impl From<Error> for LookupError {
        fn from(_: Error) -> LookupError {
            LookupError::Queues
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let queues = open(dir.path(), SMALL, &[], 0);
    append_up_to(&queues, QUEUE, 8);
    let fails = |unit: &Unit| Err(LookupError::Missing(unit.physical_offset));
    assert_eq!(queues.offset_by_time(QUEUE, 0, Boundary::Lower, fails), Err(LookupError::Missing(4000)));
    std::fs::remove_file(chunk_file(dir.path(), QUEUE, 0)).unwrap();
    let incarnation = queues.queue(QUEUE).unwrap().state.lock().incarnation;
    queues.shared.files.remove(open_files::ChunkKey { incarnation, chunk: 0 });
    assert_eq!(queues.offset_by_time(QUEUE, 0, Boundary::Lower, fails), Err(LookupError::Queues));
}
