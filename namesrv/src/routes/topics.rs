//! Which broker groups carry a topic, and with how many queues.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::registration::Queues;

/// Every routed topic.
#[derive(Debug)]
pub(super) struct TopicTable {
    topics: BTreeMap<String, Topic>,
    max: usize,
}

/// One topic; it has queues in at least one group.
#[derive(Debug, Default)]
pub(super) struct Topic {
    /// By broker name, which is shared with the group's key: there are far more topics than groups.
    pub(super) queues: BTreeMap<Arc<str>, Queues>,
    /// The encoded route and the layout that it shows; none since the queues changed.
    pub(super) encoded: Option<(u64, Bytes)>,
}

impl TopicTable {
    pub(super) fn new(max: usize) -> Self {
        Self { topics: BTreeMap::new(), max }
    }

    pub(super) fn get_mut(&mut self, topic: &str) -> Option<&mut Topic> {
        self.topics.get_mut(topic)
    }

    pub(super) fn contains(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    pub(super) fn has_room(&self) -> bool {
        self.topics.len() < self.max
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.topics.keys()
    }

    /// The topics that one of `brokers` carries.
    pub(super) fn names_of(&self, brokers: &BTreeSet<Arc<str>>) -> impl Iterator<Item = &String> {
        let carried = |topic: &Topic| topic.queues.keys().any(|broker| brokers.contains(broker));
        self.topics.iter().filter(move |(_, topic)| carried(topic)).map(|(name, _)| name)
    }

    /// Sets the queues that `broker` has of each topic; with `known`, only of topics that it has none of yet.
    ///
    /// A registration that says nothing new leaves alone what an operator changed since, such as a wiped write
    /// permission. Returns how many topics found no room.
    pub(super) fn merge(
        &mut self,
        broker: &Arc<str>,
        topics: BTreeMap<String, Queues>,
        known: bool,
    ) -> usize {
        let mut left_out = 0;
        for (name, queues) in topics {
            if let Some(topic) = self.topics.get_mut(&name) {
                topic.merge(broker, queues, known);
            } else if self.has_room() {
                self.insert(name, BTreeMap::from([(broker.clone(), queues)]));
            } else {
                left_out += 1;
            }
        }
        left_out
    }

    /// Adds a topic that is not there yet.
    pub(super) fn insert(&mut self, name: String, queues: BTreeMap<Arc<str>, Queues>) {
        self.topics.insert(name, Topic { queues, encoded: None });
    }

    /// Takes a topic away from the brokers that `gone` names; from all of them, and it is no longer routed.
    pub(super) fn remove(&mut self, name: &str, gone: impl Fn(&str) -> bool) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        topic.queues.retain(|broker, _| !gone(broker));
        topic.encoded = None;
        if topic.queues.is_empty() {
            self.topics.remove(name);
        }
    }

    /// Takes all topics away from `broker` but those that `kept` names.
    pub(super) fn remove_broker(&mut self, broker: &str, kept: impl Fn(&str) -> bool) {
        self.topics.retain(|name, topic| {
            if !kept(name) && topic.queues.remove(broker).is_some() {
                topic.encoded = None;
            }
            !topic.queues.is_empty()
        });
    }

    /// Changes the permission of all topics of `broker`; returns how many it has.
    pub(super) fn set_perm(&mut self, broker: &str, change: impl Fn(i32) -> i32) -> usize {
        let mut count = 0;
        for topic in self.topics.values_mut() {
            if let Some(queues) = topic.queues.get_mut(broker) {
                queues.perm = change(queues.perm);
                topic.encoded = None;
                count += 1;
            }
        }
        count
    }

    /// Asserts what must hold between two events.
    #[cfg(test)]
    pub(super) fn check(&self, is_group: impl Fn(&str) -> bool) {
        assert!(self.topics.len() <= self.max);
        for (name, topic) in &self.topics {
            assert!(!topic.queues.is_empty(), "topic {name} has queues somewhere");
            assert!(topic.queues.keys().all(|broker| is_group(broker)), "every carrier of {name} is listed");
        }
    }
}

impl Topic {
    fn merge(&mut self, broker: &Arc<str>, queues: Queues, known: bool) {
        match self.queues.get_mut(&**broker) {
            Some(_) if known => {}
            Some(present) if *present == queues => {}
            Some(present) => {
                *present = queues;
                self.encoded = None;
            }
            None => {
                self.queues.insert(broker.clone(), queues);
                self.encoded = None;
            }
        }
    }
}
