//! Answers to pulls: slices of the commit log.

use std::sync::Arc;

use trireme_commitlog::ReadError;
use trireme_remoting::headers::PullResponse;
use trireme_remoting::{Body, Frame, Responder, response};

use super::Found;
use crate::queues::Error;
use crate::queues::consume::QueueId;
use crate::replica::Shared;

/// The answer of the pull table. What may have to come from the disk is left to a reader.
pub fn found(shared: &Arc<Shared>, responder: Responder, found: Found) {
    let log = shared.node.log();
    // Physical offsets grow along a queue.
    if found.ranges.first().is_none_or(|oldest| log.is_recent(oldest.physical_offset)) {
        in_memory(shared, responder, &found);
    } else {
        shared.readers.load(shared, responder, found);
    }
}

/// The answer of the pull table, written from where it lies. Whoever writes it to the socket waits for what is not in
/// memory.
pub fn in_memory(shared: &Shared, responder: Responder, found: &Found) {
    let log = shared.node.log();
    let slice = |range: &super::Range| log.slice(range.physical_offset, range.bytes);
    let mut body = match found.ranges.iter().map(slice).collect::<Result<Vec<_>, _>>() {
        Ok(slices) => slices,
        Err(error) => return unreadable(shared, responder, found, &error),
    };
    let body = match body.len() {
        0 => Body::Empty,
        1 => Body::One(body.remove(0)),
        _ => Body::Many(body),
    };
    answer(responder, found.code, found.next, found, body);
}

/// The queue says that the messages are there, and the log does not have them.
pub fn unreadable(shared: &Shared, responder: Responder, found: &Found, error: &ReadError) {
    // Trimmed just now: the queue will know in a moment, and whoever comes again is told where it starts. Damaged: it is
    // about to be mended.
    if matches!(error, ReadError::Trimmed { .. }) || shared.scrub.is_hopeful(error) {
        return answer(responder, response::PULL_RETRY_IMMEDIATELY, found.from, found, Body::Empty);
    }
    tracing::error!(from = found.from, %error, "messages cannot be read");
    error_to(responder, error.to_string());
}

fn answer(responder: Responder, code: i32, next: i64, found: &Found, body: Body) {
    let header = PullResponse {
        suggest_which_broker_id: 0,
        next_begin_offset: next,
        min_offset: i64::try_from(found.bounds.min_queue_offset).unwrap_or(i64::MAX),
        max_offset: i64::try_from(found.bounds.next_queue_offset).unwrap_or(i64::MAX),
        offset_delta: None,
        topic_sys_flag: None,
        group_sys_flag: None,
        forbidden_type: None,
    };
    responder.reply_header(code, &header, body);
}

/// The messages are there, and where they lie cannot be read.
pub fn failed(shared: &Shared, responder: Responder, queue: QueueId, offset: i64, error: &Error) {
    if shared.scrub.is_queue_hopeful(error) {
        return again(shared, responder, queue, offset);
    }
    tracing::error!(%queue, offset, %error, "a pull failed");
    error_to(responder, error.to_string());
}

/// Has the client ask again.
pub fn again(shared: &Shared, responder: Responder, queue: QueueId, offset: i64) {
    let code = response::PULL_RETRY_IMMEDIATELY;
    let bounds = shared.queues.bounds(queue);
    let nothing = Found { code, from: offset, next: offset, bounds, ranges: Vec::new() };
    answer(responder, code, offset, &nothing, Body::Empty);
}

fn error_to(responder: Responder, reason: String) {
    responder.reply(Frame::response(response::SYSTEM_ERROR).with_remark(reason));
}
