//! What is no message and must survive a leader all the same: consumers' positions, delays, retries.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::process::Command;
use trireme_chaos::history::{Attempt, Id, Outcome};
use trireme_chaos::outcome;
use trireme_client::{
    ConsumeFrom, ConsumeOutcome, Message, MessageBatch, MessageQueue, ProducerConfig, PullConsumerConfig,
    PushConsumerConfig, ReceivedMessage,
};
use trireme_remoting::message::{properties, property};
use trireme_remoting::response;

use crate::harness::{Cluster, eventually, until};
use crate::wire;

fn queue(topic: &str, id: i32) -> MessageQueue {
    MessageQueue::new(topic, "broker-a", id)
}

/// Positions are committed all the time while leaders die. What was acknowledged is never taken back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_of_consumers() {
    let mut cluster = Cluster::start().await;
    cluster.topic("read", 4).await;
    let client = cluster.client();
    let consumer = Arc::new(client.pull_consumer(PullConsumerConfig::new("readers")).unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let (tried, acked) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
    let committing = {
        let (consumer, stop, tried, acked) = (consumer.clone(), stop.clone(), tried.clone(), acked.clone());
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let next = tried.fetch_add(1, Ordering::SeqCst) + 1;
                // An error means that the outcome is unknown.
                if consumer.commit(&queue("read", 3), next).await.is_ok() {
                    acked.fetch_max(next, Ordering::SeqCst);
                }
            }
        })
    };
    for _ in 0..2 {
        let before = acked.load(Ordering::SeqCst);
        eventually("positions are committed", async || acked.load(Ordering::SeqCst) > before + 10).await;
        let leader = cluster.leader().await;
        cluster.kill(leader).await;
        let floor = acked.load(Ordering::SeqCst);
        let told =
            until("a new leader answers", async || consumer.committed(&queue("read", 3)).await.ok()).await;
        let (told, ceiling) = (told.unwrap_or(0), tried.load(Ordering::SeqCst));
        assert!((floor..=ceiling).contains(&told), "{told} is told, {floor} was acknowledged");
        cluster.restart(leader);
        cluster.caught_up(leader).await;
    }
    stop.store(true, Ordering::Relaxed);
    committing.await.unwrap();
    let told = consumer.committed(&queue("read", 3)).await.unwrap();
    println!("{} of {told:?} positions acknowledged", acked.load(Ordering::SeqCst));
    cluster.kill_all().await;
    (0..3).for_each(|at| cluster.restart(at));
    let again =
        until("the group leads again", async || consumer.committed(&queue("read", 3)).await.ok()).await;
    assert_eq!(again, told);
    cluster.assert_healthy();
}

const DELAYED: u32 = 120;

