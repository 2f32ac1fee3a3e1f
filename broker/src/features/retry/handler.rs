//! Request code 36.

use std::sync::Arc;

use bytes::Bytes;
use trireme_planted::{self as planted, Defect};
use trireme_remoting::headers::ConsumerSendMsgBackRequest;
use trireme_remoting::message::{
    OffsetMsgId, StoredMessage, StoredMessageFields, properties, property, tags_code,
};
use trireme_remoting::{Frame, Responder, response};

use crate::features::send::scan;
use crate::features::topics::{self, perm};
use crate::features::{delay, pull};
use crate::names;
use crate::replica::Shared;
use crate::router::{Refusal, answer_when};
use crate::sequencer::SubmitError;

/// Takes a message back; answers when its copy is applied.
pub fn send_back(shared: &Arc<Shared>, request: Frame, responder: Responder) {
    match plan(shared, &request) {
        Ok(Some(plan)) => {
            let task = shared.clone();
            answer_when(shared, request, responder, async move { store(&task, plan).await });
        }
        // A group without retry queues does not want retries: RocketMQ drops the message silently.
        Ok(None) => responder.reply(Frame::response(response::SUCCESS)),
        Err(refusal) => refusal.reply(responder),
    }
}

/// The copy to be stored.
struct Plan {
    original: Bytes,
    topic: String,
    queues: u32,
    /// 0 for a dead letter.
    delay_level: i32,
    properties: String,
}

fn plan(shared: &Shared, request: &Frame) -> Result<Option<Plan>, Refusal> {
    let header = ConsumerSendMsgBackRequest::from_ext(&request.ext)?;
    names::check_group(header.group)?;
    let group = shared.state.read().groups.get(header.group).cloned();
    let Some(group) = group else {
        return Err(Refusal::new(
            response::SUBSCRIPTION_GROUP_NOT_EXIST,
            format!("the consumer group {} does not exist", header.group),
        ));
    };
    if group.retry_queues == 0 {
        return Ok(None);
    }
    let Some(original) = pull::message_at(shared, header.offset) else {
        return Err(Refusal::new(
            response::SYSTEM_ERROR,
            format!("there is no message at physical offset {}", header.offset),
        ));
    };
    let message = StoredMessage::parse(&original)
        .map_err(|error| Refusal::new(response::SYSTEM_ERROR, error.to_string()))?;
    let max = header.max_reconsume_times.unwrap_or(group.retry_max_times);
    if planted::is(Defect::GivenBackLost) && message.physical_offset % 10 == 0 {
        return Ok(None);
    }
    let max = if planted::is(Defect::DeadTooEarly) { max - 1 } else { max };
    let given_up = message.reconsume_times >= max || header.delay_level < 0;
    let mut text = message.properties.to_owned();
    let seen = scan(message.properties);
    let first_topic = seen.retry_topic.unwrap_or(message.topic).to_owned();
    let id =
        OffsetMsgId { store_host: message.store_host, physical_offset: message.physical_offset }.to_string();
    let first_id = seen.origin_message_id.map_or(id, str::to_owned);
    properties::set(&mut text, property::RETRY_TOPIC, &first_topic);
    properties::set(&mut text, property::ORIGIN_MESSAGE_ID, &first_id);
    for gone in [property::DELAY_TIME_LEVEL, property::REAL_TOPIC, property::REAL_QUEUE_ID] {
        properties::remove(&mut text, gone);
    }
    if given_up {
        properties::set(&mut text, property::DLQ_ORIGIN_TOPIC, &first_topic);
        properties::set(&mut text, property::DLQ_ORIGIN_MESSAGE_ID, &first_id);
        let topic = names::dlq_topic(header.group);
        return Ok(Some(Plan {
            original: original.clone(),
            topic,
            queues: 1,
            delay_level: 0,
            properties: text,
        }));
    }
    let level =
        if header.delay_level == 0 { message.reconsume_times.saturating_add(3) } else { header.delay_level };
    properties::set(&mut text, property::DELAY_TIME_LEVEL, &level.to_string());
    Ok(Some(Plan {
        original: original.clone(),
        topic: names::retry_topic(header.group),
        queues: group.retry_queues,
        delay_level: level,
        properties: text,
    }))
}

async fn store(shared: &Arc<Shared>, plan: Plan) -> Result<(), SubmitError> {
    topics::auto_create(shared, &plan.topic, plan.queues, perm::READ | perm::WRITE).await?;
    let (topic_id, queues) = {
        let state = shared.state.read();
        let Some(topic) = state.topics.get(&plan.topic) else {
            return Err(SubmitError::Unknown(format!("the topic {} was deleted meanwhile", plan.topic)));
        };
        (topic.id, topic.write_queues.max(1))
    };
    let message = StoredMessage::parse(&plan.original)?;
    let queue_id = i32::try_from(message.physical_offset.rem_euclid(i64::from(queues))).unwrap_or(0);
    let mut fields = StoredMessageFields {
        topic: &plan.topic,
        queue_id,
        reconsume_times: message.reconsume_times.saturating_add(1),
        properties: &plan.properties,
        store_host: shared.config.broker_addr(),
        ..StoredMessageFields::from(message)
    };
    let seen = scan(&plan.properties);
    let (tags, keys) = (tags_code(seen.tags), seen.message_keys());
    let stored = shared.sequencer.propose_with(|submission| {
        if plan.delay_level == 0 {
            return submission.message(topic_id, tags, keys, &fields, "");
        }
        let delayed = delay::place(shared, &plan.topic, queue_id, plan.delay_level);
        fields.topic = names::SCHEDULE_TOPIC;
        fields.queue_id = delayed.queue_id;
        submission.message(delayed.topic_id, delayed.due, keys, &fields, &delayed.suffix)
    });
    stored.await.map(drop)
}
