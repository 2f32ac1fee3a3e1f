//! Request codes 10, 310, 320.

use std::net::SocketAddr;
use std::sync::Arc;

use trireme_remoting::headers::SendHeader;
use trireme_remoting::message::{
    BatchItem, BatchItems, StoredMessageFields, body_crc, properties, property, sys_flag, tags_code,
};
use trireme_remoting::{Frame, Responder, response};

use super::{ProducerReply, Seen, scan};
use crate::features::topics::{self, PutTopic, perm};
use crate::features::{delay, locks};
use crate::names;
use crate::queues::keys::MessageKeys;
use crate::replica::Shared;
use crate::router::{Refusal, born_host, refuse};
use crate::sequencer::{Submission, Waiter};

/// Messages of one batch. Each is stored with a header of its own, which for tiny messages is many times their
/// size; and all must fit in one entry.
const MAX_BATCH: usize = 16_384;

/// Stores a producer's message or batch; the answer comes when it is applied.
pub fn send(shared: &Arc<Shared>, request: Frame, responder: Responder) {
    let prepared = match Prepared::new(shared, &request, &responder) {
        Ok(prepared) => prepared,
        Err(Obstacle::Refused(refusal)) => return refusal.reply(responder),
        Err(Obstacle::MissingTopic(put)) => return make_topic_first(shared, put, request, responder),
    };
    let queue_id = prepared.queue_id;
    let gathered = shared.sequencer.begin().and_then(|mut gathering| {
        gathering.add(|submission| prepared.encode(submission))?;
        Ok(gathering)
    });
    match gathered {
        Ok(gathering) => {
            let store_host = shared.config.broker_addr();
            let reply = ProducerReply { responder, request, shared: shared.clone(), queue_id, store_host };
            gathering.finish(Waiter::Producer(reply));
        }
        // Leadership may have been lost since the router looked.
        Err(error) => refuse(shared, request, responder, error),
    }
}

/// What keeps a message from being stored.
enum Obstacle {
    Refused(Refusal),
    /// Its topic must be made first.
    MissingTopic(PutTopic),
}

impl<E: Into<Refusal>> From<E> for Obstacle {
    fn from(refusal: E) -> Self {
        Self::Refused(refusal.into())
    }
}

fn make_topic_first(shared: &Arc<Shared>, put: PutTopic, request: Frame, responder: Responder) {
    let shared = shared.clone();
    tokio::spawn(async move {
        match topics::make(&shared, put).await {
            // The topic is there now, so this does not come back here.
            Ok(()) => send(&shared, request, responder),
            Err(error) => refuse(&shared, request, responder, error),
        }
    });
}

/// A checked request.
struct Prepared<'a> {
    header: SendHeader<'a>,
    body: &'a [u8],
    topic: Arc<str>,
    topic_id: u32,
    queue_id: i32,
    born_host: SocketAddr,
    store_host: SocketAddr,
    shared: &'a Shared,
    is_batch: bool,
    /// Of a message that is no batch, as what follows: done before the sequencer's lock is taken.
    body_crc: u32,
    seen: Seen<'a>,
}

