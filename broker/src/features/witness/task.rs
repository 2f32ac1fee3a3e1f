//! Writes down what the members have, on the leader.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use trireme_raft::peers::Witnessed;

use super::{Seen, Witness};
use crate::command::Command;
use crate::replica::Shared;

/// Between two witnesses. An older copy of a store that is younger than this may pass for the store.
const EVERY: Duration = Duration::from_secs(10);
/// The group must write formats of this version at least.
const SINCE_VERSION: u32 = 2;

/// Writes down what the members have, while this replica leads, until it is aborted.
pub async fn run(shared: Arc<Shared>) {
    let mut leadership = shared.node.leadership();
    loop {
        tokio::time::sleep(EVERY).await;
        let ready = leadership.wait_for(|now| now.ready).await.map(|now| now.term);
        let Ok(term) = ready else { return };
        if shared.node.peers().group_version() < SINCE_VERSION {
            continue;
        }
        let now = shared.node.witness();
        if !is_news(&shared.state.read().witness.witnessed(), &now) {
            continue;
        }
        let seen = |(node, Witnessed { store_id, last }): (u64, Witnessed)| Seen {
            node,
            store_id,
            term: last.term,
            index: last.index,
        };
        let members = shared.node.members().into_keys().collect();
        let witness = Command::Witness(Witness { members, seen: now.into_iter().map(seen).collect() });
        let written = shared.sequencer.propose_in(term, |submission| {
            submission.command(witness);
            Ok(())
        });
        if let Err(error) = written.await {
            tracing::debug!(%error, "what the replicas have was not written down now");
        }
    }
}

/// Whether anybody has more than was written down, but for the entry that it was written down with: an idle group shall stay
/// idle.
fn is_news(known: &BTreeMap<u64, Witnessed>, now: &BTreeMap<u64, Witnessed>) -> bool {
    now.iter().any(|(node, now)| {
        known.get(node).is_none_or(|known| {
            let is_one_more = known.last.term == now.last.term && now.last.index <= known.last.index + 1;
            known.store_id != now.store_id || !is_one_more
        })
    })
}
