//! Finds out that this replica belongs to its group no more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use trireme_remoting::headers::ControllerResponse;
use trireme_remoting::{Frame, RequestCode, response};

use super::replicas;
use crate::replica::Shared;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// For an answer.
const WITHIN: Duration = Duration::from_secs(1);

/// Asks who leads, now and then, whether this replica still belongs to the group. Ends when it does not.
///
/// Nobody else would tell it: the entry that removes a replica is not sent to it any more, and who was away when it was
/// removed is never sent anything. It would go on to register with name servers, and give consumers what is old.
pub async fn run(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // Who leads belongs to it; who never belonged to a group waits to be taken in.
        if shared.node.leads() || shared.node.members().is_empty() {
            continue;
        }
        if is_removed(&shared).await {
            let (group, node) = (&shared.config.group, shared.config.node);
            tracing::error!(
                %group,
                node,
                "this replica was removed from its group and stops; its store is of no use any more"
            );
            shared.removed.send_replace(true);
            return;
        }
    }
}

/// Whether a leader, in its lease, does not know this replica.
async fn is_removed(shared: &Shared) -> bool {
    let us = shared.config.node;
    // By the settings as well: what this replica knows of the group may be long out of date.
    let mut others: BTreeMap<u64, _> =
        shared.config.replicas.iter().map(|(node, replica)| (*node, replica.broker)).collect();
    others.extend(replicas(shared));
    others.remove(&us);
    for addr in others.into_values() {
        let request = Frame::request(RequestCode::ControllerGetMetadataInfo);
        let Ok(answer) = shared.remote.invoke(&addr.to_string(), request, WITHIN).await else { continue };
        let Ok(told) = ControllerResponse::from_ext(&answer.ext) else { continue };
        let config = &shared.config;
        let is_ours = [told.cluster_name, told.group] == [Some(&*config.cluster), Some(&*config.group)];
        if answer.code != response::SUCCESS || !is_ours || !told.is_leader {
            continue;
        }
        let ours = format!("{us}-");
        return !told.peers.unwrap_or_default().split(';').any(|peer| peer.starts_with(&ours));
    }
    false
}
