//! The replicas of one group, as clients see them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::bail;
use tokio::time::Instant;
use trireme_remoting::headers::{ChangeReplicasRequest, ChangeReplicasResponse, ElectMasterRequest};
use trireme_remoting::{Client, Frame, RequestCode, response};

use crate::world::{GROUP, Status};

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(20);
/// For an order to a leader.
const ORDERED_WITHIN: Duration = Duration::from_secs(6);

/// Where the replicas are, and what asks them.
#[derive(Clone)]
pub struct Group {
    /// For requests to single replicas.
    pub remote: Client,
    /// Where each serves clients.
    pub addrs: Vec<SocketAddr>,
}

impl Group {
    /// What each replica says of itself.
    pub async fn statuses(&self) -> Vec<Option<Status>> {
        let asked = self.addrs.iter().map(|addr| Status::ask(&self.remote, *addr));
        futures_util::future::join_all(asked).await
    }

    /// The replica that leads, if one says so. Two may think that they do for a moment: the later term counts.
    pub async fn leads(&self) -> Option<usize> {
        let statuses = self.statuses().await;
        let leading = statuses.iter().enumerate().filter_map(|(at, status)| Some((at, status.as_ref()?)));
        leading.filter(|(_, status)| status.leads()).max_by_key(|(_, status)| status.term).map(|(at, _)| at)
    }

    /// Orders the replica at a place, which leads, to hand the lead to another. Whether that leads then is another matter:
    /// anything may come between.
    pub async fn hand_over(&self, leader: usize, to: u64) {
        let header = ElectMasterRequest { broker_id: i64::try_from(to).ok(), ..Default::default() };
        let request = Frame::request(RequestCode::ControllerElectMaster).with_ext(header.to_ext());
        let _ = self.remote.invoke(&self.addrs[leader].to_string(), request, ORDERED_WITHIN).await;
    }

    /// Asks whoever leads to let a new replica, which is reached there, take the place of another. Whether it has; what is not
    /// done now may be soon.
    pub async fn replace(&self, old: u64, new: u64, addr: &str) -> bool {
        let Some(leader) = self.leads().await else { return false };
        let id = |node: u64| i64::try_from(node).ok();
        let header = ChangeReplicasRequest {
            broker_name: Some(GROUP),
            add: id(new),
            add_addr: Some(addr),
            remove: id(old),
        };
        let request = Frame::request(RequestCode::ChangeReplicas).with_ext(header.to_ext());
        let leader = self.addrs[leader].to_string();
        let Ok(answer) = self.remote.invoke(&leader, request, ORDERED_WITHIN).await else { return false };
        answer.code == response::SUCCESS
            && ChangeReplicasResponse::from_ext(&answer.ext).is_ok_and(|header| header.is_done)
    }

    /// Waits for a leader.
    pub async fn leader(&self, within: Duration) -> anyhow::Result<usize> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(leader) = self.leads().await {
                return Ok(leader);
            }
            if Instant::now() > deadline {
                bail!("no leader within {within:?}: {:?}", self.statuses().await);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until all replicas, without load, have applied the same last entry. Returns its index.
    pub async fn converged(&self, within: Duration) -> anyhow::Result<u64> {
        let deadline = Instant::now() + within;
        loop {
            let statuses = self.statuses().await;
            if let Some(index) = same(&statuses) {
                return Ok(index);
            }
            if Instant::now() > deadline {
                bail!("replicas do not converge within {within:?}: {statuses:?}");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until all replicas, without load, have the same last entry, and the group has written down that they have:
    /// after that it writes nothing more. Returns the entry's index.
    pub async fn witnessed(&self, within: Duration) -> anyhow::Result<u64> {
        let deadline = Instant::now() + within;
        loop {
            let statuses = self.statuses().await;
            if let Some(index) = same(&statuses)
                // The entry that says so is one more.
                && statuses.iter().flatten().all(|status| index <= status.witnessed + 1)
            {
                return Ok(index);
            }
            if Instant::now() > deadline {
                bail!(
                    "the group has not written down within {within:?} what its replicas have: {statuses:?}"
                );
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until the group writes formats of this version.
    pub async fn writes(&self, version: u32, within: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        loop {
            let statuses = self.statuses().await;
            if statuses.iter().flatten().any(|status| u64::from(version) <= status.format_version) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("formats of version {version} are not written within {within:?}: {statuses:?}");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Where the log ends at the replica that leads: the index of its last entry.
    pub async fn end(&self) -> Option<u64> {
        let statuses = self.statuses().await;
        let leading = statuses.iter().flatten().filter(|status| status.leads());
        leading.max_by_key(|status| status.term).map(|status| status.last_log)
    }
}

fn same(statuses: &[Option<Status>]) -> Option<u64> {
    let statuses: Vec<&Status> = statuses.iter().map(Option::as_ref).collect::<Option<_>>()?;
    let first = statuses.first()?;
    let is_there = |status: &&Status| {
        [status.last_log, status.committed, status.applied] == [first.applied; 3] && status.term == first.term
    };
    let is_led = statuses.iter().any(|status| status.leads());
    (is_led && statuses.iter().all(is_there)).then_some(first.applied)
}
