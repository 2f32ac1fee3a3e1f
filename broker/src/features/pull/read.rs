//! Finding messages: from a queue's units to ranges of the commit log.

use bytes::Bytes;
use trireme_planted::{self as planted, Defect};
use trireme_remoting::message::StoredMessage;
use trireme_remoting::response;

use super::Filter;
use crate::features::scrub;
use crate::queues::Error;
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
    /// Where the pull began.
    pub from: i64,
    /// Where to pull next.
    pub next: i64,
    /// The queue's bounds when it was read.
    pub bounds: Bounds,
    /// Where the messages lie in the commit log, in the order of the queue; neighbours are one range.
    pub ranges: Vec<Range>,
}

impl Found {
    /// Whether it says that the queue ends before this offset.
    pub fn is_before(&self, offset: i64) -> bool {
        self.code == response::PULL_OFFSET_MOVED && signed(self.bounds.next_queue_offset) < offset
    }
}

/// Bytes of the commit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Where the first one lies.
    pub physical_offset: u64,
    /// How many.
    pub bytes: u32,
}

impl Range {
    fn end(&self) -> u64 {
        self.physical_offset + u64::from(self.bytes)
    }
}

/// Reads a queue from `offset` on.
pub fn read(
    shared: &Shared,
    queue: QueueId,
    offset: i64,
    limits: Limits,
    filter: &Filter,
) -> Result<Found, Error> {
    let bounds = shared.queues.bounds(queue);
    let (min, next) = (bounds.min_queue_offset, bounds.next_queue_offset);
    let nothing = |code, next| Found { code, from: offset, next, bounds, ranges: Vec::new() };
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
    let mut reading = Reading { limits, ranges: Vec::new(), count: 0, bytes: 0 };
    let mut units = Vec::with_capacity(UNITS_AT_ONCE.min(limits.messages));
    let mut at = from;
    'queue: while at < next && at - from < MAX_SCANNED as u64 {
        units.clear();
        let wanted = if *filter == Filter::All { limits.messages - reading.count } else { UNITS_AT_ONCE };
        scrub::units(shared, queue, at, wanted.min(UNITS_AT_ONCE), &mut units)?;
        if units.is_empty() {
            break;
        }
        for unit in &units {
            if reading.is_full(unit) {
                break 'queue;
            }
            at += 1;
            if planted::is(Defect::PullLeavesOut) && at.is_multiple_of(1000) {
                continue;
            }
            if filter.wants(unit.tags_code) {
                reading.take(unit);
            }
        }
    }
    let code = if reading.count > 0 { response::SUCCESS } else { response::PULL_RETRY_IMMEDIATELY };
    Ok(Found { code, from: offset, next: signed(at), bounds, ranges: reading.ranges })
}

struct Reading {
    limits: Limits,
    ranges: Vec<Range>,
    count: usize,
    bytes: usize,
}

impl Reading {
    fn is_full(&self, next: &Unit) -> bool {
        self.count >= self.limits.messages
            || (self.count > 0 && self.bytes + next.size as usize > self.limits.bytes)
    }

    fn take(&mut self, unit: &Unit) {
        self.count += 1;
        self.bytes += unit.size as usize;
        match self.ranges.last_mut() {
            Some(last) if last.end() == unit.physical_offset => last.bytes += unit.size,
            _ => self.ranges.push(Range { physical_offset: unit.physical_offset, bytes: unit.size }),
        }
    }
}

/// The message at a physical offset that a client named, if there is one: nothing else of the log may
/// come out this way, so its own physical offset and an applied queue position must confirm it. Waits for the disk.
pub fn message_at(shared: &Shared, physical_offset: i64) -> Option<Bytes> {
    let at = u64::try_from(physical_offset).ok()?;
    let log = shared.node.log();
    if at < log.min_physical_offset() || at >= log.next_physical_offset() {
        return None;
    }
    scrub::load(shared, at, 4).ok()?;
    let size = log.slice(at, 4).ok().and_then(|bytes| StoredMessage::size(&bytes).ok())?;
    let size = u32::try_from(size).ok()?;
    scrub::load(shared, at, size).ok()?;
    let bytes = log.slice(at, size).ok()?;
    let message = StoredMessage::parse(&bytes).ok()?;
    if message.physical_offset != physical_offset {
        return None;
    }
    let topic_id = shared.state.read().topics.get(message.topic)?.id;
    let queue = QueueId { topic_id, queue_id: u32::try_from(message.queue_id).ok()? };
    let mut unit = Vec::with_capacity(1);
    scrub::units(shared, queue, u64::try_from(message.queue_offset).ok()?, 1, &mut unit).ok()?;
    (unit.first()?.physical_offset == at).then(|| bytes.clone())
}

fn signed(offset: u64) -> i64 {
    i64::try_from(offset).expect("a queue is shorter than 2^63 messages")
}
