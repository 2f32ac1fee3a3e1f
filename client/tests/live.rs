//! The client against a running server: Trireme or Apache RocketMQ, whichever `TRIREME_TEST_NAMESRV` names.
//!
//! Without that variable every test here says so and passes.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use trireme_client::{
    Admin, Client, ClientConfig, ConsumeFrom, ConsumeOutcome, GroupSpec, Message, MessageBatch, MessageModel,
    OrderOutcome, Producer, ProducerConfig, PullConsumerConfig, PullStatus, PushConsumer, PushConsumerConfig,
    ReceivedMessage, SerializeType, TopicSpec,
};
use trireme_remoting::response;

/// A client of the server to test against; nothing, with a word about it, if there is none.
fn client() -> Option<Client> {
    // `RUST_LOG` shows what happens. Fails when another test was first, which does as well.
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    let Ok(addrs) = std::env::var("TRIREME_TEST_NAMESRV") else {
        eprintln!("skipped: TRIREME_TEST_NAMESRV names no server");
        return None;
    };
    Some(Client::new(ClientConfig::new(&addrs)).unwrap())
}

fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()
}

/// A name that no earlier run has used.
fn unique(name: &str) -> String {
    format!("{name}-{}-{}", now_ms(), std::process::id())
}

/// A topic with `queues` queues that the name server routes by now.
async fn topic(admin: &Admin, queues: i32) -> String {
    let name = unique("live");
    let spec = TopicSpec { read_queues: queues, write_queues: queues, ..TopicSpec::new(&name) };
    admin.create_topic(&spec, None).await.unwrap();
    eventually("the topic has a route", async || admin.topic_route(&name).await.unwrap().is_some()).await;
    name
}

/// Asks until it is so.
async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect(what);
}

fn producer(client: &Client) -> Producer {
    client.producer(ProducerConfig::new("live-producer")).unwrap()
}

#[tokio::test]
async fn messages_are_acknowledged_and_found_again() {
    let Some(client) = client() else { return };
    let admin = client.admin();
    let topic = topic(&admin, 2).await;
    let producer = producer(&client);
    let mut queues = BTreeSet::new();
    for n in 0..4 {
        let message =
            Message::new(&*topic, format!("body {n}")).with_tag("A").with_keys([format!("key-{n}")]);
        let sent = producer.send(message).await.unwrap();
        assert_eq!(sent.queue_offset, n / 2);
        queues.insert(sent.queue.clone());
        let found = admin.message_by_id(&sent.offset_msg_id).await.unwrap();
        assert_eq!(found.body, format!("body {n}"));
        assert_eq!((found.msg_id(), found.tag(), found.topic()), (sent.msg_id.clone(), Some("A"), &*topic));
        eventually("the index has the key", async || {
            let found = admin.query_by_key(&topic, &format!("key-{n}"), 8, 0, i64::MAX).await.unwrap();
            found.iter().any(|message| message.offset_msg_id() == sent.offset_msg_id)
        })
        .await;
        assert_eq!(admin.query_by_msg_id(&topic, &sent.msg_id).await.unwrap().len(), 1);
    }
    assert_eq!(queues.into_iter().map(|queue| queue.queue_id).collect::<Vec<_>>(), [0, 1]);
    producer.shutdown().await;
}

