//! Pulling one queue, for as long as this member has it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};
use trireme_remoting::response;

use super::concurrent::Work;
use super::core::Core;
use super::fetch::{Fetch, FetchError, Outcome, Page, fetch};
use super::process_queue::ProcessQueue;
use crate::message::ReceivedMessage;
use crate::route::Replica;
use crate::validate::RETRY_PREFIX;

/// Pauses after failures: first, and at most; they double in between.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The pause after a refusal that will not pass by itself soon.
const LONG_PAUSE: Duration = Duration::from_secs(3);

/// The pause that a broker asks for with FLOW_CONTROL.
const FLOW_CONTROL_PAUSE: Duration = Duration::from_millis(20);

/// An answer without messages that came sooner than this was not held; a broker that never holds must not be
/// asked without end.
const NOT_HELD: Duration = Duration::from_millis(10);

/// Where pulled messages go.
pub(super) enum Sink {
    /// To whichever worker is free.
    Concurrent(Arc<Work>),
    /// To the queue's own task, with their generation. Bounded by the window's limits.
    Ordered(mpsc::UnboundedSender<(u64, ReceivedMessage)>),
}

/// Pulls until it is aborted.
pub(super) async fn run(core: Arc<Core>, queue: Arc<ProcessQueue>, sink: Sink) {
    let mut pulling = Pulling { core, queue, sink, preferred: 0, tried: Vec::new(), pause: FIRST_PAUSE };
    loop {
        pulling.step().await;
    }
}

struct Pulling {
    core: Arc<Core>,
    queue: Arc<ProcessQueue>,
    sink: Sink,
    /// The broker id that the last answer suggested.
    preferred: i64,
    /// Replicas that failed in this round.
    tried: Vec<Arc<Replica>>,
    pause: Duration,
}

impl Pulling {
    async fn step(&mut self) {
        let core = self.core.clone();
        let queue = self.queue.clone();
        let (offset, generation) = queue.room(&core.limits()).await;
        let Some(subscription) = core.subscriptions.get(&queue.queue.topic) else {
            // Queues are assigned for subscribed topics only.
            return std::future::pending().await;
        };
        let broker = match core.instance.broker_of(&queue.queue).await {
            Ok(broker) => broker,
            Err(error) => {
                debug!(queue = %queue.queue, %error, "pull has nowhere to go");
                return self.back_off().await;
            }
        };
        let Some(replica) = broker.pick_reader(self.preferred, &self.tried) else {
            self.tried.clear();
            return self.back_off().await;
        };
        let request = Fetch {
            group: core.group(),
            queue: &queue.queue,
            offset,
            max_messages: core.config.pull_batch,
            subscription,
            hold: core.config.long_poll,
        };
        let started = Instant::now();
        let page = tokio::select! {
            page = fetch(&core.instance, &broker, &replica, &request) => page,
            () = queue.reset_since(generation) => return,
        };
        match page {
            Ok(page) => {
                core.stats.pulled(&queue.queue.topic, started.elapsed(), &page.outcome);
                self.on_page(page, offset, generation, started.elapsed()).await;
            }
            Err(FetchError::Refused { code, error }) => {
                self.tried.push(replica);
                self.on_refusal(code, &error.to_string()).await;
            }
            Err(FetchError::Silent(error)) => {
                debug!(queue = %queue.queue, addr = %replica.addr, %error, "pull not answered");
                self.tried.push(replica);
            }
        }
    }

    async fn on_page(&mut self, page: Page, offset: i64, generation: u64, took: Duration) {
        self.preferred = page.suggested;
        let messages = match page.outcome {
            Outcome::Messages(messages) => messages,
            Outcome::Nothing => {
                if page.next <= offset && took < NOT_HELD {
                    sleep(FIRST_PAUSE).await;
                }
                Vec::new()
            }
            Outcome::OutOfRange => return self.on_out_of_range(&page, offset).await,
        };
        self.tried.clear();
        self.pause = FIRST_PAUSE;
        let Some(subscription) = self.core.subscriptions.get(&self.queue.queue.topic) else { return };
        let wanted = |message: &ReceivedMessage| subscription.matches(message);
        let mut accepted = self.queue.accept(generation, messages, page.next, wanted);
        if self.queue.queue.topic.starts_with(RETRY_PREFIX) {
            accepted.iter_mut().for_each(ReceivedMessage::restore_topic);
        }
        match &self.sink {
            Sink::Concurrent(work) => {
                work.put(&self.queue, generation, accepted, self.core.config.consume_batch)
            }
            Sink::Ordered(queue) => {
                for message in accepted {
                    // The task at the other end is gone only when this one is about to be aborted.
                    let _ = queue.send((generation, message));
                }
            }
        }
    }

    /// Only the leader knows where the queue ends: a follower may not have what was consumed before it fell
    /// behind, and must not throw the group back.
    ///
    /// What was pulled is forgotten. Of that, what is still there and is not consumed yet comes again: it would be left out if
    /// the queue went on behind it.
    async fn on_out_of_range(&mut self, page: &Page, offset: i64) {
        if page.from_leader && page.next != offset {
            let next = page.next.min(self.queue.commit_offset()).max(page.min);
            info!(
                queue = %self.queue.queue,
                offset,
                next,
                min = page.min,
                max = page.max,
                "offset out of range, going on where the broker says"
            );
            self.queue.reset(next);
        } else {
            self.preferred = 0;
            self.back_off().await;
        }
    }

    async fn on_refusal(&mut self, code: i32, error: &str) {
        match code {
            response::FLOW_CONTROL => sleep(FLOW_CONTROL_PAUSE).await,
            response::SYSTEM_ERROR
            | response::SYSTEM_BUSY
            | response::SERVICE_NOT_AVAILABLE
            | response::GO_AWAY => {
                debug!(queue = %self.queue.queue, error, "pull refused");
                self.back_off().await;
            }
            response::SUBSCRIPTION_NOT_EXIST
            | response::SUBSCRIPTION_NOT_LATEST
            | response::SUBSCRIPTION_GROUP_NOT_EXIST => {
                debug!(queue = %self.queue.queue, error, "pull refused");
                self.core.instance.heartbeat_soon();
                self.back_off().await;
            }
            _ => {
                warn!(queue = %self.queue.queue, error, "pull refused");
                sleep(LONG_PAUSE).await;
            }
        }
    }

    async fn back_off(&mut self) {
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(MAX_PAUSE);
    }
}
