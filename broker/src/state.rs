//! All replicated state, and how the log changes it.
//!
//! Deterministic: the same entries in the same order give the same state on every replica. No clock,
//! no randomness, no I/O, ordered maps.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use trireme_raft::proposal::Refusal;

use crate::codec::{self, DecodeError};
use crate::command::Command;
use crate::features::delay::DelayState;
use crate::features::groups::GroupState;
use crate::features::locks::LockState;
use crate::features::offsets::OffsetState;
use crate::features::topics::TopicState;
use crate::features::upgrade::GroupVersion;
use crate::features::witness::WitnessState;

/// The state of one broker group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Topics.
    pub topics: TopicState,
    /// Subscription groups.
    pub groups: GroupState,
    /// Consumers' positions.
    pub offsets: OffsetState,
    /// How far each delay level was delivered.
    pub delay: DelayState,
    /// What formats the group writes.
    pub version: GroupVersion,
    /// What the members had on their disks.
    pub witness: WitnessState,
    /// Who holds queues that are consumed in order.
    pub locks: LockState,
    /// What belongs to no feature.
    pub general: General,
}

/// What belongs to no feature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct General {
    /// The latest store timestamp in the log, in milliseconds: a new leader's clock may be behind, but
    /// store times in a queue must not go back.
    pub last_store_timestamp: i64,
}

/// A refused command, before its place in the entry is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// RocketMQ response code.
    pub code: i32,
    /// For a person.
    pub reason: String,
}

impl State {
    /// The state of a group that has just been made.
    pub fn new(cluster: &str, group: &str) -> Self {
        let mut state = Self::default();
        for (name, queues, perm) in crate::names::system_topics(cluster, group) {
            state.topics.insert_system(name, queues, perm);
        }
        state
    }

    /// Applies one command. Says which topic went away, so that its queues can.
    pub fn apply(&mut self, command: &Command) -> Result<Option<u32>, Refused> {
        match command {
            Command::PutTopic(put) => self.topics.put(put).map(|()| None),
            Command::DeleteTopic(delete) => {
                let removed = self.topics.delete(&delete.name);
                self.offsets.forget_topic(&delete.name);
                self.locks.forget_topic(&delete.name);
                Ok(removed)
            }
            Command::PutGroup(put) => self.groups.put(put).map(|()| None),
            Command::DeleteGroup(delete) => {
                self.groups.delete(&delete.name);
                self.locks.forget_group(&delete.name);
                if delete.forget_offsets {
                    self.offsets.forget_group(&delete.name);
                }
                Ok(None)
            }
            Command::CommitOffsets(commit) => {
                self.offsets.commit(commit, |topic| self.topics.get(topic).is_some());
                Ok(None)
            }
            Command::AdvanceDelay(advance) => self.delay.advance(advance).map(|()| None),
            Command::RaiseVersion(raise) => {
                self.version.raise(raise);
                Ok(None)
            }
            Command::Witness(witness) => {
                self.witness.take(witness);
                Ok(None)
            }
            Command::Lock(locking) => {
                self.locks.lock(locking);
                Ok(None)
            }
            Command::Unlock(locking) => {
                self.locks.unlock(locking);
                Ok(None)
            }
        }
    }

    /// One encoded value per feature.
    pub fn checkpoint(&self) -> BTreeMap<String, Vec<u8>> {
        [
            ("topics", codec::encode(&self.topics)),
            ("groups", codec::encode(&self.groups)),
            ("offsets", codec::encode(&self.offsets)),
            ("delay", codec::encode(&self.delay)),
            ("general", codec::encode(&self.general)),
            // Of version 2: who does not know these leaves them alone, and their absence is where they begin.
            ("version", codec::encode(&self.version)),
            ("witness", codec::encode(&self.witness)),
            // Of version 3, in the same way.
            ("locks", codec::encode(&self.locks)),
        ]
        .into_iter()
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .collect()
    }

    /// The state that [`State::checkpoint`] encoded.
    pub fn restore(parts: &BTreeMap<String, Vec<u8>>) -> Result<Self, DecodeError> {
        let part = |name: &'static str| {
            parts
                .get(name)
                .ok_or_else(|| DecodeError { what: name, reason: "it is not in the checkpoint".into() })
        };
        Ok(Self {
            version: later(parts, "version")?,
            witness: later(parts, "witness")?,
            locks: later(parts, "locks")?,
            topics: codec::decode::<TopicState>("topics", part("topics")?)?.reindexed(),
            groups: codec::decode("groups", part("groups")?)?,
            offsets: codec::decode("offsets", part("offsets")?)?,
            delay: codec::decode("delay", part("delay")?)?,
            general: codec::decode("general", part("general")?)?,
        })
    }
}

/// A part that checkpoints of earlier releases do not have.
fn later<T: DeserializeOwned + Default>(
    parts: &BTreeMap<String, Vec<u8>>,
    name: &'static str,
) -> Result<T, DecodeError> {
    parts.get(name).map_or_else(|| Ok(T::default()), |bytes| codec::decode(name, bytes))
}

/// The refusal of one command of an entry.
pub fn refusal(ordinal: usize, refused: Refused) -> Refusal {
    Refusal {
        ordinal: u32::try_from(ordinal).expect("entries are bounded"),
        code: refused.code,
        reason: refused.reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::offsets::{CommitOffsets, Position};
    use crate::features::topics::DeleteTopic;

    #[test]
    fn a_position_does_not_outlive_its_topic() {
        let mut state = State::new("c", "g");
        let topic = || "BenchmarkTest".to_owned();
        let position = Position { group: "readers".into(), topic: topic(), queue_id: 0, next: 1000 };
        let commit = Command::CommitOffsets(CommitOffsets { positions: vec![position] });
        assert_eq!(state.apply(&commit), Ok(None));
        assert_eq!(state.offsets.get("readers", "BenchmarkTest", 0), Some(1000));
        state.apply(&Command::DeleteTopic(DeleteTopic { name: topic() })).expect("nothing refuses it");
        assert_eq!(state.apply(&commit), Ok(None), "it was on its way");
        assert_eq!(state.offsets.get("readers", "BenchmarkTest", 0), None);
    }
}
