//! Trireme's client: producers, consumers and administration over RocketMQ's remoting protocol.
//!
//! ```text
//!   Producer   PushConsumer   PullConsumer   Admin          what users hold
//!       \           |              |          /
//!        +----------+------ Client ----------+              shared: one per process is enough
//!                           |      \
//!            routes, heartbeats   brokers: replicas, leader, suspects
//!                           |      /
//!                    trireme_remoting::Client               one connection per address
//! ```
//!
//! Start with a [`Client`]: it makes producers, consumers and admins, and its page shows how.
//!
//! It speaks to Apache RocketMQ as well as to Trireme. Against Trireme it follows leadership: any replica takes
//! any request and names the leader in its answer, the client goes there directly from then on; when a replica
//! does not answer, the group's others are asked at once, without waiting for a new route.

mod client;
mod config;
mod error;
mod message;
mod validate;

mod compression;
mod instance;
mod route;

mod admin;
mod consumer;
mod producer;

pub use admin::{Admin, GroupSpec, TopicSpec};
pub use client::Client;
pub use config::ClientConfig;
pub use consumer::{
    AllocateStrategy, ConcurrentListener, ConsumeFrom, ConsumeOutcome, MessageBatch, MessageModel,
    OrderOutcome, OrderedListener, PullConsumer, PullConsumerConfig, PullResult, PullStatus, PushConsumer,
    PushConsumerConfig,
};
pub use error::ClientError;
pub use message::{BatchSendResult, Message, MessageQueue, ReceivedMessage, SendResult, SendStatus};
pub use producer::{Producer, ProducerConfig};
pub use trireme_remoting::SerializeType;
