//! Request codes 41 and 42.

use std::sync::Arc;
use std::time::Instant;

use trireme_remoting::body::{LockBatchBody, LockBatchResponse};
use trireme_remoting::{Frame, Responder, response};

use crate::names;
use crate::replica::Shared;
use crate::router::Refusal;

/// Queues of one request.
const MAX_QUEUES: usize = 65_536;

/// Code 41.
pub fn lock(shared: &Arc<Shared>, request: &Frame, responder: Responder) {
    match checked(request) {
        Ok(body) => {
            let now = Instant::now();
            let lock_ok_mq_set = shared.locks.lock(&body.consumer_group, &body.client_id, &body.mq_set, now);
            let body = LockBatchResponse { lock_ok_mq_set }.encode();
            responder.reply(Frame::response(response::SUCCESS).with_body(body));
        }
        Err(refusal) => refusal.reply(responder),
    }
}

/// Code 42.
pub fn unlock(shared: &Arc<Shared>, request: &Frame, responder: Responder) {
    match checked(request) {
        Ok(body) => {
            shared.locks.unlock(&body.consumer_group, &body.client_id, &body.mq_set);
            responder.reply(Frame::response(response::SUCCESS));
        }
        Err(refusal) => refusal.reply(responder),
    }
}

fn checked(request: &Frame) -> Result<LockBatchBody, Refusal> {
    let body = LockBatchBody::decode(request.body.as_slice())
        .map_err(|error| Refusal::new(response::SYSTEM_ERROR, format!("the queues to lock: {error}")))?;
    names::check_group(&body.consumer_group)?;
    if body.mq_set.len() > MAX_QUEUES {
        let reason = format!("{} queues in one request, at most {MAX_QUEUES} are allowed", body.mq_set.len());
        return Err(Refusal::new(response::INVALID_PARAMETER, reason));
    }
    Ok(body)
}
