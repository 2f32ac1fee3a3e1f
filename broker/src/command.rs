//! Everything that can change replicated state, besides messages: a closed list.

use serde::{Deserialize, Serialize};

use crate::features::{delay, groups, locks, offsets, topics, upgrade, witness};

/// A command in the log. New variants go at the end: their order is the format. A group writes them when it has come to the
/// format version that has them (`docs/decisions/0017-versions.md`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Makes or changes a topic.
    PutTopic(topics::PutTopic),
    /// Deletes a topic and what is known of its consumption.
    DeleteTopic(topics::DeleteTopic),
    /// Makes or changes a subscription group.
    PutGroup(groups::PutGroup),
    /// Deletes a subscription group.
    DeleteGroup(groups::DeleteGroup),
    /// Consumers' positions.
    CommitOffsets(offsets::CommitOffsets),
    /// A delayed message was delivered (by the same entry).
    AdvanceDelay(delay::AdvanceDelay),
    /// The group writes formats of a newer version. From version 2 on, as the next.
    RaiseVersion(upgrade::RaiseVersion),
    /// What the members had on their disks.
    Witness(witness::Witness),
    /// A client takes queues that are consumed in order. From version 3 on, as the next.
    Lock(locks::Locking),
    /// It gives them back.
    Unlock(locks::Locking),
}
