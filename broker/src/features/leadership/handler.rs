//! Request codes 1002 and 1005.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use trireme_remoting::body::BrokerMemberGroup;
use trireme_remoting::headers::{ControllerResponse, ElectMasterRequest, ElectMasterResponse};
use trireme_remoting::{Body, Frame, Responder, response};

use crate::features::members;
use crate::replica::Shared;
use crate::router::Refusal;

/// A replica that has what the leader has takes over within milliseconds.
const TAKEN_OVER_WITHIN: Duration = Duration::from_millis(1500);

/// Code 1005. The "controller" is the leader of the group.
pub fn controller(shared: &Arc<Shared>, responder: Responder) {
    let leader = shared.node.leadership().borrow().leader;
    let replicas = members::replicas(shared);
    let Some((node, addr)) = leader.and_then(|node| replicas.get_key_value(&node)) else {
        let reason = format!("{} has no leader just now", shared.config.group);
        return Refusal::new(response::SYSTEM_ERROR, reason).reply(responder);
    };
    // All, also those of which nobody knows where clients reach them: who is not named here does not belong to the group.
    let addr_of = |node: &u64| replicas.get(node).map_or(String::new(), SocketAddr::to_string);
    let members = shared.node.members();
    let peers: Vec<String> = members.keys().map(|node| format!("{node}-{}", addr_of(node))).collect();
    let header = ControllerResponse {
        cluster_name: Some(&shared.config.cluster),
        group: Some(&shared.config.group),
        controller_leader_id: Some(&node.to_string()),
        controller_leader_address: Some(&addr.to_string()),
        // One that was frozen may have led long ago.
        is_leader: *node == shared.config.node && shared.node.leads(),
        peers: Some(&peers.join(";")),
    };
    responder.reply_header(response::SUCCESS, &header, Body::Empty);
}

/// Code 1002, at the leader: hands the lead over to the replica that is named, and answers when that leads.
pub fn elect(shared: &Arc<Shared>, request: &Frame, responder: Responder) {
    let to = match successor(shared, request) {
        Ok(to) => to,
        Err(refusal) => return refusal.reply(responder),
    };
    let shared = shared.clone();
    tokio::spawn(async move {
        let mut leadership = shared.node.leadership();
        if to != shared.config.node
            && let Err(error) = super::hand_over_to(&shared, to).await
        {
            return Refusal::new(response::SYSTEM_ERROR, error.to_string()).reply(responder);
        }
        let leads = leadership.wait_for(|now| now.leader == Some(to));
        let term = match tokio::time::timeout(TAKEN_OVER_WITHIN, leads).await {
            Ok(Ok(now)) => now.term,
            Ok(Err(_)) | Err(_) => {
                let reason = format!(
                    "replica {to} has not taken over; is it up, and has it caught up? (trireme admin cluster)"
                );
                return Refusal::new(response::SYSTEM_ERROR, reason).reply(responder);
            }
        };
        answer(&shared, to, term, responder);
    });
}

fn successor(shared: &Shared, request: &Frame) -> Result<u64, Refusal> {
    let header = ElectMasterRequest::from_ext(&request.ext)?;
    let invalid = |reason: String| Refusal::new(response::INVALID_PARAMETER, reason);
    let group = &shared.config.group;
    // RocketMQ's tools need not name it.
    if header.broker_name.is_some() {
        Refusal::unless_of(shared, header.broker_name)?;
    }
    let replicas = members::replicas(shared);
    let nodes = || replicas.keys().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let asked = header.broker_id.and_then(|id| u64::try_from(id).ok());
    match asked.filter(|node| replicas.contains_key(node)) {
        Some(node) => Ok(node),
        None => Err(invalid(format!("brokerId must name a replica of {group}: {}", nodes()))),
    }
}

fn answer(shared: &Shared, leader: u64, term: u64, responder: Responder) {
    let replicas = members::replicas(shared);
    let address = replicas.get(&leader).map(SocketAddr::to_string);
    let term = i32::try_from(term).unwrap_or(i32::MAX);
    let header = ElectMasterResponse {
        master_broker_id: i64::try_from(leader).ok(),
        master_address: address.as_deref(),
        master_epoch: Some(term),
        sync_state_set_epoch: Some(term),
    };
    let id = |node: u64| if node == leader { 0 } else { i64::try_from(node).unwrap_or(i64::MAX) };
    let group = BrokerMemberGroup {
        cluster: shared.config.cluster.clone(),
        broker_name: shared.config.group.clone(),
        broker_addrs: replicas.iter().map(|(node, addr)| (id(*node), addr.to_string())).collect(),
    };
    responder.reply_header(response::SUCCESS, &header, group.encode().into());
}
