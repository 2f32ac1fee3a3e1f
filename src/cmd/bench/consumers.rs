//! The receiving side: every body is checked, every message counted once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use parking_lot::Mutex;
use trireme_client::{Client, ConsumeFrom, ConsumeOutcome, MessageBatch, PushConsumer, PushConsumerConfig};

use super::body::{self, Wrong};
use super::meter::Meter;
use super::sequences::Sequences;

/// Members of a group have divided the queues by then, or never will.
const ASSIGNED_WITHIN: Duration = Duration::from_secs(60);
/// How often to look.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// When nothing more arrives for this long, what has not arrived is lost.
const SILENCE: Duration = Duration::from_secs(10);

/// What was received.
pub struct Receipts {
    /// Of which run; `None` counts those of all.
    pub run: Option<u64>,
    pub epoch: Instant,
    /// Per producer.
    pub seen: Vec<Mutex<Sequences>>,
    /// From the time at which a message was sent, or should have been.
    pub meter: Meter,
    pub received: AtomicU64,
    pub twice: AtomicU64,
    pub damaged: AtomicU64,
    pub foreign: AtomicU64,
}

impl Receipts {
    pub fn new(run: Option<u64>, epoch: Instant, producers: u32) -> Self {
        let seen = (0..producers).map(|_| Mutex::default()).collect();
        let (received, twice, damaged, foreign) = Default::default();
        Self { run, epoch, seen, meter: Meter::new(), received, twice, damaged, foreign }
    }

    fn take(&self, messages: &MessageBatch) {
        let now = Instant::now();
        for message in messages.iter() {
            let body = match body::read(&message.body) {
                Ok(body) => body,
                Err(Wrong::Foreign) => {
                    self.foreign.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                Err(Wrong::Damaged) => {
                    self.damaged.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
            };
            let bytes = message.body.len() as u64;
            match self.run {
                None => self.meter.done(now, now, 1, bytes),
                Some(run) if run != body.run => {
                    self.foreign.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                Some(_) => {
                    let seen = self.seen.get(body.producer as usize);
                    if !seen.is_some_and(|seen| seen.lock().insert(body.sequence)) {
                        self.twice.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    self.meter.done(self.epoch + Duration::from_micros(body.sent_us), now, 1, bytes);
                }
            }
            self.received.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Settings of the consumers.
pub struct Consuming<'a> {
    pub topic: &'a str,
    pub group: &'a str,
    pub from: ConsumeFrom,
    pub pull_batch: usize,
}

/// Starts one consumer for each client, all of one group; returns when they have divided the `queues` queues.
pub async fn start(
    clients: &[Client],
    consuming: &Consuming<'_>,
    queues: usize,
    receipts: &Arc<Receipts>,
) -> anyhow::Result<Vec<PushConsumer>> {
    let mut consumers = Vec::new();
    for client in clients {
        let config = PushConsumerConfig {
            consume_from: consuming.from,
            pull_batch: consuming.pull_batch,
            consume_batch: consuming.pull_batch,
            ..PushConsumerConfig::new(consuming.group).subscribe(consuming.topic, "*")
        };
        let receipts = receipts.clone();
        let listener = move |messages: MessageBatch| {
            receipts.take(&messages);
            std::future::ready(ConsumeOutcome::Commit)
        };
        consumers.push(client.consume(config, listener).await?);
    }
    let deadline = Instant::now() + ASSIGNED_WITHIN;
    loop {
        let own = |consumer: &PushConsumer| {
            consumer.queues().iter().filter(|queue| &*queue.topic == consuming.topic).count()
        };
        let assigned: usize = consumers.iter().map(own).sum();
        if assigned == queues {
            return Ok(consumers);
        }
        if deadline < Instant::now() {
            bail!("after {ASSIGNED_WITHIN:?} the consumers have {assigned} of {queues} queues");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until all that was acknowledged has been received, or nothing comes any more; returns how much is missing.
pub async fn drain(receipts: &Receipts, acknowledged: &[Arc<Mutex<Sequences>>]) -> u64 {
    let mut received = 0;
    let mut since = Instant::now();
    loop {
        let missing = |(sent, seen): (&Arc<Mutex<Sequences>>, &Mutex<Sequences>)| {
            sent.lock().missing_from(&seen.lock())
        };
        let missing: u64 = acknowledged.iter().zip(&receipts.seen).map(missing).sum();
        let now_received = receipts.received.load(Ordering::Relaxed);
        if now_received != received {
            (received, since) = (now_received, Instant::now());
        }
        if missing == 0 || SILENCE <= since.elapsed() {
            return missing;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
