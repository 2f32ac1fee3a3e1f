//! How a group comes into being.

use std::collections::BTreeMap;
use std::time::Duration;

use openraft::Raft;

use crate::adapter::Adapter;
use crate::config::ReplicaConfig;
use crate::network::{Caller, probe};
use crate::types::{Member, NodeId, TypeConfig};

/// A peer has this long to say who it is.
const PROBE_WITHIN: Duration = Duration::from_millis(500);
/// Between two rounds of asking.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes the group, once in its life: the replica with the lowest id waits until it has met all the
/// others, all with empty stores, and writes the first membership with everyone's store id. So a store
/// that is lost later can never pass for the one that joined.
pub async fn bootstrap(raft: Raft<TypeConfig, Adapter>, config: ReplicaConfig, us: Caller) {
    let mut told = BTreeMap::new();
    loop {
        match raft.is_initialized().await {
            Ok(false) => {}
            Ok(true) | Err(_) => return,
        }
        let mut members = BTreeMap::new();
        for (node, addr) in &config.peers {
            let met = if *node == us.node { Ok(us.store_id) } else { meet(&us, *node, addr).await };
            match met {
                Ok(store_id) => {
                    let client = config.client_addrs.get(node).map(String::as_str);
                    members.insert(*node, Member::new(client, addr, store_id));
                }
                // Asked ten times a second, told when it changes.
                Err(obstacle) if told.get(node) == Some(&obstacle) => {}
                Err(obstacle) => {
                    match &obstacle {
                        Obstacle::Absent => tracing::info!(peer = node, %addr, "waiting for a replica"),
                        Obstacle::Refused(reason) => tracing::error!(peer = node, %addr, %reason, "refused"),
                        Obstacle::Initialized => tracing::error!(
                            peer = node,
                            "this store is empty but the peer's group exists: add this replica under a new id"
                        ),
                    }
                    told.insert(*node, obstacle);
                }
            }
        }
        if members.len() == config.peers.len() {
            match raft.initialize(members).await {
                Ok(()) => {
                    let replicas = config.peers.len();
                    tracing::info!(group = %config.settings.group, replicas, "group made");
                }
                Err(error) => tracing::warn!(%error, "cannot make the group"),
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What keeps a peer from being a founding member.
#[derive(PartialEq, Eq)]
enum Obstacle {
    Absent,
    Refused(String),
    Initialized,
}

async fn meet(us: &Caller, node: NodeId, addr: &str) -> Result<u128, Obstacle> {
    let reply = probe(us, node, addr, PROBE_WITHIN).await.map_err(|error| {
        tracing::debug!(peer = node, %addr, %error, "peer not reached");
        Obstacle::Absent
    })?;
    match reply.refused {
        Some(reason) => Err(Obstacle::Refused(reason)),
        None if reply.initialized => Err(Obstacle::Initialized),
        None => Ok(reply.store_id),
    }
}
