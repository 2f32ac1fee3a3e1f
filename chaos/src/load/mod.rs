//! Clients that go on whatever happens, and take down what they are told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use trireme_broker::config::NEWEST_VERSION;
use trireme_client::{
    Client, ClientError, GroupSpec, MessageQueue, ProducerConfig, PushConsumer, ReceivedMessage, TopicSpec,
};
use trireme_remoting::headers::{GetMaxOffsetRequest, OffsetResponse};
use trireme_remoting::{Frame, RequestCode, response};

use self::senders::{Sender, Straight};
use crate::check::Violations;
use crate::check::delays;
use crate::check::logs::{self, Contents, Stored, Wanted, Whole};
use crate::check::reads::{Consumed, Floor, Pulled};
use crate::check::retries::MOST;
use crate::group::Group;
use crate::history::{Attempt, Id, Outcome};
use crate::metadata::{self, Metadata};
use crate::outcome::Told;
use crate::world::GROUP;

mod ordered;
mod readers;
mod retries;
mod senders;

/// The topic of all messages.
const TOPIC: &str = "chaos";
/// Its queues.
const QUEUES: usize = 8;
/// Senders of our client; they choose queues and try again as they please.
const PRODUCERS: u32 = 12;
/// Senders of single requests, each to some replica as long as it answers, whoever leads.
const STRAIGHT: u32 = 12;
/// Senders of requests with many messages each, in the same way.
const BATCHERS: u32 = 4;
/// So many.
const BATCH: u32 = 32;
/// The topic of delayed messages, and its queue.
const DELAYED: &str = "chaos-delayed";
/// Senders of those.
const DELAYED_SENDERS: u32 = 2;
/// Between two messages of one of them.
const DELAYED_EVERY: Duration = Duration::from_millis(250);
/// The longer one, and some time to deliver.
const ALL_ARE_DUE: Duration = Duration::from_secs(6);
/// All that wait are delivered within this then.
const DELIVERED_WITHIN: Duration = Duration::from_secs(30);
/// The group knows its topics, and writes the newest formats, within this.
const BEGINS_WITHIN: Duration = Duration::from_secs(30);
/// More than a replica keeps a request that waits for a leader.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Makes one more client: members of a group that consumes in order are clients of their own.
pub type NewClient = Arc<dyn Fn() -> Result<Client, ClientError> + Send + Sync>;

/// The topics under load.
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
    /// How often members of the group that consumes in order went back, and how many members there were.
    pub ordered: (u64, u32),
    /// How many messages were given back until they were consumed, or dead letters.
    pub retried: usize,
    /// How late delayed messages were, in milliseconds, ascending.
    pub late: Vec<i64>,
}

