//! Requests to one replica, without a client in between that would turn to another.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;
use trireme_client::MessageQueue;
use trireme_remoting::body::{self, LockBatchBody};
use trireme_remoting::headers::{PULL_SUBSCRIPTION, PullRequest, PullResponse, SendHeader};
use trireme_remoting::message::{BatchItem, StoredMessage, StoredMessages};
use trireme_remoting::{Client, Frame, RequestCode, response};

/// More than a replica keeps a request that waits for a leader.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// What a replica says is there in a moment is there within this.
const READABLE_WITHIN: Duration = Duration::from_secs(60);

/// A request to store one message; properties as `properties::build` makes them.
pub fn send_request(queue: &MessageQueue, body: impl Into<Bytes>, properties: &str) -> Frame {
    let ext = send_header(queue, properties).to_ext_v2();
    Frame::request(RequestCode::SendMessageV2).with_ext(ext).with_body(body.into())
}

/// A request to give back what locks a member of a group has on these queues.
pub fn unlock_request(queues: &[MessageQueue], group: &str, client_id: &str) -> Frame {
    let queue = |queue: &MessageQueue| body::MessageQueue {
        topic: queue.topic.to_string(),
        broker_name: queue.broker_name.to_string(),
        queue_id: queue.queue_id,
    };
    let body = LockBatchBody {
        consumer_group: group.to_owned(),
        client_id: client_id.to_owned(),
        only_this_broker: false,
        mq_set: queues.iter().map(queue).collect(),
    };
    Frame::request(RequestCode::UnlockBatchMq).with_body(body.encode())
}

/// A request to store messages with these bodies side by side, all or none.
pub fn batch_request(queue: &MessageQueue, bodies: impl Iterator<Item = Bytes>) -> Frame {
    let mut items = BytesMut::new();
    for body in bodies {
        let item = BatchItem { flag: 0, body: &body, properties: "" };
        item.encode_into(&mut items).expect("bodies of a test are shorter than the longest message");
    }
    let ext = SendHeader { batch: Some(true), ..send_header(queue, "") }.to_ext_v2();
    Frame::request(RequestCode::SendBatchMessage).with_ext(ext).with_body(items.freeze())
}

/// The header of such a request.
pub fn send_header<'a>(queue: &'a MessageQueue, properties: &'a str) -> SendHeader<'a> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    SendHeader {
        producer_group: "straight",
        topic: &queue.topic,
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        queue_id: queue.queue_id,
        born_timestamp: i64::try_from(now).unwrap_or_default(),
        properties: Some(properties),
        ..SendHeader::default()
    }
}

/// A request for the messages of a queue from `offset` on; it does not wait for any.
pub fn pull_request(queue: &MessageQueue, offset: i64) -> Frame {
    let header = PullRequest {
        consumer_group: "straight",
        topic: &queue.topic,
        queue_id: queue.queue_id,
        queue_offset: offset,
        max_msg_nums: 1024,
        sys_flag: PULL_SUBSCRIPTION,
        subscription: Some("*"),
        ..PullRequest::default()
    };
    Frame::request(RequestCode::PullMessage).with_ext(header.to_ext())
}

/// A message as it was given.
#[derive(Clone, Debug)]
pub struct Given {
    /// What its sender wrote.
    pub body: Bytes,
    /// How often it had failed.
    pub reconsume_times: u32,
    /// Its position in the group's commit log.
    pub physical_offset: i64,
}

/// Messages of a queue from `from` to its end, as one replica gives them. Each message must say itself that it lies where it
/// was found, and be whole.
///
/// Errors: what is not so, or why they are not given.
pub async fn pull_from(
    client: &Client,
    addr: SocketAddr,
    queue: &MessageQueue,
    from: i64,
) -> Result<Vec<Given>, String> {
    let mut found = Vec::new();
    let deadline = Instant::now() + READABLE_WITHIN;
    let mut next = from;
    loop {
        let answer = client.invoke(&addr.to_string(), pull_request(queue, next), ANSWER_WITHIN).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let header = PullResponse::from_ext(&answer.ext).map_err(|error| error.to_string());
        match answer.code {
            response::SUCCESS => {
                let bytes = answer.body.to_bytes();
                for message in StoredMessages::new(&bytes) {
                    let message = message.map_err(|error| format!("at {next}: {error}"))?;
                    is_there(&message, queue, next)?;
                    found.push(Given {
                        body: bytes.slice_ref(message.body),
                        reconsume_times: u32::try_from(message.reconsume_times).unwrap_or(0),
                        physical_offset: message.physical_offset,
                    });
                    next += 1;
                }
                let told = header?.next_begin_offset;
                if told != next {
                    return Err(format!("it goes on at {next}, {addr} says {told}"));
                }
            }
            response::PULL_NOT_FOUND => {
                let told = header?.max_offset;
                return if told == next {
                    Ok(found)
                } else {
                    Err(format!("it ends at {next}, {addr} says {told}"))
                };
            }
            response::PULL_RETRY_IMMEDIATELY if Instant::now() < deadline => {}
            code => return Err(format!("at {next}, from {addr}: code {code}: {:?}", answer.remark)),
        }
    }
}

fn is_there(message: &StoredMessage<'_>, queue: &MessageQueue, offset: i64) -> Result<(), String> {
    message.verify_body().map_err(|error| format!("at {offset}: {error}"))?;
    let place = (message.topic, message.queue_id, message.queue_offset);
    if place == (&*queue.topic, queue.queue_id, offset) {
        return Ok(());
    }
    Err(format!("a message says that it is at {place:?}, it was given for {offset}"))
}
