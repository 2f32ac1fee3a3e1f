//! Requests that only the leader may answer, at a replica that does not lead.
//!
//! While there is no leader a request waits for one: an election takes less than a second, and a client
//! that were refused at once would use up its retries in a few milliseconds. What cannot have been done
//! is tried again; what may have been done is answered "unknown", and the client decides.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use trireme_planted::{self as planted, Defect};
use trireme_raft::node::Leadership;
use trireme_remoting::{Frame, InvokeError, Responder, response};

use super::{Refusal, dispatch, plain};
use crate::features::members;
use crate::replica::Shared;
use crate::sequencer::{CUT_OFF, Sequencer};

/// Marks a request that was passed on already, and carries the address of the client that sent it.
const FORWARDED: &str = "TRIREME_FORWARDED";
/// In an answer: where the leader takes requests, `host:port`.
const LEADER: &str = "LEADER_ADDR";

/// In an answer to who passed a request on: it was not done, and who leads now is to be asked.
const NOT_DONE: &str = "TRIREME_NOT_DONE";

/// Requests of a replica that wait for a leader or its answer. One more is refused.
pub const MAX_WAITING: usize = 16_384;
/// A leader that is asked has so long to answer, at least. One that is not heard of for so long may stand still.
const SILENT_FOR: Duration = Duration::from_secs(2);
/// Who led has so long for its answers when another one leads.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// Between two tries to reach a leader that is known but does not answer.
const RETRY_EVERY: Duration = Duration::from_millis(50);
/// Before this replica is tried again that leads but takes nothing: it has only just been elected, or hands
/// over to another.
const COME_BACK_AFTER: Duration = Duration::from_millis(5);

/// Whether another replica passed this request on.
pub fn is_forwarded(request: &Frame) -> bool {
    request.ext.contains(FORWARDED)
}

/// The client's address, also when another replica passed its request on.
pub fn born_host(request: &Frame, responder: &Responder) -> SocketAddr {
    let told = request.ext.get(FORWARDED).and_then(|text| text.parse().ok());
    told.unwrap_or_else(|| plain(responder.connection().peer_addr()))
}

/// The request as it is passed on.
pub fn marked(mut request: Frame, born_host: Option<SocketAddr>) -> Frame {
    match born_host {
        Some(addr) => request.ext.set(FORWARDED, addr),
        None => request.ext.set(FORWARDED, "-"),
    }
    request
}

/// Where the leader takes requests; `None` if there is none or it is us.
pub fn leader(shared: &Shared) -> Option<String> {
    let leader = shared.node.leadership().borrow().leader?;
    other(shared, leader)
}

/// Where a replica takes requests that is not this one.
fn other(shared: &Shared, node: u64) -> Option<String> {
    if node == shared.config.node {
        return None;
    }
    members::addr_of(shared, node).map(|addr| addr.to_string())
}

/// Passes a request on to the leader and its answer back, waiting for a leader if there is none.
/// `came_back`: this replica has just refused it as one that does not lead, whatever it believes.
pub fn forward(shared: Arc<Shared>, request: Frame, responder: Responder, came_back: bool) {
    let Ok(waiting) = shared.waiting.clone().try_acquire_owned() else {
        let reason = format!("{MAX_WAITING} requests wait for a leader already");
        return Refusal::new(response::SERVICE_NOT_AVAILABLE, reason).reply(responder);
    };
    tokio::spawn(async move {
        let _waiting = waiting;
        run(&shared, request, responder, came_back).await;
    });
}

