//! A Raft entry: a frame of the commit log, or what will become one.

use std::fmt;

use openraft::entry::{RaftEntry, RaftPayload};
use trireme_commitlog::{FrameRef, LogId};

use crate::proposal::Proposal;
use crate::room::Promise;
use crate::types::{CommittedLeaderId, Member, Membership, NodeId, RaftLogId, committed_leader, from_raft};

/// Frame kinds of the Raft layer (`commitlog/FORMAT.md`; kind 0 is the log's own filler).
pub mod kind {
    /// A leader's first entry of a term. Empty payload.
    pub const BLANK: u8 = 1;
    /// A membership change. Payload: bincode.
    pub const MEMBERSHIP: u8 = 2;
    /// A proposal: commands and messages of the broker.
    pub const NORMAL: u8 = 3;
}

/// What an entry carries.
#[derive(Debug)]
pub enum Payload {
    /// Nothing; marks the start of a term.
    Blank,
    /// The group's members from here on.
    Membership(Membership),
    /// A proposal on its way into the leader's log.
    Proposal(Proposal),
    /// A proposal that is in a log: its bytes are in [`Entry::frame`].
    Logged,
}

/// One entry. Entries are read back from the log for replication and apply, never kept.
pub struct Entry {
    committed_leader: CommittedLeaderId,
    index: u64,
    /// What it carries.
    pub payload: Payload,
    /// The frame, once the entry is in some replica's log. Followers write these very bytes.
    pub frame: Option<FrameRef>,
    /// The room that was kept for it and its neighbours, until it is written or thrown away.
    pub promise: Option<Promise>,
}

impl Entry {
    /// An entry that is in a log.
    pub fn logged(payload: Payload, frame: FrameRef) -> Self {
        let LogId { term, index } = frame.id;
        Self { committed_leader: committed_leader(term), index, payload, frame: Some(frame), promise: None }
    }

    /// Our log id of this entry.
    pub fn id(&self) -> LogId {
        from_raft(&RaftEntry::log_id(self))
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({}-{}, {:?})", *self.committed_leader, self.index, self.payload)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl RaftEntry for Entry {
    type CommittedLeaderId = CommittedLeaderId;
    type Payload = Payload;

    fn new(log_id: RaftLogId, payload: Payload) -> Self {
        let id = from_raft(&log_id);
        Self {
            committed_leader: committed_leader(id.term),
            index: id.index,
            payload,
            frame: None,
            promise: None,
        }
    }

    fn log_id_parts(&self) -> (&CommittedLeaderId, u64) {
        (&self.committed_leader, self.index)
    }

    fn set_log_id(&mut self, new: RaftLogId) {
        assert!(self.frame.is_none(), "an entry that is in a log keeps its id");
        let id = from_raft(&new);
        self.committed_leader = committed_leader(id.term);
        self.index = id.index;
    }

    fn get_membership(&self) -> Option<Membership> {
        self.payload.get_membership()
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl RaftPayload for Payload {
    type D = Proposal;
    type NodeId = NodeId;
    type Node = Member;

    fn blank() -> Self {
        Self::Blank
    }

    fn with_normal(self, data: Proposal) -> Self {
        Self::Proposal(data)
    }

    fn with_membership(self, membership: Membership) -> Self {
        Self::Membership(membership)
    }

    fn get_membership(&self) -> Option<Membership> {
        match self {
            Self::Membership(membership) => Some(membership.clone()),
            Self::Blank | Self::Proposal(_) | Self::Logged => None,
        }
    }
}
