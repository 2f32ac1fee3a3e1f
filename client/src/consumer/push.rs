//! The consumer that calls a listener.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use trireme_remoting::body::{ConsumeFromWhere, ConsumeType, ConsumerData};

use super::MessageModel;
use super::config::{ConsumeFrom, PushConsumerConfig};
use super::core::Core;
use super::listener::{ConcurrentListener, Listener, OrderedListener};
use super::offsets::{LocalOffsets, Offsets};
use super::rebalance::Rebalancer;
use super::stats::Stats;
use super::subscription::Subscription;
use crate::config::config_error;
use crate::error::ClientError;
use crate::instance::{ConsumerLink, Instance, now_ms};
use crate::message::MessageQueue;
use crate::producer::{ProducerConfig, Sender};
use crate::validate::retry_topic;

/// Requests of brokers that may wait for the consumer.
const EVENTS: usize = 64;

/// The group under which consumers send what they give back, as in RocketMQ.
const INNER_PRODUCER: &str = "CLIENT_INNER_PRODUCER";

/// A member of a consumer group that calls a listener with messages, see
/// [`Client::consume`](crate::Client::consume).
///
/// Every message is consumed **at least once**: again after a crash, a failover or a rebalance that came between
/// consuming it and committing that.
///
/// ```
/// use trireme_client::{Client, ClientConfig, ConsumeOutcome, MessageBatch, PushConsumerConfig};
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
/// # let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
/// let config = PushConsumerConfig::new("harbour").subscribe("ships", "trireme || bireme");
/// let consumer = client
///     .consume(config, move |messages: MessageBatch| {
///         # let tell = tell.clone();
///         async move {
///             for message in messages.iter() {
///                 println!("{}", String::from_utf8_lossy(&message.body));
///                 # tell.send(message.body.clone()).ok();
///             }
///             ConsumeOutcome::Commit
///         }
///     })
///     .await?;
/// # let landed = [told.recv().await, told.recv().await];
/// # assert!(!landed.contains(&Some("raft".into())));
/// consumer.shutdown().await;
/// # Ok(())
/// # }
/// ```
///
/// Dropping it is a shutdown in the background.
pub struct PushConsumer {
    core: Arc<Core>,
    stop: watch::Sender<bool>,
    /// Its sender lives as long as the consumer's task.
    running: watch::Receiver<()>,
}

impl PushConsumer {
    pub(crate) async fn start_concurrent<L: ConcurrentListener>(
        instance: Arc<Instance>,
        config: PushConsumerConfig,
        listener: L,
    ) -> Result<Self, ClientError> {
        Self::start(instance, config, Listener::concurrent(listener)).await
    }

    pub(crate) async fn start_ordered<L: OrderedListener>(
        instance: Arc<Instance>,
        config: PushConsumerConfig,
        listener: L,
    ) -> Result<Self, ClientError> {
        Self::start(instance, config, Listener::ordered(listener)).await
    }

    async fn start(
        instance: Arc<Instance>,
        config: PushConsumerConfig,
        listener: Listener,
    ) -> Result<Self, ClientError> {
        config.validate()?;
        instance.check_open()?;
        let subscriptions = subscriptions(&config)?;
        let offsets = match config.model {
            MessageModel::Clustering => Offsets::Remote,
            MessageModel::Broadcasting => {
                let name = instance.stable_name.as_deref().unwrap_or("default");
                Offsets::Local(LocalOffsets::open(&instance.config.offset_dir, name, &config.group).await?)
            }
        };
        let (events, received) = mpsc::channel(EVENTS);
        let link = Arc::new(ConsumerLink {
            data: consumer_data(&config, &subscriptions),
            rebalance: Notify::new(),
            relock: Notify::new(),
            events: Some(events),
        });
        let core = Arc::new(Core {
            sender: Sender::new(instance.clone(), ProducerConfig::new(INNER_PRODUCER)),
            stats: Stats::new(subscriptions.keys().cloned(), Instant::now()),
            assigned: Mutex::default(),
            started_ms: now_ms(),
            instance,
            config,
            link,
            subscriptions,
            listener,
            offsets,
        });
        core.instance.add_consumer(&core.link)?;
        if let Err(error) = announce(&core).await {
            core.instance.remove_consumer(&core.link);
            return Err(error);
        }
        let (stop, stopping) = watch::channel(false);
        let (alive, running) = watch::channel(());
        let rebalancer = Rebalancer::start(core.clone());
        tokio::spawn(async move {
            rebalancer.run(received, stopping).await;
            drop(alive);
        });
        Ok(Self { core, stop, running })
    }

    /// The queues that this member has now, in their order.
    pub fn queues(&self) -> Vec<MessageQueue> {
        self.core.assigned.lock().keys().cloned().collect()
    }

    /// Commits the progress of all queues now, and returns when brokers have acknowledged it, or had their time.
    pub async fn commit(&self) {
        self.core.commit_all().await;
    }

    /// Stops: pulls no more, lets the listener finish the batches that it has for at most
    /// [`shutdown_timeout`](PushConsumerConfig::shutdown_timeout), commits, gives queues back, leaves the group.
    ///
    /// Messages that were pulled and have not reached the listener are another member's, or come again.
    pub async fn shutdown(&self) {
        self.stop.send_replace(true);
        let mut running = self.running.clone();
        // Fails once the task, and with it the sender, is gone: that is what is waited for.
        while running.changed().await.is_ok() {}
    }
}

impl fmt::Debug for PushConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushConsumer").field("group", &self.core.config.group).finish_non_exhaustive()
    }
}

fn subscriptions(config: &PushConsumerConfig) -> Result<BTreeMap<Arc<str>, Subscription>, ClientError> {
    let mut table = BTreeMap::new();
    for (topic, expression) in &config.subscriptions {
        let subscription = Subscription::parse(topic, expression)?;
        if table.insert(subscription.topic.clone(), subscription).is_some() {
            return Err(config_error("subscriptions", topic, "each topic once"));
        }
    }
    if config.model == MessageModel::Clustering {
        let retry = Subscription::parse(&retry_topic(&config.group), "*")?;
        table.insert(retry.topic.clone(), retry);
    }
    Ok(table)
}

fn consumer_data(
    config: &PushConsumerConfig,
    subscriptions: &BTreeMap<Arc<str>, Subscription>,
) -> ConsumerData {
    ConsumerData {
        consume_from_where: match config.consume_from {
            ConsumeFrom::Last => ConsumeFromWhere::LastOffset,
            ConsumeFrom::First => ConsumeFromWhere::FirstOffset,
            ConsumeFrom::Timestamp(_) => ConsumeFromWhere::Timestamp,
        },
        consume_type: ConsumeType::Passively,
        group_name: config.group.clone(),
        message_model: config.model,
        subscription_data_set: subscriptions.values().map(|subscription| subscription.data.clone()).collect(),
        unit_mode: false,
    }
}

/// Learns where the topics are, and tells their brokers of the group. Errors: no name server answers.
async fn announce(core: &Core) -> Result<(), ClientError> {
    for topic in core.subscriptions.keys() {
        core.instance.refresh_route(topic).await?;
    }
    core.instance.heartbeat().await;
    Ok(())
}
