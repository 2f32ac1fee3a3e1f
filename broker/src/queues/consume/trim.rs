//! Taking units away: at the head with the log, at the tail after a restart, or all of a queue.

use std::fs::OpenOptions;

use super::ConsumeQueues;
use super::chunk::topic_dir;
use super::open_files::ChunkKey;
use super::queue::Queue;
use super::unit::QueueId;
use crate::queues::{Error, disk};

impl ConsumeQueues {
    /// Follows the commit log's trimming: no unit below `min_physical_offset` stays readable, and chunk files
    /// that hold nothing else are removed.
    ///
    /// Reads one to some 30 units per queue, so it belongs on a thread that may block; appends and reads go
    /// on. A queue that fails (damage, I/O) does not keep the others from being trimmed; the first error is
    /// returned.
    pub fn trim(&self, min_physical_offset: u64) -> Result<(), Error> {
        let mut outcome = Ok(());
        for queue in self.sorted_queues() {
            outcome = outcome.and(self.trim_queue(&queue, min_physical_offset));
        }
        outcome
    }

    pub(super) fn trim_queue(&self, queue: &Queue, min_physical_offset: u64) -> Result<(), Error> {
        let all_trimmed_at = {
            let state = queue.state.lock();
            let all_below = state.last_physical_offset.is_none_or(|last| last < min_physical_offset);
            all_below.then(|| state.next())
        };
        let min = match all_trimmed_at {
            Some(next) => next,
            None => self.first_at_or_above(queue, min_physical_offset)?,
        };

        let _io = queue.io.lock();
        let (removable, incarnation) = {
            let mut state = queue.state.lock();
            if state.removed {
                return Ok(());
            }
            state.min = state.min.max(min.min(state.next()));
            // The chunk of the last trimmed unit stays: it proves to `open` that what is missing before it
            // was trimmed and not lost. Nor is the chunk removed that the tail will be written to.
            let keep = self.shared.chunk_of(state.min.saturating_sub(1).min(state.spilled));
            (state.first_chunk..keep, state.incarnation)
        };
        for chunk in removable {
            self.remove_chunk(queue, incarnation, chunk)?;
            queue.state.lock().first_chunk = chunk + 1;
        }
        Ok(())
    }

    /// [`ConsumeQueues::partition_point`], but nearly always answered by the first unit: most queues lose
    /// nothing to one trimmed segment, or everything.
    fn first_at_or_above(&self, queue: &Queue, min_physical_offset: u64) -> Result<u64, Error> {
        let mut first = Vec::with_capacity(1);
        let bounds = self.read(queue.id, self.min_queue_offset(queue.id), 1, &mut first)?;
        match first.first() {
            Some(unit) if unit.physical_offset < min_physical_offset => self
                .partition_point(queue.id, |unit| Ok::<_, Error>(unit.physical_offset < min_physical_offset)),
            _ => Ok(bounds.min_queue_offset),
        }
    }

    /// Cuts the queue so that the next append takes `next_queue_offset`; the cut-off units are gone.
    ///
    /// For the writer, after a restart. Not made durable: what a crash brings back are units of committed
    /// messages, and appending them again writes the same bytes. Errors: `Io`, with the queue already cut
    /// for readers. Panics if `next_queue_offset` lies outside the queue's bounds.
    pub fn truncate(&self, q: QueueId, next_queue_offset: u64) -> Result<(), Error> {
        let Some(queue) = self.queue(q) else {
            assert_eq!(next_queue_offset, 0, "queue {q} does not exist, so it cannot be cut");
            return Ok(());
        };
        let last_physical_offset = match next_queue_offset.checked_sub(1) {
            Some(last) => {
                let mut unit = Vec::with_capacity(1);
                self.read(q, last, 1, &mut unit)?;
                unit.first().map(|unit| unit.physical_offset)
            }
            None => None,
        };

        let shared = &*self.shared;
        let _io = queue.io.lock();
        let (chunks, incarnation) = {
            let mut state = queue.state.lock();
            let (min, next) = (state.min, state.next());
            assert!(
                min <= next_queue_offset && next_queue_offset <= next,
                "queue {q} holds {min}..{next} and cannot be cut at {next_queue_offset}"
            );
            state.last_physical_offset = last_physical_offset;
            if next_queue_offset >= state.spilled {
                let keep = (next_queue_offset - state.spilled) as usize;
                state.tail.truncate(keep);
                return Ok(());
            }
            let chunks = shared.chunk_of(next_queue_offset)..=shared.chunk_of(state.spilled);
            let incarnation = state.incarnation;
            state.incarnation = self.new_incarnation();
            state.tail.clear();
            state.spilled = next_queue_offset;
            state.synced = state.synced.min(next_queue_offset);
            (chunks, incarnation)
        };
        for chunk in chunks.rev() {
            if chunk == shared.chunk_of(next_queue_offset) && shared.position(next_queue_offset) > 0 {
                let path = shared.chunk_path(q, chunk);
                OpenOptions::new()
                    .write(true)
                    .open(&path)
                    .and_then(|file| file.set_len(shared.position(next_queue_offset)))
                    .map_err(Error::io("truncate", &path))?;
                shared.files.remove(ChunkKey { incarnation, chunk });
            } else {
                self.remove_chunk(&queue, incarnation, chunk)?;
            }
        }
        Ok(())
    }

