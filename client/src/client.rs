//! The handle that everything else starts from.

use std::fmt;
use std::sync::Arc;

use crate::admin::Admin;
use crate::config::ClientConfig;
use crate::consumer::{
    ConcurrentListener, OrderedListener, PullConsumer, PullConsumerConfig, PushConsumer, PushConsumerConfig,
};
use crate::error::ClientError;
use crate::instance::Instance;
use crate::producer::{Producer, ProducerConfig};

/// Connections, routes and heartbeats, shared by producers, consumers and admins. Clones are the same client.
///
/// One per process is enough, except that consumers of the same group need one each.
///
/// ```
/// use trireme_client::{Client, ClientConfig, Message, ProducerConfig};
///
/// # #[tokio::main]
/// # async fn main() -> anyhow::Result<()> {
/// # let cluster = trireme_testkit::Cluster::start(1).await?;
/// # let name_server = cluster.namesrv();
/// let client = Client::new(ClientConfig::new(&name_server))?;
/// let producer = client.producer(ProducerConfig::new("shipyard"))?;
/// let result = producer.send(Message::new("ships", "trireme")).await?;
/// println!("{} is at {} in {}", result.msg_id, result.queue_offset, result.queue);
/// # assert_eq!(result.queue_offset, 0);
/// producer.shutdown().await;
/// client.shutdown();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    instance: Arc<Instance>,
}

impl Client {
    /// A client of the cluster that the configuration's name servers know. Connects to nobody until it has to.
    ///
    /// Errors: [`ClientError::Config`]. Panics outside a Tokio runtime.
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        Ok(Self { instance: Instance::start(config)? })
    }

    /// The id under which brokers know this client: `ip@instance`.
    pub fn id(&self) -> &str {
        &self.instance.client_id
    }

    /// A producer.
    ///
    /// Errors: [`ClientError::Config`], [`ClientError::Name`], [`ClientError::Closed`].
    pub fn producer(&self, config: ProducerConfig) -> Result<Producer, ClientError> {
        Producer::start(self.instance.clone(), config)
    }

    /// A consumer that calls `listener` with messages, many at a time, in no order.
    ///
    /// Returns once brokers have been told of it; messages come as soon as its share of the queues is known.
    /// Errors: as [`producer`](Self::producer), [`ClientError::GroupInUse`], [`ClientError::OffsetFile`].
    pub async fn consume<L: ConcurrentListener>(
        &self,
        config: PushConsumerConfig,
        listener: L,
    ) -> Result<PushConsumer, ClientError> {
        PushConsumer::start_concurrent(self.instance.clone(), config, listener).await
    }

    /// A consumer that calls `listener` with the messages of each queue one after the other, in their order.
    ///
    /// Returns and errors as [`consume`](Self::consume).
    pub async fn consume_ordered<L: OrderedListener>(
        &self,
        config: PushConsumerConfig,
        listener: L,
    ) -> Result<PushConsumer, ClientError> {
        PushConsumer::start_ordered(self.instance.clone(), config, listener).await
    }

    /// A consumer that fetches messages when its user says so.
    ///
    /// Errors: as [`producer`](Self::producer), [`ClientError::GroupInUse`].
    pub fn pull_consumer(&self, config: PullConsumerConfig) -> Result<PullConsumer, ClientError> {
        PullConsumer::start(self.instance.clone(), config)
    }

    /// Administration of topics, groups and offsets.
    pub fn admin(&self) -> Admin {
        Admin::new(self.instance.clone())
    }

    /// Closes all connections and ends the background tasks. Shut producers and consumers down first: what
    /// they have not finished fails with [`ClientError::Closed`].
    pub fn shutdown(&self) {
        self.instance.close();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("id", &self.instance.client_id).finish_non_exhaustive()
    }
}