#[tokio::test]
async fn every_way_of_sending() {
    let Some(client) = client() else { return };
    let admin = client.admin();
    let topic = topic(&admin, 4).await;
    let producer = producer(&client);
    let message = |body: &str| Message::new(&*topic, body.to_owned());

    let queue = producer.queues(&topic).await.unwrap()[2].clone();
    let sent = producer.send_to_queue(message("chosen"), &queue).await.unwrap();
    assert_eq!((&sent.queue, sent.queue_offset), (&queue, 0));

    let batch = producer
        .send_batch_to_queue(vec![message("b1"), message("b2"), message("b3")], &queue)
        .await
        .unwrap();
    assert_eq!((batch.queue_offset, batch.msg_ids.len(), batch.offset_msg_ids.len()), (1, 3, 3));
    let third = admin.message_by_id(&batch.offset_msg_ids[2]).await.unwrap();
    assert_eq!(
        (third.body.as_ref(), third.queue_offset, third.msg_id()),
        (&b"b3"[..], 3, batch.msg_ids[2].clone())
    );

    let first = producer.send_sharded(message("s1"), "key").await.unwrap();
    let second = producer.send_sharded(message("s2"), "key").await.unwrap();
    assert_eq!(first.queue, second.queue);
    assert_eq!(first.queue_offset + 1, second.queue_offset);

    let (tell, told) = tokio::sync::oneshot::channel();
    producer.send_async(message("called back"), |sent| tell.send(sent).unwrap()).await.unwrap();
    told.await.unwrap().unwrap();

    producer.send_oneway(message("one way").with_keys(["oneway"])).await.unwrap();
    eventually("the one-way message is stored", async || {
        !admin.query_by_key(&topic, "oneway", 8, 0, i64::MAX).await.unwrap().is_empty()
    })
    .await;

    let many = futures_util::future::join_all((0..200).map(|n| producer.send(message(&n.to_string())))).await;
    let places: std::collections::HashSet<_> =
        many.into_iter().map(Result::unwrap).map(|sent| (sent.queue, sent.queue_offset)).collect();
    assert_eq!(places.len(), 200);
    producer.shutdown().await;
}

#[tokio::test]
async fn a_first_message_creates_its_topic() {
    let Some(client) = client() else { return };
    let topic = unique("created");
    let producer = producer(&client);
    for _ in 0..2 {
        producer.send(Message::new(&*topic, "body")).await.unwrap();
    }
    eventually("the topic is routed", async || client.admin().topic_route(&topic).await.unwrap().is_some())
        .await;
    let queues = client.admin().topic_route(&topic).await.unwrap().unwrap().queue_datas;
    assert_eq!(queues[0].write_queue_nums, 4);
    producer.shutdown().await;
}

#[tokio::test]
async fn large_bodies_packed_and_in_the_other_notation() {
    let Ok(addrs) = std::env::var("TRIREME_TEST_NAMESRV") else { return };
    let client =
        Client::new(ClientConfig { serialize: SerializeType::RocketMq, ..ClientConfig::new(&addrs) })
            .unwrap();
    let admin = client.admin();
    let topic = topic(&admin, 1).await;
    let config = ProducerConfig { compress_above_bytes: Some(4096), ..ProducerConfig::new("live-producer") };
    let producer = client.producer(config).unwrap();
    for size in [4096, 4097, 1 << 20, 3 << 20] {
        let body: String = "oar ".chars().cycle().take(size).collect();
        let sent = producer.send(Message::new(&*topic, body.clone())).await.unwrap();
        assert_eq!(admin.message_by_id(&sent.offset_msg_id).await.unwrap().body, body);
    }
    producer.shutdown().await;
}

#[tokio::test]
async fn topics_and_groups_come_and_go() {
    let Some(client) = client() else { return };
    let admin = client.admin();
    let topic = topic(&admin, 3).await;
    let info = admin.cluster_info().await.unwrap();
    assert!(!info.broker_addr_table.is_empty());
    assert!(admin.topics().await.unwrap().contains(&topic));
    let group = unique("group");
    admin.create_group(&GroupSpec::new(&group), None).await.unwrap();
    admin.delete_group(&group).await.unwrap();
    admin.delete_topic(&topic).await.unwrap();
    eventually("the route is gone", async || admin.topic_route(&topic).await.unwrap().is_none()).await;
}

