//! The client against a running server: Trireme or Apache RocketMQ, whichever `TRIREME_TEST_NAMESRV` names.
//!
//! Without that variable every test here says so and passes.
#![allow(clippy::unwrap_used)]

use std::time::{SystemTime, UNIX_EPOCH};

use trireme_client::{
    Admin, Client, ClientConfig, GroupSpec, Message, Producer, ProducerConfig, SerializeType, TopicSpec,
};

/// A client of the server to test against; nothing, with a word about it, if there is none.
fn client() -> Option<Client> {
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
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), waiting).await.expect(what);
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
    let mut queues = std::collections::BTreeSet::new();
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

    let many =
        futures_util::future::join_all((0..1000).map(|n| producer.send(message(&n.to_string())))).await;
    let places: std::collections::HashSet<_> =
        many.into_iter().map(Result::unwrap).map(|sent| (sent.queue, sent.queue_offset)).collect();
    assert_eq!(places.len(), 1000);
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
    assert_eq!(admin.topic_stats(&topic).await.unwrap().offset_table.len() % 3, 0);
    let group = unique("group");
    admin.create_group(&GroupSpec::new(&group), None).await.unwrap();
    assert!(admin.consume_stats(&group, None).await.unwrap().offset_table.is_empty());
    admin.delete_group(&group).await.unwrap();
    admin.delete_topic(&topic).await.unwrap();
    eventually("the route is gone", async || admin.topic_route(&topic).await.unwrap().is_none()).await;
}
