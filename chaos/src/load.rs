//! Clients that go on whatever happens, and take down what they are told.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use bytes::Bytes;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};
use trireme_client::{
    Client, ConsumeFrom, ConsumeOutcome, Message, MessageBatch, MessageQueue, ProducerConfig,
    PullConsumerConfig, PushConsumer, PushConsumerConfig, ReceivedMessage, TopicSpec,
};
use trireme_remoting::headers::{GetMaxOffsetRequest, OffsetResponse, SendHeader};
use trireme_remoting::{Frame, RequestCode, response};

use crate::check::Violations;
use crate::check::delays;
use crate::check::logs::{self, Contents, Delays};
use crate::check::reads::{Consumed, Floor, Pulled};
use crate::group::Group;
use crate::history::{Attempt, Id, Outcome};
use crate::metadata::{self, Metadata};
use crate::outcome::{self, Told};
use crate::world::GROUP;

/// The topic of all messages.
const TOPIC: &str = "chaos";
/// Its queues.
const QUEUES: usize = 8;
/// Senders of our client; they choose queues and try again as they please.
const PRODUCERS: u32 = 12;
/// Senders of single requests, each to some replica as long as it answers, whoever leads.
const STRAIGHT: u32 = 12;
/// The topic of delayed messages, and its queue.
const DELAYED: &str = "chaos-delayed";
/// Senders of those.
const DELAYED_SENDERS: u32 = 2;
/// Between two messages of one of them.
const DELAYED_EVERY: Duration = Duration::from_millis(250);
/// Property and value: a second, five seconds.
const DELAYS: [&str; 2] = ["DELAY\u{1}1\u{2}", "DELAY\u{1}2\u{2}"];
/// The longer one, and some time to deliver.
const ALL_ARE_DUE: Duration = Duration::from_secs(6);
/// All that wait are delivered within this then.
const DELIVERED_WITHIN: Duration = Duration::from_secs(30);
/// More than a replica keeps a request that waits for a leader.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Between two questions where a queue ends.
const PROBE_EVERY: Duration = Duration::from_millis(20);
/// Between two commits of the reader.
const COMMIT_EVERY: Duration = Duration::from_millis(500);

/// The topic under load.
pub struct Load {
    shared: Arc<Shared>,
    senders: JoinSet<()>,
    readers: JoinSet<()>,
    client: Client,
    consumer: PushConsumer,
}

/// What was taken down.
pub struct Taken {
    /// All sends.
    pub attempts: Vec<Attempt>,
    /// What readers were told that cannot be.
    pub violations: Violations,
    /// How often they were told where a queue ends.
    pub probes: u64,
    /// How often they were told how far the group is.
    pub positions: u64,
    /// How often topics' configuration was changed or read.
    pub metadata: usize,
    /// How late delayed messages were, in milliseconds, ascending.
    pub late: Vec<i64>,
}

/// What a log holds of what was sent.
#[derive(Default)]
pub struct Stored {
    /// Messages.
    pub contents: Contents,
    /// Delayed ones.
    pub delays: Delays,
}

struct Shared {
    queues: Vec<MessageQueue>,
    attempts: Mutex<Vec<Attempt>>,
    /// How many of these were acknowledged.
    acked: AtomicUsize,
    /// Where each queue ends at least.
    ends: Mutex<Vec<Floor>>,
    consumed: Mutex<Consumed>,
    pulled: Mutex<Pulled>,
    violations: Mutex<Violations>,
    probes: Mutex<(u64, u64)>,
    delayed: Mutex<Vec<(Id, Told)>>,
    metadata: Arc<Metadata>,
    stop: AtomicBool,
}

