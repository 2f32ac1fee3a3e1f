//! Settings of a consumer with a listener.

use std::time::Duration;

use super::{AllocateStrategy, MessageModel};
use crate::config::config_error;
use crate::error::ClientError;
use crate::validate;

/// Where a group starts in a queue that it has no offset for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConsumeFrom {
    /// At the end: only what is sent from now on. In a queue that still has its very first message brokers start
    /// at that one.
    #[default]
    Last,
    /// At the first message that is still there.
    First,
    /// At the first message stored at or after this time, in ms since the epoch.
    Timestamp(i64),
}

/// Settings of one [`PushConsumer`](crate::PushConsumer).
#[derive(Debug, Clone)]
pub struct PushConsumerConfig {
    /// The consumer group. RocketMQ: `consumerGroup`.
    pub group: String,
    /// Topics, and the tags wanted of each: `*`, or `a || b`. All members of a group have to have the same.
    pub subscriptions: Vec<(String, String)>,
    /// Whether a message goes to one member of the group (default) or to every one. RocketMQ: `messageModel`.
    pub model: MessageModel,
    /// Where the group starts. Default [`ConsumeFrom::Last`]. RocketMQ: `consumeFromWhere`.
    pub consume_from: ConsumeFrom,
    /// How queues are divided among members. RocketMQ: `allocateMessageQueueStrategy`.
    pub allocate: AllocateStrategy,
    /// How many batches the listener consumes at the same time. Default 20. RocketMQ: `consumeThreadMin`.
    pub concurrency: usize,
    /// How many messages a batch has at most. Default 1. RocketMQ: `consumeMessageBatchMaxSize`.
    pub consume_batch: usize,
    /// How many messages are pulled at once at most. Default 32. RocketMQ: `pullBatchSize`.
    pub pull_batch: usize,
    /// After how many failures a message becomes a dead letter. Default: 16, and never when consumed in order.
    /// RocketMQ: `maxReconsumeTimes`.
    pub max_reconsume_times: Option<u32>,
    /// No more is pulled of a queue while so many of its messages wait. Default 1000.
    /// RocketMQ: `pullThresholdForQueue`.
    pub queue_max_messages: usize,
    /// No more is pulled of a queue while so many bytes of it wait. Default 100 MiB.
    /// RocketMQ: `pullThresholdSizeForQueue`.
    pub queue_max_bytes: u64,
    /// No more is pulled of a queue while its first message that is not consumed is so far behind the last.
    /// Not when consumed in order. Default 2000. RocketMQ: `consumeConcurrentlyMaxSpan`.
    pub queue_max_span: u32,
    /// How long a broker holds a pull when there is nothing to pull. Default 15 s.
    pub long_poll: Duration,
    /// How long the listener may take for a batch. Default 15 min. RocketMQ: `consumeTimeout`.
    pub consume_timeout: Duration,
    /// How often progress is committed. Default 5 s. RocketMQ: `persistConsumerOffsetInterval`.
    pub commit_interval: Duration,
    /// How often queues are divided anew when nothing calls for it. Default 20 s.
    /// RocketMQ: `rocketmq.client.rebalance.waitInterval`.
    pub rebalance_interval: Duration,
    /// How long a shutdown waits for the listener. Default 10 s. RocketMQ: `awaitTerminationMillisWhenShutdown`.
    pub shutdown_timeout: Duration,
}

impl PushConsumerConfig {
    /// The default settings for this group, with no subscription.
    pub fn new(group: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            subscriptions: Vec::new(),
            model: MessageModel::Clustering,
            consume_from: ConsumeFrom::Last,
            allocate: AllocateStrategy::Average,
            concurrency: 20,
            consume_batch: 1,
            pull_batch: 32,
            max_reconsume_times: None,
            queue_max_messages: 1000,
            queue_max_bytes: 100 << 20,
            queue_max_span: 2000,
            long_poll: Duration::from_secs(15),
            consume_timeout: Duration::from_secs(15 * 60),
            commit_interval: Duration::from_secs(5),
            rebalance_interval: Duration::from_secs(20),
            shutdown_timeout: Duration::from_secs(10),
        }
    }

    /// With one more topic; `tags` is `*` for all, or `a || b`.
    pub fn subscribe(mut self, topic: impl Into<String>, tags: impl Into<String>) -> Self {
        self.subscriptions.push((topic.into(), tags.into()));
        self
    }

    pub(super) fn validate(&self) -> Result<(), ClientError> {
        validate::group(&self.group)?;
        if self.subscriptions.is_empty() {
            return Err(config_error("subscriptions", "", "at least one topic"));
        }
        for (field, value) in [
            ("concurrency", self.concurrency),
            ("consume_batch", self.consume_batch),
            ("pull_batch", self.pull_batch),
            ("queue_max_messages", self.queue_max_messages),
            ("queue_max_bytes", usize::try_from(self.queue_max_bytes).unwrap_or(usize::MAX)),
            ("queue_max_span", self.queue_max_span as usize),
        ] {
            if value == 0 {
                return Err(config_error(field, 0, "at least 1"));
            }
        }
        for (field, value) in [
            ("consume_timeout", self.consume_timeout),
            ("commit_interval", self.commit_interval),
            ("rebalance_interval", self.rebalance_interval),
        ] {
            if value.is_zero() {
                return Err(config_error(field, 0, "more than zero"));
            }
        }
        Ok(())
    }
}
