//! The handle that everything else starts from.

use std::fmt;
use std::sync::Arc;

use crate::admin::Admin;
use crate::config::ClientConfig;
use crate::error::ClientError;
use crate::instance::Instance;
use crate::producer::{Producer, ProducerConfig};

/// Connections, routes and heartbeats, shared by producers, consumers and admins. Clones are the same client.
///
/// One per process is enough, except that consumers of the same group need one each.
///
/// ```no_run
/// use trireme_client::{Client, ClientConfig, Message, ProducerConfig};
///
/// # async fn example() -> Result<(), trireme_client::ClientError> {
/// let client = Client::new(ClientConfig::new("127.0.0.1:9876"))?;
/// let producer = client.producer(ProducerConfig::new("shipyard"))?;
/// let result = producer.send(Message::new("ships", "trireme")).await?;
/// println!("{} is at {} in {}", result.msg_id, result.queue_offset, result.queue);
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
