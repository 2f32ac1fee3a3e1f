//! The route table: which topics lie where, who is reachable there, and since when.
//!
//! ```text
//!   103, 904, 322 --register, heartbeat--> groups: brokerName -> { id -> address, version, last heard of }
//!   104, close, time --leave-------------/    |
//!                                             v names
//!   105, 106, 206 <--query-- topics: topic -> { brokerName -> queues } + the encoded route
//! ```
//!
//! Pure and synchronous: time and connection ids come in as arguments, ordered maps make every answer the same
//! for the same history. The rules are RocketMQ's (`RouteInfoManager`), except where a
//! [Raft group](crate::RAFT_GROUP) needs its last leader to stay listed.
//!
//! Absent on purpose: filter servers (gone since RocketMQ 5.0), static topics and their mapping tables, and the
//! presentation of a slave as master (`supportActingMaster`, off by default).

mod group;
mod leave;
mod query;
mod register;
mod registration;
mod topics;

#[cfg(test)]
mod raft_group_test;
#[cfg(test)]
mod rocketmq_test;
#[cfg(test)]
mod testing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub use registration::{Queues, Registration};

use group::Group;
use topics::TopicTable;

/// The limits of a [`RouteTable`].
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Broker addresses over all groups.
    pub max_brokers: usize,
    /// Topics.
    pub max_topics: usize,
    /// After which silence a broker goes that does not say it itself.
    pub broker_expiry: Duration,
}

/// All that a name server knows of brokers and topics.
#[derive(Debug)]
pub struct RouteTable {
    limits: Limits,
    groups: BTreeMap<Arc<str>, Group>,
    topics: TopicTable,
    /// The open connections that brokers registered on: most connections are clients', whose end means nothing.
    registrants: BTreeSet<u64>,
    /// Counts the changes of who is listed where; an encoded route is of one layout.
    layout: u64,
}

impl RouteTable {
    /// An empty table.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            groups: BTreeMap::new(),
            topics: TopicTable::new(limits.max_topics),
            registrants: BTreeSet::new(),
            layout: 0,
        }
    }

    /// Does what must follow a change of a group: its listing, or its end. Returns whether either changed anything
    /// for clients.
    fn settle(&mut self, name: &str) -> bool {
        let Some(group) = self.groups.get_mut(name) else { return false };
        let changed = if group.is_empty() {
            self.groups.remove(name);
            self.topics.remove_broker(name, |_| false);
            true
        } else {
            group.relist()
        };
        self.layout += u64::from(changed);
        changed
    }

    /// Asserts what must hold between two events.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        self.groups.values().for_each(Group::check);
        self.topics.check(|broker| self.groups.contains_key(broker));
        assert!(self.groups.values().map(Group::len).sum::<usize>() <= self.limits.max_brokers);
    }
}
