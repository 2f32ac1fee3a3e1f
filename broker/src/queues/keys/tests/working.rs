//! Background work: what is due when, what it leaves, and what goes on beside it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;

/// Appends one entry per 10 bytes of log, without working.
fn append_messages(index: &KeyIndex, messages: std::ops::Range<u64>) -> Result<(), Backlog> {
    messages
        .into_iter()
        .try_for_each(|message| index.append(key_hash("topic", "k"), message * 10, message as i64))
}

/// Appends alone write nothing and ask for work only when a run is worth it; one piece of work is out at a
/// time.
#[test]
fn work_is_due_when_a_run_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let index = KeyIndex::open(dir.path(), SMALL).unwrap();
    append_messages(&index, 0..8).unwrap();
    assert!(index.take_work().is_none(), "the second table is not frozen yet");
    append_messages(&index, 8..9).unwrap();
    assert_eq!(run_files(dir.path()), [] as [PathBuf; 0]);

    let work = index.take_work().expect("two tables make a run");
    assert!(index.take_work().is_none(), "one is out");
    drop(work);
    index.take_work().expect("due again after it was dropped").run().unwrap();
    assert_eq!(run_files(dir.path()).len(), 1);
    assert_eq!(index.indexed_up_to(), 71);
    assert!(index.take_work().is_none());
}

/// A range that is complete is written without waiting for a full run, and ends as one file; one that grows
/// is merged `merge_fan_in` runs at a time. Trimming then removes a file per range.
#[test]
fn complete_ranges_end_as_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let index = KeyIndex::open(dir.path(), SMALL).unwrap();
    for message in 0..450 {
        append(&index, "k", message * 10, message as i64);
        run_all_work(&index);
        let (complete, growing) = (message / 100, message % 100 / SMALL.run_entries as u64);
        let files = run_files(dir.path()).len() as u64;
        assert!(files <= complete + growing.min(6), "{files} files after message {message}");
    }
    assert_eq!(index.shared.state.lock().runs.iter().filter(|run| run.summary.entries == 100).count(), 4);
    index.verify().unwrap();
    let newest_first: Vec<_> = (0..450).map(|message| message * 10).rev().collect();
    assert_eq!(find(&index, "k"), newest_first);

    index.trim(2990).unwrap();
    assert_eq!(find(&index, "k"), newest_first[..250], "a range that is trimmed in part stays whole");
    index.trim(2991).unwrap();
    assert_eq!(find(&index, "k"), newest_first[..150]);
    assert_eq!(KeyIndex::open(dir.path(), SMALL).unwrap().indexed_up_to(), index.indexed_up_to());
}

/// Without work the backlog ends at its bound; nothing is lost, and appending goes on once work is done.
#[test]
fn backlog_is_refused_at_its_bound() {
    let dir = tempfile::tempdir().unwrap();
    let index = KeyIndex::open(dir.path(), SMALL).unwrap();
    let refused = (0..100).find(|&message| append_messages(&index, message..message + 1).is_err()).unwrap();
    assert_eq!(refused, 28, "24 entries pending and one table of 4 full");
    assert_eq!(append_messages(&index, 28..29), Err(Backlog { pending_entries: 24 }));
    run_all_work(&index);
    append_messages(&index, 28..40).unwrap();
    assert_eq!(find(&index, "k"), (0..40).map(|message| message * 10).rev().collect::<Vec<_>>());
}

/// Trimming or cutting the sources of a merge that is under way ends it, with nothing left behind.
#[test]
fn merges_end_with_their_sources() {
    type Harm = fn(&KeyIndex);
    let cases: [(&str, Harm, u64); 2] =
        [("trim", |index| index.trim(1000).unwrap(), 50), ("reset", |index| index.reset().unwrap(), 0)];
    for (name, harm, left) in cases {
        let dir = tempfile::tempdir().unwrap();
        let index = KeyIndex::open(dir.path(), Options { merge_fan_in: 100, ..SMALL }).unwrap();
        for message in 0..150 {
            append(&index, "k", message * 10, 0);
        }
        index.flush().unwrap();
        while !index.shared.state.lock().is_merging {
            index.take_work().expect("the first range is complete").run().unwrap();
        }
        harm(&index);
        run_all_work(&index);
        assert_eq!(find(&index, "k").len() as u64, left, "{name}");
        let files = run_files(dir.path());
        assert!(files.iter().all(|file| file.extension().unwrap() == "run"), "{name}: {files:?}");
        index.verify().unwrap();
    }
}

/// Queries beside appends, work, flushes and trimming see every message of their key once, newest first,
/// with none missing between the newest and the trimmed ones.
#[test]
fn queries_see_every_entry_whatever_goes_on() {
    const MESSAGES: u64 = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let index =
        KeyIndex::open(dir.path(), Options { range_bytes: 20_000, pending_entries_max: 100, ..SMALL })
            .unwrap();
    let (is_done, appended, log_start) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                let (start, end) = (log_start.load(Ordering::SeqCst), appended.load(Ordering::SeqCst));
                let found = find(&index, "k7");
                assert!(found.is_sorted_by(|a, b| a > b), "{found:?}");
                let now_trimmed = log_start.load(Ordering::SeqCst);
                for message in (start.div_ceil(10)..end).filter(|message| message % 10 == 7) {
                    let is_there = found.binary_search_by(|probe| (message * 10).cmp(probe)).is_ok();
                    assert!(is_there || message * 10 < now_trimmed, "message {message} is not found");
                }
            }
        });
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                match index.take_work() {
                    Some(work) => work.run().unwrap(),
                    None => std::thread::yield_now(),
                }
            }
        });
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                index.trim(log_start.load(Ordering::SeqCst)).unwrap();
                index.flush().unwrap();
            }
        });
        for message in 0..MESSAGES {
            while index.append(key_hash("topic", &format!("k{}", message % 10)), message * 10, 0).is_err() {
                std::thread::yield_now();
            }
            appended.store(message + 1, Ordering::SeqCst);
            log_start.store((message * 10).saturating_sub(50_000), Ordering::SeqCst);
        }
        is_done.store(true, Ordering::Relaxed);
    });
    index.flush().unwrap();
    index.verify().unwrap();
    assert_eq!(index.indexed_up_to(), MESSAGES * 10 - 9);
}
