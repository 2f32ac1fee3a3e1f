//! Which queues this member has: the one task that takes them and lets them go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::{debug, info, warn};
use trireme_remoting::body::ConsumerIdList;
use trireme_remoting::headers::ConsumerGroupRequest;
use trireme_remoting::{RequestCode, response};

use super::concurrent::{self, Work};
use super::core::Core;
use super::process_queue::ProcessQueue;
use super::pull_loop::{self, Sink};
use super::{keeper, ordered};
use crate::instance::{Leaving, MemberEvent};
use crate::message::MessageQueue;
use crate::route::{Broker, TopicRoute};

/// How soon a round is repeated that could not settle everything; doubles up to the rebalance interval.
const UNSETTLED: Duration = Duration::from_secs(1);

/// How long letting go of an ordered queue waits for its listener. Its lock is kept if that is too short.
const RELEASE_WAIT: Duration = Duration::from_secs(5);

/// The task's state.
pub(super) struct Rebalancer {
    core: Arc<Core>,
    running: BTreeMap<MessageQueue, Running>,
    /// For the workers of a concurrent listener.
    work: Arc<Work>,
    workers: JoinSet<()>,
    /// How many ordered queues may consume at the same time.
    slots: Arc<Semaphore>,
    keepers: JoinSet<()>,
}

/// A queue that this member has.
struct Running {
    queue: Arc<ProcessQueue>,
    pull: AbortHandle,
    /// The task of an ordered queue.
    consume: Option<JoinHandle<()>>,
}

impl Rebalancer {
    /// With workers and keepers, and no queue yet.
    pub(super) fn start(core: Arc<Core>) -> Self {
        let work = Arc::new(Work::new());
        let mut workers = JoinSet::new();
        if !core.listener.is_ordered() {
            for _ in 0..core.config.concurrency {
                workers.spawn(concurrent::work(core.clone(), work.clone()));
            }
        }
        let mut keepers = JoinSet::new();
        keepers.spawn(keeper::commits(core.clone()));
        if core.needs_locks() {
            keepers.spawn(keeper::locks(core.clone()));
        }
        let slots = Arc::new(Semaphore::new(core.config.concurrency));
        Self { core, running: BTreeMap::new(), work, workers, slots, keepers }
    }

    /// Runs until `stop` is true or its sender gone, then shuts down.
    pub(super) async fn run(
        mut self,
        mut events: mpsc::Receiver<MemberEvent>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut unsettled = UNSETTLED;
        loop {
            let every = self.core.config.rebalance_interval;
            let next = if self.rebalance().await {
                unsettled = UNSETTLED;
                Instant::now() + every
            } else {
                let pause = unsettled.min(every);
                unsettled = pause * 2;
                Instant::now() + pause
            };
            loop {
                tokio::select! {
                    () = stopped(&mut stop) => return self.shut_down().await,
                    () = self.core.link.rebalance.notified() => break,
                    () = sleep_until(next) => break,
                    Some(event) = events.recv() => self.core.on_event(event).await,
                }
            }
        }
    }

    /// One round over all topics. False if something could not be settled and should be tried again soon.
    async fn rebalance(&mut self) -> bool {
        let core = self.core.clone();
        let mut settled = true;
        // Members by broker group: topics of one group need not ask twice.
        let mut members = BTreeMap::new();
        for topic in core.subscriptions.keys() {
            let Some(route) = self.route(topic).await else {
                settled = false;
                continue;
            };
            let share = if core.is_broadcasting() {
                Some(route.subscribe.clone())
            } else {
                self.share(&route, &mut members).await
            };
            match share {
                Some(share) => settled &= self.apply(topic, share).await,
                None => settled = false,
            }
        }
        settled
    }

    async fn route(&self, topic: &str) -> Option<Arc<TopicRoute>> {
        match self.core.instance.route(topic).await {
            Ok(route) => Some(route),
            Err(error) => {
                debug!(topic, %error, "no route to rebalance by");
                None
            }
        }
    }

    /// This member's queues of a topic; nothing if that cannot be told now, and what it has stays.
    async fn share(
        &self,
        route: &TopicRoute,
        known: &mut BTreeMap<Arc<str>, Vec<String>>,
    ) -> Option<BTreeSet<MessageQueue>> {
        if route.brokers.is_empty() {
            return None;
        }
        let broker = &route.brokers[rand::random_range(0..route.brokers.len())];
        if !known.contains_key(&broker.name) {
            known.insert(broker.name.clone(), self.members(broker).await?);
        }
        let members = &known[&broker.name];
        let me = &self.core.instance.client_id;
        if !members.contains(me) {
            // A new leader has not heard of us yet. To let everything go now would only make others start anew.
            debug!(group = self.core.group(), broker = %broker.name, "not a member yet");
            self.core.instance.heartbeat_soon();
            return None;
        }
        Some(self.core.config.allocate.allocate(&route.subscribe, members, me).into_iter().collect())
    }

    async fn members(&self, broker: &Broker) -> Option<Vec<String>> {
        let code = RequestCode::GetConsumerListByGroup;
        let header = ConsumerGroupRequest { consumer_group: self.core.group() };
        let request = self.core.instance.request(code).with_ext(header.to_ext());
        let patience = self.core.instance.config.request_timeout;
        match self.core.instance.ask_leader(broker, code, request, patience).await {
            Ok(answer) if answer.frame.code == response::SUCCESS => {
                ConsumerIdList::decode(answer.frame.body.as_slice()).ok().map(|list| list.consumer_id_list)
            }
            Ok(answer) => {
                debug!(group = self.core.group(), error = %answer.refusal(), "members not told");
                self.core.instance.heartbeat_soon();
                None
            }
            Err(error) => {
                debug!(group = self.core.group(), %error, "members not told");
                None
            }
        }
    }

