//! The format version of a group.

use serde::{Deserialize, Serialize};
use trireme_raft::peers::OLDEST_VERSION;

use super::RaiseVersion;

/// What the group writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupVersion {
    version: u32,
}

impl Default for GroupVersion {
    fn default() -> Self {
        Self { version: OLDEST_VERSION }
    }
}

impl GroupVersion {
    /// The number.
    pub fn get(self) -> u32 {
        self.version
    }

    /// Goes up.
    pub(crate) fn raise(&mut self, raise: &RaiseVersion) {
        self.version = self.version.max(raise.version);
    }
}
