//! ConsumeQueues as their users see them: a model under random operations, damage, limits, concurrency.
#![allow(clippy::unwrap_used)]

mod concurrency;
mod damage;
mod limits;
mod model;
mod searching;

use std::path::{Path, PathBuf};

use super::*;
use crate::queues::Error;

/// Small enough that every boundary is met within a few appends.
const SMALL: Options =
    Options { units_per_chunk: 7, spill_units: 5, tail_bytes_max: 1 << 20, open_files_max: 3 };

const QUEUE: QueueId = QueueId { topic_id: 1, queue_id: 2 };

/// The unit at `queue_offset` in most tests: messages of 100 bytes, each in its own 1,000.
fn unit(queue_offset: u64) -> Unit {
    Unit { physical_offset: queue_offset * 1000, size: 100, tags_code: -(queue_offset as i64) }
}

/// Opens a store that must need no rebuilding.
#[track_caller]
fn open(dir: &Path, options: Options, positions: &[Position], min_physical_offset: u64) -> ConsumeQueues {
    let opened = ConsumeQueues::open(dir, options, positions, min_physical_offset).unwrap();
    assert!(opened.rebuild.is_empty(), "{:?}", opened.rebuild);
    opened.queues
}

/// Appends [`unit`]s up to `end` (exclusive).
#[track_caller]
fn append_up_to(queues: &ConsumeQueues, q: QueueId, end: u64) {
    for queue_offset in queues.next_queue_offset(q)..end {
        queues.append(q, queue_offset, unit(queue_offset)).unwrap();
    }
}

#[track_caller]
fn read_all(queues: &ConsumeQueues, q: QueueId) -> Vec<Unit> {
    let mut units = Vec::new();
    let bounds = queues.read(q, queues.min_queue_offset(q), usize::MAX, &mut units).unwrap();
    assert_eq!(units.len() as u64, bounds.next_queue_offset - bounds.min_queue_offset);
    units
}

/// The chunk files of a queue, oldest first.
fn chunk_files(dir: &Path, q: QueueId) -> Vec<PathBuf> {
    let prefix = format!("{}.", q.queue_id);
    let Ok(entries) = std::fs::read_dir(dir.join(q.topic_id.to_string())) else { return Vec::new() };
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&prefix))
        .collect();
    files.sort();
    files
}

/// The directory, file name and first queue offset of the chunk that holds `queue_offset` in a [`SMALL`]
/// store.
fn chunk_file(dir: &Path, q: QueueId, queue_offset: u64) -> PathBuf {
    chunk::path(dir, q, queue_offset / SMALL.units_per_chunk * SMALL.units_per_chunk)
}

impl ConsumeQueues {
    /// The invariants between a queue's offsets, and between the tails and what is counted of them.
    #[track_caller]
    fn check(&self) {
        let mut tail_bytes = 0;
        for queue in self.sorted_queues() {
            let state = queue.state.lock();
            state.check();
            assert!(state.has_buffer || state.tail.capacity() == 0, "queue {} holds memory unseen", queue.id);
            tail_bytes += state.tail_bytes();
        }
        assert_eq!(self.tail_bytes(), tail_bytes);
        assert!(self.shared.files.len() <= self.shared.options.open_files_max);
    }
}
