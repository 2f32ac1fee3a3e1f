//! How much of the page cache a log on a real disk keeps.

#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use crate::mmap::Map;
use crate::{CommitLog, DiskDir, FrameBuf, LogId, Options};

const SEGMENT: u64 = 8 << 20;
const BOUND: u64 = 16 << 20;
const FRAME: usize = 256 << 10;
const FRAMES: u64 = 256;
/// What one round between two looks may add.
const SLACK: u64 = 8 * FRAME as u64 + super::GRANULE;

fn in_memory(dir: &Path) -> u64 {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let segments = paths.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    segments.map(|path| Map::of(&File::open(path).unwrap()).unwrap().in_memory()).sum()
}

fn payload(index: u64) -> Vec<u8> {
    (0..FRAME as u64).map(|n| (index.wrapping_mul(31).wrapping_add(n * n) % 251) as u8 + 1).collect()
}

fn read_all(log: &CommitLog) {
    for index in 0..FRAMES {
        let frames = log.read(index, index + 1, u64::MAX).unwrap();
        assert!(frames[0].payload() == payload(index), "entry {index}");
    }
}

#[test]
fn the_page_cache_is_bounded() {
    // The system's directory for temporary files may be in memory, where nothing can be let go of.
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let files = DiskDir::open(dir.path()).unwrap().with_cache(BOUND);
    let log = CommitLog::open(Arc::new(files), Options { segment_bytes: SEGMENT }).unwrap();
    let mut most = 0;
    for index in 0..FRAMES {
        let mut frame = FrameBuf::with_capacity(1, FRAME);
        frame.extend_from_slice(&payload(index));
        log.append(LogId { term: 1, index }, frame, |_, _| {}).unwrap();
        // Somebody looks at what is written, as followers and the applier do.
        assert!(log.read(index, index + 1, u64::MAX).unwrap()[0].payload() == payload(index));
        if index % 8 == 7 {
            log.flush().unwrap();
            log.shrink_cache();
            most = most.max(in_memory(dir.path()));
        }
    }
    assert!((BOUND / 2..=BOUND + SLACK).contains(&most), "{most} bytes while it was written");

    // What is not in memory is read as it was written, and its room is given back as well.
    read_all(&log);
    let read = in_memory(dir.path());
    assert!(BOUND + SLACK < read, "{read} bytes after it was read");
    log.shrink_cache();
    let left = in_memory(dir.path());
    assert!(left <= BOUND + SLACK, "{left} bytes in the end");
    read_all(&log);
}
