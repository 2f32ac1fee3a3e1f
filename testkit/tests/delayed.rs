//! Delayed messages that are due together.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use trireme_remoting::headers::{PULL_SUBSCRIPTION, PULL_SUSPEND, PullRequest, PullResponse, SendHeader};
use trireme_remoting::message::{StoredMessage, properties, property};
use trireme_remoting::{Client, ClientOptions, Frame, RequestCode, response};
use trireme_testkit::Cluster;

const TOPIC: &str = "Delayed";
const WITHIN: Duration = Duration::from_secs(30);
/// The second level.
const DELAY: Duration = Duration::from_secs(5);

fn header(properties: &str) -> SendHeader<'_> {
    SendHeader {
        producer_group: "producers",
        topic: TOPIC,
        default_topic: "TBW102",
        default_topic_queue_nums: 1,
        born_timestamp: 1,
        properties: Some(properties),
        ..SendHeader::default()
    }
}

async fn pull(client: &Client, broker: &str, from: i64) -> Frame {
    let header = PullRequest {
        consumer_group: "consumers",
        topic: TOPIC,
        queue_offset: from,
        max_msg_nums: 32,
        sys_flag: PULL_SUSPEND | PULL_SUBSCRIPTION,
        suspend_timeout_millis: 10_000,
        subscription: Some("*"),
        ..PullRequest::default()
    };
    let request = Frame::request(RequestCode::PullMessage).with_ext(header.to_ext());
    client.invoke(broker, request, WITHIN).await.unwrap()
}

/// Together they are more than an entry can hold, a segment being 16 MiB: each is delivered all the same, once
/// and in order.
#[tokio::test(flavor = "multi_thread")]
async fn large_messages_that_are_due_together_are_delivered() {
    const COUNT: u8 = 8;
    let cluster = Cluster::start(1).await.unwrap();
    let broker = cluster.broker_addr(1).unwrap().to_string();
    let client = Client::new(ClientOptions::default(), None);
    let mut text = String::new();
    properties::append(&mut text, property::DELAY_TIME_LEVEL, "2");
    let sends = (0..COUNT).map(|number| {
        let body = vec![number; 3 * 1024 * 1024];
        let request =
            Frame::request(RequestCode::SendMessageV2).with_ext(header(&text).to_ext_v2()).with_body(body);
        client.invoke(&broker, request, WITHIN)
    });
    for send in sends {
        let answer = send.await.unwrap();
        assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    }
    // Nobody delivers until all of them are due.
    cluster.stop(1).await;
    tokio::time::sleep(DELAY).await;
    cluster.restart(1).await.unwrap();
    cluster.leader().await.unwrap();
    let mut delivered = Vec::new();
    while delivered.len() < usize::from(COUNT) {
        let answer = pull(&client, &broker, i64::try_from(delivered.len()).unwrap()).await;
        assert_eq!(answer.code, response::SUCCESS, "{delivered:?} came, then nothing: {:?}", answer.remark);
        assert!(PullResponse::from_ext(&answer.ext).unwrap().max_offset <= i64::from(COUNT));
        let mut rest = answer.body.as_slice();
        while !rest.is_empty() {
            let message = StoredMessage::parse(rest).unwrap();
            delivered.push(message.body[0]);
            rest = &rest[StoredMessage::size(rest).unwrap()..];
        }
    }
    assert_eq!(delivered, (0..COUNT).collect::<Vec<_>>());
    client.shutdown();
    cluster.shutdown().await;
}
