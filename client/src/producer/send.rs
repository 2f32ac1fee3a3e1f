//! The send itself: tries until a broker acknowledges, or patience ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::debug;
use trireme_remoting::headers::SendResponse;
use trireme_remoting::{Frame, InvokeError};

use super::config::ProducerConfig;
use super::judge::{Verdict, judge};
use super::outgoing::{Outgoing, Stored};
use super::select::{Choice, rotate, shard};
use crate::error::ClientError;
use crate::instance::{Instance, patience, peer};
use crate::message::{BatchSendResult, Message, MessageQueue, SendResult, SendStatus};
use crate::route::{Awaited, Broker, PublishQueue, Replica};

/// The pause before a group without a leader, or an overloaded one, is asked again: first, and from then on.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const PAUSE: Duration = Duration::from_millis(100);

/// Unsent bytes of a connection above which one-way sends wait. Far below what closes it.
const ONEWAY_BACKLOG: usize = 8 << 20;

/// What sends need: a producer's, or a consumer's for what it gives back.
pub(crate) struct Sender {
    pub(crate) instance: Arc<Instance>,
    pub(crate) config: ProducerConfig,
    /// Where the next choice of a queue starts.
    turn: AtomicUsize,
}

/// The course of one send.
struct Course {
    started: Instant,
    deadline: Instant,
    /// Requests whose sending counts against the limit.
    counted: u32,
    /// Requests sent.
    tries: u32,
    outcome_unknown: bool,
    /// How often another group was turned to.
    switches: u32,
    pause: Duration,
    last: Option<ClientError>,
}

impl Sender {
    pub(crate) fn new(instance: Arc<Instance>, config: ProducerConfig) -> Self {
        // Producers that start together would otherwise all begin with the same queue.
        let turn = AtomicUsize::new(rand::random::<u16>().into());
        Self { instance, config, turn }
    }

    pub(super) async fn send_single(
        &self,
        message: Message,
        choice: Choice<'_>,
    ) -> Result<SendResult, ClientError> {
        let outgoing = Outgoing::single(self, message).await?;
        Ok(self.send(&outgoing, choice).await?.single(outgoing))
    }

    pub(super) async fn send_batch(
        &self,
        messages: Vec<Message>,
        choice: Choice<'_>,
    ) -> Result<BatchSendResult, ClientError> {
        let outgoing = Outgoing::batch(self, messages)?;
        Ok(self.send(&outgoing, choice).await?.batch(outgoing))
    }

    /// Queues a message on the connection to a leader. Errors: it could not be queued.
    pub(super) async fn send_oneway(&self, message: Message) -> Result<(), ClientError> {
        let outgoing = Outgoing::single(self, message).await?;
        let publish = self.choose(&outgoing.topic, Choice::Any).await?;
        let header = outgoing.header(self, &publish.queue);
        let request = outgoing.request(self).with_ext(header.to_ext_v2());
        self.instance.oneway_leader(&publish.broker, outgoing.code, request, ONEWAY_BACKLOG).await
    }

    /// Sends until the message is stored.
    pub(crate) async fn send(&self, outgoing: &Outgoing, choice: Choice<'_>) -> Result<Stored, ClientError> {
        let started = Instant::now();
        let deadline = started + self.config.send_timeout;
        let mut course = Course {
            started,
            deadline,
            counted: 0,
            tries: 0,
            outcome_unknown: false,
            switches: 0,
            pause: FIRST_PAUSE,
            last: None,
        };
        let mut publish = self.choose(&outgoing.topic, choice).await?;
        // Replicas of the present group that were asked in this round.
        let mut tried: Vec<Arc<Replica>> = Vec::new();
        loop {
            self.instance.check_open()?;
            let now = Instant::now();
            if now >= deadline || course.counted >= self.config.max_tries {
                return Err(course.failed(outgoing));
            }
            let Some(replica) = publish.broker.pick(&tried) else {
                if tried.is_empty() {
                    return Err(ClientError::UnknownBroker { broker: publish.broker.name.to_string() });
                }
                tried.clear();
                course.pause().await;
                continue;
            };
            let header = outgoing.header(self, &publish.queue);
            // With nobody else to turn to, giving up early would only store the message twice.
            let alone = || self.other_group(&outgoing.topic, choice, &publish.broker).is_none();
            let alone = publish.broker.is_alone() && alone();
            let timeout = patience(self.config.send_timeout, deadline - now, course.tries == 0, alone);
            let (request, header) = (outgoing.request(self), header.v2());
            let answer = self
                .instance
                .try_replica_with(&publish.broker, &replica, Awaited::Soon, request, &header, timeout)
                .await;
            let verdict = judge(answer.as_ref().map(|frame| frame.code));
            if let (Verdict::Stored(status), Ok(frame)) = (verdict, &answer) {
                return self.stored(outgoing, &publish, &replica, status, frame);
            }
            let elsewhere = self.other_group(&outgoing.topic, choice, &publish.broker);
            course.note(outgoing, &publish.broker, &replica, verdict, answer);
            match verdict {
                Verdict::Final => return Err(course.failed(outgoing)),
                Verdict::Elsewhere if elsewhere.is_none() => return Err(course.failed(outgoing)),
                _ => {}
            }
            if verdict != Verdict::Elsewhere {
                publish.broker.penalize();
            }
            match elsewhere {
                Some(other) => {
                    publish = other;
                    tried.clear();
                    course.switch().await;
                }
                None => {
                    tried.push(replica);
                    if matches!(verdict, Verdict::NoLeader | Verdict::Busy) {
                        course.pause().await;
                    }
                }
            }
        }
    }

