//! Single requests to single replicas, without a client's help.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use trireme_client::MessageQueue;
use trireme_remoting::headers::{PULL_SUBSCRIPTION, PULL_SUSPEND, PullRequest, PullResponse, SendHeader};
use trireme_remoting::message::{StoredMessage, StoredMessages};
use trireme_remoting::{Client, Frame, InvokeError, RequestCode, response};

use crate::harness::LONG;

/// More than a replica keeps a request that waits for a leader.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Longer than a test waits for anything.
pub const LONG_POLL: Duration = Duration::from_secs(60);

/// What queues hold: per queue its messages, from offset 0 on.
pub type Contents = BTreeMap<MessageQueue, Vec<Bytes>>;

/// A request to store one message; properties as `properties::build` makes them.
pub fn send_request(queue: &MessageQueue, body: impl Into<Bytes>, properties: &str) -> Frame {
    let body: Bytes = body.into();
    Frame::request(RequestCode::SendMessageV2)
        .with_ext(send_header(queue, properties).to_ext_v2())
        .with_body(body)
}

/// The header of such a request.
pub fn send_header<'a>(queue: &'a MessageQueue, properties: &'a str) -> SendHeader<'a> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    SendHeader {
        producer_group: "straight",
        topic: &queue.topic,
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        queue_id: queue.queue_id,
        born_timestamp: i64::try_from(now).unwrap(),
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

/// As [`pull_request`], but it waits so long for messages.
pub fn waiting_pull_request(queue: &MessageQueue, offset: i64, wait: Duration) -> Frame {
    let mut request = pull_request(queue, offset);
    request.ext.set("sysFlag", PULL_SUBSCRIPTION | PULL_SUSPEND);
    request.ext.set("suspendTimeoutMillis", wait.as_millis());
    request
}

/// Asks one replica.
pub async fn ask(client: &Client, addr: SocketAddr, request: Frame) -> Result<Frame, InvokeError> {
    client.invoke(&addr.to_string(), request, PATIENCE).await
}

/// Pulls queues from offset 0 to their end, from one replica. Each message must say itself that it lies where it was
/// found.
pub async fn pull_all(client: &Client, addr: SocketAddr, queues: &[MessageQueue]) -> Contents {
    let mut contents = Contents::new();
    for queue in queues {
        contents.insert(queue.clone(), pull_from(client, addr, queue, 0).await);
    }
    contents
}

/// As [`pull_all`], for one queue from `from` on.
pub async fn pull_from(client: &Client, addr: SocketAddr, queue: &MessageQueue, from: i64) -> Vec<Bytes> {
    let mut found = Vec::new();
    let deadline = Instant::now() + LONG;
    loop {
        let offset = from + i64::try_from(found.len()).unwrap();
        let answer = ask(client, addr, pull_request(queue, offset)).await.unwrap();
        let header = PullResponse::from_ext(&answer.ext);
        match answer.code {
            response::SUCCESS => {
                let bytes = answer.body.to_bytes();
                let mut next = offset;
                for message in StoredMessages::new(&bytes) {
                    let message = message.unwrap();
                    check_place(&message, queue, next);
                    found.push(bytes.slice_ref(message.body));
                    next += 1;
                }
                assert_eq!(header.unwrap().next_begin_offset, next, "{queue}");
            }
            response::PULL_NOT_FOUND => {
                assert_eq!(header.unwrap().max_offset, offset, "the end of {queue}");
                return found;
            }
            response::PULL_RETRY_IMMEDIATELY if Instant::now() < deadline => {}
            code => panic!("pull of {queue} at {offset} from {addr}: code {code}: {:?}", answer.remark),
        }
    }
}

/// Where a pull from offset 0 is sent, when the queue starts later.
pub async fn moved_to(client: &Client, addr: SocketAddr, queue: &MessageQueue) -> Option<i64> {
    let answer = ask(client, addr, pull_request(queue, 0)).await.unwrap();
    let header = PullResponse::from_ext(&answer.ext);
    (answer.code == response::PULL_OFFSET_MOVED).then(|| header.unwrap().next_begin_offset)
}

fn check_place(message: &StoredMessage<'_>, queue: &MessageQueue, offset: i64) {
    message.verify_body().unwrap();
    let place = (message.topic, message.queue_id, message.queue_offset);
    assert_eq!(place, (&*queue.topic, queue.queue_id, offset), "a message in {queue}");
}