    /// Makes `share` what this member has of a topic. False if some of it could not be had.
    async fn apply(&mut self, topic: &str, share: BTreeSet<MessageQueue>) -> bool {
        let gone: Vec<MessageQueue> = self
            .running
            .iter()
            .filter(|(queue, running)| {
                &*queue.topic == topic && (!share.contains(*queue) || running.queue.is_lock_lost())
            })
            .map(|(queue, _)| queue.clone())
            .collect();
        let mut new: BTreeSet<_> =
            share.into_iter().filter(|queue| !self.running.contains_key(queue)).collect();
        if gone.is_empty() && new.is_empty() {
            return true;
        }
        info!(group = self.core.group(), topic, gone = gone.len(), new = new.len(), "queues rebalanced");
        let mut settled = !gone.iter().any(|queue| self.running[queue].queue.is_lock_lost());
        self.release(gone).await;
        let asked = Instant::now();
        if self.core.needs_locks() && !new.is_empty() {
            let wanted = new.len();
            new = self.core.lock(new).await.held;
            settled &= new.len() == wanted;
        }
        let firsts = new.into_iter().map(|queue| {
            let core = self.core.clone();
            async move { (core.first_offset(&queue).await, queue) }
        });
        for (first, queue) in join_all(firsts).await {
            match first {
                Ok(offset) => self.begin(queue, offset, asked),
                Err(error) => {
                    warn!(%queue, %error, "queue not begun");
                    settled = false;
                }
            }
        }
        settled
    }

    fn begin(&mut self, queue: MessageQueue, offset: i64, locked: Instant) {
        debug!(%queue, offset, "queue begun");
        let process = Arc::new(ProcessQueue::new(queue.clone(), offset));
        let (sink, consume) = if self.core.listener.is_ordered() {
            process.lock_confirmed(locked);
            let (pulled, messages) = mpsc::unbounded_channel();
            let run = ordered::run_queue(self.core.clone(), process.clone(), messages, self.slots.clone());
            (Sink::Ordered(pulled), Some(tokio::spawn(run)))
        } else {
            (Sink::Concurrent(self.work.clone()), None)
        };
        let pull = tokio::spawn(pull_loop::run(self.core.clone(), process.clone(), sink)).abort_handle();
        self.core.assigned.lock().insert(queue.clone(), process.clone());
        self.running.insert(queue, Running { queue: process, pull, consume });
    }

    /// Lets queues go: no batch of them begins from here on, their progress is committed, their locks given back.
    async fn release(&mut self, queues: Vec<MessageQueue>) {
        let running: Vec<Running> = queues.iter().filter_map(|queue| self.running.remove(queue)).collect();
        let finished = self.finish(running, Instant::now() + RELEASE_WAIT).await;
        for queue in &queues {
            self.core.assigned.lock().remove(queue);
        }
        let ours = finished.iter().map(|(queue, _)| queue).filter(|queue| !queue.is_lock_lost());
        self.core.commit(ours.map(|queue| (queue.queue.clone(), queue.commit_offset())).collect()).await;
        self.give_locks_back(&finished).await;
    }

    /// Ends the tasks of queues, waiting for listeners that consume in order. Each queue with whether it is at
    /// rest now.
    async fn finish(&self, running: Vec<Running>, deadline: Instant) -> Vec<(Arc<ProcessQueue>, bool)> {
        for running in &running {
            running.queue.close();
            running.pull.abort();
        }
        join_all(running.into_iter().map(|running| async move {
            let at_rest = match running.consume {
                Some(consume) => timeout_at(deadline, consume).await.is_ok(),
                None => true,
            };
            (running.queue, at_rest)
        }))
        .await
    }

    async fn give_locks_back(&self, finished: &[(Arc<ProcessQueue>, bool)]) {
        if self.core.needs_locks() {
            let ours = finished.iter().filter(|(queue, at_rest)| *at_rest && !queue.is_lock_lost());
            self.core.unlock(ours.map(|(queue, _)| queue.queue.clone())).await;
        }
    }

    /// Stops pulling, lets the listener finish what it has within the configured time, commits, gives locks
    /// back, and tells brokers.
    async fn shut_down(mut self) {
        let deadline = Instant::now() + self.core.config.shutdown_timeout;
        self.keepers.shutdown().await;
        let running = std::mem::take(&mut self.running).into_values().collect();
        let finished = self.finish(running, deadline).await;
        self.work.close();
        let left = deadline.saturating_duration_since(Instant::now());
        let workers = async { while self.workers.join_next().await.is_some() {} };
        if timeout(left, workers).await.is_err() {
            warn!(
                group = self.core.group(),
                "the listener did not finish in time; its messages will come again"
            );
            self.workers.shutdown().await;
        }
        self.core.commit_all().await;
        self.core.assigned.lock().clear();
        self.give_locks_back(&finished).await;
        self.core.instance.remove_consumer(&self.core.link);
        self.core.instance.unregister(Leaving::Consumer(self.core.group())).await;
        info!(group = self.core.group(), "consumer stopped");
    }
}

/// Waits until the consumer is told to stop, or dropped.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Fails when the consumer is gone, which ends the waiting as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

impl Drop for Rebalancer {
    /// A runtime that is torn down leaves no pull behind.
    fn drop(&mut self) {
        for running in self.running.values() {
            running.queue.close();
            running.pull.abort();
        }
    }
}
