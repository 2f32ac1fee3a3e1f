//! What was witnessed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trireme_raft::LogId;
use trireme_raft::peers::Witnessed;

use super::{Seen, Witness};

/// What each member had on its disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessState {
    seen: BTreeMap<u64, Seen>,
}

impl WitnessState {
    /// For whoever meets a peer.
    pub fn witnessed(&self) -> BTreeMap<u64, Witnessed> {
        let witnessed = |seen: &Seen| Witnessed {
            store_id: seen.store_id,
            last: LogId { term: seen.term, index: seen.index },
        };
        self.seen.iter().map(|(node, seen)| (*node, witnessed(seen))).collect()
    }

    /// Takes over what is seen now. A store never has less than it had, also if its replica is away just now; another store
    /// under its number begins anew, and who is not a member any more is forgotten.
    pub(crate) fn take(&mut self, witness: &Witness) {
        self.seen.retain(|node, _| witness.members.contains(node));
        for now in &witness.seen {
            let known = self.seen.entry(now.node).or_insert(*now);
            if known.store_id != now.store_id || (known.term, known.index) < (now.term, now.index) {
                *known = *now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_never_has_less_than_it_had() {
        let seen = |node, store_id: u64, term, index| Seen { node, store_id: store_id.into(), term, index };
        let mut state = WitnessState::default();
        let mut take = |members: &[u64], seen| state.take(&Witness { members: members.into(), seen });
        take(&[1, 2, 3, 4], [1, 2, 3, 4].map(|node| seen(node, node * 10, 2, 9)).into());
        take(&[1, 2, 4], vec![seen(1, 10, 1, 12), seen(2, 21, 1, 1)]);
        let last =
            |node| state.witnessed().get(&node).map(|seen| (seen.store_id, seen.last.term, seen.last.index));
        assert_eq!(last(1), Some((10, 2, 9)));
        assert_eq!(last(2), Some((21, 1, 1)), "another store");
        assert_eq!(last(3), None, "a member no more");
        assert_eq!(last(4), Some((40, 2, 9)), "it is away");
    }
}
