//! The consumer that its user drives.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;
use trireme_remoting::body::{ConsumeFromWhere, ConsumeType, ConsumerData, MessageModel};
use trireme_remoting::{InvokeError, RequestCode, response};

use super::fetch::{Fetch, FetchError, Outcome, Page, fetch};
use super::offsets;
use super::subscription::Subscription;
use crate::config::config_error;
use crate::error::ClientError;
use crate::instance::{ConsumerLink, Instance, Leaving};
use crate::message::{MessageQueue, ReceivedMessage};
use crate::validate;

/// The pause before a replica group that did not answer, or has no leader, is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// Pages that may wait for [`PullConsumer::poll`].
const PAGES: usize = 16;

/// Settings of one [`PullConsumer`].
#[derive(Debug, Clone)]
pub struct PullConsumerConfig {
    /// The consumer group. RocketMQ: `consumerGroup`.
    pub group: String,
    /// How long a broker holds a pull when there is nothing to pull; zero: not at all. Default 20 s.
    /// RocketMQ: `brokerSuspendMaxTimeMillis`.
    pub long_poll: Duration,
    /// How many messages [`poll`](PullConsumer::poll) pulls at once at most. Default 32.
    pub pull_batch: usize,
}

impl PullConsumerConfig {
    /// The default settings for this group.
    pub fn new(group: impl Into<String>) -> Self {
        Self { group: group.into(), long_poll: Duration::from_secs(20), pull_batch: 32 }
    }
}

/// Whether a pull brought messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PullStatus {
    /// It did.
    Found,
    /// There is nothing at this offset yet, or nothing with the tags asked for up to the next offset.
    Nothing,
    /// The offset is before the queue's first message or behind its end; the next offset is inside.
    OutOfRange,
}

/// What a pull brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullResult {
    /// Whether there were messages.
    pub status: PullStatus,
    /// The messages, in the queue's order.
    pub messages: Vec<ReceivedMessage>,
    /// The offset to pull next.
    pub next_offset: i64,
    /// The queue's first offset.
    pub min_offset: i64,
    /// The queue's end, exclusive.
    pub max_offset: i64,
}

/// Fetches messages when its user says so: from single queues with [`pull`](Self::pull), or from assigned ones
/// with [`poll`](Self::poll). Nobody else is given the queues; nothing is committed unless asked for.
///
/// ```
/// use std::time::Duration;
/// use trireme_client::{Client, ClientConfig, PullConsumerConfig};
///
/// # #[tokio::main]
/// # async fn main() -> anyhow::Result<()> {
/// # let cluster = trireme_testkit::Cluster::start(1).await?;
/// # let name_server = cluster.namesrv();
/// let client = Client::new(ClientConfig::new(&name_server))?;
/// # let ships = client.producer(trireme_client::ProducerConfig::new("shipyard"))?;
/// # for ship in ["trireme", "bireme", "raft"] {
/// #     ships.send(trireme_client::Message::new("ships", ship).with_tag(ship)).await?;
/// # }
/// let mut consumer = client.pull_consumer(PullConsumerConfig::new("museum"))?;
/// let queues = consumer.queues("ships").await?;
/// consumer.assign(queues, "*").await?;
/// # let mut seen = 0;
/// for message in consumer.poll(Duration::from_secs(1)).await? {
///     # seen += 1;
///     println!("{}", message.msg_id());
/// }
/// # assert!(seen > 0);
/// consumer.commit_positions().await?;
/// consumer.shutdown().await;
/// # Ok(())
/// # }
/// ```
pub struct PullConsumer {
    instance: Arc<Instance>,
    config: PullConsumerConfig,
    link: Arc<ConsumerLink>,
    /// Matches everything; its topic is not used.
    everything: Subscription,
    assigned: BTreeMap<MessageQueue, Assigned>,
    pages: mpsc::Receiver<Polled>,
    page_sender: mpsc::Sender<Polled>,
    generation: u64,
}

