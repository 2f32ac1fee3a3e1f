//! Settings of a producer.

use std::time::Duration;

use crate::config::config_error;
use crate::error::ClientError;
use crate::message;
use crate::validate;

/// Settings of one [`Producer`](crate::Producer).
#[derive(Debug, Clone)]
pub struct ProducerConfig {
    /// The producer group. RocketMQ: `producerGroup`.
    pub group: String,
    /// How long a send may take, over all tries. Default 3 s. RocketMQ: `sendMsgTimeout`.
    pub send_timeout: Duration,
    /// How often a message is sent at most if the outcome is unknown or a refusal that another broker may not
    /// share. What certainly did not reach a leader (no connection, no leader) is not counted. Default 3.
    /// RocketMQ: `retryTimesWhenSendFailed` + 1.
    pub max_tries: u32,
    /// The largest body in bytes, of a message or of a whole batch. Default 4 MiB. RocketMQ: `maxMessageSize`.
    pub max_message_bytes: usize,
    /// Bodies larger than this are packed with zlib. Default: none is, which is the fastest where the network is.
    /// RocketMQ: `compressMsgBodyOverHowmuch` (4096).
    pub compress_above_bytes: Option<usize>,
    /// How many queues per broker group a topic gets at most that a first message creates. Default 4.
    /// RocketMQ: `defaultTopicQueueNums`.
    pub default_topic_queues: i32,
    /// How many sends with a callback may be under way. Default 10000. RocketMQ: `backPressureForAsyncSendNum`.
    pub max_async_sends: usize,
}

impl ProducerConfig {
    /// The default settings for this group.
    pub fn new(group: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            send_timeout: Duration::from_secs(3),
            max_tries: 3,
            max_message_bytes: message::BODY_MAX,
            compress_above_bytes: None,
            default_topic_queues: 4,
            max_async_sends: 10_000,
        }
    }

    pub(super) fn validate(&self) -> Result<(), ClientError> {
        validate::group(&self.group)?;
        if self.send_timeout.is_zero() {
            return Err(config_error("send_timeout", "0", "more than zero"));
        }
        if self.max_tries == 0 {
            return Err(config_error("max_tries", 0, "at least 1"));
        }
        if self.default_topic_queues < 1 {
            return Err(config_error("default_topic_queues", self.default_topic_queues, "at least 1"));
        }
        if self.max_async_sends == 0 {
            return Err(config_error("max_async_sends", 0, "at least 1"));
        }
        Ok(())
    }
}
