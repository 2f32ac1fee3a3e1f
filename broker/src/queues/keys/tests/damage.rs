//! What a disk or a crash can do to run files, and what is then said.

use std::fs;
use std::os::unix::fs::FileExt;

use super::*;

/// An index of the messages 0, 100, ..., 1,900 with the keys `k0` to `k4` in turn, in runs of 8, 2, 8 and 2
/// entries: two ranges, unmerged.
fn index_in(dir: &Path) -> KeyIndex {
    let index = KeyIndex::open(dir, Options { merge_fan_in: 100, ..SMALL }).unwrap();
    for message in 0..20 {
        append(&index, &format!("k{}", message % 5), message * 100, message as i64);
        if message % 10 == 7 {
            index.flush().unwrap();
        }
    }
    index.flush().unwrap();
    assert_eq!(run_files(dir).len(), 4);
    index
}

/// Feeds what [`index_in`] was fed, from where the index asks for it.
fn feed_again(index: &KeyIndex) {
    let from = index.indexed_up_to();
    for message in (0..20).filter(|message| message * 100 >= from) {
        append(index, &format!("k{}", message % 5), message * 100, message as i64);
    }
}

/// Each harm to the files: what opening keeps, from where it asks to be fed, and that feeding makes it whole.
#[test]
fn opening_keeps_the_sound_part_and_asks_for_the_rest() {
    type Harm = fn(&Path, &[PathBuf]);
    fn cut(path: &Path, length: u64) {
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
    }
    fn flip(path: &Path, position: u64) {
        let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, position).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], position).unwrap();
    }
    let cases: [(&str, Harm, usize, u64); 13] = [
        ("nothing", |_, _| (), 4, 1901),
        (
            "a file being written",
            |dir, _| fs::write(dir.join(run::file_name(5, 5) + ".tmp"), "half").unwrap(),
            4,
            1901,
        ),
        ("last run cut inside its footer", |_, runs| cut(&runs[3], 8191), 3, 1701),
        ("last run cut at a page", |_, runs| cut(&runs[3], 4096), 3, 1701),
        ("last run empty", |_, runs| cut(&runs[3], 0), 3, 1701),
        ("last run longer by a page", |_, runs| cut(&runs[3], 3 * 4096), 3, 1701),
        ("last run gone", |_, runs| fs::remove_file(&runs[3]).unwrap(), 3, 1701),
        ("second run gone", |_, runs| fs::remove_file(&runs[1]).unwrap(), 1, 701),
        ("first run gone, as trimmed", |_, runs| fs::remove_file(&runs[0]).unwrap(), 3, 1901),
        ("footer flipped in its summary", |_, runs| flip(&runs[1], 4096 + 40), 1, 701),
        ("footer flipped in its trailer", |_, runs| flip(&runs[2], 8190), 2, 901),
        ("a run under another's name", |_, runs| assert!(fs::copy(&runs[0], &runs[3]).is_ok()), 3, 1701),
        ("all gone", |_, runs| runs.iter().for_each(|run| fs::remove_file(run).unwrap()), 0, 0),
    ];
    for (name, harm, runs_kept, indexed_up_to) in cases {
        let dir = tempfile::tempdir().unwrap();
        drop(index_in(dir.path()));
        harm(dir.path(), &run_files(dir.path()));
        let index = KeyIndex::open(dir.path(), SMALL).unwrap();
        assert_eq!(index.indexed_up_to(), indexed_up_to, "{name}");
        assert_eq!(run_files(dir.path()).len(), runs_kept, "{name}: files");
        feed_again(&index);
        let expect = if name == "first run gone, as trimmed" {
            vec![1800, 1300, 800]
        } else {
            vec![1800, 1300, 800, 300]
        };
        assert_eq!(find(&index, "k3"), expect, "{name}");
        index.flush().unwrap();
        run_all_work(&index);
        index.verify().unwrap();
        assert_eq!(find(&index, "k3"), expect, "{name}, merged");
        drop(index);
        let index = KeyIndex::open(dir.path(), SMALL).unwrap();
        assert_eq!((index.indexed_up_to(), find(&index, "k3")), (1901, expect), "{name}, opened again");
    }
}

/// Every flipped byte of a data page is found by the query that meets it and by `verify`; taking the run
/// out as the error says and feeding again cures it.
#[test]
fn flipped_bytes_are_found_when_read_and_cured() {
    let dir = tempfile::tempdir().unwrap();
    let index = index_in(dir.path());
    let run = &run_files(dir.path())[2];
    let file = fs::OpenOptions::new().read(true).write(true).open(run).unwrap();
    for position in (0..4096).step_by(37).chain([4095]) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, position).unwrap();
        file.write_all_at(&[!byte[0]], position).unwrap();
        let is_it = |error: &Error| matches!(error, Error::DamagedRun { first_physical_offset: 1000, .. });
        let error = index.query("topic", "k3", i64::MIN, i64::MAX, 10).unwrap_err();
        assert!(is_it(&error), "{error}");
        assert!(is_it(&index.verify().unwrap_err()));
        // The newer run alone answers what it can.
        assert_eq!(index.query("topic", "k3", 18, 19, 10).unwrap(), [1800]);
        file.write_all_at(&byte, position).unwrap();
    }
    index.verify().unwrap();

    file.write_all_at(&[0; 4096], 0).unwrap();
    let Err(Error::DamagedRun { first_physical_offset, .. }) = index.verify() else { panic!("not found") };
    assert_eq!(index.truncate_after(first_physical_offset).unwrap(), 1000);
    assert_eq!(index.indexed_up_to(), 1000);
    feed_again(&index);
    index.flush().unwrap();
    index.verify().unwrap();
    assert_eq!(find(&index, "k3"), [1800, 1300, 800, 300]);
}