/// A queue that [`PullConsumer::poll`] pulls from.
struct Assigned {
    /// The next offset that the user has not been given.
    position: i64,
    subscription: Arc<Subscription>,
    /// Tells the present task's pages from those of one before a seek.
    generation: u64,
    task: AbortHandle,
}

struct Polled {
    queue: MessageQueue,
    generation: u64,
    page: Result<(Vec<ReceivedMessage>, i64), ClientError>,
}

impl PullConsumer {
    pub(crate) fn start(instance: Arc<Instance>, config: PullConsumerConfig) -> Result<Self, ClientError> {
        validate::group(&config.group)?;
        instance.check_open()?;
        if config.pull_batch == 0 {
            return Err(config_error("pull_batch", 0, "at least 1"));
        }
        let link = Arc::new(ConsumerLink {
            data: ConsumerData {
                consume_from_where: ConsumeFromWhere::LastOffset,
                consume_type: ConsumeType::Actively,
                group_name: config.group.clone(),
                message_model: MessageModel::Clustering,
                subscription_data_set: Vec::new(),
                unit_mode: false,
            },
            rebalance: Notify::new(),
            relock: Notify::new(),
            events: None,
        });
        let everything = Subscription::parse(validate::DEFAULT_TOPIC, "*")?;
        instance.add_consumer(&link)?;
        let (page_sender, pages) = mpsc::channel(PAGES);
        Ok(Self {
            instance,
            config,
            link,
            everything,
            assigned: BTreeMap::new(),
            pages,
            page_sender,
            generation: 0,
        })
    }

    /// The queues of a topic that can be read.
    ///
    /// Errors: [`ClientError::TopicNotFound`], [`ClientError::NameServer`].
    pub async fn queues(&self, topic: &str) -> Result<Vec<MessageQueue>, ClientError> {
        validate::topic(topic)?;
        Ok(self.instance.route(topic).await?.subscribe.iter().cloned().collect())
    }

    /// Pulls at most `max` messages from `offset` on, whatever their tags.
    ///
    /// Waits at the broker if there are none, for the configured time. Errors: [`ClientError::NoAnswer`] when no
    /// replica answers, [`ClientError::Refused`].
    pub async fn pull(
        &self,
        queue: &MessageQueue,
        offset: i64,
        max: usize,
    ) -> Result<PullResult, ClientError> {
        let page = self.page(queue, offset, max, &self.everything).await?;
        let (status, messages) = match page.outcome {
            Outcome::Messages(messages) => (PullStatus::Found, messages),
            Outcome::Nothing => (PullStatus::Nothing, Vec::new()),
            Outcome::OutOfRange => (PullStatus::OutOfRange, Vec::new()),
        };
        Ok(PullResult {
            status,
            messages,
            next_offset: page.next,
            min_offset: page.min,
            max_offset: page.max,
        })
    }

    async fn page(
        &self,
        queue: &MessageQueue,
        offset: i64,
        max: usize,
        subscription: &Subscription,
    ) -> Result<Page, ClientError> {
        let fetch = Fetch {
            group: &self.config.group,
            queue,
            offset,
            max_messages: max,
            subscription,
            hold: self.config.long_poll,
        };
        pull_page(&self.instance, &fetch).await
    }

    /// The group's committed offset in a queue; nothing if it has none.
    ///
    /// Errors: a broker group's.
    pub async fn committed(&self, queue: &MessageQueue) -> Result<Option<i64>, ClientError> {
        offsets::committed(&self.instance, &self.config.group, queue).await
    }

    /// Commits `offset` as the next to consume. Returns when it is acknowledged.
    ///
    /// Errors: a broker group's.
    pub async fn commit(&self, queue: &MessageQueue, offset: i64) -> Result<(), ClientError> {
        offsets::commit(&self.instance, &self.config.group, queue, offset).await
    }