#[tokio::test]
async fn statistics_of_topics_and_groups() {
    let Some(client) = client() else { return };
    let admin = client.admin();
    let topic = topic(&admin, 1).await;
    match admin.topic_stats(&topic).await {
        Err(error) if error.code() == Some(response::REQUEST_CODE_NOT_SUPPORTED) => {
            eprintln!("skipped: {error}");
            return;
        }
        stats => assert_eq!(stats.unwrap().offset_table.len(), 1),
    }
    let producer = producer(&client);
    send_all(&producer, &topic, (0..3).map(|n| n.to_string())).await;
    let group = unique("group");
    let (consumer, mut told) = consume(&client, from_start(&group, &topic, "*")).await;
    texts(&mut told, 3).await;
    consumer.shutdown().await;
    let stats = admin.consume_stats(&group, Some(&topic)).await.unwrap();
    assert_eq!(
        stats.offset_table.values().map(|queue| (queue.broker_offset, queue.consumer_offset)).next(),
        Some((3, 3))
    );
}

/// What a group without members has committed in all queues of a topic.
async fn committed(client: &Client, group: &str, topic: &str) -> i64 {
    let consumer = client.pull_consumer(PullConsumerConfig::new(group)).unwrap();
    let mut sum = 0;
    for queue in consumer.queues(topic).await.unwrap() {
        sum += consumer.committed(&queue).await.unwrap().unwrap_or(0);
    }
    consumer.shutdown().await;
    sum
}

/// The bodies of messages, as text.
fn text(message: &ReceivedMessage) -> String {
    String::from_utf8(message.body.to_vec()).unwrap()
}

/// A consumer of everything in `topic` from the start, whose messages come out of a channel.
async fn consume(
    client: &Client,
    config: PushConsumerConfig,
) -> (PushConsumer, mpsc::UnboundedReceiver<ReceivedMessage>) {
    let (tell, told) = mpsc::unbounded_channel();
    let listener = move |messages: MessageBatch| {
        let tell = tell.clone();
        async move {
            messages.iter().for_each(|message| tell.send(message.clone()).unwrap());
            ConsumeOutcome::Commit
        }
    };
    (client.consume(config, listener).await.unwrap(), told)
}

fn from_start(group: &str, topic: &str, tags: &str) -> PushConsumerConfig {
    PushConsumerConfig {
        consume_from: ConsumeFrom::First,
        ..PushConsumerConfig::new(group).subscribe(topic, tags)
    }
}

async fn next(told: &mut mpsc::UnboundedReceiver<ReceivedMessage>) -> ReceivedMessage {
    tokio::time::timeout(Duration::from_secs(30), told.recv())
        .await
        .expect("a message comes in time")
        .unwrap()
}

/// The next `count` messages' bodies, sorted.
async fn texts(told: &mut mpsc::UnboundedReceiver<ReceivedMessage>, count: usize) -> BTreeSet<String> {
    let mut texts = BTreeSet::new();
    while texts.len() < count {
        texts.insert(text(&next(told).await));
    }
    texts
}

async fn send_all(
    producer: &Producer,
    topic: &str,
    bodies: impl IntoIterator<Item = String>,
) -> BTreeSet<String> {
    let mut sent = BTreeSet::new();
    for body in bodies {
        producer.send(Message::new(topic, body.clone())).await.unwrap();
        sent.insert(body);
    }
    sent
}

#[tokio::test]
async fn consumed_once_and_further_on_after_a_restart() {
    let Some(client) = client() else { return };
    let topic = topic(&client.admin(), 4).await;
    let group = unique("group");
    let producer = producer(&client);
    let sent = send_all(&producer, &topic, (0..50).map(|n| format!("first {n}"))).await;
    let (consumer, mut told) = consume(&client, from_start(&group, &topic, "*")).await;
    assert_eq!(texts(&mut told, 50).await, sent);
    assert_eq!(consumer.queues().iter().filter(|queue| *queue.topic == *topic).count(), 4);
    consumer.shutdown().await;
    assert_eq!(committed(&client, &group, &topic).await, 50);

    let sent = send_all(&producer, &topic, (0..10).map(|n| format!("second {n}"))).await;
    let (consumer, mut told) = consume(&client, from_start(&group, &topic, "*")).await;
    assert_eq!(texts(&mut told, 10).await, sent, "nothing of the first fifty");
    // Held pulls are woken by what comes later.
    let sent = send_all(&producer, &topic, (0..10).map(|n| format!("third {n}"))).await;
    assert_eq!(texts(&mut told, 10).await, sent);
    consumer.shutdown().await;
}

