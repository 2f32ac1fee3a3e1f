//! What a send puts on the wire, made once and used for every try.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::task::spawn_blocking;
use trireme_remoting::headers::SendHeader;
use trireme_remoting::message::{BatchItem, properties, property, sys_flag};
use trireme_remoting::{Frame, RequestCode};

use super::send::Sender;
use crate::compression;
use crate::error::ClientError;
use crate::instance::{Instance, now_ms};
use crate::message::{BatchSendResult, Message, MessageQueue, SendResult, SendStatus};
use crate::validate::{DEFAULT_TOPIC, RETRY_PREFIX};

/// Packing a larger body would keep other tasks waiting for milliseconds.
const PACK_INLINE_MAX: usize = 64 * 1024;

/// A message or a batch, ready to be sent.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(super) topic: Arc<str>,
    pub(super) code: RequestCode,
    ids: Vec<String>,
    body: Bytes,
    properties: String,
    flag: i32,
    sys_flag: i32,
    born_ms: i64,
    /// How often consuming it failed, and after how many failures it is a dead letter.
    reconsume: Option<(i32, i32)>,
}

/// What the broker answered to a send.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(super) status: SendStatus,
    /// Several are comma-joined.
    pub(super) offset_msg_id: String,
    pub(super) queue: MessageQueue,
    pub(super) queue_offset: i64,
}

impl Outgoing {
    /// One message. Errors: it cannot be sent as it is.
    pub(crate) async fn single(sender: &Sender, message: Message) -> Result<Self, ClientError> {
        message.validate(sender.config.max_message_bytes)?;
        let (id, properties) = with_id(&sender.instance, &message)?;
        let (body, sys_flag) = match sender.config.compress_above_bytes {
            Some(above) if message.body.len() > above => pack(message.body).await,
            _ => (message.body, 0),
        };
        Ok(Self {
            topic: message.topic,
            code: RequestCode::SendMessageV2,
            ids: vec![id],
            body,
            properties,
            flag: message.flag,
            sys_flag,
            born_ms: now_ms() as i64,
            reconsume: None,
        })
    }

    /// Several messages of one topic. Errors: they cannot be sent as they are, or not together.
    pub(super) fn batch(sender: &Sender, messages: Vec<Message>) -> Result<Self, ClientError> {
        let Some(topic) = messages.first().map(|message| message.topic.clone()) else {
            return Err(refuse("", "the batch is empty".to_owned()));
        };
        if topic.starts_with(RETRY_PREFIX) {
            return Err(refuse(&topic, "a batch cannot go to a retry topic".to_owned()));
        }
        let max = sender.config.max_message_bytes;
        let mut ids = Vec::with_capacity(messages.len());
        let mut body = BytesMut::with_capacity(messages.iter().map(|message| message.body.len() + 128).sum());
        for message in &messages {
            message.validate(max)?;
            if message.topic != topic {
                return Err(refuse(&topic, format!("the batch has a message for {} too", message.topic)));
            }
            if message.property(property::DELAY_TIME_LEVEL).is_some() {
                return Err(refuse(&topic, "a batch cannot have delayed messages".to_owned()));
            }
            let (id, properties) = with_id(&sender.instance, message)?;
            let item = BatchItem { flag: message.flag, body: &message.body, properties: &properties };
            item.encode_into(&mut body).map_err(|error| refuse(&topic, error.to_string()))?;
            if body.len() > max {
                return Err(refuse(&topic, format!("the batch has more than {max} bytes")));
            }
            ids.push(id);
        }
        Ok(Self {
            topic,
            code: RequestCode::SendBatchMessage,
            ids,
            body: body.freeze(),
            properties: String::new(),
            flag: 0,
            sys_flag: 0,
            born_ms: now_ms() as i64,
            reconsume: None,
        })
    }

    /// A message that a consumer gives back by sending it to its group's retry topic; `failures` and `max` tell
    /// the broker when it is a dead letter. Its properties are those of a stored message, its id stays.
    pub(crate) fn retry(message: Message, failures: i32, max: i32) -> Self {
        Self {
            topic: message.topic,
            code: RequestCode::SendMessageV2,
            ids: Vec::new(),
            body: message.body,
            properties: message.properties,
            flag: message.flag,
            sys_flag: 0,
            born_ms: now_ms() as i64,
            reconsume: Some((failures, max)),
        }
    }

    /// The header of a request that puts it into this queue.
    pub(super) fn header<'a>(&'a self, sender: &'a Sender, queue: &'a MessageQueue) -> SendHeader<'a> {
        SendHeader {
            producer_group: &sender.config.group,
            topic: &self.topic,
            default_topic: DEFAULT_TOPIC,
            default_topic_queue_nums: sender.config.default_topic_queues,
            queue_id: queue.queue_id,
            sys_flag: self.sys_flag,
            born_timestamp: self.born_ms,
            flag: self.flag,
            properties: Some(&self.properties),
            reconsume_times: self.reconsume.map(|(failures, _)| failures),
            unit_mode: None,
            max_reconsume_times: self.reconsume.map(|(_, max)| max),
            batch: (self.code == RequestCode::SendBatchMessage).then_some(true),
            broker_name: Some(&queue.broker_name),
        }
    }

    /// The request without its header's fields.
    pub(super) fn request(&self, sender: &Sender) -> Frame {
        sender.instance.request(self.code).with_body(self.body.clone())
    }
}

impl Stored {
    /// As the result of sending one message.
    pub(super) fn single(self, outgoing: Outgoing) -> SendResult {
        SendResult {
            status: self.status,
            msg_id: outgoing.ids.into_iter().next().unwrap_or_default(),
            offset_msg_id: self.offset_msg_id,
            queue: self.queue,
            queue_offset: self.queue_offset,
        }
    }

    /// As the result of sending a batch.
    pub(super) fn batch(self, outgoing: Outgoing) -> BatchSendResult {
        BatchSendResult {
            status: self.status,
            msg_ids: outgoing.ids,
            offset_msg_ids: self.offset_msg_id.split(',').map(str::to_owned).collect(),
            queue: self.queue,
            queue_offset: self.queue_offset,
        }
    }
}

fn refuse(topic: &str, reason: String) -> ClientError {
    ClientError::Message { topic: topic.to_owned(), reason }
}

/// A new id, and the message's properties with it. Errors: the properties are too long.
fn with_id(instance: &Instance, message: &Message) -> Result<(String, String), ClientError> {
    let id = instance.next_id();
    let mut text = String::with_capacity(message.properties.len() + property::UNIQ_KEY.len() + id.len() + 2);
    text.push_str(&message.properties);
    properties::append(&mut text, property::UNIQ_KEY, &id);
    properties::check_len(&text).map_err(|error| refuse(&message.topic, error.to_string()))?;
    Ok((id, text))
}

/// The body packed, with the flag that says so; as it is if packing gains nothing.
async fn pack(body: Bytes) -> (Bytes, i32) {
    let packed = if body.len() <= PACK_INLINE_MAX {
        compression::deflate(&body)
    } else {
        let body = body.clone();
        // A panic while packing would be a fault of zlib's; the message can go as it is.
        spawn_blocking(move || compression::deflate(&body)).await.unwrap_or(None)
    };
    packed.map_or((body, 0), |packed| (packed, sys_flag::COMPRESSED))
}