/// Messages become due around the time at which their leader dies: each comes once, and none too early.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delayed_messages() {
    let mut cluster = Cluster::start().await;
    cluster.topic("later", 2).await;
    let delay = properties::build([(property::DELAY_TIME_LEVEL, "1")]);
    let mut attempts = Vec::new();
    let mut killed = None;
    let started = Instant::now();
    for seq in 0..DELAYED {
        let leader = cluster.leader().await;
        // One is due each 15 ms; this is in the middle of them.
        if killed.is_none() && started.elapsed() > Duration::from_millis(1_500) {
            cluster.kill(leader).await;
            killed = Some(leader);
        }
        let id = Id { client: 0, seq };
        let request =
            wire::send_request(&queue("later", i32::try_from(seq % 2).unwrap()), id.body(10), &delay);
        let started = Instant::now();
        let answer = wire::ask(&cluster.remote, cluster.replicas[leader].addr, request).await;
        let outcome = outcome::of_request(&queue("later", i32::try_from(seq % 2).unwrap()), answer).unwrap();
        attempts.push(Attempt::once(id, started, outcome));
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    cluster.restart(killed.expect("sending takes longer than that"));
    let acked: BTreeSet<Id> =
        attempts.iter().filter(|sent| sent.place().is_some()).map(|sent| sent.id).collect();
    assert!(acked.len() > 50, "{} acknowledged", acked.len());

    let client = cluster.client();
    let config = PullConsumerConfig { long_poll: Duration::ZERO, ..PullConsumerConfig::new("late") };
    let consumer = client.pull_consumer(config).unwrap();
    let mut found: BTreeMap<Id, Vec<ReceivedMessage>> = BTreeMap::new();
    eventually("all are delivered", async || {
        found = BTreeMap::new();
        for id in 0..2 {
            let mut offset = 0;
            loop {
                let page = consumer.pull(&queue("later", id), offset, 1024).await.unwrap();
                offset = page.next_offset;
                if page.messages.is_empty() {
                    break;
                }
                for message in page.messages {
                    found.entry(Id::of(&message.body).unwrap()).or_default().push(message);
                }
            }
        }
        acked.iter().all(|id| found.contains_key(id))
    })
    .await;
    for (id, copies) in &found {
        let attempt = &attempts[id.seq as usize];
        assert_eq!(copies.len(), 1, "{attempt:?} came {} times: {copies:?}", copies.len());
        assert_ne!(attempt.outcome, Outcome::Refused, "{attempt:?} came");
        let waited = copies[0].store_timestamp - copies[0].born_timestamp;
        assert!(waited >= 1_000, "{attempt:?} came after {waited} ms");
    }
    cluster.caught_up(killed.unwrap_or(0)).await;
    cluster.assert_healthy();
}

/// Messages fail and come again while their leader dies. Those that always fail end as dead letters, the others
/// are consumed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_and_dead_letters() {
    let mut cluster = Cluster::start().await;
    cluster.topic("tried", 4).await;
    let client = cluster.client();
    let producer = client.producer(ProducerConfig::new("tried")).unwrap();
    let consumed: Arc<Mutex<BTreeSet<Id>>> = Arc::default();
    let failures = Arc::new(AtomicI64::new(0));
    let listener = {
        let (consumed, failures) = (consumed.clone(), failures.clone());
        move |messages: MessageBatch| {
            let message = &messages[0];
            let id = Id::of(&message.body).unwrap();
            // Every third never succeeds, the others do at the second time.
            let fails = id.seq.is_multiple_of(3) || message.reconsume_times == 0;
            if fails {
                failures.fetch_add(1, Ordering::SeqCst);
            } else {
                consumed.lock().insert(id);
            }
            async move { if fails { ConsumeOutcome::RetryAtLevel(1) } else { ConsumeOutcome::Commit } }
        }
    };
    let config = PushConsumerConfig {
        consume_from: ConsumeFrom::First,
        max_reconsume_times: Some(1),
        commit_interval: Duration::from_millis(500),
        ..PushConsumerConfig::new("triers").subscribe("tried", "*")
    };
    let consumer = client.consume(config, listener).await.unwrap();
    let mut sent = BTreeSet::new();
    for seq in 0..60 {
        let id = Id { client: 0, seq };
        producer.send(Message::new("tried", id.body(10))).await.unwrap();
        sent.insert(id);
    }
    eventually("messages fail", async || failures.load(Ordering::SeqCst) >= 30).await;
    let leader = cluster.leader().await;
    cluster.kill(leader).await;
    let (hopeless, good): (BTreeSet<Id>, BTreeSet<Id>) = sent.iter().partition(|id| id.seq.is_multiple_of(3));
    eventually("the others are consumed", async || *consumed.lock() == good).await;
    cluster.restart(leader);
    let dead = queue("%DLQ%triers", 0);
    let mut letters = Vec::new();
    eventually("those that fail are dead letters", async || {
        let leader = cluster.leader().await;
        let addr = cluster.replicas[leader].addr;
        letters =
            wire::pull_all(&cluster.remote, addr, std::slice::from_ref(&dead)).await.remove(&dead).unwrap();
        letters.iter().map(|body| Id::of(body).unwrap()).collect::<BTreeSet<Id>>() == hopeless
    })
    .await;
    println!("{} dead letters for {} messages", letters.len(), hopeless.len());
    consumer.shutdown().await;
    cluster.assert_healthy();
}

