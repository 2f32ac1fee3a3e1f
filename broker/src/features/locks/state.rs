//! Who holds which queue, as all replicas know it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Locking;

/// Owners of queues. Whether an owner still renews its locks is known to the leader only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockState {
    /// By group, topic and queue.
    groups: BTreeMap<String, Owners>,
}

type Owners = BTreeMap<String, BTreeMap<i32, String>>;

impl LockState {
    /// Who holds a queue.
    pub fn owner(&self, group: &str, topic: &str, queue_id: i32) -> Option<&str> {
        self.groups.get(group)?.get(topic)?.get(&queue_id).map(String::as_str)
    }

    /// All that is held: group, topic, queue, client.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, i32, &str)> {
        self.groups.iter().flat_map(|(group, topics)| {
            topics.iter().flat_map(move |(topic, queues)| {
                queues.iter().map(move |(queue, client)| (&**group, &**topic, *queue, &**client))
            })
        })
    }

    pub(crate) fn lock(&mut self, locking: &Locking) {
        let topics = self.groups.entry(locking.group.clone()).or_default();
        for (topic, queues) in &locking.queues {
            let owners = topics.entry(topic.clone()).or_default();
            owners.extend(queues.iter().map(|queue| (*queue, locking.client_id.clone())));
        }
    }

    pub(crate) fn unlock(&mut self, locking: &Locking) {
        let Some(topics) = self.groups.get_mut(&locking.group) else { return };
        for (topic, queues) in &locking.queues {
            if let Some(owners) = topics.get_mut(topic) {
                owners.retain(|queue, owner| *owner != locking.client_id || !queues.contains(queue));
            }
        }
        topics.retain(|_, owners| !owners.is_empty());
        self.groups.retain(|_, topics| !topics.is_empty());
    }

    pub(crate) fn forget_topic(&mut self, topic: &str) {
        self.groups.retain(|_, topics| {
            topics.remove(topic);
            !topics.is_empty()
        });
    }

    pub(crate) fn forget_group(&mut self, group: &str) {
        self.groups.remove(group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locking(client: &str, topic: &str, queues: &[i32]) -> Locking {
        let queues = [(topic.to_owned(), queues.to_vec())].into();
        Locking { group: "g".into(), client_id: client.into(), queues }
    }

    #[test]
    fn only_the_owner_gives_back() {
        let mut state = LockState::default();
        state.lock(&locking("c1", "t", &[0, 1]));
        state.lock(&locking("c2", "t", &[1]));
        state.unlock(&locking("c1", "t", &[0, 1]));
        assert_eq!(state.iter().collect::<Vec<_>>(), [("g", "t", 1, "c2")]);
        assert_eq!((state.owner("g", "t", 1), state.owner("g", "t", 0)), (Some("c2"), None));
        state.unlock(&locking("c2", "t", &[1]));
        assert_eq!(state, LockState::default(), "nothing is left");
    }

    #[test]
    fn locks_go_with_their_topic_and_group() {
        let mut state = LockState::default();
        state.lock(&locking("c1", "t", &[0]));
        state.lock(&locking("c1", "u", &[0]));
        state.forget_topic("t");
        assert_eq!(state.iter().collect::<Vec<_>>(), [("g", "u", 0, "c1")]);
        state.forget_group("g");
        assert_eq!(state, LockState::default());
    }
}
