//! Binary search along a queue, and the check of a whole queue.

use super::ConsumeQueues;
use super::queue::Bounds;
use super::unit::{QueueId, Unit};
use crate::queues::Error;

/// Which end of the messages with one store time a search by time means (RocketMQ's `BoundaryType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// The first message stored at the time or later; the end of the queue if all are earlier.
    Lower,
    /// The last message stored at the time or earlier; the first of the queue if all are later.
    Upper,
}

impl ConsumeQueues {
    /// The first queue offset whose unit is not `before`; `next_queue_offset` if all are.
    ///
    /// `before` must hold for a prefix of the queue and for nothing behind it. It is asked about some 20 to
    /// 30 units and may look into the commit log; its errors end the search. Appends that come meanwhile
    /// are not looked at; what is trimmed meanwhile counts as `before`.
    pub fn partition_point<E: From<Error>>(
        &self,
        q: QueueId,
        mut before: impl FnMut(&Unit) -> Result<bool, E>,
    ) -> Result<u64, E> {
        let Bounds { min_queue_offset: mut low, next_queue_offset: mut high } = self.bounds(q);
        let mut unit = Vec::with_capacity(1);
        while low < high {
            let middle = low + (high - low) / 2;
            unit.clear();
            self.read(q, middle, 1, &mut unit)?;
            match unit.first() {
                Some(unit) if !before(unit)? => high = middle,
                _ => low = middle + 1,
            }
        }
        Ok(low)
    }

    /// The queue offset for a store time (ms), as RocketMQ's `ConsumeQueue#getOffsetInQueueByTime`.
    ///
    /// `store_time_ms` looks a unit's message up in the commit log; store times must not fall along the
    /// queue. For a time between two messages `Lower` gives the later and `Upper` the earlier one. Where
    /// RocketMQ answers 0 although offset 0 is trimmed, this answers `min_queue_offset`.
    pub fn offset_by_time<E: From<Error>>(
        &self,
        q: QueueId,
        time_ms: i64,
        boundary: Boundary,
        mut store_time_ms: impl FnMut(&Unit) -> Result<i64, E>,
    ) -> Result<u64, E> {
        match boundary {
            Boundary::Lower => self.partition_point(q, |unit| Ok(store_time_ms(unit)? < time_ms)),
            Boundary::Upper => {
                let end = self.partition_point::<E>(q, |unit| Ok(store_time_ms(unit)? <= time_ms))?;
                Ok(end.saturating_sub(1).max(self.min_queue_offset(q)))
            }
        }
    }

    /// Reads every unit of the queue: each must pass its checksum and physical offsets must grow.
    ///
    /// Every read checks what it reads; this finds damage in what nobody has read. Errors: the first
    /// `DamagedQueue`, or `Io`.
    pub fn verify(&self, q: QueueId) -> Result<(), Error> {
        const STEP: usize = 4096;
        let mut units = Vec::with_capacity(STEP);
        let Bounds { min_queue_offset: mut at, next_queue_offset: end } = self.bounds(q);
        let mut last = None;
        while at < end {
            units.clear();
            let bounds = self.read(q, at, STEP, &mut units)?;
            for unit in &units {
                if last.is_some_and(|last| unit.physical_offset <= last) {
                    return Err(Error::DamagedQueue {
                        queue: q,
                        queue_offset: at,
                        reason: "the physical offset does not grow",
                        path: self.shared.chunk_path(q, self.shared.chunk_of(at)),
                    });
                }
                last = Some(unit.physical_offset);
                at += 1;
            }
            if units.is_empty() {
                // Trimmed past us, or removed: then the bounds are empty and the loop ends.
                at = bounds.min_queue_offset.max(at + 1);
            }
        }
        Ok(())
    }
}
