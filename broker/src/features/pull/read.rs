//! Finding messages: from a queue's units to slices of the commit log.

use bytes::Bytes;
use trireme_remoting::message::StoredMessage;
use trireme_remoting::response;

use super::Filter;
use crate::queues::consume::{Bounds, QueueId, Unit};
use crate::replica::Shared;

/// Units looked at in one pull before a filter that finds nothing is told to come again: bounds what
/// one request costs (RocketMQ `maxFilterMessageSize`, in units).
const MAX_SCANNED: usize = 16_000;
/// Units read at a time.
const UNITS_AT_ONCE: usize = 256;

/// How much one pull may return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Messages.
    pub messages: usize,
    /// Bytes; one message is returned however large.
    pub bytes: usize,
}

/// What a pull found.
#[derive(Clone, Debug)]
pub struct Found {
    /// A response code of the pull table (protocol sheet 2.1).
    pub code: i32,
    /// Where to pull next.
    pub next: i64,
    /// The queue's bounds when it was read.
    pub bounds: Bounds,
    /// The messages, as slices of the commit log; neighbours are one slice.
    pub slices: Vec<Bytes>,
    /// How many messages they are.
    pub count: usize,
}

/// Reads a queue from `offset` on. Errors are for the log: a client gets "system error".
pub fn read(
    shared: &Shared,
    queue: QueueId,
    offset: i64,
    limits: Limits,
    filter: &Filter,
) -> Result<Found, String> {
    let bounds = shared.queues.bounds(queue);
    let (min, next) = (bounds.min_queue_offset, bounds.next_queue_offset);
    let nothing = |code, next| Found { code, next, bounds, slices: Vec::new(), count: 0 };
    let Ok(from) = u64::try_from(offset) else {
        return Ok(nothing(response::PULL_OFFSET_MOVED, signed(min)));
    };
    if next == 0 {
        let code = if from == 0 { response::PULL_NOT_FOUND } else { response::PULL_OFFSET_MOVED };
        return Ok(nothing(code, 0));
    }
    if from < min {
        return Ok(nothing(response::PULL_OFFSET_MOVED, signed(min)));
    }
    if from == next {
        return Ok(nothing(response::PULL_NOT_FOUND, offset));
    }
    if from > next {
        return Ok(nothing(response::PULL_OFFSET_MOVED, signed(next)));
    }
    let mut reading = Reading { limits, slices: Slices::default(), count: 0, bytes: 0 };
    let mut units = Vec::with_capacity(UNITS_AT_ONCE.min(limits.messages));
    let mut at = from;
    'queue: while at < next && at - from < MAX_SCANNED as u64 {
        units.clear();
        let wanted = if *filter == Filter::All { limits.messages - reading.count } else { UNITS_AT_ONCE };
        shared
            .queues
            .read(queue, at, wanted.min(UNITS_AT_ONCE), &mut units)
            .map_err(|error| error.to_string())?;
        if units.is_empty() {
            break;
        }
        for unit in &units {
            if reading.is_full(unit) {
                break 'queue;
            }
            at += 1;
            if filter.wants(unit.tags_code) {
                reading.take(shared, unit)?;
            }
        }
    }
    let code = if reading.count > 0 { response::SUCCESS } else { response::PULL_RETRY_IMMEDIATELY };
    Ok(Found { code, next: signed(at), bounds, slices: reading.slices.parts, count: reading.count })
}

struct Reading {
    limits: Limits,
    slices: Slices,
    count: usize,
    bytes: usize,
}

impl Reading {
    fn is_full(&self, next: &Unit) -> bool {
        self.count >= self.limits.messages
            || (self.count > 0 && self.bytes + next.size as usize > self.limits.bytes)
    }

    fn take(&mut self, shared: &Shared, unit: &Unit) -> Result<(), String> {
        self.slices.push(shared, unit)?;
        self.count += 1;
        self.bytes += unit.size as usize;
        Ok(())
    }
}

/// Messages that are neighbours in the log are read, and later written to the socket, as one.
#[derive(Default)]
struct Slices {
    parts: Vec<Bytes>,
    last: Option<(u64, u32)>,
}

impl Slices {
    fn push(&mut self, shared: &Shared, unit: &Unit) -> Result<(), String> {
        let log = shared.node.log();
        if let Some((start, length)) = self.last
            && start + u64::from(length) == unit.physical_offset
        {
            let joined = length + unit.size;
            let slice = log.slice(start, joined).map_err(|error| error.to_string())?;
            *self.parts.last_mut().expect("a last slice was pushed") = slice;
            self.last = Some((start, joined));
            return Ok(());
        }
        let slice = log.slice(unit.physical_offset, unit.size).map_err(|error| error.to_string())?;
        self.parts.push(slice);
        self.last = Some((unit.physical_offset, unit.size));
        Ok(())
    }
}

/// The message at a physical offset that a client named, if there is one: nothing else of the log may
/// come out this way, so its own physical offset and an applied queue position must confirm it.
pub fn message_at(shared: &Shared, physical_offset: i64) -> Option<Bytes> {
    let at = u64::try_from(physical_offset).ok()?;
    let log = shared.node.log();
    if at < log.min_physical_offset() || at >= log.next_physical_offset() {
        return None;
    }
    let size = log.slice(at, 4).ok().and_then(|bytes| StoredMessage::size(&bytes).ok())?;
    let bytes = log.slice(at, u32::try_from(size).ok()?).ok()?;
    let message = StoredMessage::parse(&bytes).ok()?;
    if message.physical_offset != physical_offset {
        return None;
    }
    let topic_id = shared.state.read().topics.get(message.topic)?.id;
    let queue = QueueId { topic_id, queue_id: u32::try_from(message.queue_id).ok()? };
    let mut unit = Vec::with_capacity(1);
    shared.queues.read(queue, u64::try_from(message.queue_offset).ok()?, 1, &mut unit).ok()?;
    (unit.first()?.physical_offset == at).then(|| bytes.clone())
}

fn signed(offset: u64) -> i64 {
    i64::try_from(offset).expect("a queue is shorter than 2^63 messages")
}