#[tokio::test]
async fn tags_are_filtered() {
    let Some(client) = client() else { return };
    let topic = topic(&client.admin(), 1).await;
    let producer = producer(&client);
    for (n, tag) in ["A", "B", "C", "A", "C"].into_iter().enumerate() {
        producer.send(Message::new(&*topic, format!("{tag}{n}")).with_tag(tag)).await.unwrap();
    }
    producer.send(Message::new(&*topic, "no tag")).await.unwrap();
    let group = unique("group");
    let (consumer, mut told) = consume(&client, from_start(&group, &topic, "A || C")).await;
    let wanted = texts(&mut told, 4).await;
    assert_eq!(wanted.iter().map(String::as_str).collect::<Vec<_>>(), ["A0", "A3", "C2", "C4"]);
    consumer.shutdown().await;
    assert_eq!(committed(&client, &group, &topic).await, 6, "what is not wanted is passed over");
}

#[tokio::test]
async fn members_divide_the_queues_and_take_over() {
    let (Some(one), Some(two)) = (client(), client()) else { return };
    let topic = topic(&one.admin(), 4).await;
    let group = unique("group");
    let config = from_start(&group, &topic, "*");
    let (first, _told) = consume(&one, config.clone()).await;
    let count =
        |consumer: &PushConsumer| consumer.queues().iter().filter(|queue| *queue.topic == *topic).count();
    eventually("the first has all", async || count(&first) == 4).await;
    let (second, mut told) = consume(&two, config).await;
    eventually("both have half", async || (count(&first), count(&second)) == (2, 2)).await;
    let all: BTreeSet<_> = first.queues().into_iter().chain(second.queues()).collect();
    assert_eq!(all.iter().filter(|queue| *queue.topic == *topic).count(), 4);
    first.shutdown().await;
    eventually("the second has all", async || count(&second) == 4).await;
    let sent = send_all(&producer(&two), &topic, (0..8).map(|n| n.to_string())).await;
    assert_eq!(texts(&mut told, 8).await, sent);
    second.shutdown().await;
}

#[tokio::test]
async fn failed_messages_come_again_and_die_in_the_end() {
    let Some(client) = client() else { return };
    let topic = topic(&client.admin(), 1).await;
    let group = unique("group");
    let (tell, mut told) = mpsc::unbounded_channel();
    let listener = move |messages: MessageBatch| {
        let tell = tell.clone();
        async move {
            tell.send(messages[0].clone()).unwrap();
            ConsumeOutcome::RetryAtLevel(1)
        }
    };
    let config = PushConsumerConfig { max_reconsume_times: Some(1), ..from_start(&group, &topic, "*") };
    let consumer = client.consume(config, listener).await.unwrap();
    let sent = producer(&client).send(Message::new(&*topic, "fails")).await.unwrap();
    let first = next(&mut told).await;
    assert_eq!((first.reconsume_times, first.msg_id()), (0, sent.msg_id.clone()));
    let second = next(&mut told).await;
    assert_eq!((second.reconsume_times, second.topic(), text(&second)), (1, &*topic, "fails".to_owned()));
    let dead = client.pull_consumer(PullConsumerConfig::new(unique("undertaker"))).unwrap();
    eventually("there is a dead letter", async || {
        let Ok(queues) = dead.queues(&format!("%DLQ%{group}")).await else { return false };
        dead.max_offset(&queues[0]).await.unwrap() == 1
    })
    .await;
    dead.shutdown().await;
    consumer.shutdown().await;
}

