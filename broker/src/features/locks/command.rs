//! The log commands of locks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A client takes queues, whoever had them, or gives back what it has of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locking {
    /// Its group.
    pub group: String,
    /// The client.
    pub client_id: String,
    /// By topic.
    pub queues: BTreeMap<String, Vec<i32>>,
}
