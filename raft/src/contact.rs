//! A leader that its group does not answer.
//!
//! Raft lets it wait: what it was given may be committed yet. Its clients wait with it, while another replica may lead that
//! would take what they send. From the time on at which there may be another one, it gives its term up.

use std::time::Duration;

use crate::config::Timing;

/// Looks that must find the silence, one after the other: a replica that stood still itself has not read yet what came in.
const LOOKS: u32 = 2;

/// What one replica knows of the answers to it, in the term that it leads.
#[derive(Debug)]
pub(crate) struct Contact {
    /// Nobody elects another leader sooner after he heard of this one.
    limit: Duration,
    silent: u32,
}

impl Contact {
    /// Of a replica that has only just begun to look.
    pub(crate) fn new(timing: Timing) -> Self {
        Self { limit: timing.election_max + timing.election_min, silent: 0 }
    }

    /// A look: a quorum answered last what it was asked so long ago. Whether another replica may lead by now.
    pub(crate) fn is_lost(&mut self, silent_for: Duration) -> bool {
        self.silent = if silent_for < self.limit { 0 } else { self.silent.saturating_add(1) };
        self.silent >= LOOKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_seen_twice() {
        let ms = Duration::from_millis;
        let timing = Timing { heartbeat: ms(50), election_min: ms(200), election_max: ms(400) };
        let mut contact = Contact::new(timing);
        assert!(!contact.is_lost(ms(599)));
        assert!(!contact.is_lost(ms(5000)), "it may have stood still, and the answer waits to be read");
        assert!(!contact.is_lost(ms(40)));
        assert!(!contact.is_lost(ms(600)));
        assert!(contact.is_lost(ms(650)));
    }
}
