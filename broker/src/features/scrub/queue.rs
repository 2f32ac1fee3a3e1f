//! Makes damaged units of a ConsumeQueue again, from the commit log.

use trireme_raft::proposal;

use crate::entry::Entry;
use crate::queues::consume::{QueueId, Unit};
use crate::replica::Shared;

/// Units that are made at a time. When more are damaged, whoever reads on comes across them.
const AT_ONCE: usize = 4096;
/// Bytes of the log that are read at a time.
const READ_BYTES: u64 = 1 << 20;

/// Makes the units again from `from` on, until the next one is whole. How many. Waits for the disk.
///
/// Errors, in words: the log cannot be read just now, or the queue's file not be written.
pub fn make_again(shared: &Shared, queue: QueueId, from: u64) -> Result<usize, String> {
    let from = from.max(shared.queues.bounds(queue).min_queue_offset);
    let in_files = shared.queues.in_memory_from(queue).saturating_sub(from);
    let wanted = usize::try_from(in_files).unwrap_or(usize::MAX).min(AT_ONCE);
    let units = from_log(shared, queue, from, wanted)?;
    shared.queues.mend(queue, from, &units).map_err(|error| error.to_string())
}

fn from_log(shared: &Shared, queue: QueueId, from: u64, wanted: usize) -> Result<Vec<Unit>, String> {
    let log = shared.node.log();
    let applied = shared.node.applied().borrow().map_or(0, |applied| applied.index);
    let mut units = Vec::new();
    let mut next = first_entry(shared, queue, from)?;
    while units.len() < wanted && next <= applied {
        let frames = log
            .read(next, applied + 1, READ_BYTES)
            .inspect_err(|error| shared.scrub.report(error))
            .map_err(|error| error.to_string())?;
        if frames.is_empty() {
            break;
        }
        for frame in frames {
            next = frame.id.index + 1;
            if frame.kind != proposal::KIND {
                continue;
            }
            let entry = Entry::parse(&frame.payload()).map_err(|error| error.to_string())?;
            for stored in entry.stored() {
                let stored = stored.map_err(|error| error.to_string())?;
                if stored.queue == queue && stored.queue_offset == from + units.len() as u64 {
                    units.push(stored.unit(frame.payload_physical_offset()));
                }
            }
        }
        if !units.is_empty() && is_whole(shared, queue, from + units.len() as u64) {
            break;
        }
    }
    units.truncate(wanted);
    Ok(units)
}

/// An entry that does not lie behind the one with the queue's message at `from`: that of the message before, if that is
/// known, or the log's first.
fn first_entry(shared: &Shared, queue: QueueId, from: u64) -> Result<u64, String> {
    let log = shared.node.log();
    let first = log.trimmed().map_or(0, |trimmed| trimmed.index + 1);
    let mut before = Vec::with_capacity(1);
    let read = from.checked_sub(1).map(|at| shared.queues.read(queue, at, 1, &mut before));
    match (read, before.first()) {
        (Some(Ok(_)), Some(unit)) => {
            let index = log.index_at(unit.physical_offset).map_err(|error| error.to_string())?;
            Ok(index.unwrap_or(first).max(first))
        }
        _ => Ok(first),
    }
}

fn is_whole(shared: &Shared, queue: QueueId, at: u64) -> bool {
    shared.queues.read(queue, at, 1, &mut Vec::with_capacity(1)).is_ok()
}
