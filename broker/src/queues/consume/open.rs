//! Opening after a restart: what the checkpoint promises against what the files hold.
//!
//! A checkpoint is recorded after a `flush`, so each queue's files must hold at least its recorded units.
//! They may hold more at the end (spilled after the checkpoint: cut off, to be appended again) and less at
//! the head (trimmed after the checkpoint). One question decides about a missing head:
//!
//! | the first file that is there | the head was | because |
//! |---|---|---|
//! | holds the recorded minimum | not touched | |
//! | begins below `min_physical_offset` | trimmed | physical offsets grow along a queue |
//! | begins above it | lost | `trim` always leaves the chunk of the last trimmed unit |

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use parking_lot::{Mutex, RwLock};

use super::chunk::{parse_id, parse_name, topic_dir};
use super::open_files::OpenFiles;
use super::queue::Queue;
use super::unit::{QueueId, RECORD_BYTES};
use super::{Bounds, ConsumeQueues, Options, Position, Shared};
use crate::queues::{Error, disk};

/// A store as found, and what of it must be made again.
pub struct Opened {
    /// The queues, those of `rebuild` excepted.
    pub queues: ConsumeQueues,
    /// Queues whose files do not hold what the checkpoint promises; their files are removed.
    pub rebuild: Vec<Rebuild>,
}

/// A queue to be rebuilt from the commit log before anything is served from it: a pull answered with the
/// bounds of a queue half built would move its consumers' offsets.
///
/// For the first message of the queue in the log, or at `position.next_queue_offset` if the log has none up
/// to the checkpoint, call [`ConsumeQueues::reset_queue`]; then append the queue's messages up to the
/// checkpoint.
#[derive(Debug)]
pub struct Rebuild {
    /// What the checkpoint says about the queue.
    pub position: Position,
    /// What is wrong with its files.
    pub reason: Error,
}

/// The chunk files found: first queue offset -> length in bytes.
pub(super) type Chunks = BTreeMap<u64, u64>;

impl ConsumeQueues {
    /// Opens the queues below `dir` (created if missing) at exactly the checkpoint's `positions`.
    ///
    /// `min_physical_offset` is where the commit log begins: never above the checkpoint, since a log is
    /// trimmed only as far as a checkpoint covers it. Units below it are trimmed, units behind a position
    /// are cut off, queues without a position are removed. Reads a few units per queue; the rest is checked
    /// when read, or by [`ConsumeQueues::verify`].
    ///
    /// Errors: `Io`. Damage is not an error but named in [`Opened::rebuild`]. Panics if a position's minimum
    /// lies above its next offset, or an option is 0.
    pub fn open(
        dir: &Path,
        options: Options,
        positions: &[Position],
        min_physical_offset: u64,
    ) -> Result<Opened, Error> {
        assert!(options.units_per_chunk > 0 && options.spill_units > 0, "options are positive: {options:?}");
        disk::create_dir_all(dir)?;
        let mut found = find_chunks(dir)?;
        let queues = ConsumeQueues {
            shared: Arc::new(Shared {
                dir: dir.to_path_buf(),
                dir_handle: File::open(dir).map_err(Error::io("open", dir))?,
                options,
                queues: RwLock::new(HashMap::with_capacity(positions.len())),
                files: OpenFiles::new(options.open_files_max),
                writer: Mutex::default(),
                flushing: Mutex::default(),
                unsynced_dirs: Mutex::default(),
                tail_bytes: AtomicUsize::new(0),
                next_incarnation: AtomicU64::new(0),
                sync_failed: std::sync::OnceLock::new(),
            }),
        };
        let mut rebuild = Vec::new();
        for &position in positions {
            let chunks = found.remove(&position.queue).unwrap_or_default();
            match queues.recover(position, &chunks, min_physical_offset) {
                Ok(()) => {}
                Err(reason @ Error::DamagedQueue { .. }) => {
                    queues.shared.queues.write().remove(&position.queue);
                    queues.remove_found(position.queue, &chunks)?;
                    rebuild.push(Rebuild { position, reason });
                }
                Err(error) => return Err(error),
            }
        }
        for (q, chunks) in &found {
            queues.remove_found(*q, chunks)?;
        }
        Ok(Opened { queues, rebuild })
    }

