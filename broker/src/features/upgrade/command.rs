//! The log command of format versions.

use serde::{Deserialize, Serialize};

/// From here on the group writes formats of this version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaiseVersion {
    /// All members read it.
    pub version: u32,
}