impl Load {
    /// Makes the topic, and starts to send `rate` messages a second to it, and to read them.
    pub async fn start(client: Client, group: &Group, rate: u32, seed: u64) -> anyhow::Result<Self> {
        let count = i32::try_from(QUEUES)?;
        let deadline = Instant::now() + Duration::from_secs(30);
        for (topic, queues) in [(TOPIC, count), (DELAYED, 1)] {
            let spec = TopicSpec { read_queues: queues, write_queues: queues, ..TopicSpec::new(topic) };
            // The name servers may not know the leader yet; making a topic twice is harmless.
            while let Err(error) = client.admin().create_topic(&spec, None).await {
                if Instant::now() > deadline {
                    return Err(error).context("the topic cannot be made");
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
        let shared = Arc::new(Shared {
            queues: (0..count).map(|id| MessageQueue::new(TOPIC, GROUP, id)).collect(),
            attempts: Mutex::default(),
            acked: AtomicUsize::new(0),
            ends: Mutex::new(vec![Floor::default(); QUEUES]),
            consumed: Mutex::new(Consumed::new(QUEUES)),
            pulled: Mutex::new(Pulled::new(QUEUES)),
            violations: Mutex::default(),
            probes: Mutex::default(),
            delayed: Mutex::default(),
            metadata: Arc::default(),
            stop: AtomicBool::new(false),
        });
        let consumer = consume(&client, shared.clone()).await?;
        let mut load = Self { shared, senders: JoinSet::new(), readers: JoinSet::new(), client, consumer };
        let period = Duration::from_secs(1) * (PRODUCERS + STRAIGHT) / rate.max(1);
        let Group { remote, addrs } = group;
        for number in 0..PRODUCERS {
            let sender = Sender::new(load.shared.clone(), number, false, period);
            load.senders.spawn(produce(sender, load.client.producer(ProducerConfig::new("chaos"))?));
        }
        for number in PRODUCERS..PRODUCERS + STRAIGHT {
            let sender = Sender::new(load.shared.clone(), number, true, period);
            let mut addrs = addrs.clone();
            let first = number as usize % addrs.len();
            addrs.rotate_left(first);
            load.senders.spawn(send_straight(sender, remote.clone(), addrs));
        }
        for number in 0..DELAYED_SENDERS {
            let sender = Sender::new(load.shared.clone(), PRODUCERS + STRAIGHT + number, true, DELAYED_EVERY);
            let mut addrs = addrs.clone();
            let first = number as usize % addrs.len();
            addrs.rotate_left(first);
            load.senders.spawn(send_delayed(sender, remote.clone(), addrs));
        }
        for number in 0..metadata::CLIENTS {
            let shared = load.shared.clone();
            let is_over = move || shared.is_over();
            let metadata = load.shared.metadata.clone();
            load.senders.spawn(metadata.run(remote.clone(), addrs.clone(), seed ^ number, is_over));
        }
        load.readers.spawn(read(load.shared.clone(), load.client.clone()));
        load.readers.spawn(probe(load.shared.clone(), remote.clone(), addrs.clone(), seed));
        Ok(load)
    }

    /// How many messages were acknowledged so far.
    pub fn acked(&self) -> usize {
        self.shared.acked.load(Ordering::Relaxed)
    }

    /// Whether somebody was told something that cannot be.
    pub fn violations(&self) -> usize {
        self.shared.violations.lock().count
    }

    /// Waits for the sends under way, and sends no more.
    pub async fn stop_sending(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        while self.senders.join_next().await.is_some() {}
    }

    /// Waits until what was delayed is delivered, or as long as that may take. To be called when nothing is sent any more.
    pub async fn deliver(&self, group: &Group) {
        sleep(ALL_ARE_DUE).await;
        let wanted = self.shared.delayed.lock().iter().filter(|(_, told)| *told == Told::Yes).count();
        let deadline = Instant::now() + DELIVERED_WITHIN;
        while Instant::now() < deadline {
            for addr in &group.addrs {
                let header = GetMaxOffsetRequest { topic: DELAYED, queue_id: 0, committed: None };
                let request = Frame::request(RequestCode::GetMaxOffset).with_ext(header.to_ext());
                let Ok(answer) = group.remote.invoke(&addr.to_string(), request, ANSWER_WITHIN).await else {
                    continue;
                };
                let told = OffsetResponse::from_ext(&answer.ext).map_or(0, |header| header.offset);
                if answer.code == response::SUCCESS && usize::try_from(told).is_ok_and(|told| wanted <= told)
                {
                    return;
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until readers and consumers have what the queues hold, or as long as that may take.
    pub async fn drain(&self, stored: usize, within: Duration) {
        let deadline = Instant::now() + within;
        let all =
            || stored <= self.shared.consumed.lock().count() && stored <= self.shared.pulled.lock().count();
        while !all() && Instant::now() < deadline {
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The queues.
    pub fn queues(&self) -> &[MessageQueue] {
        &self.shared.queues
    }

    /// Where the queues end, by what was acknowledged and told.
    pub fn least_stored(&self) -> u64 {
        self.shared.ends.lock().iter().map(Floor::least).sum()
    }

    /// Ends the readers.
    pub async fn stop_reading(&mut self) {
        self.readers.shutdown().await;
        self.consumer.shutdown().await;
        self.client.shutdown();
    }

    /// What the log of the store at `path` holds of it, up to an entry.
    pub fn stored(&self, path: &Path, up_to: u64, violations: &mut Violations) -> anyhow::Result<Stored> {
        let contents = logs::contents(path, &self.shared.queues, up_to, violations)?;
        let delays = logs::delays(path, DELAYED, up_to, violations)?;
        Ok(Stored { contents, delays })
    }

    /// Checks what readers were given, and returns all that was taken down. `clocks_were_right`: always.
    pub fn finish(self, Stored { contents, delays }: &Stored, clocks_were_right: bool) -> Taken {
        let mut violations = std::mem::take(&mut *self.shared.violations.lock());
        self.shared.consumed.lock().check(contents, &mut violations);
        self.shared.pulled.lock().check(contents, &mut violations);
        let metadata = self.shared.metadata.count();
        self.shared.metadata.check(&mut violations);
        let late = delays::check(&self.shared.delayed.lock(), delays, clocks_were_right, &mut violations);
        let attempts = std::mem::take(&mut *self.shared.attempts.lock());
        let (probes, positions) = *self.shared.probes.lock();
        Taken { attempts, violations, probes, positions, metadata, late }
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn add(&self, attempt: Attempt) {
        if let Some(place) = attempt.place() {
            self.acked.fetch_add(1, Ordering::Relaxed);
            if let Some(queue) = self.number(&place.queue) {
                self.ends.lock()[queue].raise(place.offset + 1);
            }
        }
        self.attempts.lock().push(attempt);
    }

    fn number(&self, queue: &MessageQueue) -> Option<usize> {
        self.queues.iter().position(|known| known == queue)
    }

    fn outcome(&self, said: Result<Outcome, String>) -> Outcome {
        said.unwrap_or_else(|what| {
            self.violations.lock().add(format!("I1: {what}"));
            Outcome::Unknown
        })
    }

    /// The queue, offset and id of a message that somebody was given; `None` is a violation.
    fn given(&self, message: &ReceivedMessage) -> Option<(usize, u64, Id)> {
        let found = || -> Result<_, String> {
            let queue =
                self.number(&message.queue).ok_or_else(|| format!("a message of {}", message.queue))?;
            let offset = u64::try_from(message.queue_offset).map_err(|error| error.to_string())?;
            Ok((queue, offset, Id::of(&message.body)?))
        };
        found().map_err(|what| self.violations.lock().add(format!("I2: {what} was given to a reader"))).ok()
    }
}

/// One sender: a message after the other, at its pace.
struct Sender {
    shared: Arc<Shared>,
    number: u32,
    is_single: bool,
    ticks: Interval,
    sent: u32,
}

/// A message that is about to be sent.
struct Sending {
    id: Id,
    body: Bytes,
    started: std::time::Instant,
}

impl Sender {
    fn new(shared: Arc<Shared>, number: u32, is_single: bool, period: Duration) -> Self {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { shared, number, is_single, ticks, sent: 0 }
    }

    /// The next one, when it is its time. `None` when the load is over.
    async fn next(&mut self) -> Option<Sending> {
        self.ticks.tick().await;
        if self.shared.is_over() {
            return None;
        }
        let id = Id { client: self.number, seq: self.sent };
        self.sent += 1;
        Some(Sending { id, body: id.body(padding(id.seq)), started: std::time::Instant::now() })
    }

    fn told(&self, id: Id, started: std::time::Instant, said: Result<Outcome, String>) {
        let outcome = self.shared.outcome(said);
        let ended = std::time::Instant::now();
        self.shared.add(Attempt { id, is_single: self.is_single, started, ended, outcome });
    }
}

/// Sends with a producer of our client.
async fn produce(mut sender: Sender, producer: trireme_client::Producer) {
    while let Some(Sending { id, body, started }) = sender.next().await {
        let sent = producer.send(Message::new(TOPIC, body)).await;
        sender.told(id, started, outcome::of_producer(sent));
    }
}

/// Sends one request per message, to the first replica as long as it is there, whoever leads.
async fn send_straight(mut sender: Sender, remote: trireme_remoting::Client, mut addrs: Vec<SocketAddr>) {
    while let Some(Sending { id, body, started }) = sender.next().await {
        let queue = &sender.shared.queues[(id.seq as usize + id.client as usize) % QUEUES];
        let answer = remote.invoke(&addrs[0].to_string(), send_request(queue, body, ""), ANSWER_WITHIN).await;
        if answer.is_err() {
            addrs.rotate_left(1);
        }
        sender.told(id, started, outcome::of_request(queue, answer));
    }
}

/// Sends delayed messages, in the same way.
async fn send_delayed(mut sender: Sender, remote: trireme_remoting::Client, mut addrs: Vec<SocketAddr>) {
    let queue = MessageQueue::new(DELAYED, GROUP, 0);
    while let Some(Sending { id, body, .. }) = sender.next().await {
        let delay = DELAYS[id.seq as usize % DELAYS.len()];
        let request = send_request(&queue, body, delay);
        let answer = remote.invoke(&addrs[0].to_string(), request, ANSWER_WITHIN).await;
        if answer.is_err() {
            addrs.rotate_left(1);
        }
        let told = outcome::told(&answer).unwrap_or_else(|what| {
            sender.shared.violations.lock().add(format!("I1: {what}"));
            Told::Perhaps
        });
        sender.shared.delayed.lock().push((id, told));
    }
}

/// Goes through all queues with a reader of our client, and commits how far it is.
async fn read(shared: Arc<Shared>, client: Client) {
    let config = PullConsumerConfig { pull_batch: 256, ..PullConsumerConfig::new("chaos-reader") };
    let Ok(mut reader) = client.pull_consumer(config) else {
        return shared.violations.lock().add("I1: the reader cannot be made".into());
    };
    while reader.assign(shared.queues.iter().cloned(), "*").await.is_err() {
        sleep(Duration::from_millis(100)).await;
    }
    let mut committed = [Floor::default(); QUEUES];
    let mut last_commit = Instant::now();
    let mut turn = 0;
    loop {
        // Whatever a broker refuses is asked for again.
        for message in reader.poll(Duration::from_millis(100)).await.unwrap_or_default() {
            if let Some((queue, offset, id)) = shared.given(&message) {
                shared.pulled.lock().add(queue, offset, id, &mut shared.violations.lock());
            }
        }
        if last_commit.elapsed() < COMMIT_EVERY {
            continue;
        }
        last_commit = Instant::now();
        turn = (turn + 1) % QUEUES;
        let queue = &shared.queues[turn];
        // Before it is committed again: a leader that knows nothing of the last time would learn it now.
        if let Ok(told) = reader.committed(queue).await {
            shared.probes.lock().1 += 1;
            let (told, least) = (told.and_then(|told| u64::try_from(told).ok()), committed[turn].least());
            if told.unwrap_or_default() < least {
                let violation = format!("I8: {least} of {queue} was committed, then {told:?} was told");
                shared.violations.lock().add(violation);
            }
        }
        let Some(position) = reader.position(queue) else { continue };
        let value = u64::try_from(position).unwrap_or_default();
        match reader.commit(queue, position).await {
            Ok(()) => committed[turn].raise(value),
            Err(_) => committed[turn].unknown(value),
        }
    }
}

/// Asks some replica where some queue ends.
async fn probe(shared: Arc<Shared>, remote: trireme_remoting::Client, addrs: Vec<SocketAddr>, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    loop {
        sleep(PROBE_EVERY).await;
        let (queue, addr) = (random.random_range(0..QUEUES), addrs[random.random_range(0..addrs.len())]);
        let (shared, remote) = (shared.clone(), remote.clone());
        // One that hangs keeps no other one from being asked.
        tokio::spawn(async move {
            let least = shared.ends.lock()[queue].least();
            let queue_id = shared.queues[queue].queue_id;
            let header = GetMaxOffsetRequest { topic: TOPIC, queue_id, committed: None };
            let request = Frame::request(RequestCode::GetMaxOffset).with_ext(header.to_ext());
            let Ok(answer) = remote.invoke(&addr.to_string(), request, ANSWER_WITHIN).await else { return };
            let told = OffsetResponse::from_ext(&answer.ext)
                .ok()
                .and_then(|header| u64::try_from(header.offset).ok());
            let (response::SUCCESS, Some(told)) = (answer.code, told) else { return };
            shared.probes.lock().0 += 1;
            if told < least {
                let violation = format!("I6: queue {queue} ends at {least} or later, {addr} told {told}");
                shared.violations.lock().add(violation);
            }
            shared.ends.lock()[queue].raise(told);
        });
    }
}

async fn consume(client: &Client, shared: Arc<Shared>) -> anyhow::Result<PushConsumer> {
    let config = PushConsumerConfig {
        consume_from: ConsumeFrom::First,
        consume_batch: 32,
        pull_batch: 128,
        ..PushConsumerConfig::new("chaos-consumers").subscribe(TOPIC, "*")
    };
    let listener = move |messages: MessageBatch| {
        for message in messages.iter() {
            if let Some((queue, offset, id)) = shared.given(message) {
                shared.consumed.lock().add(queue, offset, id, &mut shared.violations.lock());
            }
        }
        async { ConsumeOutcome::Commit }
    };
    Ok(client.consume(config, listener).await?)
}

/// Most bodies are small, some take part of a page, few take several.
fn padding(seq: u32) -> usize {
    match seq % 100 {
        0 => 20_000,
        1..10 => 1_500,
        _ => 100,
    }
}

fn send_request(queue: &MessageQueue, body: Bytes, properties: &str) -> Frame {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let header = SendHeader {
        producer_group: "straight",
        topic: &queue.topic,
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        queue_id: queue.queue_id,
        born_timestamp: i64::try_from(now).unwrap_or_default(),
        properties: Some(properties),
        ..SendHeader::default()
    };
    Frame::request(RequestCode::SendMessageV2).with_ext(header.to_ext_v2()).with_body(body)
}
