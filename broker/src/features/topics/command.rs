//! The log commands of topics.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Makes a topic or changes its settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutTopic {
    /// Its name, already checked.
    pub name: String,
    /// Queues that consumers see.
    pub read_queues: u32,
    /// Queues that producers see.
    pub write_queues: u32,
    /// 1 inherit, 2 write, 4 read.
    pub perm: u32,
    /// RocketMQ's `topicSysFlag`: 1 unit, 2 unit subscription.
    pub sys_flag: i32,
    /// Declared as ordered.
    pub order: bool,
    /// RocketMQ's `topicFilterType`: several tags per message.
    pub multi_tag: bool,
    /// RocketMQ 5 attributes.
    pub attributes: BTreeMap<String, String>,
    /// Leave an existing topic as it is: two first messages race to make the same topic.
    pub only_if_missing: bool,
}

/// Deletes a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteTopic {
    /// Its name.
    pub name: String,
}
