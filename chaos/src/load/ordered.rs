//! A group that consumes in order, whose members come and go: I7.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, sleep};
use trireme_client::{
    Client, ClientError, ConsumeFrom, MessageBatch, MessageQueue, OrderOutcome, PushConsumer,
    PushConsumerConfig,
};
use trireme_remoting::headers::{OffsetResponse, QueryConsumerOffsetRequest};
use trireme_remoting::{Frame, RequestCode, response};

use super::senders::Straight;
use super::{NewClient, Shared};
use crate::check::Violations;
use crate::check::logs::Contents;
use crate::check::order::Ordered;
use crate::history::Id;
use crate::wire;

/// The topic, which has a queue for each of its senders.
pub(super) const TOPIC: &str = "chaos-ordered";
/// Its queues.
pub(super) const QUEUES: usize = 4;
/// Between two messages of one sender.
pub(super) const SEND_EVERY: Duration = Duration::from_millis(100);
/// The group.
const GROUP: &str = "chaos-ordered";
/// Its members.
const MEMBERS: usize = 3;
/// How long a message takes: most of the time somebody consumes, so that two who do so at once are seen.
const CONSUMES_FOR: Duration = Duration::from_millis(60);
/// But whoever is so many messages behind, since the queue was a dead member's for some time, makes haste: what it is to consume is
/// not kept for ever.
const BEHIND: u64 = 100;
/// One of so many has to be given again.
const AGAIN_EACH: u32 = 50;
/// Between two members that go, and how long they are away, at most.
const STAYS: Duration = Duration::from_secs(6);
const AWAY: Duration = Duration::from_secs(1);
/// What a member had that has gone is free by then, if anybody leads.
const GIVES_BACK_WITHIN: Duration = Duration::from_secs(20);
/// Between two questions how far the group is.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// Whoever takes a queue over goes on at a position that it was told no longer ago.
const TAKES_OVER_WITHIN: Duration = Duration::from_secs(15);

/// A queue that nobody could give back is somebody else's after a minute, or as long after the last change of leaders.
pub(super) const LOCKS_RUN_OUT_WITHIN: Duration = Duration::from_secs(125);

/// What is known of the group's consumption.
pub(super) struct Progress {
    ordered: Mutex<Ordered>,
    /// What each queue's position was told to be, and when.
    told: Mutex<Vec<VecDeque<(Instant, u64)>>>,
    /// Where each queue ends at least.
    ends: [AtomicU64; QUEUES],
    members: AtomicU32,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            ordered: Mutex::new(Ordered::new(QUEUES)),
            told: Mutex::new(vec![VecDeque::new(); QUEUES]),
            ends: Default::default(),
            members: AtomicU32::new(0),
        }
    }

    /// How many messages were consumed.
    pub(super) fn count(&self) -> usize {
        self.ordered.lock().count()
    }

    /// That its members were given what the queues hold.
    pub(super) fn check(&self, contents: &Contents, violations: &mut Violations) {
        self.ordered.lock().check(contents, violations);
    }

    /// How often somebody went back, and how many members there were.
    pub(super) fn told(&self) -> (u64, u32) {
        (self.ordered.lock().replays, self.members.load(Ordering::Relaxed))
    }

    /// A message was stored before this offset.
    pub(super) fn ends_behind(&self, queue: usize, end: u64) {
        self.ends[queue].fetch_max(end, Ordering::Relaxed);
    }

    fn is_behind(&self, queue: usize, offset: u64) -> bool {
        offset + BEHIND < self.ends[queue].load(Ordering::Relaxed)
    }

    fn was_told(&self, queue: usize, position: u64) {
        self.told.lock()[queue].push_back((Instant::now(), position));
    }

    /// The latest position that was told long ago.
    fn least(&self, queue: usize) -> u64 {
        let told = &mut self.told.lock()[queue];
        let is_old = |(at, _): &(Instant, u64)| TAKES_OVER_WITHIN < at.elapsed();
        while told.get(1).is_some_and(is_old) {
            told.pop_front();
        }
        told.front().filter(|told| is_old(told)).map_or(0, |told| told.1)
    }
}

