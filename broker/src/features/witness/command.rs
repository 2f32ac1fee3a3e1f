//! The log command of witnesses.

use serde::{Deserialize, Serialize};

/// What the members had on their disks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// Who belongs to the group.
    pub members: Vec<u64>,
    /// Those of them that the leader has heard something of.
    pub seen: Vec<Seen>,
}

/// What one of them had: a committed entry, and all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The replica.
    pub node: u64,
    /// Its store.
    pub store_id: u128,
    /// The entry's term.
    pub term: u64,
    /// The entry's index.
    pub index: u64,
}
