//! What a producer does when its brokers are not well.
#![allow(clippy::unwrap_used)]

mod fake;

use std::time::{Duration, Instant};

use fake::{Cluster, Mode};
use trireme_client::{Client, ClientConfig, ClientError, Message, MessageQueue, Producer, ProducerConfig};
use trireme_remoting::{RequestCode, Server, ServerOptions, response};

const SEND: RequestCode = RequestCode::SendMessageV2;

fn producer_of(addrs: &str, config: ProducerConfig) -> Producer {
    Client::new(ClientConfig::new(addrs)).unwrap().producer(config).unwrap()
}

fn producer(cluster: &Cluster) -> Producer {
    producer_of(&cluster.addr(), ProducerConfig::new("producers"))
}

fn message() -> Message {
    Message::new("T", "body")
}

#[tokio::test]
async fn an_answer_that_names_the_leader_is_followed() {
    let cluster = Cluster::start(&[("g", 3)]).await;
    cluster.elect(0, Some(2));
    let producer = producer(&cluster);
    for _ in 0..5 {
        producer.send(message()).await.unwrap();
    }
    assert_eq!(cluster.replica(0, 0).seen(SEND), 1, "the name server's word, once");
    assert_eq!(cluster.replica(0, 2).seen(SEND), 4);
}

#[tokio::test]
async fn a_dead_leader_is_left_at_once() {
    let mut cluster = Cluster::start(&[("g", 3)]).await;
    let producer = producer(&cluster);
    producer.send(message()).await.unwrap();
    cluster.kill(0, 0);
    cluster.elect(0, Some(1));
    let started = Instant::now();
    producer.send(message()).await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
    assert_eq!(cluster.group(0).stored("T"), 2);
}

#[tokio::test]
async fn a_route_is_asked_for_when_a_replica_is_gone() {
    let mut cluster = Cluster::start(&[("g", 2)]).await;
    let producer = producer(&cluster);
    producer.send(message()).await.unwrap();
    cluster.kill(0, 0);
    cluster.elect(0, Some(1));
    let before = *cluster.routes.asked.lock();
    producer.send(message()).await.unwrap();
    let asked = async {
        while *cluster.routes.asked.lock() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), asked).await.expect("long before the 30 s poll");
}

#[tokio::test]
async fn a_frozen_leader_is_left_by_all_sends_at_once_and_then_avoided() {
    let cluster = Cluster::start(&[("g", 3)]).await;
    let producer = producer(&cluster);
    producer.send(message()).await.unwrap();
    cluster.replica(0, 0).set(Mode::Frozen);
    cluster.elect(0, Some(1));
    let started = Instant::now();
    let sends = (0..50).map(|_| producer.send(message()));
    futures_util::future::join_all(sends).await.into_iter().for_each(|sent| drop(sent.unwrap()));
    let took = started.elapsed();
    assert!((Duration::from_millis(500)..Duration::from_secs(2)).contains(&took), "{took:?}");
    let started = Instant::now();
    for _ in 0..10 {
        producer.send(message()).await.unwrap();
    }
    assert!(started.elapsed() < Duration::from_millis(300), "{:?}", started.elapsed());
    assert_eq!(cluster.replica(0, 0).seen(SEND), 51);
    assert_eq!(cluster.group(0).stored("T"), 61, "none twice");
}

#[tokio::test]
async fn a_replica_that_is_slow_but_alive_is_waited_for() {
    let cluster = Cluster::start(&[("g", 3)]).await;
    let producer = producer(&cluster);
    cluster.replica(0, 0).set(Mode::FrozenFor(SEND.code()));
    let send = tokio::spawn(async move { producer.send(message()).await });
    cluster.replica(0, 0).asked(RequestCode::HeartBeat, 2).await;
    cluster.replica(0, 0).thaw();
    send.await.unwrap().unwrap();
    assert_eq!(cluster.group(0).stored("T"), 1);
    assert_eq!((cluster.replica(0, 1).seen(SEND), cluster.replica(0, 2).seen(SEND)), (0, 0));
}

