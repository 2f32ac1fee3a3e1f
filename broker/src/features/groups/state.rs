//! The subscription groups of a broker group.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trireme_remoting::response;

use super::PutGroup;
use crate::state::Refused;

/// More groups than this are refused: each costs memory on every replica.
const MAX_GROUPS: usize = 100_000;

/// The settings of one group, with RocketMQ's meaning (`SubscriptionGroupConfig`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// It may consume at all.
    pub consume_enable: bool,
    /// A new group may start at the oldest message.
    pub consume_from_min_enable: bool,
    /// It may consume in broadcasting mode.
    pub consume_broadcast_enable: bool,
    /// Declared as ordered.
    pub consume_orderly: bool,
    /// Queues of its retry topic.
    pub retry_queues: u32,
    /// Retries before a message goes to the dead-letter topic.
    pub retry_max_times: i32,
    /// RocketMQ's `brokerId`.
    pub broker_id: i64,
    /// Which replica a slow group is sent to.
    pub which_broker_when_slow: i64,
    /// Members are told when the membership changes.
    pub notify_changes: bool,
    /// RocketMQ's `groupSysFlag`.
    pub sys_flag: i32,
    /// How long a consumer may take for a message, in minutes.
    pub consume_timeout_minutes: i32,
    /// RocketMQ 5 attributes.
    pub attributes: BTreeMap<String, String>,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            consume_enable: true,
            consume_from_min_enable: true,
            consume_broadcast_enable: true,
            consume_orderly: false,
            retry_queues: 1,
            retry_max_times: 16,
            broker_id: 0,
            which_broker_when_slow: 1,
            notify_changes: true,
            sys_flag: 0,
            consume_timeout_minutes: 15,
            attributes: BTreeMap::new(),
        }
    }
}

/// All groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupState {
    groups: BTreeMap<String, Group>,
    changes: u64,
}

impl GroupState {
    /// A group by name.
    pub fn get(&self, name: &str) -> Option<&Group> {
        self.groups.get(name)
    }

    /// All groups, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&String, &Group)> {
        self.groups.iter()
    }

    /// How often groups changed: RocketMQ's data version counter.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    pub(crate) fn put(&mut self, put: &PutGroup) -> Result<(), Refused> {
        let known = self.groups.get(&put.name);
        if known.is_some_and(|group| put.only_if_missing || *group == put.group) {
            return Ok(());
        }
        if known.is_none() && self.groups.len() >= MAX_GROUPS {
            let reason = format!("there are {MAX_GROUPS} subscription groups already; delete some first");
            return Err(Refused { code: response::SYSTEM_ERROR, reason });
        }
        self.groups.insert(put.name.clone(), put.group.clone());
        self.changes += 1;
        Ok(())
    }

    pub(crate) fn delete(&mut self, name: &str) {
        if self.groups.remove(name).is_some() {
            self.changes += 1;
        }
    }
}
