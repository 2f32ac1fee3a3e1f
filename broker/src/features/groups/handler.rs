//! Request codes 200, 207, 201, 352, and groups made by their first consumer.

use std::sync::Arc;

use trireme_remoting::body::{DataVersion, SubscriptionGroupConfig, SubscriptionGroupWrapper};
use trireme_remoting::headers::{DeleteSubscriptionGroupRequest, GroupRequest};
use trireme_remoting::{Frame, Responder, response};

use super::{DeleteGroup, Group, PutGroup};
use crate::command::Command;
use crate::names;
use crate::replica::Shared;
use crate::router::{Refusal, answer_when};

/// Bytes of one group's attributes: they are in the log and in each checkpoint.
const MAX_ATTRIBUTE_BYTES: usize = 8 * 1024;

/// Makes a group with RocketMQ's defaults if it is missing. Does not wait: until it is applied the
/// defaults hold anyway.
pub fn auto_create(shared: &Arc<Shared>, name: &str) {
    if !shared.config.auto_create_group || shared.state.read().groups.get(name).is_some() {
        return;
    }
    let put = PutGroup { name: name.to_owned(), group: Group::default(), only_if_missing: true };
    let shared = shared.clone();
    tokio::spawn(async move {
        // Only the leader proposes; on a follower the group's heartbeat reaches the leader as well.
        if let Err(error) = shared.sequencer.propose(vec![Command::PutGroup(put)]).await {
            tracing::debug!(%error, "a consumer group was not made here");
        }
    });
}

/// Code 200.
pub fn put(shared: &Arc<Shared>, request: Frame, responder: Responder) {
    let config = SubscriptionGroupConfig::decode(request.body.as_slice())
        .map_err(|error| Refusal::new(response::SYSTEM_ERROR, format!("the group's settings: {error}")));
    let checked = config.and_then(|config| {
        names::check_group(&config.group_name)?;
        Ok(PutGroup { name: config.group_name.clone(), group: group(&config)?, only_if_missing: false })
    });
    match checked {
        Ok(put) => {
            let task = shared.clone();
            answer_when(shared, request, responder, async move {
                task.sequencer.propose(vec![Command::PutGroup(put)]).await.map(drop)
            });
        }
        Err(refusal) => refusal.reply(responder),
    }
}

/// Code 207.
pub fn delete(shared: &Arc<Shared>, request: Frame, responder: Responder) {
    let header = match DeleteSubscriptionGroupRequest::from_ext(&request.ext) {
        Ok(header) => header,
        Err(error) => return Refusal::from(error).reply(responder),
    };
    if let Err(error) = names::check_group(header.group_name) {
        return Refusal::from(error).reply(responder);
    }
    let delete = DeleteGroup {
        name: header.group_name.to_owned(),
        forget_offsets: header.clean_offset.unwrap_or(false),
    };
    let task = shared.clone();
    answer_when(shared, request, responder, async move {
        task.sequencer.propose(vec![Command::DeleteGroup(delete)]).await.map(drop)
    });
}

/// Code 352.
pub fn get_one(shared: &Arc<Shared>, request: &Frame, responder: Responder) {
    let header = match GroupRequest::from_ext(&request.ext) {
        Ok(header) => header,
        Err(error) => return Refusal::from(error).reply(responder),
    };
    let found = shared.state.read().groups.get(header.group).map(|group| config(header.group, group));
    match found {
        Some(config) => responder.reply(Frame::response(response::SUCCESS).with_body(config.encode())),
        None => {
            let reason = format!("the consumer group {} does not exist", header.group);
            Refusal::new(response::SUBSCRIPTION_GROUP_NOT_EXIST, reason).reply(responder);
        }
    }
}

/// Code 201.
pub fn get_all(shared: &Arc<Shared>, responder: Responder) {
    let term = shared.node.leadership().borrow().term;
    let wrapper = {
        let state = shared.state.read();
        SubscriptionGroupWrapper {
            data_version: DataVersion {
                counter: i64::try_from(state.groups.changes()).unwrap_or(i64::MAX),
                state_version: i64::try_from(term).unwrap_or(i64::MAX),
                timestamp: state.general.last_store_timestamp,
            },
            subscription_group_table: state
                .groups
                .iter()
                .map(|(name, group)| (name.clone(), config(name, group)))
                .collect(),
            ..SubscriptionGroupWrapper::default()
        }
    };
    responder.reply(Frame::response(response::SUCCESS).with_body(wrapper.encode()));
}

fn group(config: &SubscriptionGroupConfig) -> Result<Group, Refusal> {
    let bytes: usize = config.attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > MAX_ATTRIBUTE_BYTES {
        let reason = format!("the attributes have {bytes} bytes, at most {MAX_ATTRIBUTE_BYTES} are allowed");
        return Err(Refusal::new(response::INVALID_PARAMETER, reason));
    }
    let retry_queues = u32::try_from(config.retry_queue_nums).map_err(|_| {
        let reason = format!("retryQueueNums is {}, it may not be negative", config.retry_queue_nums);
        Refusal::new(response::INVALID_PARAMETER, reason)
    })?;
    Ok(Group {
        consume_enable: config.consume_enable,
        consume_from_min_enable: config.consume_from_min_enable,
        consume_broadcast_enable: config.consume_broadcast_enable,
        consume_orderly: config.consume_message_orderly,
        retry_queues,
        retry_max_times: config.retry_max_times,
        broker_id: config.broker_id,
        which_broker_when_slow: config.which_broker_when_consume_slowly,
        notify_changes: config.notify_consumer_ids_changed_enable,
        sys_flag: config.group_sys_flag,
        consume_timeout_minutes: config.consume_timeout_minute,
        attributes: config.attributes.clone(),
    })
}

fn config(name: &str, group: &Group) -> SubscriptionGroupConfig {
    SubscriptionGroupConfig {
        attributes: group.attributes.clone(),
        broker_id: group.broker_id,
        consume_broadcast_enable: group.consume_broadcast_enable,
        consume_enable: group.consume_enable,
        consume_from_min_enable: group.consume_from_min_enable,
        consume_message_orderly: group.consume_orderly,
        consume_timeout_minute: group.consume_timeout_minutes,
        group_name: name.to_owned(),
        group_sys_flag: group.sys_flag,
        notify_consumer_ids_changed_enable: group.notify_changes,
        retry_max_times: group.retry_max_times,
        retry_queue_nums: i32::try_from(group.retry_queues).unwrap_or(i32::MAX),
        which_broker_when_consume_slowly: group.which_broker_when_slow,
        ..SubscriptionGroupConfig::default()
    }
}