struct Shared {
    queues: Vec<MessageQueue>,
    ordered_queues: Vec<MessageQueue>,
    progress: ordered::Progress,
    retries: retries::Progress,
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
    /// Makes the topics, and starts to send to the first of them, and to read them: `rate` messages a second in
    /// requests of their own, and as many in batches.
    pub async fn start(new_client: NewClient, group: &Group, rate: u32, seed: u64) -> anyhow::Result<Self> {
        let client = new_client()?;
        make(&client).await?;
        // Before, the group does not know all that it is to remember.
        group.writes(NEWEST_VERSION, BEGINS_WITHIN).await?;
        let queues = |topic: &str, count: usize| {
            let ids = 0..i32::try_from(count).unwrap_or(i32::MAX);
            ids.map(|id| MessageQueue::new(topic, GROUP, id)).collect::<Vec<_>>()
        };
        let shared = Arc::new(Shared {
            queues: queues(TOPIC, QUEUES),
            ordered_queues: queues(ordered::TOPIC, ordered::QUEUES),
            progress: ordered::Progress::new(),
            retries: retries::Progress::new(),
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
        let consumer = readers::consume(&client, shared.clone()).await?;
        let mut load = Self { shared, senders: JoinSet::new(), readers: JoinSet::new(), client, consumer };
        let period = Duration::from_secs(1) * (PRODUCERS + STRAIGHT) / rate.max(1);
        let Group { remote, addrs } = group;
        let shared = &load.shared;
        let mut numbers = 0..;
        let mut next = |is_single, period| {
            let number = numbers.next().unwrap_or_default();
            let straight = Straight::new(remote, addrs, number);
            (Sender::new(shared.clone(), number, is_single, period), straight)
        };
        for _ in 0..PRODUCERS {
            let (sender, _) = next(false, period);
            load.senders.spawn(senders::produce(sender, load.client.producer(ProducerConfig::new("chaos"))?));
        }
        for _ in 0..STRAIGHT {
            let (sender, to) = next(true, period);
            load.senders.spawn(senders::send_straight(sender, to, shared.queues.clone()));
        }
        for _ in 0..BATCHERS {
            let (sender, to) = next(true, Duration::from_secs(1) * (BATCHERS * BATCH) / rate.max(1));
            load.senders.spawn(senders::send_batches(sender, to, shared.queues.clone(), BATCH));
        }
        for _ in 0..DELAYED_SENDERS {
            let (sender, to) = next(true, DELAYED_EVERY);
            load.senders.spawn(senders::send_delayed(sender, to, MessageQueue::new(DELAYED, GROUP, 0)));
        }
        for queue in &shared.ordered_queues {
            let (sender, to) = next(true, ordered::SEND_EVERY);
            load.senders.spawn(senders::send_straight(sender, to, vec![queue.clone()]));
        }
        let (sender, to) = next(true, retries::SEND_EVERY);
        let [retried, _] = retries::queues();
        load.senders.spawn(senders::send_straight(sender, to, vec![retried]));
        for number in 0..metadata::CLIENTS {
            let shared = load.shared.clone();
            let is_over = move || shared.is_over();
            let metadata = load.shared.metadata.clone();
            load.senders.spawn(metadata.run(remote.clone(), addrs.clone(), seed ^ number, is_over));
        }
        let straight = |number| Straight::new(remote, addrs, number);
        load.readers.spawn(readers::read(load.shared.clone(), load.client.clone()));
        load.readers.spawn(readers::probe(load.shared.clone(), remote.clone(), addrs.clone(), seed));
        load.readers.spawn(ordered::consume(load.shared.clone(), new_client, straight(2), seed));
        load.readers.spawn(ordered::ask(load.shared.clone(), straight(0)));
        load.readers.spawn(retries::consume(load.shared.clone(), straight(1)));
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

    /// Waits until what was delayed is delivered, and what was given back is settled, or as long as that may take. To be
    /// called when nothing is sent any more.
    pub async fn deliver(&self, group: &Group) {
        let retried = self.retried();
        tokio::join!(self.delayed(group), self.shared.retries.settle(&retried, DELIVERED_WITHIN));
    }

    /// Messages that are given back, of those that were acknowledged.
    fn retried(&self) -> BTreeSet<Id> {
        let attempts = self.shared.attempts.lock();
        let places = attempts.iter().filter_map(|attempt| Some((attempt.id, attempt.place()?)));
        places.filter(|(_, place)| *place.queue.topic == *retries::TOPIC).map(|(id, _)| id).collect()
    }

    async fn delayed(&self, group: &Group) {
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
    pub async fn drain(&self, within: Duration) {
        let deadline = Instant::now() + within;
        let stored = usize::try_from(self.shared.ends.lock().iter().map(Floor::least).sum::<u64>());
        let ordered = self.ordered();
        let all = || {
            let shared = &self.shared;
            let has = |count: usize| stored.is_ok_and(|stored| stored <= count);
            has(shared.consumed.lock().count()) && has(shared.pulled.lock().count())
        };
        while !all() && Instant::now() < deadline {
            sleep(Duration::from_millis(50)).await;
        }
        let deadline = deadline + ordered::LOCKS_RUN_OUT_WITHIN;
        while self.shared.progress.count() < ordered && Instant::now() < deadline {
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// At least so many messages are to be consumed in order.
    fn ordered(&self) -> usize {
        let attempts = self.shared.attempts.lock();
        let places = attempts.iter().filter_map(Attempt::place);
        let mut ends = [0; ordered::QUEUES];
        for place in places.filter(|place| *place.queue.topic == *ordered::TOPIC) {
            if let Some(end) = usize::try_from(place.queue.queue_id).ok().and_then(|id| ends.get_mut(id)) {
                *end = place.offset.max(*end);
            }
        }
        ends.iter().filter(|end| **end > 0).map(|end| usize::try_from(*end + 1).unwrap_or(usize::MAX)).sum()
    }

    /// The queues that are sent to.
    pub fn queues(&self) -> Vec<MessageQueue> {
        let [retried, _] = retries::queues();
        let Shared { queues, ordered_queues, .. } = &*self.shared;
        queues.iter().chain(ordered_queues).cloned().chain([retried]).collect()
    }

    /// Ends the readers.
    pub async fn stop_reading(&mut self) {
        self.readers.shutdown().await;
        self.consumer.shutdown().await;
        self.client.shutdown();
    }

    /// What a log holds of it, up to an entry.
    pub fn stored(&self, log: Whole<'_>, up_to: u64, violations: &mut Violations) -> anyhow::Result<Stored> {
        let queues = self.queues();
        let wanted = Wanted { queues: &queues, delayed: DELAYED, gives_back: retries::GROUP };
        logs::stored(log, wanted, up_to, violations)
    }

    /// Checks what readers were given, and returns all that was taken down. `clocks_were_right`: always.
    pub fn finish(self, stored: &Stored, clocks_were_right: bool) -> Taken {
        let Self { shared, client, consumer, .. } = self;
        drop((client, consumer));
        let mut violations = std::mem::take(&mut *shared.violations.lock());
        let of = |topic: &str| -> Contents {
            let queues = stored.contents.iter().filter(|(queue, _)| *queue.topic == *topic);
            queues.map(|(queue, ids)| (queue.clone(), ids.clone())).collect()
        };
        let contents = of(TOPIC);
        shared.consumed.lock().check(&contents, &mut violations);
        shared.pulled.lock().check(&contents, &mut violations);
        shared.progress.check(&of(ordered::TOPIC), &mut violations);
        let retried: Vec<Id> = of(retries::TOPIC).into_values().flatten().collect();
        shared.retries.check(&retried, &stored.copies, &mut violations);
        let metadata = shared.metadata.count();
        shared.metadata.check(&mut violations);
        let late = delays::check(&shared.delayed.lock(), &stored.delays, clocks_were_right, &mut violations);
        let (probes, positions) = *shared.probes.lock();
        let attempts = std::mem::take(&mut *shared.attempts.lock());
        Taken {
            attempts,
            violations,
            probes,
            positions,
            metadata,
            ordered: shared.progress.told(),
            retried: shared.retries.settled(),
            late,
        }
    }
}

/// Makes the topics, and the group whose messages fail.
async fn make(client: &Client) -> anyhow::Result<()> {
    let deadline = Instant::now() + BEGINS_WITHIN;
    let topics = [(TOPIC, QUEUES), (DELAYED, 1), (ordered::TOPIC, ordered::QUEUES), (retries::TOPIC, 1)];
    for (topic, queues) in topics {
        let queues = i32::try_from(queues)?;
        let spec = TopicSpec { read_queues: queues, write_queues: queues, ..TopicSpec::new(topic) };
        // The name servers may not know the leader yet; making a topic twice is harmless.
        while let Err(error) = client.admin().create_topic(&spec, None).await {
            if Instant::now() > deadline {
                return Err(error).context("the topic cannot be made");
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
    let spec = GroupSpec { retry_max_times: i32::try_from(MOST)?, ..GroupSpec::new(retries::GROUP) };
    while let Err(error) = client.admin().create_group(&spec, None).await {
        if Instant::now() > deadline {
            return Err(error).context("the group cannot be made");
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

impl Shared {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn add(&self, attempt: Attempt) {
        if let Some(place) = attempt.place() {
            self.acked.fetch_add(attempt.messages as usize, Ordering::Relaxed);
            if let Some(queue) = self.number(&place.queue) {
                self.ends.lock()[queue].raise(place.offset + u64::from(attempt.messages));
            } else if let Some(queue) = self.ordered_queues.iter().position(|known| *known == place.queue) {
                self.progress.ends_behind(queue, place.offset + 1);
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
    fn given(&self, message: &ReceivedMessage, queues: &[MessageQueue]) -> Option<(usize, u64, Id)> {
        let found = || -> Result<_, String> {
            let queue = queues.iter().position(|queue| *queue == message.queue);
            let queue = queue.ok_or_else(|| format!("a message of {}", message.queue))?;
            let offset = u64::try_from(message.queue_offset).map_err(|error| error.to_string())?;
            Ok((queue, offset, Id::of(&message.body)?))
        };
        found().map_err(|what| self.violations.lock().add(format!("I2: {what} was given to a reader"))).ok()
    }
}