    /// The queue to write to.
    async fn choose(&self, topic: &str, choice: Choice<'_>) -> Result<PublishQueue, ClientError> {
        if let Choice::Queue(queue) = choice {
            if &*queue.topic != topic {
                let reason = format!("queue {queue} is of another topic");
                return Err(ClientError::Message { topic: topic.to_owned(), reason });
            }
            return self.instance.publish_queue(queue).await;
        }
        let route = self.instance.publish_route(topic, self.config.default_topic_queues).await?;
        let chosen = match choice {
            Choice::Key(key) => shard(&route.publish, key),
            _ => rotation(&route.publish, self.turn.fetch_add(1, Ordering::Relaxed), None),
        };
        chosen.cloned().ok_or_else(|| ClientError::NoQueue { topic: topic.to_owned(), kind: "writable" })
    }

    /// A queue of another group than the one that has just failed, if the choice leaves one.
    fn other_group(&self, topic: &str, choice: Choice<'_>, failed: &Arc<Broker>) -> Option<PublishQueue> {
        let Choice::Any = choice else { return None };
        let route = self.instance.cached_route(topic)?;
        // The turn stays: it counts messages, so that each queue gets its share.
        let other = rotation(&route.publish, self.turn.load(Ordering::Relaxed), Some(failed))?;
        (!Arc::ptr_eq(&other.broker, failed)).then(|| other.clone())
    }

    fn stored(
        &self,
        outgoing: &Outgoing,
        publish: &PublishQueue,
        replica: &Replica,
        status: SendStatus,
        answer: &Frame,
    ) -> Result<Stored, ClientError> {
        let header = SendResponse::from_ext(&answer.ext).map_err(|error| {
            ClientError::answer(outgoing.code, &peer(&publish.broker.name, replica), error)
        })?;
        if publish.provisional {
            // The message has made the topic: the route will be a real one now.
            self.instance.refresh_soon();
        }
        Ok(Stored {
            status,
            offset_msg_id: header.msg_id.to_owned(),
            queue: MessageQueue { queue_id: header.queue_id, ..publish.queue.clone() },
            queue_offset: header.queue_offset,
        })
    }
}

/// The next queue from `turn` on, of a group that is not to be avoided or penalized if there is one.
fn rotation<'a>(
    queues: &'a [PublishQueue],
    turn: usize,
    avoid: Option<&Arc<Broker>>,
) -> Option<&'a PublishQueue> {
    let avoided = |at: usize| avoid.is_some_and(|avoid| Arc::ptr_eq(avoid, &queues[at].broker));
    rotate(queues.len(), turn, avoided, |at| queues[at].broker.is_penalized()).map(|at| &queues[at])
}

impl Course {
    /// Takes down a try that did not store the message.
    fn note(
        &mut self,
        outgoing: &Outgoing,
        broker: &Broker,
        replica: &Replica,
        verdict: Verdict,
        answer: Result<Frame, InvokeError>,
    ) {
        let error = match answer {
            Ok(frame) => ClientError::refused(outgoing.code, peer(&broker.name, replica), &frame),
            Err(source) => ClientError::NoAnswer {
                operation: outgoing.code.name(),
                broker: broker.name.to_string(),
                after: self.started.elapsed(),
                source,
            },
        };
        debug!(topic = &*outgoing.topic, %error, ?verdict, "send try failed");
        self.last = Some(error);
        if verdict != Verdict::NotReached {
            self.tries += 1;
        }
        match verdict {
            Verdict::Stored(_) | Verdict::NotReached => {}
            // A leader that was deposed in between says the same, and may have stored it before.
            Verdict::NoLeader => self.outcome_unknown = true,
            Verdict::Unknown => {
                self.counted += 1;
                self.outcome_unknown = true;
            }
            Verdict::Busy | Verdict::Elsewhere | Verdict::Final => self.counted += 1,
        }
    }

    /// Before another group is asked: the first one is probably not in the same trouble, later ones may be.
    async fn switch(&mut self) {
        self.switches += 1;
        if self.switches > 1 {
            self.pause().await;
        }
    }

    async fn pause(&mut self) {
        sleep(self.pause.min(self.deadline.saturating_duration_since(Instant::now()))).await;
        self.pause = PAUSE;
    }

    fn failed(self, outgoing: &Outgoing) -> ClientError {
        let last = self.last.unwrap_or(ClientError::Closed);
        ClientError::SendFailed {
            topic: outgoing.topic.to_string(),
            tries: self.tries,
            after: self.started.elapsed(),
            outcome_unknown: self.outcome_unknown,
            last: Box::new(last),
        }
    }
}
