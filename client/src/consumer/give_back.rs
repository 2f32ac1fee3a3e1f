//! Giving messages back that could not be consumed, to come again later or become dead letters.

use tracing::debug;
use trireme_remoting::RequestCode;
use trireme_remoting::headers::ConsumerSendMsgBackRequest;
use trireme_remoting::message::{properties, property};

use super::core::Core;
use crate::error::ClientError;
use crate::message::{Message, MessageQueue, ReceivedMessage};
use crate::producer::{Choice, Outgoing};
use crate::validate::retry_topic;

/// The first delay level of a message that is sent to the retry topic by us; the broker's own choice is the same.
const FIRST_RETRY_LEVEL: i32 = 3;

/// Hands a message of `queue` to the broker, which brings it again after the time of delay level `level` (0: the
/// broker chooses). If the broker cannot, a copy is sent to the group's retry topic.
///
/// Errors: neither was possible.
pub(super) async fn give_back(
    core: &Core,
    queue: &MessageQueue,
    message: &ReceivedMessage,
    level: i32,
) -> Result<(), ClientError> {
    match ask_broker(core, queue, message, level).await {
        Ok(()) => Ok(()),
        Err(error) => {
            debug!(%queue, queue_offset = message.queue_offset, %error, "message not given back, sending a copy");
            resend(core, message, message.reconsume_times.saturating_add(1)).await
        }
    }
}

/// Sends an ordered message that has failed too often where the broker makes it a dead letter.
///
/// Errors: it was not stored.
pub(super) async fn give_up(core: &Core, message: &ReceivedMessage) -> Result<(), ClientError> {
    // One more than allowed: RocketMQ 4 makes dead letters at the limit, 5 above it.
    let failures = core.max_reconsume_times().saturating_add(1);
    resend(core, message, failures).await
}

async fn ask_broker(
    core: &Core,
    queue: &MessageQueue,
    message: &ReceivedMessage,
    level: i32,
) -> Result<(), ClientError> {
    let broker = core.instance.broker_of(queue).await?;
    let code = RequestCode::ConsumerSendMsgBack;
    let header = ConsumerSendMsgBackRequest {
        offset: message.physical_offset,
        group: core.group(),
        delay_level: level,
        origin_msg_id: Some(&message.msg_id()),
        origin_topic: Some(message.topic()),
        unit_mode: Some(false),
        max_reconsume_times: Some(core.max_reconsume_times()),
    };
    let request = core.instance.request(code).with_ext(header.to_ext());
    core.instance.leader_success(&broker, code, request).await.map(drop)
}

/// The message as one for the retry topic.
fn copy(core: &Core, message: &ReceivedMessage) -> Message {
    let mut text = message.properties_text().to_owned();
    if properties::get(&text, property::RETRY_TOPIC).is_none() {
        properties::append(&mut text, property::RETRY_TOPIC, message.topic());
    }
    if properties::get(&text, property::ORIGIN_MESSAGE_ID).is_none() {
        properties::append(&mut text, property::ORIGIN_MESSAGE_ID, &message.msg_id());
    }
    properties::remove(&mut text, property::TRANSACTION_PREPARED);
    let level = FIRST_RETRY_LEVEL.saturating_add(message.reconsume_times);
    properties::set(&mut text, property::DELAY_TIME_LEVEL, &level.to_string());
    Message::with_raw_properties(retry_topic(core.group()), message.body.clone(), message.flag, text)
}

async fn resend(core: &Core, message: &ReceivedMessage, failures: i32) -> Result<(), ClientError> {
    let outgoing = Outgoing::retry(copy(core, message), failures, core.max_reconsume_times());
    core.sender.send(&outgoing, Choice::Any).await.map(drop)
}
