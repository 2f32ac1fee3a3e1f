//! Producers and a consumer that go on whatever happens.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use trireme_chaos::history::{Attempt, Id};
use trireme_chaos::outcome;
use trireme_client::{
    Client, ConsumeFrom, ConsumeOutcome, Message, MessageBatch, MessageQueue, ProducerConfig, PushConsumer,
    PushConsumerConfig,
};

use crate::checks::{Consumed, Summary, check};
use crate::harness::Cluster;
use crate::history::History;
use crate::wire;

/// Queues of the topic, in each group.
const QUEUES: i32 = 4;
/// Producers of our client; they choose queues and try again as they please.
const PRODUCERS: u32 = 3;
/// Senders of single requests: one per replica of a group, so that every replica has some to pass on.
const STRAIGHT: u32 = 3;
/// A sender rests so long after each message: together they keep a small machine busy, not choking.
const REST: Duration = Duration::from_millis(2);

/// A topic under load.
pub struct Load {
    /// What was sent.
    pub history: Arc<History>,
    queues: Vec<MessageQueue>,
    stop: Arc<AtomicBool>,
    senders: JoinSet<()>,
    client: Client,
    consumer: PushConsumer,
    consumed: Arc<Consumed>,
}

impl Load {
    /// Makes a topic, and starts to send to it and to consume from it.
    pub async fn start(cluster: &Cluster, topic: &str) -> Self {
        let topic = cluster.topic(topic, QUEUES).await;
        let client = cluster.client();
        let consumed = Arc::new(Consumed::default());
        let consumer = consume(&client, &topic, consumed.clone()).await;
        let mut load = Self {
            history: Arc::default(),
            queues: Vec::new(),
            stop: Arc::default(),
            senders: JoinSet::new(),
            client,
            consumer,
            consumed,
        };
        for number in 0..PRODUCERS {
            load.produce(&topic, number);
        }
        for (group, replicas) in (0..).zip(cluster.replicas.chunks(3)) {
            let queues: Vec<MessageQueue> =
                (0..QUEUES).map(|id| MessageQueue::new(topic.clone(), &*replicas[0].group, id)).collect();
            for number in 0..STRAIGHT {
                let mut addrs: Vec<SocketAddr> = replicas.iter().map(|replica| replica.addr).collect();
                addrs.rotate_left(number as usize);
                load.send_straight(
                    PRODUCERS + group * STRAIGHT + number,
                    queues.clone(),
                    addrs,
                    cluster.remote.clone(),
                );
            }
            load.queues.extend(queues);
        }
        load.history.progress(20).await;
        load
    }

    /// Sends with a producer of our client, one message after the other.
    fn produce(&mut self, topic: &Arc<str>, number: u32) {
        let producer = self.client.producer(ProducerConfig::new("load")).unwrap();
        let (topic, history, stop) = (topic.clone(), self.history.clone(), self.stop.clone());
        self.senders.spawn(async move {
            for seq in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let id = Id { client: number, seq };
                let started = Instant::now();
                let sent = producer.send(Message::new(topic.clone(), id.body(padding(seq)))).await;
                let outcome = outcome::of_producer(sent).unwrap();
                history.add(Attempt { is_single: false, ..Attempt::once(id, started, outcome) });
                tokio::time::sleep(REST).await;
            }
        });
    }

    /// Sends one request per message, to the first replica as long as it is there, whoever leads.
    fn send_straight(
        &mut self,
        number: u32,
        queues: Vec<MessageQueue>,
        mut addrs: Vec<SocketAddr>,
        remote: trireme_remoting::Client,
    ) {
        let (history, stop) = (self.history.clone(), self.stop.clone());
        self.senders.spawn(async move {
            for seq in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let id = Id { client: number, seq };
                let queue = &queues[seq as usize % queues.len()];
                let started = Instant::now();
                let answer =
                    wire::ask(&remote, addrs[0], wire::send_request(queue, id.body(padding(seq)), "")).await;
                if answer.is_err() {
                    addrs.rotate_left(1);
                }
                let outcome = outcome::of_request(queue, answer).unwrap();
                history.add(Attempt::once(id, started, outcome));
                tokio::time::sleep(REST).await;
            }
        });
    }

    /// Waits for sends under way and starts no more.
    pub async fn stop_sending(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.senders.join_next().await {
            ended.unwrap();
        }
    }

    /// Ends the load, and checks what is in the queues of every replica, and what the consumer was given.
    pub async fn check(mut self, cluster: &Cluster) -> Vec<Attempt> {
        self.stop_sending().await;
        for group in 0..cluster.replicas.len() / 3 {
            cluster.converged(group).await;
        }
        let mut summary = Summary::default();
        let attempts = self.history.attempts();
        for at in 0..3 {
            let mut contents = wire::Contents::new();
            for (group, replicas) in cluster.replicas.chunks(3).enumerate() {
                let queues = &self.queues[group * QUEUES as usize..][..QUEUES as usize];
                contents.append(&mut wire::pull_all(&cluster.remote, replicas[at].addr, queues).await);
            }
            let checked = check(&attempts, &contents);
            let what = |violations| {
                panic!("replicas {}: {} violations: {violations:#?}", at + 1, Vec::len(&violations))
            };
            summary = checked.unwrap_or_else(what);
            if at == 0 {
                self.consumed.everything(&contents).await;
            }
        }
        println!("{summary}");
        assert!(summary.acked > 100, "too few to show anything: {summary}");
        self.consumer.shutdown().await;
        self.client.shutdown();
        attempts
    }
}

/// Most bodies are small, some take part of a page, few take several.
fn padding(seq: u32) -> usize {
    match seq % 20 {
        0 => 20_000,
        1..10 => 1_500,
        _ => 100,
    }
}

async fn consume(client: &Client, topic: &str, consumed: Arc<Consumed>) -> PushConsumer {
    let config = PushConsumerConfig {
        consume_from: ConsumeFrom::First,
        ..PushConsumerConfig::new(format!("{topic}-consumer")).subscribe(topic, "*")
    };
    let listener = move |messages: MessageBatch| {
        messages.iter().for_each(|message| consumed.add(message));
        async { ConsumeOutcome::Commit }
    };
    client.consume(config, listener).await.unwrap()
}