impl<'a> Prepared<'a> {
    fn new(shared: &'a Shared, request: &'a Frame, responder: &Responder) -> Result<Self, Obstacle> {
        let header = SendHeader::from_ext(&request.ext)?;
        let body = request.body.as_slice();
        let is_batch =
            header.is_batch() || request.code == trireme_remoting::RequestCode::SendBatchMessage.code();
        let seen = check(shared, &header, body, is_batch)?;
        let dead_letter = dead_letter_topic(shared, &header)?;
        let name = dead_letter.as_deref().unwrap_or(header.topic);
        let (topic, topic_id, queue_id) = {
            let state = shared.state.read();
            let Some(topic) = state.topics.get(name) else {
                return Err(Obstacle::MissingTopic(topics::inherited(shared, &state, name, &header)?));
            };
            if topic.perm & perm::WRITE == 0 {
                let reason = format!("the topic {name} may not be written");
                return Err(Refusal::new(response::NO_PERMISSION, reason).into());
            }
            // A queue of the original topic says nothing about a dead-letter topic's queues.
            let asked = if dead_letter.is_some() { -1 } else { header.queue_id };
            (topic.name.clone(), topic.id, queue(name, asked, topic, header.born_timestamp)?)
        };
        let born_host = born_host(request, responder);
        let store_host = shared.config.broker_addr();
        let body_crc = if is_batch { 0 } else { body_crc(body) };
        Ok(Self {
            header,
            body,
            topic,
            topic_id,
            queue_id,
            born_host,
            store_host,
            shared,
            is_batch,
            body_crc,
            seen,
        })
    }

    /// Encodes the request's messages, once, into the entry.
    fn encode(&self, submission: &mut Submission<'_>) -> Result<(), trireme_remoting::message::MessageError> {
        let suffix = &self.shared.property_suffix;
        if !self.is_batch {
            let properties = self.header.properties.unwrap_or_default();
            let item = BatchItem { flag: self.header.flag, body: self.body, properties };
            return self.message(submission, item, &self.seen, self.body_crc, suffix);
        }
        for item in BatchItems::new(self.body) {
            let item = item?;
            self.message(submission, item, &scan(item.properties), body_crc(item.body), suffix)?;
        }
        Ok(())
    }

    fn message(
        &self,
        submission: &mut Submission<'_>,
        BatchItem { flag, body, properties: text }: BatchItem<'_>,
        seen: &Seen<'_>,
        body_crc: u32,
        suffix: &str,
    ) -> Result<(), trireme_remoting::message::MessageError> {
        let rewritten = rewrite(text, seen, self.shared);
        let keys = rewritten.as_deref().map_or_else(|| seen.message_keys(), MessageKeys::of);
        let mut fields = StoredMessageFields {
            body_crc,
            queue_id: self.queue_id,
            flag,
            queue_offset: 0,
            physical_offset: 0,
            sys_flag: self.header.sys_flag,
            born_timestamp: self.header.born_timestamp,
            born_host: self.born_host,
            store_timestamp: submission.store_timestamp,
            store_host: self.store_host,
            reconsume_times: self.header.reconsume_times.unwrap_or(0),
            prepared_transaction_offset: 0,
            body,
            topic: &self.topic,
            properties: rewritten.as_deref().unwrap_or(text),
        };
        let is_dead_letter = self.topic.starts_with(names::DLQ_PREFIX);
        if seen.delay_level > 0 && !is_dead_letter {
            let delayed = delay::place(self.shared, &self.topic, self.queue_id, seen.delay_level);
            let suffix = format!("{suffix}{}", delayed.suffix);
            fields.topic = names::SCHEDULE_TOPIC;
            fields.queue_id = delayed.queue_id;
            return submission.message(delayed.topic_id, delayed.due, keys, &fields, &suffix);
        }
        submission.message(self.topic_id, tags_code(seen.tags), keys, &fields, suffix)
    }
}

/// Properties as they are stored, if that is not as they came: rare, so it may allocate.
fn rewrite(text: &str, seen: &Seen<'_>, shared: &Shared) -> Option<String> {
    if seen.uniq_key.is_some() && !seen.pop_check {
        return None;
    }
    let mut text = text.to_owned();
    properties::remove(&mut text, property::POP_CK);
    if seen.uniq_key.is_none() {
        let now = u64::try_from(shared.clock.now_ms()).unwrap_or(0);
        properties::append(&mut text, property::UNIQ_KEY, &shared.unique_keys.next(now));
    }
    Some(text)
}

