//! The log command of consumers' positions.

use serde::{Deserialize, Serialize};

/// Many positions at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitOffsets {
    /// In any order; at most one per queue.
    pub positions: Vec<Position>,
}

/// One position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The consumer group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The queue.
    pub queue_id: u32,
    /// Queue offset of the next message to consume.
    pub next: i64,
}