    /// The first offset of a queue.
    ///
    /// Errors: a broker group's.
    pub async fn min_offset(&self, queue: &MessageQueue) -> Result<i64, ClientError> {
        offsets::min_offset(&self.instance, queue).await
    }

    /// The end of a queue, exclusive.
    ///
    /// Errors: a broker group's.
    pub async fn max_offset(&self, queue: &MessageQueue) -> Result<i64, ClientError> {
        offsets::max_offset(&self.instance, queue).await
    }

    /// The offset of the first message stored at or after `timestamp` (ms since the epoch).
    ///
    /// Errors: a broker group's.
    pub async fn search_offset(&self, queue: &MessageQueue, timestamp: i64) -> Result<i64, ClientError> {
        offsets::search_offset(&self.instance, queue, timestamp).await
    }

    /// Makes these the queues that [`poll`](Self::poll) reads, with the wanted `tags` (`*`, or `a || b`): each
    /// from the group's committed offset on, or from its first message if there is none. Queues assigned before
    /// are dropped.
    ///
    /// Errors: a broker group's; then none is assigned.
    pub async fn assign(
        &mut self,
        queues: impl IntoIterator<Item = MessageQueue>,
        tags: &str,
    ) -> Result<(), ClientError> {
        self.assigned.clear();
        let mut begun = BTreeMap::new();
        for queue in queues {
            let subscription = Arc::new(Subscription::parse(&queue.topic, tags)?);
            let position = match self.committed(&queue).await? {
                Some(offset) => offset,
                None => self.min_offset(&queue).await?,
            };
            let assigned = self.begin(&queue, position, subscription);
            begun.insert(queue, assigned);
        }
        self.assigned = begun;
        Ok(())
    }

    /// Goes on at another offset of an assigned queue; what was pulled of it before is not returned any more.
    ///
    /// Errors: [`ClientError::NoQueue`] if it is not assigned.
    pub fn seek(&mut self, queue: &MessageQueue, offset: i64) -> Result<(), ClientError> {
        let Some(assigned) = self.assigned.get(queue) else {
            return Err(ClientError::NoQueue { topic: queue.to_string(), kind: "assigned" });
        };
        let begun = self.begin(queue, offset, assigned.subscription.clone());
        self.assigned.insert(queue.clone(), begun);
        Ok(())
    }

    /// The next offset of an assigned queue that has not been returned.
    pub fn position(&self, queue: &MessageQueue) -> Option<i64> {
        self.assigned.get(queue).map(|assigned| assigned.position)
    }

    /// The next messages of some assigned queue, in that queue's order; none if none come within `wait`.
    ///
    /// Errors: a queue's broker group refuses; the others go on.
    pub async fn poll(&mut self, wait: Duration) -> Result<Vec<ReceivedMessage>, ClientError> {
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // The consumer holds a sender itself, so that the channel does not end.
            let Ok(Some(polled)) = timeout(left, self.pages.recv()).await else { return Ok(Vec::new()) };
            let Some(assigned) = self.assigned.get_mut(&polled.queue) else { continue };
            if assigned.generation != polled.generation {
                continue;
            }
            let (messages, next) = polled.page?;
            assigned.position = next;
            if !messages.is_empty() {
                return Ok(messages);
            }
        }
    }

    /// Commits the positions of all assigned queues. Returns when all are acknowledged.
    ///
    /// Errors: the first that is not.
    pub async fn commit_positions(&self) -> Result<(), ClientError> {
        for (queue, assigned) in &self.assigned {
            self.commit(queue, assigned.position).await?;
        }
        Ok(())
    }

    /// Stops pulling and leaves the group. Commits nothing.
    pub async fn shutdown(mut self) {
        self.assigned.clear();
        self.instance.remove_consumer(&self.link);
        self.instance.unregister(Leaving::Consumer(&self.config.group)).await;
    }

    fn begin(&mut self, queue: &MessageQueue, position: i64, subscription: Arc<Subscription>) -> Assigned {
        self.generation += 1;
        let generation = self.generation;
        let reader = Reader {
            instance: self.instance.clone(),
            config: self.config.clone(),
            queue: queue.clone(),
            subscription: subscription.clone(),
            generation,
            pages: self.page_sender.clone(),
        };
        Assigned {
            position,
            subscription,
            generation,
            task: tokio::spawn(reader.run(position)).abort_handle(),
        }
    }
}