/// Whether the request may be carried out; what its own properties say.
fn check<'a>(
    shared: &Shared,
    header: &SendHeader<'a>,
    body: &[u8],
    is_batch: bool,
) -> Result<Seen<'a>, Refusal> {
    if shared.config.permission & perm::WRITE == 0 {
        return Err(Refusal::new(response::NO_PERMISSION, "the broker does not allow sending"));
    }
    names::check_topic(header.topic)?;
    if !names::is_sendable(header.topic) {
        return Err(Refusal::new(
            response::NO_PERMISSION,
            format!("the topic {} is the broker's own, clients may not send to it", header.topic),
        ));
    }
    let illegal = |reason: String| Err(Refusal::new(response::MESSAGE_ILLEGAL, reason));
    if body.len() > shared.config.max_message_bytes {
        let max = shared.config.max_message_bytes;
        return illegal(format!("the message body has {} bytes, at most {max} are allowed", body.len()));
    }
    let text = header.properties.unwrap_or_default();
    if let Err(error) = properties::check_len(text) {
        return illegal(error.to_string());
    }
    let seen = scan(text);
    if seen.transaction || sys_flag::transaction(header.sys_flag) != 0 {
        return Err(Refusal::new(response::NO_PERMISSION, "this broker does not take transaction messages"));
    }
    if let Some(name) = seen.timer {
        return illegal(format!(
            "delivery by {name} is not supported, only delay levels (DELAY 1 to 18) are"
        ));
    }
    if !is_batch {
        return Ok(seen);
    }
    if header.topic.starts_with(names::RETRY_PREFIX) {
        return illegal("a batch may not go to a retry topic".to_owned());
    }
    let mut count = 0;
    for item in BatchItems::new(body) {
        let item = item.map_err(|error| Refusal::new(response::MESSAGE_ILLEGAL, error.to_string()))?;
        let seen = scan(item.properties);
        if seen.delay_level > 0 || seen.timer.is_some() {
            return illegal("a batch may not hold delayed messages".to_owned());
        }
        count += 1;
        if count > MAX_BATCH {
            return illegal(format!("the batch has more than {MAX_BATCH} messages"));
        }
    }
    if count == 0 { illegal("the batch is empty".to_owned()) } else { Ok(seen) }
}

/// The dead-letter topic, for a message whose consumers have retried it often enough: this is how
/// ordered consumers, and those whose send-back failed, give up a message.
fn dead_letter_topic(shared: &Shared, header: &SendHeader<'_>) -> Result<Option<String>, Refusal> {
    let Some(group) = header.topic.strip_prefix(names::RETRY_PREFIX) else { return Ok(None) };
    let known = shared.state.read().groups.get(group).map(|config| config.retry_max_times);
    let Some(known) = known else {
        return Err(Refusal::new(
            response::SUBSCRIPTION_GROUP_NOT_EXIST,
            format!("the consumer group {group} does not exist"),
        ));
    };
    let max = header.max_reconsume_times.unwrap_or(known);
    let tried = header.reconsume_times.unwrap_or(0);
    // An ordered consumer sends here only to give up, with its count at the limit; a concurrent one whose
    // send-back failed has counted the coming retry already. Only ordered ones hold locks.
    let given_up = tried > max || (tried >= max && locks::is_ordered(shared, group));
    Ok(given_up.then(|| names::dlq_topic(group)))
}

fn queue(name: &str, queue_id: i32, topic: &topics::Topic, seed: i64) -> Result<i32, Refusal> {
    let queues = i32::try_from(topic.queues()).unwrap_or(i32::MAX);
    if queue_id >= queues {
        return Err(Refusal::new(
            response::INVALID_PARAMETER,
            format!("queue {queue_id} of the topic {name} does not exist, it has {queues}"),
        ));
    }
    if queue_id >= 0 {
        return Ok(queue_id);
    }
    // "Any queue": spread by the birth time, which differs from message to message.
    let writable = i64::from(topic.write_queues.max(1));
    Ok(i32::try_from(seed.rem_euclid(writable)).unwrap_or(0))
}
