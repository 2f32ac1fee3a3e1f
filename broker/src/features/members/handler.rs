//! Request code 20001.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use trireme_raft::members::{ChangeError, Learned};
use trireme_remoting::body::{GroupReplica, GroupReplicas};
use trireme_remoting::headers::{ChangeReplicasRequest, ChangeReplicasResponse};
use trireme_remoting::{Frame, Responder, response};

use crate::features::leadership;
use crate::replica::Shared;
use crate::router::{Refusal, Router};

/// The replicas of the group by their numbers, and where clients reach them: those that belong to it, or before it is made
/// those that shall.
///
/// A replica's own settings say where those are that it was told of; the membership, where those are that came later.
pub fn replicas(shared: &Shared) -> BTreeMap<u64, SocketAddr> {
    let told = &shared.config.replicas;
    let members = shared.node.members();
    if members.is_empty() {
        return told.iter().map(|(node, replica)| (*node, replica.broker)).collect();
    }
    let addr = |(node, member): (u64, trireme_raft::members::GroupMember)| {
        let told = told.get(&node).map(|replica| replica.broker);
        Some((node, told.or_else(|| member.client_addr?.parse().ok())?))
    };
    members.into_iter().filter_map(addr).collect()
}

/// Where clients reach one of them.
pub fn addr_of(shared: &Shared, node: u64) -> Option<SocketAddr> {
    let told = shared.config.replicas.get(&node).map(|replica| replica.broker);
    told.or_else(|| shared.node.client_addr_of(node))
}

/// What shall be.
#[derive(Clone, Debug)]
struct Wanted {
    add: Option<Added>,
    remove: Option<u64>,
}

#[derive(Clone, Debug)]
struct Added {
    node: u64,
    client_addr: String,
    peer_addr: String,
}

/// Code 20001, at the leader: goes a step towards what shall be, and says whether it is. To be asked again until it is:
/// by whoever began or by another, of this leader or the next.
pub fn change(shared: &Arc<Shared>, request: Frame, responder: Responder) {
    let wanted = match wanted(shared, &request) {
        Ok(wanted) => wanted,
        Err(refusal) => return refusal.reply(responder),
    };
    let shared = shared.clone();
    tokio::spawn(async move {
        match step(&shared, &wanted).await {
            Ok(Step { is_done, learned }) => {
                let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
                let header = ChangeReplicasResponse {
                    is_done,
                    learned_bytes: learned.map(|learned| bytes(learned.has)),
                    log_bytes: learned.map(|learned| bytes(learned.of)),
                };
                responder.reply_header(response::SUCCESS, &header, group(&shared).encode().into());
            }
            Err(ChangeError::NotLeader) => Router::reroute(&shared, request, responder),
            Err(error @ ChangeError::Refused(_)) => {
                Refusal::new(response::INVALID_PARAMETER, error.to_string()).reply(responder);
            }
            Err(error @ ChangeError::Unknown(_)) => {
                Refusal::new(response::SYSTEM_ERROR, error.to_string()).reply(responder);
            }
        }
    });
}

fn wanted(shared: &Shared, request: &Frame) -> Result<Wanted, Refusal> {
    let header = ChangeReplicasRequest::from_ext(&request.ext)?;
    let invalid = |reason: String| Refusal::new(response::INVALID_PARAMETER, reason);
    Refusal::unless_of(shared, header.broker_name)?;
    let node = |id: i64| match u64::try_from(id) {
        Ok(node) if node > 0 => Ok(node),
        _ => Err(invalid(format!("{id} is no number of a replica: they begin at 1"))),
    };
    let add = match (header.add, header.add_addr) {
        (None, None) => None,
        (Some(id), Some(addr)) => Some(added(node(id)?, addr).map_err(invalid)?),
        _ => return Err(invalid("addBrokerId and addReplica come together".to_owned())),
    };
    let remove = header.remove.map(node).transpose()?;
    if add.as_ref().is_some_and(|add| Some(add.node) == remove) {
        return Err(invalid(
            "a replica cannot take its own place: the new one needs another number".to_owned(),
        ));
    }
    Ok(Wanted { add, remove })
}

fn added(node: u64, addr: &str) -> Result<Added, String> {
    let expected = || {
        format!(
            "{addr:?} is not where a replica is: expected CLIENTS/PEERS, as 10.0.0.4:10911/10.0.0.4:10916"
        )
    };
    let (client, peer) = addr.split_once('/').ok_or_else(expected)?;
    // It goes into message ids.
    let client: SocketAddr = client.parse().map_err(|_| expected())?;
    let has_port =
        peer.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !has_port || peer.contains('/') {
        return Err(expected());
    }
    Ok(Added { node, client_addr: client.to_string(), peer_addr: peer.to_owned() })
}

struct Step {
    is_done: bool,
    learned: Option<Learned>,
}

async fn step(shared: &Shared, wanted: &Wanted) -> Result<Step, ChangeError> {
    let node = &shared.node;
    let mut learned = None;
    if wanted.add.is_none() && wanted.remove.is_none() {
        return Ok(Step { is_done: true, learned });
    }
    if let Some(Added { node: add, client_addr, peer_addr }) = &wanted.add {
        node.take_in(*add, peer_addr, client_addr).await?;
        let (asked, add) = (node.clone(), *add);
        // Where its last entry lies may have to be read.
        learned = trireme_runtime::blocking(move || asked.learned(add)).await.ok().flatten();
        let votes = node.members().get(&add).is_some_and(|member| member.votes);
        if !votes && !learned.is_some_and(Learned::is_enough) {
            return Ok(Step { is_done: false, learned });
        }
    }
    if wanted.remove == Some(shared.config.node) {
        // Another one shall lead, and do it.
        leadership::hand_over(shared).await;
        return Ok(Step { is_done: false, learned });
    }
    node.change_voters(wanted.add.as_ref().map(|add| add.node), wanted.remove).await?;
    Ok(Step { is_done: is_so(shared, wanted), learned })
}

/// Whether what shall be is.
fn is_so(shared: &Shared, wanted: &Wanted) -> bool {
    let members = shared.node.members();
    let added =
        wanted.add.as_ref().is_none_or(|add| members.get(&add.node).is_some_and(|member| member.votes));
    let removed = wanted.remove.is_none_or(|node| !members.contains_key(&node));
    added && removed
}

fn group(shared: &Shared) -> GroupReplicas {
    let leader = shared.node.leadership().borrow().leader;
    let addrs = replicas(shared);
    let replica = |(node, member): (u64, trireme_raft::members::GroupMember)| GroupReplica {
        addr: addrs.get(&node).map_or("-".to_owned(), SocketAddr::to_string),
        broker_id: node,
        peer_addr: member.peer_addr,
        role: match member.votes {
            _ if leader == Some(node) => "leader",
            true => "voter",
            false => "learner",
        }
        .to_owned(),
    };
    GroupReplicas { replicas: shared.node.members().into_iter().map(replica).collect() }
}