impl Drop for PullConsumer {
    fn drop(&mut self) {
        self.instance.remove_consumer(&self.link);
    }
}

impl Drop for Assigned {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for PullConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PullConsumer").field("group", &self.config.group).finish_non_exhaustive()
    }
}

/// Pulls an assigned queue ahead of the polls.
struct Reader {
    instance: Arc<Instance>,
    config: PullConsumerConfig,
    queue: MessageQueue,
    subscription: Arc<Subscription>,
    generation: u64,
    pages: mpsc::Sender<Polled>,
}

impl Reader {
    /// Until aborted, or nobody polls any more.
    async fn run(self, mut offset: i64) {
        loop {
            let request = Fetch {
                group: &self.config.group,
                queue: &self.queue,
                offset,
                max_messages: self.config.pull_batch,
                subscription: &self.subscription,
                hold: self.config.long_poll,
            };
            let page = pull_page(&self.instance, &request).await.map(|page| {
                let messages = match page.outcome {
                    Outcome::Messages(messages) => messages,
                    Outcome::Nothing | Outcome::OutOfRange => Vec::new(),
                };
                let wanted: Vec<_> =
                    messages.into_iter().filter(|message| self.subscription.matches(message)).collect();
                (wanted, page.next)
            });
            let rest = match &page {
                Ok((messages, next)) => {
                    let stands_still = *next == offset && messages.is_empty();
                    offset = *next;
                    stands_still && self.config.long_poll.is_zero()
                }
                Err(_) => true,
            };
            let polled = Polled { queue: self.queue.clone(), generation: self.generation, page };
            if self.pages.send(polled).await.is_err() {
                return;
            }
            if rest {
                sleep(PAUSE).await;
            }
        }
    }
}

/// Pulls from whichever replica answers, for as long as a pull may take.
async fn pull_page(instance: &Instance, request: &Fetch<'_>) -> Result<Page, ClientError> {
    let started = Instant::now();
    let deadline = started + request.hold + instance.config.request_timeout;
    let broker = instance.broker_of(request.queue).await?;
    let mut tried = Vec::new();
    let mut last = None;
    while Instant::now() < deadline {
        instance.check_open()?;
        let Some(replica) = broker.pick_reader(0, &tried) else {
            tried.clear();
            sleep(PAUSE).await;
            continue;
        };
        match fetch(instance, &broker, &replica, request).await {
            // A follower does not know where the queue ends.
            Ok(page) if matches!(page.outcome, Outcome::OutOfRange) && !page.from_leader => {
                sleep(PAUSE).await
            }
            Ok(page) => return Ok(page),
            Err(FetchError::Refused { code, error }) => {
                let passing = matches!(
                    code,
                    response::SYSTEM_ERROR
                        | response::SYSTEM_BUSY
                        | response::SERVICE_NOT_AVAILABLE
                        | response::GO_AWAY
                        | response::FLOW_CONTROL
                );
                if !passing {
                    return Err(error);
                }
                last = Some(FetchError::Refused { code, error });
                tried.push(replica);
                sleep(PAUSE).await;
            }
            Err(error) => {
                debug!(queue = %request.queue, addr = %replica.addr, ?error, "pull not answered");
                last = Some(error);
                tried.push(replica);
            }
        }
    }
    let after = started.elapsed();
    let addr = request.queue.broker_name.to_string();
    let never_asked = InvokeError::Timeout { addr, code: RequestCode::PullMessage.code(), after };
    Err(last.unwrap_or(FetchError::Silent(never_asked)).into_error(request.queue, after))
}
