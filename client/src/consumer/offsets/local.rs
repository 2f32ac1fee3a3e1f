//! The file with a broadcasting consumer's offsets.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::error::ClientError;
use crate::message::MessageQueue;

/// The offsets of one group of this client, in memory and on disk.
///
/// The file is replaced as a whole, so that a crash leaves the old one or the new one.
#[derive(Debug)]
pub(in crate::consumer) struct LocalOffsets {
    path: PathBuf,
    table: Mutex<BTreeMap<MessageQueue, i64>>,
}

/// One line of the file's list.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    topic: String,
    broker_name: String,
    queue_id: i32,
    offset: i64,
}

impl LocalOffsets {
    /// The offsets that `instance`'s member of `group` left in `dir`; none if it was never there.
    ///
    /// Errors: [`ClientError::OffsetFile`] if there is a file and it cannot be read.
    pub(in crate::consumer) async fn open(
        dir: &Path,
        instance: &str,
        group: &str,
    ) -> Result<Self, ClientError> {
        let path = dir.join("offsets").join(instance).join(format!("{group}.json"));
        let read = spawn_blocking({
            let path = path.clone();
            move || read(&path)
        });
        let table = joined(read.await).map_err(|source| file_error(&path, source))?;
        Ok(Self { path, table: Mutex::new(table) })
    }

    pub(super) fn get(&self, queue: &MessageQueue) -> Option<i64> {
        self.table.lock().get(queue).copied()
    }

    /// Takes new offsets over; returns when they are on disk. Nothing is written when nothing has changed.
    pub(super) async fn update(&self, progress: Vec<(MessageQueue, i64)>) -> Result<(), ClientError> {
        let entries = {
            let mut table = self.table.lock();
            let mut changed = false;
            for (queue, offset) in progress {
                changed |= table.insert(queue, offset) != Some(offset);
            }
            if !changed {
                return Ok(());
            }
            table.iter().map(|(queue, offset)| Entry::new(queue, *offset)).collect::<Vec<_>>()
        };
        let path = self.path.clone();
        let written = spawn_blocking(move || write(&path, &entries)).await;
        joined(written).map_err(|source| file_error(&self.path, source))
    }
}

impl Entry {
    fn new(queue: &MessageQueue, offset: i64) -> Self {
        Self {
            topic: queue.topic.to_string(),
            broker_name: queue.broker_name.to_string(),
            queue_id: queue.queue_id,
            offset,
        }
    }
}

fn read(path: &Path) -> io::Result<BTreeMap<MessageQueue, i64>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let entries: Vec<Entry> = serde_json::from_slice(&text)?;
    let queue =
        |entry: Entry| (MessageQueue::new(entry.topic, entry.broker_name, entry.queue_id), entry.offset);
    Ok(entries.into_iter().map(queue).collect())
}

fn write(path: &Path, entries: &[Entry]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec(entries)?)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(dir)?.sync_all()
}

fn joined<T>(result: Result<io::Result<T>, tokio::task::JoinError>) -> io::Result<T> {
    result.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn file_error(path: &Path, source: io::Error) -> ClientError {
    ClientError::OffsetFile { path: path.display().to_string(), source: Arc::new(source) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn offsets_survive() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (MessageQueue::new("T", "b", 0), MessageQueue::new("T", "b", 1));
        let open = async || LocalOffsets::open(dir.path(), "one", "group").await.unwrap();
        let offsets = open().await;
        assert_eq!(offsets.get(&first), None);
        offsets.update(vec![(first.clone(), 5), (second.clone(), 6)]).await.unwrap();
        offsets.update(vec![(first.clone(), 3)]).await.unwrap();
        let offsets = open().await;
        assert_eq!((offsets.get(&first), offsets.get(&second)), (Some(3), Some(6)));
        let other = LocalOffsets::open(dir.path(), "two", "group").await.unwrap();
        assert_eq!(other.get(&first), None);
    }

    #[tokio::test]
    async fn a_file_that_is_none_of_ours_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("offsets/one/group.json");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "{}").unwrap();
        let refused = LocalOffsets::open(dir.path(), "one", "group").await.unwrap_err();
        assert!(refused.to_string().contains("group.json"), "{refused}");
    }

    #[tokio::test]
    async fn nothing_is_written_when_nothing_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let offsets = LocalOffsets::open(dir.path(), "one", "group").await.unwrap();
        let queue = MessageQueue::new("T", "b", 0);
        offsets.update(vec![(queue.clone(), 5)]).await.unwrap();
        fs::remove_file(dir.path().join("offsets/one/group.json")).unwrap();
        offsets.update(vec![(queue, 5)]).await.unwrap();
        assert!(!dir.path().join("offsets/one/group.json").exists());
    }
}