/// Lets members come and go until the load is over, and leaves them all there then.
pub(super) async fn consume(shared: Arc<Shared>, client: NewClient, mut replicas: Straight, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut members = Vec::new();
    for _ in 0..MEMBERS {
        members.push(member(&shared, &client).await);
    }
    loop {
        sleep(STAYS.mul_f64(random.random_range(0.2..1.0))).await;
        if shared.is_over() {
            // Whoever consumes does so until it is dropped.
            return std::future::pending().await;
        }
        let (consumer, client_of_it) = members.swap_remove(random.random_range(0..MEMBERS));
        consumer.shutdown().await;
        client_of_it.shutdown();
        give_back(&shared.ordered_queues, client_of_it.id(), &mut replicas).await;
        sleep(AWAY.mul_f64(random.random_range(0.0..1.0))).await;
        members.push(member(&shared, &client).await);
    }
}

/// Gives back what a member that has gone could not, since nobody led. Otherwise its queues were nobody's for as long as leaders
/// change more often than locks run out, and what they hold is not kept so long.
async fn give_back(queues: &[MessageQueue], client_id: &str, replicas: &mut Straight) {
    let deadline = Instant::now() + GIVES_BACK_WITHIN;
    while Instant::now() < deadline {
        match replicas.ask(wire::unlock_request(queues, GROUP, client_id)).await {
            Ok(answer) if answer.code == response::SUCCESS => return,
            Ok(_) => replicas.turn(),
            Err(_) => {}
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// One more member, as soon as that can be.
async fn member(shared: &Arc<Shared>, client: &NewClient) -> (PushConsumer, Client) {
    loop {
        match join(shared, client).await {
            Ok(joined) => return joined,
            Err(error) => tracing::debug!(%error, "no member now"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn join(shared: &Arc<Shared>, client: &NewClient) -> Result<(PushConsumer, Client), ClientError> {
    let client = client()?;
    let config = PushConsumerConfig {
        consume_from: ConsumeFrom::First,
        commit_interval: Duration::from_secs(1),
        rebalance_interval: Duration::from_secs(2),
        ..PushConsumerConfig::new(GROUP).subscribe(TOPIC, "*")
    };
    let (shared, number) = (shared.clone(), shared.progress.members.fetch_add(1, Ordering::Relaxed));
    let failed: Arc<Mutex<HashSet<Id>>> = Arc::default();
    let listener = move |messages: MessageBatch| {
        let (shared, failed) = (shared.clone(), failed.clone());
        async move {
            for message in messages.iter() {
                let Some((queue, offset, id)) = shared.given(message, &shared.ordered_queues) else {
                    continue;
                };
                tracing::debug!(member = number, queue, offset, "consumes");
                let least = shared.progress.least(queue);
                let given = (queue, offset, id);
                shared.progress.ordered.lock().begin(number, given, least, &mut shared.violations.lock());
                if !shared.is_over() && !shared.progress.is_behind(queue, offset) {
                    sleep(CONSUMES_FOR).await;
                }
                let again = id.seq % AGAIN_EACH == AGAIN_EACH - 1 && failed.lock().insert(id);
                shared.progress.ordered.lock().end(number, queue, offset, !again);
                if again {
                    return OrderOutcome::Suspend(CONSUMES_FOR);
                }
            }
            OrderOutcome::Commit
        }
    };
    let consumer = client.consume_ordered(config, listener).await;
    if consumer.is_err() {
        client.shutdown();
    }
    Ok((consumer?, client))
}

/// Asks how far the group is.
pub(super) async fn ask(shared: Arc<Shared>, mut replicas: Straight) {
    let mut turn = 0;
    loop {
        sleep(ASK_EVERY).await;
        turn = (turn + 1) % QUEUES;
        let MessageQueue { topic, queue_id, .. } = &shared.ordered_queues[turn];
        let header = QueryConsumerOffsetRequest {
            consumer_group: GROUP,
            topic,
            queue_id: *queue_id,
            set_zero_if_not_found: None,
        };
        let request = Frame::request(RequestCode::QueryConsumerOffset).with_ext(header.to_ext());
        match replicas.ask(request).await {
            Ok(answer) if answer.code == response::SUCCESS => {
                let told = OffsetResponse::from_ext(&answer.ext).ok().map(|header| header.offset);
                if let Some(position) = told.and_then(|told| u64::try_from(told).ok()) {
                    shared.progress.was_told(turn, position);
                }
            }
            Ok(_) => replicas.turn(),
            Err(_) => {}
        }
    }
}
