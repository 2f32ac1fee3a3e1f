//! Looking at a store tells what is in it, sound or not, and changes nothing.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use support::*;
use trireme_commitlog::faulty::FaultyDisk;
use trireme_commitlog::frame::FrameError;
use trireme_commitlog::inspect::{self, Item, Slot};
use trireme_commitlog::{CommitLog, DiskDir, LogDir};

fn items(disk: &FaultyDisk, base: u64) -> Vec<Item> {
    inspect::items(&*disk.handle(), base, SEGMENT).unwrap().map(Result::unwrap).collect()
}

#[test]
fn tells_what_is_there() {
    let disk = FaultyDisk::new();
    assert!(inspect::marks(&*disk.handle()).is_err());
    let log = open(&disk);
    fill(&log, 20, 4000);
    log.flush().unwrap();
    log.mark_synced().unwrap();
    disk.take_counters();
    let slots = inspect::marks(&*disk.handle()).unwrap();
    let newest = slots.iter().filter_map(|slot| match slot {
        Slot::Sound(generation, mark) => Some((generation, mark)),
        _ => None,
    });
    let (_, mark) = newest.max_by_key(|(generation, _)| **generation).unwrap();
    assert_eq!((mark.segment_bytes, mark.synced, mark.base), (SEGMENT, Some(id(1, 19)), 0));
    assert_eq!(inspect::segments(&*disk.handle()).unwrap(), [0, SEGMENT]);

    let first = items(&disk, 0);
    assert_eq!(first.len(), 17);
    assert!(matches!(first[16], Item::Filler(header) if header.id == id(1, 15)));
    let second = items(&disk, SEGMENT);
    assert_eq!(second.len(), 5);
    assert_eq!(second[4], Item::End { physical_offset: log.next_physical_offset() });
    let Item::Frame(header) = second[2] else { panic!("{:?}", second[2]) };
    assert_eq!(header.id, id(1, 18));
    let walk = inspect::items(&*disk.handle(), SEGMENT, SEGMENT).unwrap();
    assert_eq!(walk.payload(&header).unwrap(), payload(id(1, 18), 4000));
    assert_eq!(disk.take_counters().writes, 0);
}

/// Damage is shown with its range, and the walk goes on behind it.
#[test]
fn tells_what_is_wrong() {
    let disk = FaultyDisk::new();
    let log = open(&disk);
    fill(&log, 5, 1000);
    let ranges: Vec<(u64, u64)> = (0..5).map(|index| log.frame_range(index).unwrap().unwrap()).collect();
    disk.flip(&segment_name(0), ranges[1].0 + 500, 1);
    disk.overwrite(&segment_name(0), ranges[4].0 + 500, &[0; 540]);
    let found = items(&disk, 0);
    assert_eq!(found.len(), 5);
    assert!(
        matches!(found[1], Item::Bad { from, to, error: FrameError::Checksum { .. } } if (from, to) == ranges[1])
    );
    assert!(matches!(found[2], Item::Frame(header) if header.id == id(1, 2)));
    assert!(matches!(found[4], Item::Bad { from, to: SEGMENT, .. } if from == ranges[4].0));
    disk.cut(&segment_name(0), 0);
    assert_eq!(items(&disk, 0), [Item::End { physical_offset: 0 }]);
}

/// A store that a log holds can be looked at.
#[test]
fn beside_a_running_log() {
    let path = tempfile::tempdir().unwrap();
    let log = CommitLog::open(Arc::new(DiskDir::open(path.path()).unwrap()), options()).unwrap();
    fill(&log, 3, 100);
    let dir = DiskDir::open_to_inspect(path.path()).unwrap();
    assert_eq!(inspect::items(&dir, 0, SEGMENT).unwrap().count(), 4);
    fill(&log, 1, 100);
    assert_eq!(inspect::items(&dir, 0, SEGMENT).unwrap().count(), 5);
    assert!(DiskDir::open_to_inspect(path.path().join("nowhere")).is_err());
    // Whoever only looks cannot write, by mistake or otherwise.
    assert!(dir.open("mark").unwrap().write_at(0, b"x").is_err());
}
