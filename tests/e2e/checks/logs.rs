//! Commit logs of stopped replicas, read from their files.

use std::path::Path;

use trireme_commitlog::DiskDir;
use trireme_commitlog::frame::Header;
use trireme_commitlog::inspect::{self, Item, Slot};

/// A replica's whole log.
#[derive(Debug, PartialEq, Eq)]
pub struct Log {
    /// Headers of entries and fillers in their order, with their checksums, which cover the payloads too.
    frames: Vec<Header>,
}

impl Log {
    /// Reads the log of the store at `path`. Every frame must be sound, and indexes dense; terms never go back.
    pub fn read(path: &Path) -> Self {
        let dir = DiskDir::open_to_inspect(path.join("commitlog")).unwrap();
        let sound = |slot: &Slot| match slot {
            Slot::Sound(generation, mark) => Some((*generation, *mark)),
            Slot::Bad | Slot::Later(_) => None,
        };
        let slots = inspect::marks(&dir).unwrap();
        let (_, mark) =
            slots.iter().filter_map(sound).max_by_key(|(generation, _)| *generation).expect("a mark");
        let mut frames: Vec<Header> = Vec::new();
        let mut last: Option<Header> = None;
        for base in inspect::segments(&dir).unwrap() {
            for item in inspect::items(&dir, base, mark.segment_bytes).unwrap() {
                match item.unwrap() {
                    Item::Frame(header) => {
                        if let Some(last) = last {
                            assert_eq!(header.id.index, last.id.index + 1, "in {}", path.display());
                            assert!(header.id.term >= last.id.term, "{header:?} in {}", path.display());
                        }
                        last = Some(header);
                        frames.push(header);
                    }
                    Item::Filler(header) => frames.push(header),
                    Item::End { .. } => {}
                    bad @ Item::Bad { .. } => panic!("{bad:?} in {}", path.display()),
                }
            }
        }
        Self { frames }
    }

    /// The part up to an entry.
    pub fn up_to(&self, index: u64) -> &[Header] {
        let end = self.frames.partition_point(|header| header.id.index <= index);
        &self.frames[..end]
    }

    /// The term of the entry that a physical offset is in.
    pub fn term_at(&self, physical_offset: i64) -> u64 {
        let physical_offset = u64::try_from(physical_offset).unwrap();
        let after = self.frames.partition_point(|header| header.physical_offset <= physical_offset);
        self.frames[after - 1].id.term
    }

    /// Index of the last entry.
    pub fn last_index(&self) -> u64 {
        self.frames.last().map_or(0, |header| header.id.index)
    }

    /// How many segments are closed.
    pub fn sealed_segments(&self) -> usize {
        self.frames.iter().filter(|header| header.kind == trireme_commitlog::frame::FILLER).count()
    }
}
