//! One queue in memory: its bounds and the tail that no file holds yet.

use parking_lot::Mutex;

use super::unit::{QueueId, Unit, checksum_seed};

/// The readable range of a queue, `min_queue_offset..next_queue_offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// First readable queue offset (inclusive).
    pub min_queue_offset: u64,
    /// Queue offset of the next append (exclusive end).
    pub next_queue_offset: u64,
}

impl Bounds {
    /// The bounds of a queue that was never appended to.
    pub const EMPTY: Bounds = Bounds { min_queue_offset: 0, next_queue_offset: 0 };
}

pub(super) struct Queue {
    pub id: QueueId,
    pub checksum_seed: u32,
    /// Held while this queue's files are written, cut or removed, so that these cannot interleave.
    pub io: Mutex<()>,
    /// Held for memory accesses only.
    pub state: Mutex<State>,
}

impl Queue {
    /// An empty queue whose next append takes `next`.
    pub fn empty(id: QueueId, next: u64, units_per_chunk: u64, incarnation: u64) -> Queue {
        let state = State {
            min: next,
            spilled: next,
            synced: next,
            tail: Vec::new(),
            last_physical_offset: None,
            first_chunk: next / units_per_chunk,
            incarnation,
            removed: false,
            has_buffer: false,
        };
        Queue { id, checksum_seed: checksum_seed(id), io: Mutex::new(()), state: Mutex::new(state) }
    }
}

/// What changes about a queue; the offsets are ordered `min <= next` and `synced <= spilled <= next`.
pub(super) struct State {
    /// First readable queue offset. May pass `spilled`: trimming does not wait for files.
    pub min: u64,
    /// Queue offsets below this are in chunk files; `tail` holds the rest.
    pub spilled: u64,
    /// Queue offsets below this are durable.
    pub synced: u64,
    pub tail: Vec<Unit>,
    /// Of the newest unit, if any is known: physical offsets grow along a queue.
    pub last_physical_offset: Option<u64>,
    /// The lowest chunk that may exist as a file.
    pub first_chunk: u64,
    /// Names this content in the file cache; changes whenever files are replaced rather than extended.
    pub incarnation: u64,
    /// Set for good when the queue leaves the map; late readers then find it empty and late flushes pass by.
    pub removed: bool,
    /// Whether the queue stands in the writer's list of tails that have memory to give back.
    pub has_buffer: bool,
}

impl State {
    pub fn next(&self) -> u64 {
        self.spilled + self.tail.len() as u64
    }

    pub fn bounds(&self) -> Bounds {
        if self.removed {
            return Bounds::EMPTY;
        }
        Bounds { min_queue_offset: self.min, next_queue_offset: self.next() }
    }

    /// Whether what was seen of this queue under `incarnation` at `queue_offset` still holds.
    pub fn still_has(&self, incarnation: u64, queue_offset: u64) -> bool {
        !self.removed && self.incarnation == incarnation && self.min <= queue_offset
    }

    /// Memory that the tail holds (bytes), used or not.
    pub fn tail_bytes(&self) -> usize {
        self.tail.capacity() * size_of::<Unit>()
    }

    #[cfg(test)]
    pub fn check(&self) {
        assert!(self.min <= self.next());
        assert!(self.synced <= self.spilled);
    }
}
