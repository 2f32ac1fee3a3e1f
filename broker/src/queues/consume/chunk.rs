//! Chunk files: which one holds a unit, how it is named, and getting it open.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::Advice;

use super::open_files::ChunkKey;
use super::queue::Queue;
use super::unit::{QueueId, RECORD_BYTES};
use super::{ConsumeQueues, Shared};
use crate::queues::{Error, disk};

/// The directory of a topic's chunk files.
pub(super) fn topic_dir(dir: &Path, topic_id: u32) -> PathBuf {
    dir.join(topic_id.to_string())
}

/// The chunk file of `q` whose first unit has `first_queue_offset`.
pub(super) fn path(dir: &Path, q: QueueId, first_queue_offset: u64) -> PathBuf {
    topic_dir(dir, q.topic_id).join(format!("{}.{first_queue_offset:020}", q.queue_id))
}

/// The queue id and first queue offset that a file name stands for; `None` for a name never given by
/// [`path`].
pub(super) fn parse_name(name: &str) -> Option<(u32, u64)> {
    let (queue_id, first) = name.split_once('.')?;
    let parsed = (parse_id(queue_id)?, first.parse().ok()?);
    (first.len() == 20 && first.bytes().all(|byte| byte.is_ascii_digit())).then_some(parsed)
}

/// A number as we print it: no sign, no leading zeros.
pub(super) fn parse_id(text: &str) -> Option<u32> {
    let id: u32 = text.parse().ok()?;
    (id.to_string() == text).then_some(id)
}

impl Shared {
    /// The number of the chunk that holds `queue_offset`.
    pub fn chunk_of(&self, queue_offset: u64) -> u64 {
        queue_offset / self.options.units_per_chunk
    }

    pub fn chunk_path(&self, q: QueueId, chunk: u64) -> PathBuf {
        path(&self.dir, q, chunk * self.options.units_per_chunk)
    }

    /// The byte position of `queue_offset` in its chunk file.
    pub fn position(&self, queue_offset: u64) -> u64 {
        queue_offset % self.options.units_per_chunk * RECORD_BYTES as u64
    }
}

impl ConsumeQueues {
    /// An existing chunk file, from the cache or opened.
    pub(super) fn chunk_file(&self, queue: &Queue, incarnation: u64, chunk: u64) -> Result<Arc<File>, Error> {
        let key = ChunkKey { incarnation, chunk };
        if let Some(file) = self.shared.files.get(key) {
            return Ok(file);
        }
        let path = self.shared.chunk_path(queue.id, chunk);
        let file = open_existing(&path).map_err(Error::io("open", &path))?;
        Ok(self.shared.files.insert(key, file))
    }

    /// A chunk file to write to, created if it is not there. The caller holds the queue's `io`.
    pub(super) fn chunk_file_or_create(
        &self,
        queue: &Queue,
        incarnation: u64,
        chunk: u64,
    ) -> Result<Arc<File>, Error> {
        match self.chunk_file(queue, incarnation, chunk) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            found => return found,
        }
        let topic_dir = topic_dir(&self.shared.dir, queue.id.topic_id);
        let path = self.shared.chunk_path(queue.id, chunk);
        let file = match create(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                disk::create_dir_all(&topic_dir)?;
                create(&path)
            }
            outcome => outcome,
        }
        .map_err(Error::io("create", &path))?;
        self.shared.unsynced_dirs.lock().extend([self.shared.dir.clone(), topic_dir]);
        Ok(self.shared.files.insert(ChunkKey { incarnation, chunk }, file))
    }
}

fn create(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    read_only_what_is_asked_for(&file);
    Ok(file)
}

/// Readers and the writer share a handle, so it is always opened for both.
fn open_existing(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path).inspect(read_only_what_is_asked_for)
}

/// The kernel by itself reads as far ahead as it is set to, perhaps megabytes for each queue, and the log's syncs wait
/// behind that. It is for speed only.
fn read_only_what_is_asked_for(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, Advice::Random);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Only names that `path` makes are taken for ours; anything else in the directory is left alone.
    #[test]
    fn names_round_trip_and_strangers_do_not_parse() {
        let made = path(Path::new("d"), QueueId { topic_id: 1, queue_id: 42 }, 600_000);
        assert_eq!(made, Path::new("d/1/42.00000000000000600000"));
        assert_eq!(parse_name(made.file_name().unwrap().to_str().unwrap()), Some((42, 600_000)));
        for stranger in [
            "",
            "42",
            "42.",
            "42.600000",
            "042.00000000000000600000",
            "42.0000000000000060000x",
            "+4.00000000000000600000",
            "4.+0000000000000600000",
            "4.99999999999999999999",
            "4.00000000000000600000.tmp",
        ] {
            assert_eq!(parse_name(stranger), None, "{stranger}");
        }
    }
}
