//! Request codes 14, 15, 29, 30, 31, 32.

use std::sync::Arc;

use trireme_remoting::headers::{
    GetMaxOffsetRequest, OffsetResponse, QueryConsumerOffsetRequest, QueueRequest, SearchOffsetRequest,
    TimestampResponse, UpdateConsumerOffsetRequest,
};
use trireme_remoting::message::StoredMessage;
use trireme_remoting::{Frame, Responder, response};

use crate::features::scrub;
use crate::features::topics::Topic;
use crate::names;
use crate::queues::consume::{Boundary, QueueId, Unit};
use crate::replica::Shared;
use crate::router::{Refusal, Router, answer_when, refuse};
use crate::sequencer::SubmitError;

use super::NotTaken;

/// A message younger than this counts as "still in memory": what decides whether a new group starts at
/// the oldest message or at the end (`query`). RocketMQ asks whether the page is cached; we cannot know
/// that the same way on each replica, so we ask for its age.
const YOUNG_MS: i64 = 60 * 60 * 1000;

/// Code 15.
pub fn commit(shared: &Arc<Shared>, request: Frame, responder: Responder) {
    let taken =
        UpdateConsumerOffsetRequest::from_ext(&request.ext).map_err(Refusal::from).and_then(|header| {
            names::check_group(header.consumer_group)?;
            let queue = known_queue(shared, header.topic, header.queue_id)?;
            if header.commit_offset < 0 {
                let reason = format!("the position {} is negative", header.commit_offset);
                return Err(Refusal::new(response::INVALID_PARAMETER, reason));
            }
            Ok(shared.gather.add(header.consumer_group, header.topic, queue.queue_id, header.commit_offset))
        });
    match taken {
        Ok(Ok(())) if responder.is_oneway() => {}
        Ok(Ok(())) => {
            let flushed = shared.gather.flushed();
            let done = async move { flushed.await.unwrap_or_else(|_| Err(stopping())) };
            answer_when(shared, request, responder, done);
        }
        Ok(Err(NotTaken::HandingOver)) => Router::reroute(shared, request, responder),
        Ok(Err(NotTaken::TooMany)) => {
            let reason = "too many positions wait to be stored";
            Refusal::new(response::SERVICE_NOT_AVAILABLE, reason).reply(responder);
        }
        Err(refusal) => refusal.reply(responder),
    }
}

/// A position that came along with a pull: taken if this replica leads, dropped otherwise, for the
/// client commits it by itself too.
pub fn commit_along(shared: &Shared, group: &str, topic: &str, queue_id: u32, next: i64) {
    if shared.node.leadership().borrow().ready && names::check_group(group).is_ok() {
        // Not taken is as if it had not come along.
        let _ = shared.gather.add(group, topic, queue_id, next);
    }
}

/// Code 14.
pub fn query(shared: &Arc<Shared>, request: Frame, responder: Responder) {
    let asked =
        QueryConsumerOffsetRequest::from_ext(&request.ext).map_err(Refusal::from).and_then(|header| {
            let queue = known_queue(shared, header.topic, header.queue_id)?;
            let set_zero = header.set_zero_if_not_found.unwrap_or(true);
            Ok((header.consumer_group.to_owned(), header.topic.to_owned(), queue, set_zero))
        });
    let (group, topic, queue, set_zero) = match asked {
        Ok(asked) => asked,
        Err(refusal) => return refusal.reply(responder),
    };
    if !shared.gather.holds(&group, &topic, queue.queue_id) {
        return position(shared, &group, &topic, queue, set_zero, responder);
    }
    // What was committed but is not on a quorum yet must be, before it is told.
    let (shared, flushed) = (shared.clone(), shared.gather.flushed());
    tokio::spawn(async move {
        match flushed.await.unwrap_or_else(|_| Err(stopping())) {
            Ok(()) => position(&shared, &group, &topic, queue, set_zero, responder),
            Err(error) => refuse(&shared, request, responder, error),
        }
    });
}

fn position(
    shared: &Arc<Shared>,
    group: &str,
    topic: &str,
    queue: QueueId,
    set_zero: bool,
    responder: Responder,
) {
    let stored = shared.state.read().offsets.get(group, topic, queue.queue_id);
    if let Some(offset) = stored {
        return respond_offset(responder, offset);
    }
    let reason = format!("the group {group} has no position in queue {} of {topic}", queue.queue_id);
    let none = Refusal::new(response::QUERY_NOT_FOUND, reason);
    if !set_zero {
        return none.reply(responder);
    }
    let asked = shared.clone();
    shared.readers.answer(responder, move |responder| match starts_at_zero(&asked, queue) {
        true => respond_offset(responder, 0),
        false => none.reply(responder),
    });
}

/// A new group on a young queue starts at its first message, whatever it asked for: otherwise a message
/// that was sent just before its first consumer started would be missed (protocol sheet 6.3).
fn starts_at_zero(shared: &Shared, queue: QueueId) -> bool {
    let bounds = shared.queues.bounds(queue);
    if bounds.min_queue_offset > 0 {
        return false;
    }
    match store_time(shared, queue, 0) {
        Ok(Some(stored)) => shared.clock.now_ms() - stored < YOUNG_MS,
        Ok(None) => true,
        Err(_) => false,
    }
}