/// A page that stands where another belongs is not searched, sound as it is in itself.
#[test]
fn exchanged_pages_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { range_bytes: 1 << 20, run_entries: 1000, pending_entries_max: 1000, ..SMALL };
    let index = KeyIndex::open(dir.path(), options).unwrap();
    for message in 0..300 {
        append(&index, &format!("k{message}"), message, 0);
    }
    index.flush().unwrap();
    let file = fs::OpenOptions::new().read(true).write(true).open(&run_files(dir.path())[0]).unwrap();
    let mut second_page = [0; 4096];
    file.read_exact_at(&mut second_page, 4096).unwrap();
    file.write_all_at(&second_page, 0).unwrap();
    let mut outcomes = [0, 0];
    for message in 0..300 {
        match index.query("topic", &format!("k{message}"), 0, 0, 1) {
            Ok(found) => outcomes[usize::from(found == [message])] += 1,
            Err(error) => assert!(matches!(error, Error::DamagedRun { .. }), "{error}"),
        }
    }
    assert_eq!(
        outcomes,
        [0, 300 - page::PAGE_ENTRIES],
        "what the first page held is an error, the rest is found"
    );
}

/// A merge that meets a damaged run says so once, and rests until the run is gone; writing runs goes on.
#[test]
fn damage_stops_merges_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let index = KeyIndex::open(dir.path(), SMALL).unwrap();
    for message in 0..16 {
        append(&index, "k", message * 10, 0);
        if message % 8 == 7 {
            index.flush().unwrap();
        }
    }
    let runs = run_files(dir.path());
    fs::OpenOptions::new().write(true).open(&runs[0]).unwrap().write_all_at(&[0; 4096], 0).unwrap();
    // The next message lies in another range: the first range is complete and its runs are to be merged.
    for message in 0..20 {
        append(&index, "k", 2000 + message * 10, 0);
    }
    let mut outcomes = Vec::new();
    while let Some(work) = index.take_work() {
        outcomes.push(work.run());
    }
    let damaged = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    assert_eq!(damaged, 1, "{outcomes:?}");
    assert!(index.indexed_up_to() > 2000, "runs of the second range are written all the same");

    index.trim(1000).unwrap();
    append(&index, "k", 4000, 0);
    run_all_work(&index);
    index.flush().unwrap();
    index.verify().unwrap();
    assert_eq!(find(&index, "k").len(), 21);
}

/// A crash after a merged run was renamed, before its sources were removed: the sources go at the next start.
#[test]
fn sources_left_beside_their_merged_run_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let index = index_in(dir.path());
    let sources: Vec<_> =
        run_files(dir.path())[..2].iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    drop(index);
    let index = KeyIndex::open(dir.path(), SMALL).unwrap();
    run_all_work(&index);
    let merged = run_files(dir.path());
    assert_eq!(merged.len(), 3, "two runs of the complete range became one");
    drop(index);
    sources.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());

    let index = KeyIndex::open(dir.path(), SMALL).unwrap();
    assert_eq!(run_files(dir.path()), merged);
    assert_eq!(index.indexed_up_to(), 1901);
    assert_eq!(find(&index, "k3"), [1800, 1300, 800, 300], "each message once");
}

/// A full disk is an error; the entries stay findable in memory and are written when there is room again.
#[test]
fn full_disk_is_an_error_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let index = KeyIndex::open(dir.path(), SMALL).unwrap();
    for message in 0..6 {
        append(&index, "k", message * 10, 0);
    }
    for _ in 0..2 {
        let temporary = dir.path().join(run::file_name(1, 1) + ".tmp");
        std::os::unix::fs::symlink("/dev/full", &temporary).unwrap();
        let error = index.flush().unwrap_err();
        assert!(error.to_string().contains(temporary.to_str().unwrap()), "the error names the file: {error}");
        let Error::Io { source, .. } = error else { panic!("not an I/O error: {error}") };
        assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
        assert_eq!(find(&index, "k"), [50, 40, 30, 20, 10, 0]);
        assert_eq!(index.indexed_up_to(), 0);
    }
    index.flush().unwrap();
    assert_eq!(find(&index, "k"), [50, 40, 30, 20, 10, 0]);
    assert_eq!(index.indexed_up_to(), 51);
}
