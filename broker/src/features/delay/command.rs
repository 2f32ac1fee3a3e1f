//! The log command of delayed messages.

use serde::{Deserialize, Serialize};

/// Delayed messages of one level were delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdvanceDelay {
    /// The level's queue, level - 1.
    pub queue_id: u32,
    /// The first queue offset that was delivered: must be where the level stands.
    pub from: u64,
    /// The next one to deliver.
    pub next: u64,
}