#[tokio::test]
async fn in_order_with_a_failure_in_between() {
    let Some(client) = client() else { return };
    let topic = topic(&client.admin(), 2).await;
    let producer = producer(&client);
    for n in 0..20 {
        producer.send_sharded(Message::new(&*topic, format!("a{n:02}")), "a").await.unwrap();
        producer.send_sharded(Message::new(&*topic, format!("b{n:02}")), "b").await.unwrap();
    }
    let (tell, mut told) = mpsc::unbounded_channel();
    let failed = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let listener = move |messages: MessageBatch| {
        let (tell, failed) = (tell.clone(), failed.clone());
        async move {
            if text(&messages[0]).ends_with('7') && failed.lock().unwrap().insert(text(&messages[0])) {
                return OrderOutcome::Suspend(Duration::from_millis(50));
            }
            tell.send(messages[0].clone()).unwrap();
            OrderOutcome::Commit
        }
    };
    let config = from_start(&unique("group"), &topic, "*");
    let consumer = client.consume_ordered(config, listener).await.unwrap();
    let mut lanes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for _ in 0..40 {
        let message = next(&mut told).await;
        assert_eq!(message.reconsume_times, i32::from(text(&message).ends_with('7')));
        lanes.entry(text(&message)[..1].to_owned()).or_default().push(text(&message)[1..].to_owned());
    }
    let expected: Vec<_> = (0..20).map(|n| format!("{n:02}")).collect();
    assert_eq!(lanes["a"], expected);
    assert_eq!(lanes["b"], expected);
    consumer.shutdown().await;
}

#[tokio::test]
async fn an_ordered_queue_moves_to_another_member_without_losing_order() {
    let (Some(one), Some(two)) = (client(), client()) else { return };
    let topic = topic(&one.admin(), 2).await;
    let group = unique("group");
    let (tell, mut told) = mpsc::unbounded_channel();
    let listener = |name: &'static str| {
        let tell = tell.clone();
        move |messages: MessageBatch| {
            let tell = tell.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                tell.send((name, messages[0].clone())).unwrap();
                OrderOutcome::Commit
            }
        }
    };
    let config = from_start(&group, &topic, "*");
    let first = one.consume_ordered(config.clone(), listener("first")).await.unwrap();
    let sending = tokio::spawn({
        let (producer, topic) = (producer(&one), topic.clone());
        async move {
            let queues = producer.queues(&topic).await.unwrap();
            for n in 0..300 {
                let message = Message::new(&*topic, format!("{n}"));
                producer.send_to_queue(message, &queues[n % 2]).await.unwrap();
            }
        }
    });
    let mut seen: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    let mut names = BTreeSet::new();
    let mut second = None;
    while seen.values().map(Vec::len).sum::<usize>() < 300 {
        let (name, message) = tokio::time::timeout(Duration::from_secs(60), told.recv())
            .await
            .expect("a message in time")
            .unwrap();
        names.insert(name);
        seen.entry(message.queue.queue_id).or_default().push(message.queue_offset);
        if seen.len() == 2 && second.is_none() {
            second = Some(two.consume_ordered(config.clone(), listener("second")).await.unwrap());
        }
    }
    sending.await.unwrap();
    for offsets in seen.values() {
        assert_eq!(*offsets, (0..150).collect::<Vec<_>>(), "each once, in order, whoever had the queue");
    }
    first.shutdown().await;
    second.unwrap().shutdown().await;
    assert!(names.contains("first"));
}