/// A restart goes on from what was saved last. If that still knows a topic that was deleted since, its queues have to
/// be there: all of the log would be read to make them again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_just_deleted() {
    let mut cluster = Cluster::start().await;
    for topic in ["kept", "doomed"] {
        cluster.topic(topic, 2).await;
    }
    let producer = cluster.client().producer(ProducerConfig::new("senders")).unwrap();
    for number in 0..20u8 {
        producer.send(Message::new("doomed", vec![number])).await.unwrap();
    }
    let leader = cluster.leader().await;
    let goal = cluster.status(leader).await.unwrap().applied;
    let mut kept = 0;
    // What is saved is saved while entries are applied.
    eventually("a save that knows the messages", async || {
        kept += usize::from(producer.send(Message::new("kept", "x")).await.is_ok());
        Saved::read(&cluster.replicas[leader].store).await.is_some_and(|saved| saved.index >= goal)
    })
    .await;
    // Topics are numbered in the order in which they were made.
    let queues = cluster.replicas[leader].store.join("consumequeue");
    let names = std::fs::read_dir(&queues).unwrap().map(|entry| entry.unwrap().file_name());
    let number = names.filter_map(|name| name.to_str()?.parse::<u32>().ok()).max().unwrap();
    let doomed = queues.join(number.to_string());
    cluster.client().admin().delete_topic("doomed").await.unwrap();
    cluster.kill_all().await;
    let saved = Saved::read(&cluster.replicas[leader].store).await.unwrap();
    assert!(saved.knows("doomed"), "the next save is not due yet: {saved:?}");
    for at in 0..3 {
        cluster.restart(at);
    }
    for at in 0..3 {
        cluster.serves(at).await;
    }
    let addr = cluster.replicas[cluster.leader().await].addr;
    let gone = wire::ask(&cluster.remote, addr, wire::pull_request(&queue("doomed", 0), 0)).await.unwrap();
    assert_eq!(gone.code, response::TOPIC_NOT_EXIST);
    let found = wire::pull_all(&cluster.remote, addr, &[queue("kept", 0), queue("kept", 1)]).await;
    assert!(found.values().map(Vec::len).sum::<usize>() >= kept, "{kept} messages were acknowledged");
    for replica in &cluster.replicas {
        let output = replica.process.output();
        let rebuilt = output.lines().find(|line| line.contains("rebuilding"));
        assert_eq!(rebuilt, None, "in {}", replica.process.log().display());
    }
    // When no save knows it any more, its files go.
    eventually("its files are gone", async || {
        producer.send(Message::new("kept", "x")).await.ok();
        !doomed.exists()
    })
    .await;
    assert!(!Saved::read(&cluster.replicas[leader].store).await.unwrap().knows("doomed"));
    producer.shutdown().await;
    cluster.assert_healthy();
}

/// What a replica saved last, as `trireme dump` tells it of a store in use or not.
#[derive(Debug)]
struct Saved {
    /// The entry that it is as of.
    index: u64,
    dump: String,
}

impl Saved {
    async fn read(store: &Path) -> Option<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trireme"));
        let output = command.args(["dump", "--hard", "--store"]).arg(store).output().await.unwrap();
        let dump = String::from_utf8(output.stdout).unwrap();
        let at = dump.split_once("state saved at ")?.1.split([':', ' ']).next()?;
        let index = at.split_once('-')?.1.parse().unwrap();
        Some(Self { index, dump })
    }

    fn knows(&self, topic: &str) -> bool {
        self.dump.lines().any(|line| line.contains(&format!("topic {topic}")))
    }
}
