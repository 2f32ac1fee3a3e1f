//! Who belongs to the group, and how that changes while it works.
//!
//! A replica comes in as a learner: it receives the log and has no vote. When it has about what the leader has, it votes,
//! and in the same step another may go: Raft's joint consensus, two entries, in between which both majorities count. What a
//! leader began and did not live to end, the next one ends when it is asked the same again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use tokio::time::Instant;

use crate::network::{self, probe};
use crate::node::Node;
use crate::peers::Witnessed;
use crate::types::{Member, NodeId, StoredMembership, TypeConfig};

/// A replica that is to be taken in has this long to say who it is.
const PROBE_WITHIN: Duration = Duration::from_secs(1);
/// A change of members has this long. A group whose majority is there needs milliseconds.
const CHANGED_WITHIN: Duration = Duration::from_secs(3);
/// Who votes answers heartbeats, of which there are twenty within this.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);
/// A learner that lacks no more than so many bytes of the log may vote: it has them before anybody notices.
const LACKS_AT_MOST: u64 = 16 << 20;

/// A replica of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// `host:port` where its peers connect.
    pub peer_addr: String,
    /// `host:port` where its clients connect, if the membership has it.
    pub client_addr: Option<String>,
    /// Whether it votes. One that does not receives the log.
    pub votes: bool,
}

/// How far a learner is, in bytes of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learned {
    /// What it has, of what the leader still has.
    pub has: u64,
    /// What the leader has.
    pub of: u64,
}

impl Learned {
    /// Whether it may vote.
    pub fn is_enough(self) -> bool {
        self.of <= self.has + LACKS_AT_MOST
    }
}

/// Why the members do not change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Another replica must be asked.
    #[error("this replica does not lead its group")]
    NotLeader,
    /// It must not be, and was not done.
    #[error("{0}")]
    Refused(String),
    /// It may be done, now or later, or not: ask again.
    #[error("the members may have changed or not: {0}")]
    Unknown(String),
}

fn refused<T>(reason: String) -> Result<T, ChangeError> {
    Err(ChangeError::Refused(reason))
}

impl Node {
    /// Who belongs to the group, by the last membership in this replica's log. Empty before it belongs to one.
    pub fn members(&self) -> BTreeMap<NodeId, GroupMember> {
        let stored = self.membership();
        let voters: BTreeSet<NodeId> = stored.membership().voter_ids().collect();
        let member = |(node, member): (&NodeId, &Member)| {
            let found = GroupMember {
                peer_addr: member.peer_addr().to_owned(),
                client_addr: member.client_addr().map(str::to_owned),
                votes: voters.contains(node),
            };
            (*node, found)
        };
        stored.membership().nodes().map(member).collect()
    }

    /// Where clients reach a replica that belongs to the group, if the membership has that.
    pub fn client_addr_of(&self, node: NodeId) -> Option<SocketAddr> {
        let metrics = self.raft().server_metrics();
        let stored = metrics.borrow_watched().membership_config.clone();
        stored.membership().get_node(&node)?.client_addr()?.parse().ok()
    }

    /// Takes a replica into the group that this one leads, as a learner, if it does not belong to it yet. It must run, wait
    /// to be taken in, and have an empty store: one that has forgotten what it voted must not vote again.
    pub async fn take_in(&self, node: NodeId, peer_addr: &str, client_addr: &str) -> Result<(), ChangeError> {
        let config = self.config();
        if let Some(known) = self.members().get(&node) {
            if known.peer_addr == peer_addr && known.client_addr.as_deref() == Some(client_addr) {
                return Ok(());
            }
            let (group, at) = (&config.settings.group, &known.peer_addr);
            return refused(format!(
                "replica {node} belongs to {group} already, with peers at {at}: a new replica needs a number of its own"
            ));
        }
        let us = network::caller(config, self.hard_state().identity().store_id, self.peers().clone());
        let at = format!("replica {node} at {peer_addr}");
        let told = match probe(&us, node, peer_addr, PROBE_WITHIN).await {
            Ok(told) => told,
            Err(error) => {
                return refused(format!("{at} does not answer: {error}; is it started, with --join?"));
            }
        };
        if let Some(reason) = told.refused {
            return refused(format!("{at} refuses: {reason}"));
        }
        if told.initialized {
            return refused(format!(
                "{at} belongs to a group already: start it with an empty store, and with --join"
            ));
        }
        if let Some(reason) = self.peers().too_old(node, told.version) {
            return refused(format!("{at} cannot be taken in: {reason}"));
        }
        let member = Member::new(Some(client_addr), peer_addr, told.store_id);
        let added = self.raft().add_learner(node, member, false);
        answered(tokio::time::timeout(CHANGED_WITHIN, added).await)
    }

