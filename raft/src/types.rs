//! The concrete types that openraft is instantiated with.
//!
//! A log id is `{term, index}`: at most one leader per term (`leader_id_std`), so that a term alone
//! names a leadership, in frames on disk and as `stateVersion` at the name servers.

use openraft::impls::leader_id_std;
use openraft::vote::RaftLeaderId;
use serde::{Deserialize, Serialize};
use trireme_commitlog::LogId;

use crate::entry::{Entry, Payload};
use crate::proposal::{Outcome, Proposal, Reply};

/// A replica's number within its group. Never reused for another store.
pub type NodeId = u64;

/// What the membership knows of a replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Where it is reached: `clients/peers`, each `host:port`, as the setting `replica` has it; or only where peers reach
    /// it, in groups that were made before clients' addresses were kept.
    pub addr: String,
    /// The random number of the store that joined; another store under the same id is refused.
    pub store_id: u128,
}

impl Member {
    /// A replica that clients reach at `client`, if that is known, and peers at `peer`.
    pub fn new(client: Option<&str>, peer: &str, store_id: u128) -> Self {
        let addr = match client {
            Some(client) => format!("{client}/{peer}"),
            None => peer.to_owned(),
        };
        Self { addr, store_id }
    }

    /// `host:port` where its peers connect.
    pub fn peer_addr(&self) -> &str {
        self.addr.split_once('/').map_or(&self.addr, |(_, peer)| peer)
    }

    /// `host:port` where its clients connect, if that is known.
    pub fn client_addr(&self) -> Option<&str> {
        self.addr.split_once('/').map(|(client, _)| client)
    }
}

/// The set of types that `openraft` works with.
#[derive(Debug, Clone, Copy, Default, Eq, PartialEq, Ord, PartialOrd)]
pub struct TypeConfig;

impl openraft::RaftTypeConfig for TypeConfig {
    type D = Proposal;
    type R = Outcome;
    type NodeId = NodeId;
    type Node = Member;
    type Term = u64;
    type LeaderId = leader_id_std::LeaderId<u64, NodeId>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = Payload;
    type Entry = Entry;
    type AsyncRuntime = openraft::impls::TokioRuntime;
    type Responder<T>
        = Reply<T>
    where
        T: Send + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: Send + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

pub type LeaderId = leader_id_std::LeaderId<u64, NodeId>;
pub type CommittedLeaderId = <LeaderId as RaftLeaderId>::Committed;
pub type RaftLogId = openraft::LogId<CommittedLeaderId>;
pub type Vote = openraft::impls::Vote<LeaderId>;
pub type Membership = openraft::Membership<NodeId, Member>;
pub type StoredMembership = openraft::StoredMembership<CommittedLeaderId, NodeId, Member>;
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;

/// Ours to openraft's.
pub fn to_raft(id: LogId) -> RaftLogId {
    RaftLogId::new(committed_leader(id.term), id.index)
}

/// openraft's to ours.
pub fn from_raft(id: &RaftLogId) -> LogId {
    LogId { term: **id.committed_leader_id(), index: id.index() }
}

/// The identity, in log ids, of the leader of `term`. A committed leader is its term alone: the node
/// number that the constructor asks for does not enter it.
pub fn committed_leader(term: u64) -> CommittedLeaderId {
    LeaderId { term, voted_for: 0 }.to_committed()
}