async fn run(shared: &Arc<Shared>, request: Frame, responder: Responder, mut came_back: bool) {
    let mut leadership = shared.node.leadership();
    let passed_on_already = is_forwarded(&request);
    // Who passed it on waits longer, and hears that it was not done.
    let patience = if passed_on_already { Sequencer::patience() / 2 } else { Sequencer::patience() };
    let deadline = Instant::now() + patience;
    loop {
        let now = leadership.borrow_and_update().clone();
        let ours = shared.node.leads() && !std::mem::take(&mut came_back);
        if ours {
            if let Ok(code) = request.request_code() {
                dispatch(shared, code, request, responder);
            }
            return;
        }
        let other = now.leader.and_then(|leader| other(shared, leader));
        if passed_on_already && (other.is_some() || now.cut_off || Instant::now() >= deadline) {
            let mut answer = Frame::response(response::SERVICE_NOT_AVAILABLE)
                .with_remark("this replica does not lead its group any more");
            answer.ext.set(NOT_DONE, true);
            return responder.reply(answer);
        }
        // Who asks elsewhere may find the one that leads now; from here it cannot be reached.
        if now.cut_off {
            return Refusal::new(response::SERVICE_NOT_AVAILABLE, CUT_OFF).reply(responder);
        }
        // One that is not heard of may stand still: what is not sent to it is not done, and the next leader can be asked.
        let mut heartbeat = pin!(shared.node.next_heartbeat());
        heartbeat.as_mut().enable();
        let is_heard = shared.node.hears_leader();
        if let Some(addr) = other.filter(|_| is_heard) {
            let copy = marked(request.clone(), Some(born_host(&request, &responder)));
            let asked = Instant::now();
            let left = deadline.saturating_duration_since(asked).max(SILENT_FOR);
            let answer = shared.remote.invoke(&addr, copy, left);
            match unless_replaced(answer, shared.node.leadership(), now.leader).await {
                Ok(answer) if answer.ext.contains(NOT_DONE) => {}
                Ok(answer) => return pass_back(answer, &addr, responder),
                // Never reached it, so it was not done.
                Err(InvokeError::Connect { .. }) => {}
                Err(_) if planted::is(Defect::UnknownSentAgain) => {}
                Err(error) => {
                    // One that only has much to do answers others meanwhile, and theirs shall not be lost.
                    if matches!(error, InvokeError::Timeout { .. })
                        && shared.remote.disconnect_silent(&addr, asked)
                    {
                        tracing::warn!(%addr, "the leader is silent, leaving it");
                    }
                    let reason = format!("the outcome is unknown: {error}");
                    let code = match planted::is(Defect::UnknownToldAsRefused) {
                        true => response::SERVICE_NOT_AVAILABLE,
                        false => response::SYSTEM_ERROR,
                    };
                    return Refusal::new(code, reason).reply(responder);
                }
            }
        }
        if Instant::now() >= deadline {
            let reason = "the group has no leader now; it is electing one, or too few replicas are alive";
            return Refusal::new(response::SERVICE_NOT_AVAILABLE, reason).reply(responder);
        }
        // A leader that is known but cannot be reached is tried again shortly, dead or just starting.
        let next_try = match now.leader {
            _ if shared.node.leads() => Instant::now() + COME_BACK_AFTER,
            // Ready, but without its lease. It is answered again soon, or gives its term up.
            _ if now.ready => Instant::now() + RETRY_EVERY,
            Some(_) if is_heard => Instant::now() + RETRY_EVERY,
            _ => deadline,
        };
        tokio::select! {
            changed = leadership.changed() => if changed.is_err() {
                return Refusal::new(response::SERVICE_NOT_AVAILABLE, "the replica is stopping").reply(responder);
            },
            () = heartbeat, if !is_heard => {}
            () = tokio::time::sleep_until(next_try.min(deadline)) => {}
        }
    }
}

/// The answer of who led; or that there is none, soon after another one leads. One that handed over answers still, one that
/// stands still does not.
async fn unless_replaced(
    answer: impl Future<Output = Result<Frame, InvokeError>>,
    mut leadership: watch::Receiver<Leadership>,
    led: Option<u64>,
) -> Result<Frame, InvokeError> {
    let replaced = async {
        let another = leadership.wait_for(|now| now.leader.is_some() && now.leader != led).await.is_ok();
        match another {
            true => tokio::time::sleep(LAST_WORDS).await,
            // The replica stops.
            false => std::future::pending().await,
        }
    };
    tokio::select! {
        answer = answer => answer,
        () = replaced => Err(InvokeError::Timeout {
            addr: format!("replica {}, which led", led.unwrap_or_default()),
            code: 0,
            after: LAST_WORDS,
        }),
    }
}

fn pass_back(answer: Frame, leader: &str, responder: Responder) {
    let mut back = Frame::response(answer.code).with_body(answer.body);
    back.remark = answer.remark;
    back.ext = answer.ext;
    back.ext.set(LEADER, leader);
    responder.reply(back);
}