#[tokio::test]
async fn a_leader_that_answers_everything_but_sends_does_not_use_up_all_the_time() {
    let cluster = Cluster::start(&[("g", 3)]).await;
    let config =
        ProducerConfig { send_timeout: Duration::from_millis(900), ..ProducerConfig::new("producers") };
    let producer = producer_of(&cluster.addr(), config);
    cluster.replica(0, 0).set(Mode::FrozenFor(SEND.code()));
    producer.send(message()).await.unwrap();
    assert_eq!(cluster.replica(0, 1).seen(SEND), 1);
}

#[tokio::test]
async fn an_election_is_waited_for() {
    let cluster = Cluster::start(&[("g", 3)]).await;
    cluster.elect(0, None);
    let producer = producer(&cluster);
    let send = tokio::spawn(async move { producer.send(message()).await });
    // More refusals than tries: they do not count.
    cluster.replica(0, 0).asked(SEND, 2).await;
    cluster.replica(0, 1).asked(SEND, 2).await;
    cluster.elect(0, Some(2));
    send.await.unwrap().unwrap();
    assert_eq!(cluster.group(0).stored("T"), 1);
}

#[tokio::test]
async fn a_group_that_elects_nobody_is_given_up_in_time() {
    let cluster = Cluster::start(&[("g", 3)]).await;
    cluster.elect(0, None);
    let config =
        ProducerConfig { send_timeout: Duration::from_millis(500), ..ProducerConfig::new("producers") };
    let producer = producer_of(&cluster.addr(), config);
    let started = Instant::now();
    let error = producer.send(message()).await.unwrap_err();
    assert!((Duration::from_millis(450)..Duration::from_millis(900)).contains(&started.elapsed()));
    assert_eq!(error.code(), Some(response::SERVICE_NOT_AVAILABLE));
    let ClientError::SendFailed { topic, tries, .. } = &error else { panic!("{error}") };
    assert_eq!(topic, "T");
    assert!(*tries >= 4, "{error}");
}

#[tokio::test]
async fn a_group_that_is_gone_is_given_up_in_time() {
    let mut cluster = Cluster::start(&[("g", 2)]).await;
    let config =
        ProducerConfig { send_timeout: Duration::from_millis(500), ..ProducerConfig::new("producers") };
    let producer = producer_of(&cluster.addr(), config);
    producer.send(message()).await.unwrap();
    cluster.kill(0, 0);
    cluster.kill(0, 1);
    let started = Instant::now();
    let error = producer.send(message()).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_millis(900));
    assert!(error.to_string().contains("g"), "{error}");
}

#[tokio::test]
async fn what_nobody_will_take_is_not_repeated() {
    let cluster = Cluster::start(&[("g", 3)]).await;
    let producer = producer(&cluster);
    for (code, tries) in [(response::MESSAGE_ILLEGAL, 1), (response::TOPIC_NOT_EXIST, 2)] {
        cluster.replica(0, 0).set(Mode::Refusing(code));
        let error = producer.send(message()).await.unwrap_err();
        assert_eq!(error.code(), Some(code));
        assert_eq!(cluster.replica(0, 0).seen(SEND), tries, "one more");
    }
    assert_eq!(cluster.replica(0, 1).seen(SEND), 0);
}

#[tokio::test]
async fn another_group_takes_over_without_a_pause() {
    let cluster = Cluster::start(&[("g", 1), ("h", 1)]).await;
    cluster.elect(0, None);
    let producer = producer(&cluster);
    let started = Instant::now();
    for _ in 0..8 {
        let sent = producer.send(message()).await.unwrap();
        assert_eq!(&*sent.queue.broker_name, "h");
    }
    assert!(started.elapsed() < Duration::from_millis(400), "{:?}", started.elapsed());
    assert!(cluster.replica(0, 0).seen(SEND) <= 2, "the group in trouble is avoided for a while");
}

#[tokio::test]
async fn a_refusal_is_taken_to_another_group() {
    let cluster = Cluster::start(&[("g", 1), ("h", 1)]).await;
    cluster.replica(0, 0).set(Mode::Refusing(response::NO_PERMISSION));
    let producer = producer(&cluster);
    for _ in 0..4 {
        assert_eq!(&*producer.send(message()).await.unwrap().queue.broker_name, "h");
    }
}

