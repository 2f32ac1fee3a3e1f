//! What a replica's Raft part has on disk, for people: nothing is opened for writing, made or removed. `trireme dump` is
//! made of it. The hard state itself is read with [`HardState::inspect`], from a copy.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use bytes::Bytes;
use serde::Serialize;
use trireme_commitlog::LogId;

use crate::checkpoints::{self, Checkpoints};
use crate::codec::{self, WireMembership};
use crate::entry::kind;
use crate::hard_state::{HardState, HardStateError};
use crate::types::{self, Membership, NodeId, StoredMembership, from_raft};

pub use crate::codec::DecodeError;

/// What a frame of the commit log carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameKind {
    /// A leader's first entry of a term. No payload.
    Blank,
    /// The group's members from here on; see [`membership`].
    Membership,
    /// A proposal: what the broker wrote.
    Proposal,
}

/// A vote: for whom, in which term, and whether a majority is known to have given the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Vote {
    /// Leadership epoch.
    pub term: u64,
    /// Who got the vote.
    pub node: NodeId,
    /// The node leads the term.
    pub committed: bool,
}

/// The members of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Members {
    /// The voters; two sets while the membership changes, a majority of each is needed then.
    pub voters: Vec<BTreeSet<NodeId>>,
    /// All members, voters and learners.
    pub members: BTreeMap<NodeId, Member>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// `host:port` where its peers connect.
    pub peer_addr: String,
    /// `host:port` where its clients connect, if that was kept.
    pub client_addr: Option<String>,
    /// The random number of the store that joined.
    pub store_id: u128,
}

/// A checkpoint as it is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointFile {
    /// The last entry whose effect is contained.
    pub log_id: LogId,
    /// The members as of that entry.
    pub members: Members,
    /// Where the first frame behind it lies.
    pub physical_offset: u64,
    /// The state machine's bytes.
    pub state: Bytes,
}

/// What a frame of this kind carries; `None` for a kind that this release does not know.
pub fn frame_kind(kind: u8) -> Option<FrameKind> {
    match kind {
        kind::BLANK => Some(FrameKind::Blank),
        kind::MEMBERSHIP => Some(FrameKind::Membership),
        kind::NORMAL => Some(FrameKind::Proposal),
        _ => None,
    }
}

/// The members that a frame of [`FrameKind::Membership`] names.
pub fn membership(payload: &[u8]) -> Result<Members, DecodeError> {
    let wire: WireMembership = codec::decode("membership entry", payload)?;
    Ok((&Membership::try_from(wire)?).into())
}

/// Physical offsets of the checkpoints in `dir`, ascending. `NotFound` if there is no such directory.
pub fn checkpoints(dir: &Path) -> io::Result<Vec<u64>> {
    Checkpoints::existing(dir).list()
}

/// The checkpoint at `physical_offset`; `None` if there is none. `InvalidData` says what is wrong with its bytes.
pub fn checkpoint(dir: &Path, physical_offset: u64) -> io::Result<Option<CheckpointFile>> {
    let stored = Checkpoints::existing(dir).load(physical_offset)?;
    Ok(stored.map(|checkpoints::Stored { log_id, membership, checkpoint }| CheckpointFile {
        log_id,
        members: membership.membership().into(),
        physical_offset: checkpoint.physical_offset,
        state: checkpoint.state,
    }))
}

/// The last vote in a hard state.
pub fn vote(hard: &HardState) -> Result<Option<Vote>, HardStateError> {
    Ok(hard.vote()?.map(|vote: types::Vote| Vote {
        term: vote.leader_id.term,
        node: vote.leader_id.voted_for,
        committed: vote.committed,
    }))
}

/// The members in a hard state, with the entry that set them.
pub fn members(hard: &HardState) -> Result<(Option<LogId>, Members), HardStateError> {
    let stored: StoredMembership = hard.membership()?;
    Ok((stored.log_id().as_ref().map(from_raft), stored.membership().into()))
}

impl From<&Membership> for Members {
    fn from(membership: &Membership) -> Self {
        let member = |member: &types::Member| Member {
            peer_addr: member.peer_addr().to_owned(),
            client_addr: member.client_addr().map(str::to_owned),
            store_id: member.store_id,
        };
        Self {
            voters: membership.get_joint_config().clone(),
            members: membership.nodes().map(|(node, found)| (*node, member(found))).collect(),
        }
    }
}
