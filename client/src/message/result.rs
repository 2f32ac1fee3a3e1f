//! What a send comes to.

use super::MessageQueue;

/// How safely a message was stored. All but `Ok` come from brokers that replicate in RocketMQ's own ways;
/// Trireme answers `Ok` once a quorum has the message on disk, and an error otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SendStatus {
    /// As the broker is configured to store it.
    Ok,
    /// Stored, but not on disk in time.
    FlushDiskTimeout,
    /// Stored, but not at the slave in time.
    FlushSlaveTimeout,
    /// Stored, but there is no slave.
    SlaveNotAvailable,
}

/// A message was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendResult {
    /// How safely.
    pub status: SendStatus,
    /// The id that this client gave the message: its `UNIQ_KEY`.
    pub msg_id: String,
    /// The id that the broker gave it, which says where it lies; see
    /// [`Admin::message_by_id`](crate::Admin::message_by_id).
    pub offset_msg_id: String,
    /// The queue that it is in.
    pub queue: MessageQueue,
    /// Its ordinal there.
    pub queue_offset: i64,
}

/// A batch was stored, whole, in one queue, at consecutive offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchSendResult {
    /// How safely.
    pub status: SendStatus,
    /// The ids that this client gave the messages, in their order.
    pub msg_ids: Vec<String>,
    /// The ids that the broker gave them, in their order; a single one from a broker that keeps the batch as
    /// one unit.
    pub offset_msg_ids: Vec<String>,
    /// The queue that they are in.
    pub queue: MessageQueue,
    /// The first one's ordinal there.
    pub queue_offset: i64,
}
