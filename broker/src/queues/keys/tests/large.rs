//! Runs of several fence levels, and keys that fill many pages.

use super::*;

/// One run of 100,000 entries: two fence levels, a key of 2,000 messages across a dozen pages, and lookups
/// of every kind of absent key. The expected answers follow from how the entries were made.
#[test]
fn lookups_in_a_run_of_two_fence_levels() {
    const MESSAGES: u64 = 100_000;
    let dir = tempfile::tempdir().unwrap();
    let options = Options { run_entries: 1 << 20, ..Options::STANDARD };
    let index = KeyIndex::open(dir.path(), options).unwrap();
    let key =
        |message: u64| if message.is_multiple_of(50) { "hot".to_string() } else { format!("key{message}") };
    for message in 0..MESSAGES {
        index.append(key_hash("topic", &key(message)), message * 100, message as i64).unwrap();
    }
    index.flush().unwrap();
    assert_eq!(run_files(dir.path()).len(), 1);
    index.verify().unwrap();

    for message in (0..MESSAGES).filter(|message| !message.is_multiple_of(50)).step_by(97) {
        assert_eq!(find(&index, &key(message)), [message * 100]);
        assert_eq!(find(&index, &format!("absent{message}")), [] as [u64; 0]);
    }
    let hot: Vec<_> =
        (0..MESSAGES).filter(|message| message.is_multiple_of(50)).map(|m| m * 100).rev().collect();
    assert_eq!(find(&index, "hot"), hot);
    assert_eq!(index.query("topic", "hot", 0, i64::MAX, 700).unwrap(), hot[..700]);
    assert_eq!(index.query("topic", "hot", 5000, 5100, 700).unwrap(), [510_000, 505_000, 500_000]);

    let [run] = &index.shared.state.lock().runs.clone()[..] else { panic!("one run") };
    let mut hashes: Vec<_> = (0..MESSAGES).map(|message| key_hash("topic", &key(message))).collect();
    hashes.sort_unstable();
    // Below the first, above the last, and on each page's edge.
    for hash in [0, hashes[0] - 1, hashes[hashes.len() - 1] + 1, u64::MAX] {
        let mut found = 0;
        let mut count = |_| {
            found += 1;
            std::ops::ControlFlow::Continue(())
        };
        assert!(run.with_hash(hash, &mut count).unwrap().is_continue());
        assert_eq!(found, 0, "{hash:x}");
    }
    for edge in (0..hashes.len()).step_by(page::PAGE_ENTRIES).chain([hashes.len() - 1]) {
        let hash = hashes[edge];
        let expect = hashes.partition_point(|&h| h <= hash) - hashes.partition_point(|&h| h < hash);
        let mut found = 0;
        let mut count = |entry: Entry| {
            assert_eq!(entry.hash, hash);
            found += 1;
            std::ops::ControlFlow::Continue(())
        };
        assert!(run.with_hash(hash, &mut count).unwrap().is_continue());
        assert_eq!(found, expect);
    }
}

/// A message may have more keys than a table has room for: they stay together, so that what is indexed can be
/// told by one physical offset.
#[test]
fn all_keys_of_a_message_share_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let index = KeyIndex::open(dir.path(), SMALL).unwrap();
    append(&index, "before", 500, 0);
    for key in 0..100 {
        append(&index, &format!("k{key}"), 700, 0);
    }
    append(&index, "after", 900, 0);
    run_all_work(&index);
    assert_eq!(index.indexed_up_to(), 701);
    drop(index);
    let index = KeyIndex::open(dir.path(), SMALL).unwrap();
    assert!((0..100).all(|key| find(&index, &format!("k{key}")) == [700]));
    assert_eq!(find(&index, "after"), [] as [u64; 0]);
}
