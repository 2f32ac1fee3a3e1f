//! Request codes 11 and 361.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use trireme_raft::LogId;
use trireme_remoting::body::SubscriptionData;
use trireme_remoting::headers::{PULL_COMMIT_OFFSET, PULL_SUBSCRIPTION, PULL_SUSPEND, PullRequest};
use trireme_remoting::{Frame, Responder, response};

use super::parked::{Waiting, park};
use super::{Filter, Limits, read, respond};
use crate::features::topics::perm;
use crate::features::{groups, offsets};
use crate::queues::consume::QueueId;
use crate::replica::Shared;
use crate::router::{Refusal, Router};

/// Messages of one answer, whatever the client asks for.
const MAX_MESSAGES: usize = 1024;
/// Bytes of one answer unless the client names less: fills a socket buffer, and a frame by far not.
const MAX_BYTES: usize = 1024 * 1024;
/// The longest a pull may wait.
const MAX_SUSPEND: Duration = Duration::from_secs(60);
/// The longest a pull may wait at the leader for a client of another replica.
const FORWARDED_SUSPEND: Duration = Duration::from_secs(1);

/// A leader applies what is in its log within this, or lets the client come again.
const APPLIES_WITHIN: Duration = Duration::from_secs(1);

/// Answers a pull, parks it, or passes it on.
///
/// A follower may not know yet what the client saw at the leader: the subscription, the topic, or the
/// message that it pulled last. Telling it so would set it back, so the leader is asked instead; and whoever
/// passed the pull on to a replica that does not lead, or no more, hears that.
pub fn pull(shared: &Arc<Shared>, request: Frame, responder: Responder) {
    let behind = !shared.node.leads();
    let pull = match prepare(shared, &request) {
        Ok(pull) => pull,
        Err(_) if behind => return ask_leader(shared, request, responder),
        Err(refusal) => return refusal.reply(responder),
    };
    // Its units are in a file, and so are its messages.
    if u64::try_from(pull.offset).is_ok_and(|offset| offset < shared.queues.in_memory_from(pull.queue)) {
        return shared.readers.pull(shared, pull, request, responder);
    }
    answer(shared, pull, request, responder);
}

/// The same, for a pull that was looked at.
pub fn answer(shared: &Arc<Shared>, pull: Pull, request: Frame, responder: Responder) {
    answer_when_applied(shared, pull, request, responder, false);
}

/// The same. Unless this replica `has_applied` its log, it does not say yet that a queue ends before the pull's offset.
fn answer_when_applied(
    shared: &Arc<Shared>,
    pull: Pull,
    request: Frame,
    responder: Responder,
    has_applied: bool,
) {
    let behind = !shared.node.leads();
    let Pull { queue, offset, limits, filter, suspend } = pull;
    match read(shared, queue, offset, limits, &filter) {
        Ok(found) if found.code == response::PULL_OFFSET_MOVED && behind => {
            ask_leader(shared, request, responder);
        }
        Ok(found) if found.is_before(offset) && !has_applied => {
            let pull = Pull { queue, offset, limits, filter, suspend };
            tokio::spawn(apply_and_answer(shared.clone(), pull, request, responder));
        }
        Ok(found) if found.code == response::PULL_NOT_FOUND && !suspend.is_zero() => {
            let until = Instant::now() + suspend;
            let waiting = Waiting { queue, offset, limits, filter, responder, until };
            if let Some(back) = park(shared, waiting, &found) {
                respond::found(shared, back.responder, found);
            }
        }
        Ok(found) => respond::found(shared, responder, found),
        Err(error) => respond::failed(shared, responder, queue, offset, &error),
    }
}

/// Answers a pull of what this leader does not have, or has not applied yet. A follower may be ahead of it there, and may have
/// given the client what comes before.
async fn apply_and_answer(shared: Arc<Shared>, pull: Pull, request: Frame, responder: Responder) {
    let last = shared.node.log().last().map_or(0, |last| last.index);
    let mut applied = shared.node.applied();
    let is_enough = |applied: &Option<LogId>| last <= applied.map_or(0, |applied| applied.index);
    match timeout(APPLIES_WITHIN, applied.wait_for(is_enough)).await {
        Ok(Ok(_)) => answer_when_applied(&shared, pull, request, responder, true),
        _ => respond::again(&shared, responder, pull.queue, pull.offset),
    }
}

/// Passes a pull on. It may wait at the leader only as long as a forwarded request may take.
fn ask_leader(shared: &Arc<Shared>, mut request: Frame, responder: Responder) {
    request.ext.set("suspendTimeoutMillis", FORWARDED_SUSPEND.as_millis());
    Router::reroute(shared, request, responder);
}