/// Code 30.
pub fn max_offset(shared: &Arc<Shared>, request: &Frame, responder: Responder) {
    let queue = GetMaxOffsetRequest::from_ext(&request.ext)
        .map_err(Refusal::from)
        .and_then(|header| known_queue(shared, header.topic, header.queue_id));
    respond_bound(responder, queue.map(|queue| shared.queues.next_queue_offset(queue)));
}

/// Code 31.
pub fn min_offset(shared: &Arc<Shared>, request: &Frame, responder: Responder) {
    let queue = QueueRequest::from_ext(&request.ext)
        .map_err(Refusal::from)
        .and_then(|header| known_queue(shared, header.topic, header.queue_id));
    respond_bound(responder, queue.map(|queue| shared.queues.min_queue_offset(queue)));
}

/// Code 29.
pub fn search_by_time(shared: &Arc<Shared>, request: &Frame, responder: Responder) {
    let asked = SearchOffsetRequest::from_ext(&request.ext).map_err(Refusal::from).and_then(|header| {
        let queue = known_queue(shared, header.topic, header.queue_id)?;
        let boundary = match header.boundary_type {
            Some(upper) if upper.eq_ignore_ascii_case("UPPER") => Boundary::Upper,
            _ => Boundary::Lower,
        };
        Ok((queue, header.timestamp, boundary))
    });
    let (queue, timestamp, boundary) = match asked {
        Ok(asked) => asked,
        Err(refusal) => return refusal.reply(responder),
    };
    let asked = shared.clone();
    shared.readers.answer(responder, move |responder| {
        let store_time = |unit: &Unit| unit_store_time(&asked, unit);
        let found = asked.queues.offset_by_time::<SearchError>(queue, timestamp, boundary, store_time);
        respond_bound(responder, found.map_err(|error| Refusal::new(response::SYSTEM_ERROR, error.0)));
    });
}

/// Code 32.
pub fn earliest_store_time(shared: &Arc<Shared>, request: &Frame, responder: Responder) {
    let queue = QueueRequest::from_ext(&request.ext)
        .map_err(Refusal::from)
        .and_then(|header| known_queue(shared, header.topic, header.queue_id));
    let queue = match queue {
        Ok(queue) => queue,
        Err(refusal) => return refusal.reply(responder),
    };
    let asked = shared.clone();
    shared.readers.answer(responder, move |responder| {
        match store_time(&asked, queue, asked.queues.min_queue_offset(queue)) {
            // RocketMQ's answer for a queue that has no message.
            Ok(stored) => {
                let header = TimestampResponse { timestamp: stored.unwrap_or(-1) };
                responder.reply(Frame::response(response::SUCCESS).with_ext(header.to_ext()));
            }
            Err(error) => Refusal::new(response::SYSTEM_ERROR, error.0).reply(responder),
        }
    });
}

/// A search that could not read a queue or the log.
#[derive(Debug)]
struct SearchError(String);

impl From<crate::queues::Error> for SearchError {
    fn from(error: crate::queues::Error) -> Self {
        Self(error.to_string())
    }
}

fn store_time(shared: &Shared, queue: QueueId, queue_offset: u64) -> Result<Option<i64>, SearchError> {
    let mut units = Vec::with_capacity(1);
    scrub::units(shared, queue, queue_offset, 1, &mut units)?;
    units.first().map(|unit| unit_store_time(shared, unit)).transpose()
}

/// Waits for the disk.
fn unit_store_time(shared: &Shared, unit: &Unit) -> Result<i64, SearchError> {
    let log = shared.node.log();
    let bytes = scrub::load(shared, unit.physical_offset, unit.size)
        .and_then(|()| log.slice(unit.physical_offset, unit.size))
        .map_err(|error| SearchError(error.to_string()))?;
    let message = StoredMessage::parse(&bytes).map_err(|error| SearchError(error.to_string()))?;
    Ok(message.store_timestamp)
}

/// The queue, if its topic is there and has it.
pub fn known_queue(shared: &Shared, topic: &str, queue_id: i32) -> Result<QueueId, Refusal> {
    let state = shared.state.read();
    let Some(found) = state.topics.get(topic) else {
        return Err(Refusal::new(response::TOPIC_NOT_EXIST, format!("the topic {topic} does not exist")));
    };
    let queues = Topic::queues(found);
    match u32::try_from(queue_id).ok().filter(|queue_id| *queue_id < queues) {
        Some(queue_id) => Ok(QueueId { topic_id: found.id, queue_id }),
        None => Err(Refusal::new(
            response::INVALID_PARAMETER,
            format!("queue {queue_id} of the topic {topic} does not exist, it has {queues}"),
        )),
    }
}

fn respond_bound(responder: Responder, bound: Result<u64, Refusal>) {
    match bound {
        Ok(bound) => respond_offset(responder, i64::try_from(bound).unwrap_or(i64::MAX)),
        Err(refusal) => refusal.reply(responder),
    }
}

fn respond_offset(responder: Responder, offset: i64) {
    let header = OffsetResponse { offset };
    responder.reply(Frame::response(response::SUCCESS).with_ext(header.to_ext()));
}

fn stopping() -> SubmitError {
    SubmitError::Unknown("the replica is stopping".into())
}