#[tokio::test]
async fn a_chosen_queue_stays_with_its_group() {
    let cluster = Cluster::start(&[("g", 2), ("h", 1)]).await;
    cluster.replica(0, 0).set(Mode::Refusing(response::SERVICE_NOT_AVAILABLE));
    cluster.elect(0, Some(1));
    let producer = producer(&cluster);
    let queue = MessageQueue::new("T", "g", 1);
    let sent = producer.send_to_queue(message(), &queue).await.unwrap();
    assert_eq!((sent.queue, cluster.replica(0, 1).seen(SEND)), (queue, 1));
    assert_eq!(cluster.replica(1, 0).seen(SEND), 0);
    let missing = MessageQueue::new("T", "g", 9);
    assert!(matches!(producer.send_to_queue(message(), &missing).await, Err(ClientError::NoQueue { .. })));
    let foreign = MessageQueue::new("U", "g", 0);
    assert!(matches!(producer.send_to_queue(message(), &foreign).await, Err(ClientError::Message { .. })));
}

#[tokio::test]
async fn a_lone_broker_that_is_slow_is_not_sent_to_twice() {
    let cluster = Cluster::start(&[("g", 1)]).await;
    cluster.replica(0, 0).set(Mode::Frozen);
    let config =
        ProducerConfig { send_timeout: Duration::from_millis(300), ..ProducerConfig::new("producers") };
    let error = producer_of(&cluster.addr(), config).send(message()).await.unwrap_err();
    assert!(matches!(error, ClientError::SendFailed { tries: 1, outcome_unknown: true, .. }), "{error}");
    assert_eq!(cluster.replica(0, 0).seen(SEND), 1);
}

#[tokio::test]
async fn name_servers_stand_in_for_each_other() {
    let cluster = Cluster::start(&[("g", 1)]).await;
    let gone =
        Server::bind("127.0.0.1:0".parse().unwrap(), ServerOptions::default(), std::sync::Arc::new(Nobody))
            .unwrap();
    let addr = gone.local_addr();
    drop(gone);
    for addrs in [format!("{addr};{}", cluster.addr()), format!("{};{addr}", cluster.addr())] {
        producer_of(&addrs, ProducerConfig::new("producers")).send(message()).await.unwrap();
    }
    let error = producer_of(&addr.to_string(), ProducerConfig::new("p")).send(message()).await.unwrap_err();
    assert!(matches!(&error, ClientError::NameServer { asked, .. } if *asked == addr.to_string()), "{error}");
}

struct Nobody;

impl trireme_remoting::RequestHandler for Nobody {
    fn on_request(&self, _: trireme_remoting::Frame, _: trireme_remoting::Responder) {}
}

#[tokio::test]
async fn nothing_is_sent_that_cannot_be() {
    let cluster = Cluster::start(&[("g", 1)]).await;
    let producer = producer(&cluster);
    let large = Message::new("T", vec![0; (4 << 20) + 1]);
    assert!(matches!(producer.send(large).await, Err(ClientError::Message { .. })));
    assert!(matches!(producer.send(Message::new("../../x", "b")).await, Err(ClientError::Name { .. })));
    assert!(matches!(producer.send_batch(Vec::new()).await, Err(ClientError::Message { .. })));
    let mixed = vec![message(), Message::new("U", "b")];
    assert!(matches!(producer.send_batch(mixed).await, Err(ClientError::Message { .. })));
    let missing = producer.send(Message::new("missing", "b")).await;
    assert!(matches!(missing, Err(ClientError::TopicNotFound { .. })));
    assert_eq!(cluster.replica(0, 0).seen(SEND), 0);
    producer.shutdown().await;
    assert!(matches!(producer.send(message()).await, Err(ClientError::Closed)));
}

#[tokio::test]
async fn callbacks_are_awaited_by_a_shutdown() {
    let cluster = Cluster::start(&[("g", 1)]).await;
    let producer = producer(&cluster);
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..100 {
        let tell = tell.clone();
        producer.send_async(message(), move |sent| tell.send(sent.is_ok()).unwrap()).await.unwrap();
    }
    producer.shutdown().await;
    let outcomes: Vec<bool> = std::iter::from_fn(|| told.try_recv().ok()).collect();
    assert_eq!(outcomes, vec![true; 100]);
    assert!(matches!(producer.send_async(message(), |_| ()).await, Err(ClientError::Closed)));
}