/// A pull that may be answered.
pub struct Pull {
    queue: QueueId,
    offset: i64,
    limits: Limits,
    filter: Filter,
    /// Zero: answer at once.
    suspend: Duration,
}

fn prepare(shared: &Arc<Shared>, request: &Frame) -> Result<Pull, Refusal> {
    let header = PullRequest::from_ext(&request.ext)?;
    if shared.config.permission & perm::READ == 0 {
        return Err(Refusal::new(response::NO_PERMISSION, "the broker does not allow pulling"));
    }
    check_group(shared, header.consumer_group)?;
    let queue = queue_of(shared, header.topic, header.queue_id)?;
    let filter = filter_of(shared, &header)?;
    if header.sys_flag & PULL_COMMIT_OFFSET != 0 && header.commit_offset > 0 {
        offsets::commit_along(
            shared,
            header.consumer_group,
            header.topic,
            queue.queue_id,
            header.commit_offset,
        );
    }
    let positive = |n: i64| u64::try_from(n).unwrap_or(0);
    let suspend = if header.sys_flag & PULL_SUSPEND != 0 { header.suspend_timeout_millis } else { 0 };
    Ok(Pull {
        queue,
        offset: header.queue_offset,
        limits: Limits {
            messages: usize::try_from(header.max_msg_nums).unwrap_or(0).clamp(1, MAX_MESSAGES),
            bytes: header
                .max_msg_bytes
                .and_then(|n| usize::try_from(n).ok())
                .filter(|n| *n > 0)
                .unwrap_or(MAX_BYTES)
                .min(4 * MAX_BYTES),
        },
        filter,
        suspend: Duration::from_millis(positive(suspend)).min(MAX_SUSPEND),
    })
}

fn check_group(shared: &Arc<Shared>, name: &str) -> Result<(), Refusal> {
    let enabled = shared.state.read().groups.get(name).map(|group| group.consume_enable);
    match enabled {
        Some(true) => Ok(()),
        Some(false) => {
            Err(Refusal::new(response::NO_PERMISSION, format!("the consumer group {name} is disabled")))
        }
        None if shared.config.auto_create_group => {
            crate::names::check_group(name)?;
            groups::auto_create(shared, name);
            Ok(())
        }
        None => Err(Refusal::new(
            response::SUBSCRIPTION_GROUP_NOT_EXIST,
            format!("the consumer group {name} does not exist and may not be made by its first consumer"),
        )),
    }
}

fn queue_of(shared: &Shared, topic_name: &str, queue_id: i32) -> Result<QueueId, Refusal> {
    let state = shared.state.read();
    let Some(topic) = state.topics.get(topic_name) else {
        return Err(Refusal::new(
            response::TOPIC_NOT_EXIST,
            format!("the topic {topic_name} does not exist"),
        ));
    };
    if topic.perm & perm::READ == 0 {
        return Err(Refusal::new(response::NO_PERMISSION, format!("the topic {topic_name} may not be read")));
    }
    match u32::try_from(queue_id).ok().filter(|queue_id| *queue_id < topic.queues()) {
        Some(queue_id) => Ok(QueueId { topic_id: topic.id, queue_id }),
        None => Err(Refusal::new(
            response::INVALID_PARAMETER,
            format!("queue {queue_id} of the topic {topic_name} does not exist, it has {}", topic.queues()),
        )),
    }
}

fn filter_of(shared: &Shared, header: &PullRequest<'_>) -> Result<Filter, Refusal> {
    let is_tag =
        |kind: Option<&str>| kind.is_none_or(|kind| kind.is_empty() || kind == SubscriptionData::TAG);
    let no_sql =
        || Refusal::new(response::SYSTEM_ERROR, "this broker filters by tag only, not by SQL92 expressions");
    if header.sys_flag & PULL_SUBSCRIPTION != 0 {
        if !is_tag(header.expression_type) {
            return Err(no_sql());
        }
        return Filter::parse(header.subscription.unwrap_or_default())
            .map_err(|reason| Refusal::new(response::SUBSCRIPTION_PARSE_FAILED, reason));
    }
    let Some(subscription) = shared.clients.subscription(header.consumer_group, header.topic) else {
        return Err(Refusal::new(
            response::SUBSCRIPTION_NOT_EXIST,
            format!("the group {} has not subscribed to {}", header.consumer_group, header.topic),
        ));
    };
    if subscription.sub_version < header.sub_version {
        return Err(Refusal::new(
            response::SUBSCRIPTION_NOT_LATEST,
            format!(
                "the subscription of {} to {} is newer than this broker knows",
                header.consumer_group, header.topic
            ),
        ));
    }
    if subscription.is_tag() { Ok(Filter::from_subscription(&subscription)) } else { Err(no_sql()) }
}
