//! The committed positions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::CommitOffsets;

/// Positions by topic and group, as RocketMQ keys them: a topic's removal is one range.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetState {
    positions: BTreeMap<String, BTreeMap<String, BTreeMap<u32, i64>>>,
}

impl OffsetState {
    /// The next message that `group` will consume of a queue; `None` if it never committed one.
    pub fn get(&self, group: &str, topic: &str, queue_id: u32) -> Option<i64> {
        self.positions.get(topic)?.get(group)?.get(&queue_id).copied()
    }

    /// All positions of a group in a topic.
    pub fn of(&self, group: &str, topic: &str) -> impl Iterator<Item = (u32, i64)> + '_ {
        let queues = self.positions.get(topic).and_then(|groups| groups.get(group));
        queues.into_iter().flatten().map(|(queue_id, next)| (*queue_id, *next))
    }

    /// The topics that a group has positions in.
    pub fn topics_of<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a str> {
        self.positions
            .iter()
            .filter(move |(_, groups)| groups.contains_key(group))
            .map(|(topic, _)| topic.as_str())
    }

    /// The groups that have positions in a topic.
    pub fn groups_of(&self, topic: &str) -> impl Iterator<Item = &str> {
        self.positions.get(topic).into_iter().flat_map(|groups| groups.keys().map(String::as_str))
    }

    /// All positions: topic, group, queue, next message.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, u32, i64)> {
        self.positions.iter().flat_map(|(topic, groups)| {
            groups.iter().flat_map(move |(group, queues)| {
                queues.iter().map(move |(queue_id, next)| (topic.as_str(), group.as_str(), *queue_id, *next))
            })
        })
    }

    /// Positions in topics that are not there are passed over: a commit on its way while its topic is deleted
    /// would otherwise be waiting for the next topic of that name, and its consumers would skip messages.
    pub(crate) fn commit(&mut self, commit: &CommitOffsets, is_there: impl Fn(&str) -> bool) {
        for position in commit.positions.iter().filter(|position| is_there(&position.topic)) {
            // Looked up before inserted: an existing key is the rule, and then nothing is allocated.
            let groups = match self.positions.get_mut(&position.topic) {
                Some(groups) => groups,
                None => self.positions.entry(position.topic.clone()).or_default(),
            };
            let queues = match groups.get_mut(&position.group) {
                Some(queues) => queues,
                None => groups.entry(position.group.clone()).or_default(),
            };
            queues.insert(position.queue_id, position.next);
        }
    }

    pub(crate) fn forget_topic(&mut self, topic: &str) {
        self.positions.remove(topic);
    }

    pub(crate) fn forget_group(&mut self, group: &str) {
        self.positions.retain(|_, groups| {
            groups.remove(group);
            !groups.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::Position;
    use super::*;

    fn commit(group: &str, topic: &str, queue_id: u32, next: i64) -> CommitOffsets {
        CommitOffsets {
            positions: vec![Position { group: group.into(), topic: topic.into(), queue_id, next }],
        }
    }

    #[test]
    fn the_last_commit_counts_also_when_it_goes_back() {
        let mut offsets = OffsetState::default();
        offsets.commit(&commit("g", "t", 0, 10), |_| true);
        offsets.commit(&commit("g", "t", 0, 4), |_| true);
        assert_eq!(offsets.get("g", "t", 0), Some(4), "a reset is a commit to an earlier position");
        assert_eq!(offsets.get("g", "t", 1), None);
        assert_eq!(offsets.get("h", "t", 0), None);
    }

    #[test]
    fn a_topic_or_a_group_is_forgotten_whole() {
        let mut offsets = OffsetState::default();
        for (group, topic) in [("g", "t"), ("g", "u"), ("h", "t")] {
            offsets.commit(&commit(group, topic, 0, 1), |_| true);
        }
        offsets.forget_topic("t");
        assert_eq!((offsets.get("g", "t", 0), offsets.get("g", "u", 0)), (None, Some(1)));
        offsets.forget_group("g");
        assert_eq!(offsets, OffsetState::default());
    }
}
