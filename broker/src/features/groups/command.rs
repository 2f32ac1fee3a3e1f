//! The log commands of subscription groups.

use serde::{Deserialize, Serialize};

use super::Group;

/// Makes a group or changes its settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutGroup {
    /// Its name, already checked.
    pub name: String,
    /// Its settings.
    pub group: Group,
    /// Leave an existing group as it is.
    pub only_if_missing: bool,
}

/// Deletes a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteGroup {
    /// Its name.
    pub name: String,
    /// Its positions go too.
    pub forget_offsets: bool,
}
