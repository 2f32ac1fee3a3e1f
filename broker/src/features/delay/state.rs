//! How far each level was delivered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trireme_remoting::response;

use super::AdvanceDelay;
use crate::state::Refused;

/// The next queue offset to deliver, per level queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelayState {
    next: BTreeMap<u32, u64>,
}

impl DelayState {
    /// Where a level's queue stands.
    pub fn next(&self, queue_id: u32) -> u64 {
        self.next.get(&queue_id).copied().unwrap_or(0)
    }

    /// Where each level's queue stands that anything was delivered from.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u64)> {
        self.next.iter().map(|(queue_id, next)| (*queue_id, *next))
    }

    /// Moves a level on. Refused, and with it nothing else of the state changes, if the level stands
    /// elsewhere: then another leader has delivered the same message.
    pub(crate) fn advance(&mut self, advance: &AdvanceDelay) -> Result<(), Refused> {
        let stands = self.next(advance.queue_id);
        if stands != advance.from || advance.next < advance.from {
            let reason = format!(
                "delay queue {} stands at {stands}, not at {}: delivered already",
                advance.queue_id, advance.from
            );
            return Err(Refused { code: response::SYSTEM_ERROR, reason });
        }
        self.next.insert(advance.queue_id, advance.next);
        Ok(())
    }
}