    fn recover(&self, position: Position, chunks: &Chunks, min_physical_offset: u64) -> Result<(), Error> {
        let Position { queue: q, min_queue_offset: min, next_queue_offset: next } = position;
        assert!(min <= next, "queue {q}: position {min}..{next} is no range");
        let queue = self.insert_empty(q, next);
        if min == next {
            return self.remove_found(q, chunks);
        }
        let kept = self.complete_chunks(position, chunks)?;
        for &first in chunks.keys().filter(|first| !kept.contains(first)) {
            disk::remove_file(&super::chunk::path(&self.shared.dir, q, first))?;
        }
        self.cut(q, *kept.end(), chunks, next)?;
        {
            let mut state = queue.state.lock();
            state.first_chunk = self.shared.chunk_of(*kept.start());
            state.min = min.max(*kept.start());
        }
        self.check_ends(&queue, min, min_physical_offset)?;
        self.trim_queue(&queue, min_physical_offset)
    }

    /// The first queue offsets of the chunk files to keep: those that end at the position without a gap.
    fn complete_chunks(&self, position: Position, chunks: &Chunks) -> Result<RangeInclusive<u64>, Error> {
        let Position { queue: q, min_queue_offset: min, next_queue_offset: next } = position;
        let units_per_chunk = self.shared.options.units_per_chunk;
        let last = (next - 1) / units_per_chunk * units_per_chunk;
        let is_complete = |first: u64| {
            let units = next.min(first + units_per_chunk) - first;
            chunks.get(&first).is_some_and(|&length| length >= units * RECORD_BYTES as u64)
        };
        if !is_complete(last) {
            return Err(Error::DamagedQueue {
                queue: q,
                queue_offset: next - 1,
                reason: "the file is missing or too short",
                path: super::chunk::path(&self.shared.dir, q, last),
            });
        }
        let mut start = last;
        while start > min && is_complete(start - units_per_chunk) {
            start -= units_per_chunk;
        }
        Ok(start..=last)
    }

    /// Cuts the last chunk file at the position: what lies behind it will be appended again.
    fn cut(&self, q: QueueId, last_chunk_first: u64, chunks: &Chunks, next: u64) -> Result<(), Error> {
        let length = (next - last_chunk_first) * RECORD_BYTES as u64;
        if chunks.get(&last_chunk_first) == Some(&length) {
            return Ok(());
        }
        let path = super::chunk::path(&self.shared.dir, q, last_chunk_first);
        OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_len(length))
            .map_err(Error::io("truncate", &path))
    }

    /// Reads the first and the last unit, and applies the table above to a missing head.
    fn check_ends(&self, queue: &Queue, recorded_min: u64, min_physical_offset: u64) -> Result<(), Error> {
        let q = queue.id;
        let Bounds { min_queue_offset: min, next_queue_offset: next } = queue.state.lock().bounds();
        let mut ends = Vec::with_capacity(2);
        self.read(q, min, 1, &mut ends)?;
        self.read(q, next - 1, 1, &mut ends)?;
        let [first, last] = ends[..] else { unreachable!("a sound read within the bounds returns its unit") };
        if min > recorded_min && first.physical_offset >= min_physical_offset {
            return Err(Error::DamagedQueue {
                queue: q,
                queue_offset: recorded_min,
                reason: "units that were not trimmed are missing",
                path: self.shared.chunk_path(q, self.shared.chunk_of(recorded_min)),
            });
        }
        queue.state.lock().last_physical_offset = Some(last.physical_offset);
        Ok(())
    }

    fn remove_found(&self, q: QueueId, chunks: &Chunks) -> Result<(), Error> {
        for &first in chunks.keys() {
            disk::remove_file(&super::chunk::path(&self.shared.dir, q, first))?;
        }
        disk::remove_dir_if_empty(&topic_dir(&self.shared.dir, q.topic_id))
    }
}

/// Lists the chunk files below `dir`. Names that are not ours are passed over.
pub(super) fn find_chunks(dir: &Path) -> Result<HashMap<QueueId, Chunks>, Error> {
    let mut found: HashMap<QueueId, Chunks> = HashMap::new();
    disk::for_each_entry(dir, |topic, topic_path| {
        let Some(topic_id) = parse_id(topic) else { return Ok(()) };
        disk::for_each_entry(topic_path, |name, path| {
            let Some((queue_id, first)) = parse_name(name) else { return Ok(()) };
            let length = fs::metadata(path).map_err(Error::io("stat", path))?.len();
            found.entry(QueueId { topic_id, queue_id }).or_default().insert(first, length);
            Ok(())
        })
    })?;
    Ok(found)
}
