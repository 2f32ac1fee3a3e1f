//! Messages on their way in and out, and the queues that they lie in.

mod outgoing;
mod received;
mod result;

use std::fmt;
use std::sync::Arc;

use trireme_remoting::body;

pub(crate) use outgoing::BODY_MAX;
pub use outgoing::Message;
pub use received::ReceivedMessage;
pub use result::{BatchSendResult, SendResult, SendStatus};

/// One queue of one topic at one broker group. Clones are cheap. Ordered as RocketMQ orders queues: by topic,
/// broker name, id; members of a group divide the queues in this order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageQueue {
    /// The topic.
    pub topic: Arc<str>,
    /// The broker group.
    pub broker_name: Arc<str>,
    /// The queue's number at that group, from 0.
    pub queue_id: i32,
}

impl MessageQueue {
    /// The queue of these three.
    pub fn new(topic: impl Into<Arc<str>>, broker_name: impl Into<Arc<str>>, queue_id: i32) -> Self {
        Self { topic: topic.into(), broker_name: broker_name.into(), queue_id }
    }

    /// As bodies have it.
    pub(crate) fn to_wire(&self) -> body::MessageQueue {
        body::MessageQueue {
            topic: self.topic.to_string(),
            broker_name: self.broker_name.to_string(),
            queue_id: self.queue_id,
        }
    }
}

impl From<body::MessageQueue> for MessageQueue {
    fn from(queue: body::MessageQueue) -> Self {
        Self::new(queue.topic, queue.broker_name, queue.queue_id)
    }
}

/// `topic@broker:queue`
impl fmt::Display for MessageQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.topic, self.broker_name, self.queue_id)
    }
}
