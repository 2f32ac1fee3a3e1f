//! One pull at one replica.

use std::time::Duration;

use trireme_remoting::headers::{PULL_SUBSCRIPTION, PULL_SUSPEND, PullRequest, PullResponse};
use trireme_remoting::{Frame, InvokeError, RequestCode, response};

use super::subscription::Subscription;
use crate::error::ClientError;
use crate::instance::{Instance, peer};
use crate::message::{MessageQueue, ReceivedMessage};
use crate::route::{Awaited, Broker, Replica};

/// How much longer than it may be held a pull may take. RocketMQ looks only every 5 s which ones to let go.
const MARGIN: Duration = Duration::from_secs(10);

/// What to pull.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fetch<'a> {
    pub(super) group: &'a str,
    pub(super) queue: &'a MessageQueue,
    pub(super) offset: i64,
    pub(super) max_messages: usize,
    pub(super) subscription: &'a Subscription,
    /// How long the broker may wait for messages.
    pub(super) hold: Duration,
}

/// What a pull brought.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) outcome: Outcome,
    /// The offset to pull next.
    pub(super) next: i64,
    /// The queue's first offset.
    pub(super) min: i64,
    /// The queue's end, exclusive.
    pub(super) max: i64,
    /// The broker id to pull from next time.
    pub(super) suggested: i64,
    /// Whether the answer is the leader's, as far as is known.
    pub(super) from_leader: bool,
}

/// Whether there were messages.
#[derive(Debug)]
pub(super) enum Outcome {
    Messages(Vec<ReceivedMessage>),
    /// None at this offset, or none with the tags asked for up to the next.
    Nothing,
    /// The offset is before the queue's first message or behind its end.
    OutOfRange,
}

/// Why a pull brought nothing.
#[derive(Debug)]
pub(super) enum FetchError {
    /// No answer.
    Silent(InvokeError),
    /// An answer, but no page.
    Refused { code: i32, error: ClientError },
}

impl FetchError {
    /// As the user is told.
    pub(super) fn into_error(self, queue: &MessageQueue, after: Duration) -> ClientError {
        match self {
            Self::Silent(source) => ClientError::NoAnswer {
                operation: RequestCode::PullMessage.name(),
                broker: queue.broker_name.to_string(),
                after,
                source,
            },
            Self::Refused { error, .. } => error,
        }
    }
}

/// Pulls from one replica.
pub(super) async fn fetch(
    instance: &Instance,
    broker: &Broker,
    replica: &Replica,
    fetch: &Fetch<'_>,
) -> Result<Page, FetchError> {
    let from_leader = broker.leader().is_some_and(|leader| *leader == *replica);
    let request = request(instance, fetch);
    let timeout = if fetch.hold.is_zero() { instance.config.request_timeout } else { fetch.hold + MARGIN };
    let awaited = if fetch.hold.is_zero() { Awaited::Soon } else { Awaited::Held };
    let answer = instance.try_replica(broker, replica, awaited, request, timeout).await;
    let answer = answer.map_err(FetchError::Silent)?;
    let page = page(fetch, &answer, from_leader);
    page.map_err(|reason| {
        let peer = peer(&broker.name, replica);
        let error = match reason {
            Some(reason) => ClientError::answer(RequestCode::PullMessage, &peer, reason),
            None => ClientError::refused(RequestCode::PullMessage, peer, &answer),
        };
        FetchError::Refused { code: answer.code, error }
    })
}

fn request(instance: &Instance, fetch: &Fetch<'_>) -> Frame {
    let mut sys_flag = PULL_SUBSCRIPTION;
    if !fetch.hold.is_zero() {
        sys_flag |= PULL_SUSPEND;
    }
    let header = PullRequest {
        consumer_group: fetch.group,
        topic: &fetch.queue.topic,
        queue_id: fetch.queue.queue_id,
        queue_offset: fetch.offset,
        max_msg_nums: i32::try_from(fetch.max_messages).unwrap_or(i32::MAX),
        sys_flag,
        // Pulls commit nothing: one that is held can reach the broker before a commit and be dealt with after it,
        // and would throw the group back.
        commit_offset: 0,
        suspend_timeout_millis: fetch.hold.as_millis() as i64,
        // The broker knows it from heartbeats too, but a new leader not at once.
        subscription: Some(&fetch.subscription.data.sub_string),
        sub_version: fetch.subscription.data.sub_version,
        expression_type: Some(&fetch.subscription.data.expression_type),
        max_msg_bytes: None,
        request_source: None,
        proxy_forward_client_id: None,
    };
    instance.request(RequestCode::PullMessage).with_ext(header.to_ext())
}

/// Errors: what is wrong with the answer; nothing if it is a refusal.
fn page(fetch: &Fetch<'_>, answer: &Frame, from_leader: bool) -> Result<Page, Option<String>> {
    let outcome = match answer.code {
        response::SUCCESS => {
            let queue = fetch.queue;
            let chunk = answer.body.to_bytes();
            let messages = ReceivedMessage::decode_all(&chunk, &queue.topic, &queue.broker_name);
            Outcome::Messages(messages.map_err(|error| Some(error.to_string()))?)
        }
        response::PULL_NOT_FOUND | response::PULL_RETRY_IMMEDIATELY => Outcome::Nothing,
        response::PULL_OFFSET_MOVED => Outcome::OutOfRange,
        _ => return Err(None),
    };
    let header = PullResponse::from_ext(&answer.ext).map_err(|error| Some(error.to_string()))?;
    Ok(Page {
        outcome,
        next: header.next_begin_offset,
        min: header.min_offset,
        max: header.max_offset,
        suggested: header.suggest_which_broker_id,
        from_leader,
    })
}
