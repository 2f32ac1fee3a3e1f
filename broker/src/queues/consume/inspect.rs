//! Looking at ConsumeQueue files without opening the queues: nothing is locked or changed. `trireme dump` is made of it.
//!
//! Of a running replica, a queue's newest units are in memory only, the last record may be seen half written, and files
//! come and go.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::chunk::path;
use super::open::{Chunks, find_chunks};
use super::unit::{QueueId, RECORD_BYTES, Unit, checksum_seed, decode_record};
use crate::queues::Error;

/// Bytes read at a time.
const READ_BYTES: usize = 64 << 10;

/// One chunk file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkFile {
    /// Where it is.
    pub path: PathBuf,
    /// The queue offset of the first record it has room for.
    pub first_queue_offset: u64,
    /// Its length in bytes, when it was listed.
    pub bytes: u64,
}

/// What stands where a record should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// A sound record.
    Unit(Unit),
    /// Zeros: never written. A queue that began later than its file has them before its first unit.
    Hole,
    /// Bytes that are not the record of this place.
    Bad,
}

/// The chunk files of every queue below `dir`, ascending. Names that are not ours are passed over.
pub fn queues(dir: &Path) -> Result<BTreeMap<QueueId, Vec<ChunkFile>>, Error> {
    let file = |queue, (first_queue_offset, bytes)| ChunkFile {
        path: path(dir, queue, first_queue_offset),
        first_queue_offset,
        bytes,
    };
    let files = |(queue, chunks): (QueueId, Chunks)| {
        (queue, chunks.into_iter().map(|chunk| file(queue, chunk)).collect())
    };
    Ok(find_chunks(dir)?.into_iter().map(files).collect())
}

/// The records of a chunk file, in order. Bytes behind the last whole record are not among them.
pub fn records(queue: QueueId, chunk: &ChunkFile) -> io::Result<Records> {
    Ok(Records {
        reader: BufReader::with_capacity(READ_BYTES, File::open(&chunk.path)?),
        checksum_seed: checksum_seed(queue),
        next: Some(chunk.first_queue_offset),
    })
}

/// An iterator over queue offsets and what is there.
#[derive(Debug)]
pub struct Records {
    reader: BufReader<File>,
    checksum_seed: u32,
    /// `None` behind the end.
    next: Option<u64>,
}

impl Iterator for Records {
    type Item = io::Result<(u64, Record)>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.next.take()?;
        let mut bytes = [0; RECORD_BYTES];
        match self.reader.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
            Err(error) => return Some(Err(error)),
        }
        self.next = at.checked_add(1);
        let record = match decode_record(self.checksum_seed, at, &bytes) {
            Some(unit) => Record::Unit(unit),
            None if bytes == [0; RECORD_BYTES] => Record::Hole,
            None => Record::Bad,
        };
        Some(Ok((at, record)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::FileExt;

    use super::super::{ConsumeQueues, Options};
    use super::*;

    /// Units, a hole before them, a flipped byte and a torn end are told apart, each at its queue offset.
    #[test]
    fn what_was_written_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let queue = QueueId { topic_id: 7, queue_id: 3 };
        let unit = |n: u64| Unit { physical_offset: n * 100, size: 100, tags_code: 0 };
        let written = ConsumeQueues::open(dir.path(), Options::STANDARD, &[], 0).unwrap().queues;
        written.reset_queue(queue, 2).unwrap();
        for n in 2..6 {
            written.append(queue, n, unit(n)).unwrap();
        }
        written.flush().unwrap();
        let found = queues(dir.path()).unwrap();
        let chunk = &found[&queue][0];
        assert_eq!((chunk.first_queue_offset, chunk.bytes), (0, 6 * RECORD_BYTES as u64));
        let file = File::options().write(true).open(&chunk.path).unwrap();
        file.write_all_at(&[0xff], 4 * RECORD_BYTES as u64).unwrap();
        file.set_len(6 * RECORD_BYTES as u64 - 1).unwrap();

        let seen: Vec<_> = records(queue, chunk).unwrap().map(Result::unwrap).collect();
        let expected = [
            (0, Record::Hole),
            (1, Record::Hole),
            (2, Record::Unit(unit(2))),
            (3, Record::Unit(unit(3))),
            (4, Record::Bad),
        ];
        assert_eq!(seen, expected);
    }
}
