//! Everything that can change replicated state, besides messages: a closed list.

use serde::{Deserialize, Serialize};

use crate::features::{delay, groups, offsets, topics};

/// A command in the log. New variants go at the end: their order is the format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Makes or changes a topic.
    PutTopic(topics::PutTopic),
    /// Deletes a topic and what is known of its consumption.
    DeleteTopic(topics::DeleteTopic),
    /// Makes or changes a subscription group.
    PutGroup(groups::PutGroup),
    /// Deletes a subscription group.
    DeleteGroup(groups::DeleteGroup),
    /// Consumers' positions.
    CommitOffsets(offsets::CommitOffsets),
    /// A delayed message was delivered (by the same entry).
    AdvanceDelay(delay::AdvanceDelay),
}
