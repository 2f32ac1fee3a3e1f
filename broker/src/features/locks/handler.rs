//! Request codes 41 and 42.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::MutexGuard;
use trireme_planted::{self as planted, Defect};
use trireme_remoting::body::{LockBatchBody, LockBatchResponse, MessageQueue};
use trireme_remoting::{Frame, Responder, response};

use super::table::{Held, Place};
use super::{LockState, Locking};
use crate::command::Command;
use crate::features::topics::Topic;
use crate::names;
use crate::replica::Shared;
use crate::router::{Refusal, Router, answer_when, refuse};
use crate::sequencer::{Proposed, SubmitError};

/// Queues of one request.
const MAX_QUEUES: usize = 65_536;
/// The group must write formats of this version at least; before, a new leader knows of no locks.
const SINCE_VERSION: u32 = 3;

/// Code 41: answers when the group knows who holds what was locked. A renewal changes nothing and is answered at once. Queues
/// that do not exist cannot be held.
pub fn lock(shared: &Arc<Shared>, request: Frame, responder: Responder) {
    let body = match checked(&request) {
        Ok(body) => body,
        Err(refusal) => return refusal.reply(responder),
    };
    let Some((term, mut held)) = now_held(shared) else {
        return Router::reroute(shared, request, responder);
    };
    let LockBatchBody { consumer_group: group, client_id, mq_set, .. } = body;
    let granted = {
        let state = shared.state.read();
        let exists = |queue: &&MessageQueue| {
            let queues = state.topics.get(&queue.topic).map_or(0, Topic::queues);
            u32::try_from(queue.queue_id).is_ok_and(|queue_id| queue_id < queues)
        };
        let places: Vec<Place> = mq_set.iter().filter(exists).map(place).collect();
        let replicated = is_written(shared).then_some(&state.locks);
        held.lock(&group, &client_id, &places, Instant::now(), replicated)
    };
    // As long as the table is held: what is granted next is written behind this.
    let written = write(shared, term, Command::Lock, &group, &client_id, &granted.to_write);
    drop(held);
    let mut lock_ok_mq_set = mq_set;
    let locked: HashSet<&Place> = granted.held.iter().collect();
    lock_ok_mq_set.retain(|queue| locked.contains(&place(queue)));
    let answer = Frame::response(response::SUCCESS).with_body(LockBatchResponse { lock_ok_mq_set }.encode());
    let Some(written) = written else { return responder.reply(answer) };
    let shared = shared.clone();
    tokio::spawn(async move {
        let written = match written {
            Ok(written) => written.await,
            Err(error) => Err(error),
        };
        if let Some((_, mut held)) = now_held(&shared).filter(|(now, _)| *now == term) {
            match &written {
                Ok(_) => held.is_written(&group, &granted),
                Err(SubmitError::Unknown(_)) => {}
                Err(_) => held.is_refused(&group, &granted),
            }
        }
        match written {
            Ok(_) => responder.reply(answer),
            Err(error) => refuse(&shared, request, responder, error),
        }
    });
}

/// Code 42: answers when the group knows.
pub fn unlock(shared: &Arc<Shared>, request: Frame, responder: Responder) {
    let body = match checked(&request) {
        Ok(body) => body,
        Err(refusal) => return refusal.reply(responder),
    };
    let Some((term, mut held)) = now_held(shared) else {
        return Router::reroute(shared, request, responder);
    };
    let places: Vec<Place> = body.mq_set.iter().map(place).collect();
    let freed = held.unlock(&body.consumer_group, &body.client_id, &places);
    let written = write(shared, term, Command::Unlock, &body.consumer_group, &body.client_id, &freed);
    drop(held);
    match written {
        None => responder.reply(Frame::response(response::SUCCESS)),
        Some(written) => answer_when(shared, request, responder, async move { written?.await.map(drop) }),
    }
}

/// Whether the group consumes in order: somebody holds a queue. Not to be called by who holds the state's lock.
pub fn is_ordered(shared: &Shared, group: &str) -> bool {
    now_held(shared).is_some_and(|(_, held)| held.holds(group, Instant::now()))
}

/// The table of the term that this replica leads. `None`: it leads none.
fn now_held(shared: &Shared) -> Option<(u64, MutexGuard<'_, Held>)> {
    // Before it is ready it has not applied what its predecessors granted.
    let term = {
        let leadership = shared.node.leadership();
        let now = leadership.borrow();
        now.ready.then_some(now.term)?
    };
    let replicated = || match planted::is(Defect::LocksNotKept) {
        true => LockState::default(),
        false => shared.state.read().locks.clone(),
    };
    Some((term, shared.locks.in_term(term, Instant::now(), replicated)?))
}

/// Whether locks are written: all replicas know of them.
fn is_written(shared: &Shared) -> bool {
    shared.node.peers().group_version() >= SINCE_VERSION
}

fn place(queue: &MessageQueue) -> Place {
    (queue.topic.clone(), queue.queue_id)
}

/// Proposes it. `None`: there is nothing to write, or nobody may.
fn write(
    shared: &Shared,
    term: u64,
    command: impl FnOnce(Locking) -> Command,
    group: &str,
    client_id: &str,
    places: &[Place],
) -> Option<Result<Proposed, SubmitError>> {
    if places.is_empty() || !is_written(shared) {
        return None;
    }
    let mut queues: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for (topic, queue_id) in places {
        queues.entry(topic.clone()).or_default().push(*queue_id);
    }
    let locking = Locking { group: group.to_owned(), client_id: client_id.to_owned(), queues };
    Some(shared.sequencer.submit_in(term, |submission| {
        submission.command(command(locking));
        Ok(())
    }))
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