#[tokio::test]
async fn broadcast_to_every_member_and_remembered_in_a_file() {
    let Ok(addrs) = std::env::var("TRIREME_TEST_NAMESRV") else { return };
    let dir = tempfile::tempdir().unwrap();
    let client = |name: &str| {
        let config = ClientConfig {
            offset_dir: dir.path().into(),
            instance_name: Some(unique(name)),
            ..ClientConfig::new(&addrs)
        };
        Client::new(config).unwrap()
    };
    let (one, two) = (client("one"), client("two"));
    let topic = topic(&one.admin(), 2).await;
    let config =
        PushConsumerConfig { model: MessageModel::Broadcasting, ..from_start(&unique("group"), &topic, "*") };
    let (first, mut told_first) = consume(&one, config.clone()).await;
    let (second, mut told_second) = consume(&two, config.clone()).await;
    let sent = send_all(&producer(&one), &topic, (0..10).map(|n| format!("to all {n}"))).await;
    assert_eq!(texts(&mut told_first, 10).await, sent);
    assert_eq!(texts(&mut told_second, 10).await, sent);
    first.shutdown().await;
    let sent = send_all(&producer(&one), &topic, (0..5).map(|n| format!("later {n}"))).await;
    let (first, mut told_first) = consume(&one, config).await;
    assert_eq!(texts(&mut told_first, 5).await, sent, "nothing of the first ten");
    first.shutdown().await;
    second.shutdown().await;
}

#[tokio::test]
async fn pulled_sought_and_committed() {
    let Some(client) = client() else { return };
    let topic = topic(&client.admin(), 1).await;
    let producer = producer(&client);
    let config =
        PullConsumerConfig { long_poll: Duration::from_secs(1), ..PullConsumerConfig::new(unique("group")) };
    let mut consumer = client.pull_consumer(config).unwrap();
    let queue = consumer.queues(&topic).await.unwrap().remove(0);
    assert_eq!(consumer.pull(&queue, 0, 8).await.unwrap().status, PullStatus::Nothing);
    for n in 0..10 {
        producer.send(Message::new(&*topic, format!("{n}"))).await.unwrap();
    }
    // RocketMQ acknowledges before consumers can see it.
    eventually("all can be pulled", async || consumer.max_offset(&queue).await.unwrap() == 10).await;
    let page = consumer.pull(&queue, 3, 4).await.unwrap();
    assert_eq!(page.status, PullStatus::Found);
    assert_eq!(page.messages.iter().map(text).collect::<Vec<_>>(), ["3", "4", "5", "6"]);
    assert_eq!((page.next_offset, page.min_offset, page.max_offset), (7, 0, 10));
    let beyond = consumer.pull(&queue, 100, 4).await.unwrap();
    assert_eq!((beyond.status, beyond.next_offset), (PullStatus::OutOfRange, 10));
    assert_eq!(consumer.min_offset(&queue).await.unwrap(), 0);
    assert_eq!(consumer.max_offset(&queue).await.unwrap(), 10);
    assert_eq!(consumer.search_offset(&queue, 0).await.unwrap(), 0);
    let fifth = consumer.pull(&queue, 5, 1).await.unwrap().messages.remove(0);
    let found = consumer.search_offset(&queue, fifth.store_timestamp).await.unwrap();
    assert!(found <= 5, "{found} is not behind the fifth");

    consumer.commit(&queue, 4).await.unwrap();
    eventually("the offset is committed", async || consumer.committed(&queue).await.unwrap() == Some(4))
        .await;
    consumer.assign([queue.clone()], "*").await.unwrap();
    let mut polled = Vec::new();
    while polled.len() < 6 {
        polled.extend(consumer.poll(Duration::from_secs(5)).await.unwrap().iter().map(text));
    }
    assert_eq!(polled, ["4", "5", "6", "7", "8", "9"]);
    consumer.seek(&queue, 8).unwrap();
    assert_eq!(
        consumer.poll(Duration::from_secs(5)).await.unwrap().iter().map(text).collect::<Vec<_>>(),
        ["8", "9"]
    );
    assert_eq!(consumer.position(&queue), Some(10));
    consumer.commit_positions().await.unwrap();
    eventually("the position is committed", async || consumer.committed(&queue).await.unwrap() == Some(10))
        .await;
    consumer.shutdown().await;
}
