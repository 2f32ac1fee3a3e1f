//! The readers' side: units by queue offset, from the tail or the files.

use std::io::ErrorKind;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;

use rustix::fs::Advice;
use trireme_commitlog::is_unreadable;

use super::ConsumeQueues;
use super::open_files::ChunkKey;
use super::queue::{Bounds, Queue};
use super::unit::{QueueId, RECORD_BYTES, Unit, decode_record};
use crate::queues::Error;

/// Records read from a file at a time, into a buffer on the stack (4,080 bytes).
const RECORDS_PER_READ: usize = 170;
/// Bytes of a file that are read from the disk at once: 2,730 units.
const READ_AHEAD: u64 = 64 << 10;

impl ConsumeQueues {
    /// Appends up to `max_units` units from queue offset `from` on to `out`, and returns the queue's bounds
    /// at that instant: an answer with no unit but `min_queue_offset <= from` tells that the reader has
    /// caught up.
    ///
    /// Nothing is read outside the bounds. Fewer units than wanted and there come only where the queue ends
    /// or was trimmed meanwhile. The tail is copied under the queue's lock; files are read with no lock
    /// held and no allocation but `out`'s.
    ///
    /// Errors: `DamagedQueue` if a unit fails its checksum or a file lacks it (`out` then holds the sound
    /// units before it), `Io`. Safe against everything the writer does meanwhile.
    pub fn read(
        &self,
        q: QueueId,
        from: u64,
        max_units: usize,
        out: &mut Vec<Unit>,
    ) -> Result<Bounds, Error> {
        let Some(queue) = self.queue(q) else { return Ok(Bounds::EMPTY) };
        let end = from.saturating_add(max_units as u64);
        let mut at = from;
        loop {
            let (bounds, in_files, incarnation) = {
                let state = queue.state.lock();
                let bounds = state.bounds();
                let end = end.min(bounds.next_queue_offset);
                if at < bounds.min_queue_offset || end <= at {
                    return Ok(bounds);
                }
                if at >= state.spilled {
                    let index = |queue_offset| (queue_offset - state.spilled) as usize;
                    out.extend_from_slice(&state.tail[index(at)..index(end)]);
                    return Ok(bounds);
                }
                (bounds, end.min(state.spilled), state.incarnation)
            };
            if at == from {
                let available = end.min(bounds.next_queue_offset) - at;
                out.reserve(available as usize);
            }
            let len_before = out.len();
            let outcome = self.read_chunk(&queue, incarnation, at, in_files, out);
            at += (out.len() - len_before) as u64;
            match outcome {
                // What was trimmed, cut or removed under our eyes is no damage: look again.
                Err(_) if !queue.state.lock().still_has(incarnation, at) => {}
                outcome => outcome?,
            }
        }
    }

    /// The first queue offset whose unit is read without a file; at most the queue's end.
    pub fn in_memory_from(&self, q: QueueId) -> u64 {
        self.queue(q).map_or(0, |queue| queue.state.lock().spilled)
    }

    /// Appends the units from `at` to `end` or to the end of the chunk of `at`, whichever is first.
    fn read_chunk(
        &self,
        queue: &Queue,
        incarnation: u64,
        mut at: u64,
        end: u64,
        out: &mut Vec<Unit>,
    ) -> Result<(), Error> {
        let shared = &*self.shared;
        let chunk = shared.chunk_of(at);
        let end = end.min((chunk + 1) * shared.options.units_per_chunk);
        let fails_at = |queue_offset, reason| Error::DamagedQueue {
            queue: queue.id,
            queue_offset,
            reason,
            path: shared.chunk_path(queue.id, chunk),
        };
        let file = match shared.files.get(ChunkKey { incarnation, chunk }) {
            Some(file) => file,
            None => self.open_for_reading(queue, incarnation, chunk, at).map_err(|error| match error {
                Error::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
                    fails_at(at, "the file is missing")
                }
                other => other,
            })?,
        };
        let mut buffer = [0; RECORDS_PER_READ * RECORD_BYTES];
        while at < end {
            let wanted = (end - at).min(RECORDS_PER_READ as u64) as usize;
            let bytes = &mut buffer[..wanted * RECORD_BYTES];
            let position = shared.position(at);
            // Whoever goes through the queue is here again soon. A hint, which costs little if it is in memory.
            let _ = rustix::fs::fadvise(
                &*file,
                position / READ_AHEAD * READ_AHEAD,
                NonZeroU64::new(READ_AHEAD),
                Advice::WillNeed,
            );
            let (read, ended) = read_at_most(&file, bytes, position);
            let (records, _) = bytes[..read].as_chunks::<RECORD_BYTES>();
            for record in records {
                let unit = decode_record(queue.checksum_seed, at, record)
                    .ok_or_else(|| fails_at(at, "the unit fails its checksum"))?;
                out.push(unit);
                at += 1;
            }
            match ended {
                Ended::Full => {}
                Ended::File => return Err(fails_at(at, "the file ends before the unit")),
                Ended::Error(error) if is_unreadable(&error) => {
                    return Err(fails_at(at, "the disk cannot read the unit"));
                }
                Ended::Error(error) => {
                    return Err(Error::io("read", &shared.chunk_path(queue.id, chunk))(error));
                }
            }
        }
        Ok(())
    }

    fn open_for_reading(
        &self,
        queue: &Queue,
        incarnation: u64,
        chunk: u64,
        at: u64,
    ) -> Result<std::sync::Arc<std::fs::File>, Error> {
        let file = self.chunk_file(queue, incarnation, chunk)?;
        // The file may have been unlinked between our opening and caching it. Its removal has then cleared
        // the cache already, so the entry is ours to take out: it would keep the disk space until evicted.
        if !queue.state.lock().still_has(incarnation, at) {
            self.shared.files.remove(ChunkKey { incarnation, chunk });
        }
        Ok(file)
    }
}

/// Why no more was read.
enum Ended {
    Full,
    File,
    Error(std::io::Error),
}

/// Reads until `bytes` is full, the file ends or the disk fails; returns how much.
fn read_at_most(file: &std::fs::File, bytes: &mut [u8], position: u64) -> (usize, Ended) {
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], position + read as u64) {
            Ok(0) => return (read, Ended::File),
            Ok(n) => read += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (read, Ended::Error(error)),
        }
    }
    (read, Ended::Full)
}