    /// Forgets all of the queue and lets it begin anew, empty, at `next_queue_offset`.
    ///
    /// For the writer: before a queue is rebuilt from the log (at the queue offset of the first message
    /// still in the log), and for queues of an installed checkpoint. Errors: `Io`; then the queue is gone
    /// from the map.
    pub fn reset_queue(&self, q: QueueId, next_queue_offset: u64) -> Result<(), Error> {
        let removed = self.shared.queues.write().remove(&q);
        if let Some(queue) = removed {
            self.discard(&queue)?;
            self.forget_removed_buffers();
        }
        self.insert_empty(q, next_queue_offset);
        Ok(())
    }

    /// Forgets every queue of the topic and removes their files. For the writer.
    pub fn remove_topic(&self, topic_id: u32) -> Result<(), Error> {
        self.remove_queues(|q| q.topic_id == topic_id)
    }

    /// Forgets everything, ready to be fed from the log again. For the writer.
    ///
    /// A queue whose first message in the log is not at queue offset 0, because earlier ones are trimmed,
    /// then needs [`ConsumeQueues::reset_queue`] before its first append; so does a queue that has a
    /// position in the checkpoint and no message left.
    pub fn reset(&self) -> Result<(), Error> {
        self.remove_queues(|_| true)
    }

    fn remove_queues(&self, chosen: impl Fn(&QueueId) -> bool) -> Result<(), Error> {
        let mut removed: Vec<_> =
            self.shared.queues.write().extract_if(|q, _| chosen(q)).map(|(_, queue)| queue).collect();
        removed.sort_unstable_by_key(|queue| queue.id);
        for queue in &removed {
            self.discard(queue)?;
        }
        self.forget_removed_buffers();
        let mut topics: Vec<_> = removed.iter().map(|queue| queue.id.topic_id).collect();
        topics.dedup();
        for topic_id in topics {
            disk::remove_dir_if_empty(&topic_dir(&self.shared.dir, topic_id))?;
        }
        Ok(())
    }

    /// Frees the memory and removes the files of a queue that has left the map.
    fn discard(&self, queue: &Queue) -> Result<(), Error> {
        let _io = queue.io.lock();
        let (chunks, incarnation) = {
            let mut state = queue.state.lock();
            state.removed = true;
            self.shared.release_tail(&mut state);
            (state.first_chunk..=self.shared.chunk_of(state.spilled), state.incarnation)
        };
        for chunk in chunks {
            self.remove_chunk(queue, incarnation, chunk)?;
        }
        Ok(())
    }

    /// Removes a chunk file if it exists. The caller holds the queue's `io` and has made the state say that
    /// the chunk holds nothing, so that a reader that opened it meanwhile drops its cache entry.
    fn remove_chunk(&self, queue: &Queue, incarnation: u64, chunk: u64) -> Result<(), Error> {
        disk::remove_file(&self.shared.chunk_path(queue.id, chunk))?;
        self.shared.files.remove(ChunkKey { incarnation, chunk });
        Ok(())
    }
}
