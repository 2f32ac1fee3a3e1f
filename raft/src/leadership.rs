//! Who leads the group, as one replica sees it, and whether it may be proposed to.

use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::Fatal;
use openraft::{Instant, Raft, ServerState};
use tokio::sync::watch;
use trireme_commitlog::LogId;
use trireme_planted::{self as planted, Defect};

use crate::adapter::Adapter;
use crate::types::{NodeId, TypeConfig};

/// Who leads, as this replica sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The current term.
    pub term: u64,
    /// The leader of `term`, if known.
    pub leader: Option<NodeId>,
    /// What this replica is.
    pub role: Role,
    /// We lead, and our first entry of the term is applied: proposals may be made.
    pub ready: bool,
}

/// A replica's role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Takes proposals.
    Leader,
    /// Follows a leader, and votes.
    #[default]
    Follower,
    /// Stands for election.
    Candidate,
    /// Receives the log but has no vote.
    Learner,
    /// Stopped, by order or by a failure.
    Stopped,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Learner => "learner",
            Self::Stopped => "stopped",
        })
    }
}

/// Whether a quorum has answered this leader within `lease`, counted from when it was asked: until that is
/// over nobody votes for another.
pub(crate) fn has_lease(raft: &Raft<TypeConfig, Adapter>, lease: Duration) -> bool {
    let answered = raft.data_metrics().borrow_watched().last_quorum_acked;
    if answered.is_some_and(|at| at.elapsed() < lease) {
        return true;
    }
    // Who is alone asks nobody.
    raft.server_metrics().borrow_watched().membership_config.membership().voter_ids().count() == 1
}

/// Publishes who leads. A leader is ready once an entry of its own term is applied: from then on its
/// state holds everything that any leader before it acknowledged.
pub(crate) async fn watch_leadership(
    raft: Raft<TypeConfig, Adapter>,
    node: NodeId,
    mut applied: watch::Receiver<Option<LogId>>,
    publish: watch::Sender<Leadership>,
) {
    let mut metrics = raft.server_metrics();
    loop {
        let (vote, state, leader) = {
            let now = metrics.borrow_watched();
            (now.vote, now.state, now.current_leader)
        };
        let role = match state {
            ServerState::Leader => Role::Leader,
            ServerState::Follower => Role::Follower,
            ServerState::Candidate => Role::Candidate,
            ServerState::Learner => Role::Learner,
            ServerState::Shutdown => Role::Stopped,
        };
        let term = vote.leader_id.term;
        let has_all = applied.borrow_and_update().is_some_and(|id| id.term == term);
        let ready = role == Role::Leader && (has_all || planted::is(Defect::LeaderReadyTooSoon));
        let seen = Leadership { term, leader, role, ready };
        publish.send_if_modified(|last| {
            let follows = role == Role::Follower && leader.is_some() && last.leader.is_none();
            if planted::is(Defect::EndsWithItsLeader) && term > 1 && follows {
                std::process::exit(3);
            }
            let changed = *last != seen;
            if changed && (last.role != seen.role || last.leader != seen.leader) {
                tracing::info!(node, term, role = %seen.role, leader = ?seen.leader, "leadership changed");
            }
            *last = seen;
            changed
        });
        let waiting_to_be_ready = role == Role::Leader && !ready;
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() { break },
            changed = applied.changed(), if waiting_to_be_ready => if changed.is_err() { break },
        }
    }
    publish.send_modify(|last| {
        last.role = Role::Stopped;
        last.ready = false;
        last.leader = None;
    });
    let ended = raft.metrics().borrow_watched().running_state.clone();
    match ended {
        Err(reason @ (Fatal::StorageError(_) | Fatal::Panicked)) => {
            tracing::error!(node, %reason, "raft stopped")
        }
        Ok(()) | Err(Fatal::Stopped) => tracing::info!(node, "raft stopped"),
    }
}
