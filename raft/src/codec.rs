//! bincode, and nothing of it elsewhere in this crate: peer RPC headers and hard state pass here.
//!
//! bincode 2 is given but no longer developed; its successor changes this file. Message bytes never
//! come here. Integers are fixed-width little-endian so that a value's length says nothing new.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use trireme_commitlog::LogId;

use crate::types::{
    LeaderId, Member, Membership, NodeId, RaftLogId, StoredMembership, Vote, from_raft, to_raft,
};

/// More than any header of ours; a peer that claims more is refused before memory is taken for it.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Bytes that are not what they should be.
#[derive(Debug, thiserror::Error)]
#[error("cannot decode {what}: {reason}")]
pub struct DecodeError {
    /// The type expected.
    pub what: &'static str,
    /// bincode's reason.
    pub reason: String,
}

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_fixed_int_encoding().with_little_endian().with_limit::<MAX_BYTES>()
}

/// Encodes a value.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, config()).expect(
        "our types have no maps of unknown length, no untagged enums: nothing that can fail to encode",
    )
}

/// Decodes a value that fills `bytes` exactly.
pub fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, DecodeError> {
    match bincode::serde::decode_from_slice(bytes, config()) {
        Ok((value, used)) if used == bytes.len() => Ok(value),
        Ok((_, used)) => Err(DecodeError { what, reason: format!("{} bytes left over", bytes.len() - used) }),
        Err(error) => Err(DecodeError { what, reason: error.to_string() }),
    }
}

/// Decodes a value from the beginning of `bytes`. And what is behind it.
pub fn decode_first<'a, T: DeserializeOwned>(
    what: &'static str,
    bytes: &'a [u8],
) -> Result<(T, &'a [u8]), DecodeError> {
    match bincode::serde::decode_from_slice(bytes, config()) {
        Ok((value, used)) => Ok((value, bytes.get(used..).unwrap_or_default())),
        Err(error) => Err(DecodeError { what, reason: error.to_string() }),
    }
}

/// A log id on the wire and in hard state: term, index.
pub type WireLogId = Option<(u64, u64)>;

/// A log id to the wire's.
pub fn to_wire(id: Option<LogId>) -> WireLogId {
    id.map(|id| (id.term, id.index))
}

/// The wire's log id to ours.
pub fn from_wire(id: WireLogId) -> Option<LogId> {
    id.map(|(term, index)| LogId { term, index })
}

/// openraft's log id to the wire's.
pub fn log_id(id: Option<&RaftLogId>) -> WireLogId {
    id.map(|id| {
        let id = from_raft(id);
        (id.term, id.index)
    })
}

/// The wire's log id to openraft's.
pub fn raft_log_id(id: WireLogId) -> Option<RaftLogId> {
    id.map(|(term, index)| to_raft(LogId { term, index }))
}

/// A vote: who leads, or stands for election, in which term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireVote {
    pub term: u64,
    pub node: NodeId,
    pub committed: bool,
}

impl From<&Vote> for WireVote {
    fn from(vote: &Vote) -> Self {
        Self { term: vote.leader_id.term, node: vote.leader_id.voted_for, committed: vote.committed }
    }
}

impl From<WireVote> for Vote {
    fn from(vote: WireVote) -> Self {
        Vote { leader_id: LeaderId { term: vote.term, voted_for: vote.node }, committed: vote.committed }
    }
}

/// A membership: the voter sets (two while it changes) and what is known of each member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireMembership {
    configs: Vec<BTreeSet<NodeId>>,
    members: BTreeMap<NodeId, Member>,
}

impl From<&Membership> for WireMembership {
    fn from(membership: &Membership) -> Self {
        Self {
            configs: membership.get_joint_config().clone(),
            members: membership.nodes().map(|(id, member)| (*id, member.clone())).collect(),
        }
    }
}

impl TryFrom<WireMembership> for Membership {
    type Error = DecodeError;

    fn try_from(wire: WireMembership) -> Result<Self, DecodeError> {
        if wire.configs.is_empty() && wire.members.is_empty() {
            return Ok(Membership::default());
        }
        Membership::new(wire.configs, wire.members)
            .map_err(|error| DecodeError { what: "membership", reason: error.to_string() })
    }
}

/// A membership with the log id that set it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireStoredMembership {
    log_id: WireLogId,
    membership: WireMembership,
}

impl From<&StoredMembership> for WireStoredMembership {
    fn from(stored: &StoredMembership) -> Self {
        Self { log_id: log_id(stored.log_id().as_ref()), membership: stored.membership().into() }
    }
}

impl TryFrom<WireStoredMembership> for StoredMembership {
    type Error = DecodeError;

    fn try_from(wire: WireStoredMembership) -> Result<Self, DecodeError> {
        Ok(StoredMembership::new(raft_log_id(wire.log_id), wire.membership.try_into()?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_membership_survives_the_wire() {
        let members: BTreeMap<NodeId, Member> = (1..=3)
            .map(|n| (n, Member::new(Some(&format!("c{n}:1")), &format!("h{n}:1"), n.into())))
            .collect();
        let membership = Membership::new(vec![[1, 2, 3].into(), [1, 2].into()], members).unwrap();
        let stored = StoredMembership::new(Some(to_raft(LogId { term: 4, index: 9 })), membership);
        let bytes = encode(&WireStoredMembership::from(&stored));
        let back: WireStoredMembership = decode("membership", &bytes).unwrap();
        assert_eq!(StoredMembership::try_from(back).unwrap(), stored);
        let none = StoredMembership::default();
        let back: WireStoredMembership =
            decode("membership", &encode(&WireStoredMembership::from(&none))).unwrap();
        assert_eq!(StoredMembership::try_from(back).unwrap(), none);
    }

    #[test]
    fn every_cut_and_every_extra_byte_is_refused() {
        let bytes = encode(&WireVote { term: 7, node: 2, committed: true });
        for cut in 0..bytes.len() {
            assert!(decode::<WireVote>("vote", &bytes[..cut]).is_err(), "cut at {cut}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(decode::<WireVote>("vote", &longer).is_err());
    }

    #[test]
    fn a_claimed_length_costs_no_memory() {
        let bytes = u64::MAX.to_le_bytes();
        assert!(decode::<Vec<u8>>("bytes", &bytes).is_err());
    }
}
