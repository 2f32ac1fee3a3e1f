//! Who leads the group, as one replica sees it, and whether it may be proposed to.

use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::Fatal;
use openraft::{Instant, Raft, ServerState};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};
use trireme_commitlog::LogId;
use trireme_planted::{self as planted, Defect};

use crate::adapter::Adapter;
use crate::config::Timing;
use crate::contact::Contact;
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
    /// We lead, our first entry of the term is applied, and we have not given the term up: proposals may be made. Once it
    /// ends, it does not come back in this term.
    pub ready: bool,
    /// We led, and no quorum has answered for so long that another may lead by now. We have given the term up; of what was
    /// proposed it is not known whether it will ever be committed.
    pub cut_off: bool,
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
    voters(raft) == 1
}

/// The last term that this replica led and has given up: by order, or because nobody answered. It leads no more in it: openraft
/// takes no proposal and sends no heartbeat then, and who takes over asks for votes whatever lease others have promised.
#[derive(Clone, Debug)]
pub(crate) struct GivenUp(watch::Sender<u64>);

impl GivenUp {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    /// Whether `term` is given up.
    pub(crate) fn is_given_up(&self, term: u64) -> bool {
        term <= *self.0.borrow()
    }

    /// Gives `term` up in favour of `to`, who need not hear of it: without heartbeats the others elect somebody.
    pub(crate) async fn give_up(
        &self,
        term: u64,
        raft: &Raft<TypeConfig, Adapter>,
        to: NodeId,
    ) -> Result<(), Fatal<TypeConfig>> {
        // Before anybody can be told.
        self.0.send_if_modified(|last| std::mem::replace(last, term.max(*last)) < term);
        raft.trigger().transfer_leader(to).await
    }
}

/// A term that this replica leads, or has led.
struct Reign {
    term: u64,
    began: tokio::time::Instant,
    looks: Interval,
    contact: Contact,
    cut_off: bool,
}

impl Reign {
    fn begin(term: u64, timing: Timing) -> Self {
        let mut looks = interval(timing.heartbeat);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            term,
            began: tokio::time::Instant::now(),
            looks,
            contact: Contact::new(timing),
            cut_off: false,
        }
    }
}

/// Returns when the leader's group has been silent for so long that another may lead; once in a term.
async fn look(raft: &Raft<TypeConfig, Adapter>, led: Option<&mut Reign>) {
    let Some(reign) = led.filter(|reign| !reign.cut_off) else { return std::future::pending().await };
    loop {
        reign.looks.tick().await;
        let answered = raft.data_metrics().borrow_watched().last_quorum_acked;
        let since_it_leads = reign.began.elapsed();
        let silent_for = answered.map_or(since_it_leads, |at| at.elapsed().min(since_it_leads));
        if reign.contact.is_lost(silent_for) && voters(raft) > 1 {
            reign.cut_off = true;
            return;
        }
    }
}

fn voters(raft: &Raft<TypeConfig, Adapter>) -> usize {
    raft.server_metrics().borrow_watched().membership_config.membership().voter_ids().count()
}

fn anybody_else(raft: &Raft<TypeConfig, Adapter>, node: NodeId) -> Option<NodeId> {
    let members = raft.server_metrics().borrow_watched().membership_config.clone();
    members.membership().voter_ids().find(|voter| *voter != node)
}

/// Publishes who leads. A leader is ready once an entry of its own term is applied: from then on its
/// state holds everything that any leader before it acknowledged. One that nobody answers gives its term up.
pub(crate) async fn watch_leadership(
    raft: Raft<TypeConfig, Adapter>,
    node: NodeId,
    timing: Timing,
    mut applied: watch::Receiver<Option<LogId>>,
    given_up: GivenUp,
    publish: watch::Sender<Leadership>,
) {
    let mut metrics = raft.server_metrics();
    let mut orders = given_up.0.subscribe();
    let mut led: Option<Reign> = None;
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
        let leads = role == Role::Leader && !given_up.is_given_up(term);
        let ready = leads && (has_all || planted::is(Defect::LeaderReadyTooSoon));
        led = (role == Role::Leader)
            .then(|| led.filter(|reign| reign.term == term).unwrap_or_else(|| Reign::begin(term, timing)));
        let cut_off = led.as_ref().is_some_and(|reign| reign.cut_off);
        let seen = Leadership { term, leader, role, ready, cut_off };
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
        let waiting_to_be_ready = leads && !ready;
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() { break },
            changed = applied.changed(), if waiting_to_be_ready => if changed.is_err() { break },
            _ = orders.changed() => {}
            () = look(&raft, led.as_mut()) => {
                let Some(successor) = anybody_else(&raft, node) else { continue };
                tracing::warn!(node, term, "no quorum answers; another replica may lead: giving the term up");
                if given_up.give_up(term, &raft, successor).await.is_err() {
                    break;
                }
            }
        }
    }
    publish.send_modify(|last| {
        last.role = Role::Stopped;
        last.ready = false;
        last.cut_off = false;
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