    /// What each member is known to have on its disk, of what is committed. Only a leader knows it.
    pub fn witness(&self) -> BTreeMap<NodeId, Witnessed> {
        let stored = self.membership();
        let peers = self.peers();
        let seen = |(node, member): (&NodeId, &Member)| {
            Some((*node, Witnessed { store_id: member.store_id, last: peers.matched(*node)? }))
        };
        stored.membership().nodes().filter_map(seen).collect()
    }

    /// The newest format version that all members have announced; `None` if one of them was not heard of yet.
    pub fn version_of_all(&self) -> Option<u32> {
        let stored = self.membership();
        let versions = stored.membership().nodes().map(|(node, _)| self.peers().version_of(*node));
        versions.min_by_key(|version| version.unwrap_or(0)).flatten()
    }

    /// How far a learner is. `None` if this replica does not lead, or nothing is known of that one.
    pub fn learned(&self, node: NodeId) -> Option<Learned> {
        let log = self.log();
        let (start, end) = (log.min_physical_offset(), log.next_physical_offset());
        let matched = *self.progress().matched.get(&node)?;
        // What is trimmed it needs no more.
        let range = matched.and_then(|index| log.frame_range(index).ok().flatten());
        let has = range.map_or(0, |(_, end)| end.saturating_sub(start));
        Some(Learned { has, of: end - start })
    }

    /// Lets a learner vote, and another replica go, in one step; either may be missing, or done already. Returns when the
    /// new members are committed.
    ///
    /// Refuses what would leave a group that cannot go on: a majority of the new voters must answer.
    pub async fn change_voters(
        &self,
        add: Option<NodeId>,
        remove: Option<NodeId>,
    ) -> Result<(), ChangeError> {
        let stored = self.membership();
        let membership = stored.membership();
        if membership.get_joint_config().len() > 1 {
            // Somebody began and did not end: to the end with it first.
            let end = self.raft().change_membership(ChangeMembers::AddVoterIds(BTreeSet::new()), false);
            return answered(tokio::time::timeout(CHANGED_WITHIN, end).await);
        }
        let mut voters: BTreeSet<NodeId> = membership.voter_ids().collect();
        let mut changes = Vec::new();
        if let Some(node) = add.filter(|node| !voters.contains(node)) {
            changes.push(ChangeMembers::AddVoterIds([node].into()));
            voters.insert(node);
        }
        if let Some(node) = remove.filter(|node| membership.get_node(node).is_some()) {
            changes.push(match voters.remove(&node) {
                true => ChangeMembers::RemoveVoters([node].into()),
                false => ChangeMembers::RemoveNodes([node].into()),
            });
        }
        if changes.is_empty() {
            return Ok(());
        }
        self.can_go_on(&voters).await?;
        let change = self.raft().change_membership(ChangeMembers::Batch(changes), false);
        answered(tokio::time::timeout(CHANGED_WITHIN, change).await)
    }

    /// Whether so many of these voters answer, from now on, that the group can go on with them.
    async fn can_go_on(&self, voters: &BTreeSet<NodeId>) -> Result<(), ChangeError> {
        if voters.is_empty() {
            return refused("the last replica that votes cannot go".to_owned());
        }
        let began = Instant::now();
        loop {
            let answers =
                |node: &NodeId| *node == self.config().node || self.was_heard(*node, began.elapsed());
            let answering: BTreeSet<NodeId> = voters.iter().copied().filter(answers).collect();
            if answering.len() * 2 > voters.len() {
                return Ok(());
            }
            if began.elapsed() > ANSWERS_WITHIN {
                return refused(format!(
                    "of the voters that there would be, {voters:?}, only {answering:?} answer, which is no majority: \
                     start the others first, or replace a replica in one step"
                ));
            }
            tokio::time::sleep(self.config().timing.heartbeat).await;
        }
    }

    fn membership(&self) -> StoredMembership {
        self.raft().server_metrics().borrow_watched().membership_config.as_ref().clone()
    }
}

/// What came of a change.
fn answered<T>(
    outcome: Result<
        Result<T, RaftError<TypeConfig, ClientWriteError<TypeConfig>>>,
        tokio::time::error::Elapsed,
    >,
) -> Result<(), ChangeError> {
    match outcome {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => Err(ChangeError::NotLeader),
        // It was written, and may still be committed by the next leader.
        Ok(Err(RaftError::APIError(error @ ClientWriteError::LogEntryDiscarded(_)))) => {
            Err(ChangeError::Unknown(error.to_string()))
        }
        // One that another leader began is not committed yet, as after a failover.
        Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
            error @ ChangeMembershipError::InProgress(_),
        )))) => Err(ChangeError::Unknown(error.to_string())),
        Ok(Err(RaftError::APIError(error))) => refused(error.to_string()),
        Ok(Err(RaftError::Fatal(error))) => Err(ChangeError::Unknown(error.to_string())),
        Err(_) => Err(ChangeError::Unknown(format!("not committed within {CHANGED_WITHIN:?}"))),
    }
}
