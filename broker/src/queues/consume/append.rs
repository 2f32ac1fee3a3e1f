//! The writer's side: appending units and moving tails to files.

use std::collections::VecDeque;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::queue::{Queue, State};
use super::unit::{QueueId, RECORD_BYTES, Unit, encode_record};
use super::{ConsumeQueues, Shared};
use crate::queues::Error;

/// What only the appending side needs.
#[derive(Default)]
pub(super) struct Writer {
    /// Queues whose tails hold memory, the longest-held first; the order in which it is taken back.
    /// Contains every queue with `has_buffer`, each once.
    buffered: VecDeque<Arc<Queue>>,
}

impl ConsumeQueues {
    /// Appends the unit of the message at `queue_offset`, readable on return.
    ///
    /// Costs memory only, but for one write per `spill_units` appends of a queue and when all tails together
    /// pass their bound. Not durable before [`ConsumeQueues::flush`].
    ///
    /// Errors: `Io` when a tail cannot be written (a full disk, say). The unit is then **not** taken and
    /// nothing is lost: the same append may be tried again. Panics if `queue_offset` is not
    /// [`ConsumeQueues::next_queue_offset`], if the physical offset does not grow or if the size is 0: the
    /// applier pairs this with the sequencer's stamp, and going on would serve wrong messages.
    pub fn append(&self, q: QueueId, queue_offset: u64, unit: Unit) -> Result<(), Error> {
        let shared = &*self.shared;
        let mut writer = shared.writer.lock();
        let queue = self.queue(q).unwrap_or_else(|| self.insert_empty(q, 0));
        let mut state = queue.state.lock();
        check_append(q, &state, queue_offset, unit);

        let tail_is_full = state.tail.len() >= shared.options.spill_units;
        if tail_is_full || shared.tails_exceed_bound() {
            drop(state);
            if tail_is_full {
                self.spill(&queue, Buffer::Keep)?;
            }
            while shared.tails_exceed_bound() {
                let Some(oldest) = writer.buffered.pop_front() else { break };
                oldest.state.lock().has_buffer = false;
                if let Err(error) = self.spill(&oldest, Buffer::Release) {
                    oldest.state.lock().has_buffer = true;
                    writer.buffered.push_front(oldest);
                    return Err(error);
                }
            }
            state = queue.state.lock();
        }

        let bytes_before = state.tail_bytes();
        state.tail.push(unit);
        state.last_physical_offset = Some(unit.physical_offset);
        let grown = state.tail_bytes() - bytes_before;
        if grown > 0 {
            shared.tail_bytes.fetch_add(grown, Ordering::Relaxed);
            if !state.has_buffer {
                state.has_buffer = true;
                drop(state);
                writer.buffered.push_back(queue);
            }
        }
        Ok(())
    }

    /// Puts an empty queue that starts at `next` into the map, in place of whatever was there.
    pub(super) fn insert_empty(&self, q: QueueId, next: u64) -> Arc<Queue> {
        let units_per_chunk = self.shared.options.units_per_chunk;
        let queue = Arc::new(Queue::empty(q, next, units_per_chunk, self.new_incarnation()));
        self.shared.queues.write().insert(q, queue.clone());
        queue
    }

    /// Takes removed queues out of the writer's list, which would keep them in memory.
    pub(super) fn forget_removed_buffers(&self) {
        self.shared.writer.lock().buffered.retain(|queue| !queue.state.lock().removed);
    }

    /// Writes the tail of `queue` to its chunk files. On an error the tail is as it was, and readable.
    pub(super) fn spill(&self, queue: &Queue, buffer: Buffer) -> Result<(), Error> {
        let _io = queue.io.lock();
        let (start, units, incarnation) = {
            let state = queue.state.lock();
            if state.removed {
                return Ok(());
            }
            (state.spilled, state.tail.clone(), state.incarnation)
        };
        self.write_units(queue, incarnation, start, &units)?;
        let mut state = queue.state.lock();
        // Appends may have gone on meanwhile, at the back; only holders of `io` take from the front.
        state.tail.drain(..units.len());
        state.spilled += units.len() as u64;
        if buffer == Buffer::Release && state.tail.is_empty() {
            self.shared.release_tail(&mut state);
        }
        Ok(())
    }

    /// The caller holds the queue's `io`.
    pub(super) fn write_units(
        &self,
        queue: &Queue,
        incarnation: u64,
        start: u64,
        mut units: &[Unit],
    ) -> Result<(), Error> {
        let shared = &*self.shared;
        let mut bytes = Vec::with_capacity(units.len() * RECORD_BYTES);
        let mut at = start;
        while !units.is_empty() {
            let room = shared.options.units_per_chunk - at % shared.options.units_per_chunk;
            let (now, later) = units.split_at(units.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            bytes.clear();
            for (unit, queue_offset) in now.iter().zip(at..) {
                bytes.extend_from_slice(&encode_record(queue.checksum_seed, queue_offset, *unit));
            }
            let chunk = shared.chunk_of(at);
            self.chunk_file_or_create(queue, incarnation, chunk)?
                .write_all_at(&bytes, shared.position(at))
                .map_err(Error::io("write", &shared.chunk_path(queue.id, chunk)))?;
            at += now.len() as u64;
            units = later;
        }
        Ok(())
    }
}

/// What becomes of a written tail's memory: kept for the next units of a busy queue, or given back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Buffer {
    Keep,
    Release,
}

impl Shared {
    fn tails_exceed_bound(&self) -> bool {
        self.tail_bytes.load(Ordering::Relaxed) > self.options.tail_bytes_max
    }

    /// Drops the tail and its memory.
    pub fn release_tail(&self, state: &mut State) {
        self.tail_bytes.fetch_sub(state.tail_bytes(), Ordering::Relaxed);
        state.tail = Vec::new();
    }
}

fn check_append(q: QueueId, state: &State, queue_offset: u64, unit: Unit) {
    assert_eq!(queue_offset, state.next(), "queue {q}: appended queue offset is not the next one");
    assert!(unit.size > 0, "queue {q}: unit of no size at queue offset {queue_offset}");
    assert!(
        state.last_physical_offset.is_none_or(|last| last < unit.physical_offset),
        "queue {q}: physical offset {} at queue offset {queue_offset} does not grow",
        unit.physical_offset,
    );
}
