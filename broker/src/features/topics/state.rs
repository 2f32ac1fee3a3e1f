//! The topics of a group.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use trireme_remoting::response;

use super::PutTopic;
use crate::state::Refused;

/// More topics than this are refused: each costs memory on every replica and name server.
const MAX_TOPICS: usize = 100_000;

/// Permission bits, as RocketMQ writes them (`PermName`).
pub mod perm {
    /// New topics may take over this topic's settings.
    pub const INHERIT: u32 = 1;
    /// Producers may send.
    pub const WRITE: u32 = 2;
    /// Consumers may pull.
    pub const READ: u32 = 4;
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// Its number, for its whole life and never again.
    pub id: u32,
    /// Its name, shared so that a send does not copy it.
    pub name: Arc<str>,
    /// Queues that consumers see.
    pub read_queues: u32,
    /// Queues that producers see.
    pub write_queues: u32,
    /// Bits of [`perm`].
    pub perm: u32,
    /// RocketMQ's `topicSysFlag`.
    pub sys_flag: i32,
    /// Declared as ordered.
    pub order: bool,
    /// RocketMQ's `topicFilterType`.
    pub multi_tag: bool,
    /// RocketMQ 5 attributes.
    pub attributes: BTreeMap<String, String>,
}

impl Topic {
    /// Queues that exist for somebody.
    pub fn queues(&self) -> u32 {
        self.read_queues.max(self.write_queues)
    }
}

/// All topics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicState {
    by_name: BTreeMap<String, Topic>,
    next_id: u32,
    changes: u64,
    #[serde(skip)]
    names: BTreeMap<u32, Arc<str>>,
}

impl TopicState {
    /// A topic by name.
    pub fn get(&self, name: &str) -> Option<&Topic> {
        self.by_name.get(name)
    }

    /// The name of a living topic.
    pub fn name(&self, id: u32) -> Option<&Arc<str>> {
        self.names.get(&id)
    }

    /// All topics, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Topic> {
        self.by_name.values()
    }

    /// How often topics changed: RocketMQ's data version counter.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    pub(crate) fn insert_system(&mut self, name: String, queues: u32, perm: u32) {
        let put = PutTopic {
            name,
            read_queues: queues,
            write_queues: queues,
            perm,
            sys_flag: 0,
            order: false,
            multi_tag: false,
            attributes: BTreeMap::new(),
            only_if_missing: true,
        };
        self.put(&put).expect("a new group has room for its system topics");
    }

    pub(crate) fn put(&mut self, put: &PutTopic) -> Result<(), Refused> {
        let known = self.by_name.get(&put.name);
        if known.is_some() && put.only_if_missing {
            return Ok(());
        }
        if known.is_none() && self.by_name.len() >= MAX_TOPICS {
            let reason = format!("the group has {MAX_TOPICS} topics already; delete some first");
            return Err(Refused { code: response::SYSTEM_ERROR, reason });
        }
        let (id, name) = match known {
            Some(topic) => (topic.id, topic.name.clone()),
            None => {
                self.next_id += 1;
                (self.next_id, Arc::from(put.name.as_str()))
            }
        };
        let topic = Topic {
            id,
            name: name.clone(),
            read_queues: put.read_queues,
            write_queues: put.write_queues,
            perm: put.perm,
            sys_flag: put.sys_flag,
            order: put.order,
            multi_tag: put.multi_tag,
            attributes: put.attributes.clone(),
        };
        if known == Some(&topic) {
            return Ok(());
        }
        self.names.insert(id, name);
        self.by_name.insert(put.name.clone(), topic);
        self.changes += 1;
        Ok(())
    }

    pub(crate) fn delete(&mut self, name: &str) -> Option<u32> {
        let topic = self.by_name.remove(name)?;
        self.names.remove(&topic.id);
        self.changes += 1;
        Some(topic.id)
    }

    /// With the index by number, which is not part of a checkpoint.
    pub(crate) fn reindexed(mut self) -> Self {
        self.names = self.by_name.values().map(|topic| (topic.id, topic.name.clone())).collect();
        self
    }
}
