//! Three replicas: they agree, they survive the loss of any one, they acknowledge nothing without two.

#![allow(clippy::unwrap_used)]

mod harness;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::{CALM, Cluster, PATIENCE, leadership, propose, within};
use trireme_raft::config::Timing;
use trireme_raft::node::Role;
use trireme_raft::proposal::ProposeError;

const SEGMENT: u64 = 1024 * 1024;

/// Many proposers at once: every one is told its place, and all replicas have the same bytes there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_replicas_apply_the_same_entries() {
    let mut cluster = Cluster::started(SEGMENT, CALM).await;
    let (leader, term) = cluster.leader().await;
    let mut told = Vec::new();
    for tag in 0..2000 {
        told.push((tag, propose(cluster.node(leader), term, tag, 16 + (tag as usize * 37) % 3000).await));
    }
    let mut acknowledged = Vec::new();
    for (tag, told) in told {
        let committed = within(PATIENCE, "a proposal", told).await.unwrap().unwrap();
        assert_eq!(committed.log_id.term, term);
        acknowledged.push((tag, committed.log_id));
    }
    assert!(acknowledged.is_sorted_by_key(|(_, id)| id.index), "in the order of the proposals");
    cluster.assert_identical().await;
    cluster.assert_holds(&acknowledged).await;
    let progress = cluster.node(leader).progress();
    assert!(progress.applied <= progress.committed && progress.applied <= progress.flushed);
    assert!(progress.committed <= progress.last_log, "{progress:?}");
    assert_eq!(progress.matched.len(), 3);
    cluster.stop_all().await;
}

/// The leader is stopped under load: another leads, refuses the old term, loses nothing; the old one
/// catches up when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_leader_is_replaced_and_rejoins() {
    let mut cluster = Cluster::started(SEGMENT, Timing::default()).await;
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let (old, old_term) = cluster.leader().await;
        acknowledged.extend(cluster.commit_many(round * 1000..round * 1000 + 100, 300).await);
        let mut open = Vec::new();
        for tag in 0..50 {
            let tag = round * 1000 + 500 + tag;
            open.push((tag, propose(cluster.node(old), old_term, tag, 300).await));
        }
        let since = Instant::now();
        cluster.stop(old).await;
        // Every proposer hears something: it was committed, refused, or nobody can know yet.
        for (tag, told) in open {
            if let Ok(committed) = within(PATIENCE, "a verdict", told).await.unwrap() {
                acknowledged.push((tag, committed.log_id));
            }
        }
        let (leader, term) = cluster.leader_after(old_term).await;
        println!("round {round}: node {leader} leads {:?} after node {old} was stopped", since.elapsed());
        let applied = cluster.node(leader).applied().borrow().unwrap();
        assert_eq!(applied.term, term, "ready means that an entry of the term is applied");
        let stale = propose(cluster.node(leader), old_term, u64::MAX, 16).await.await.unwrap();
        assert!(matches!(stale, Err(ProposeError::NotLeader { .. })), "{stale:?}");
        acknowledged.extend(cluster.commit_many(round * 1000 + 900..round * 1000 + 950, 300).await);
        cluster.start(old).await;
        cluster.assert_identical().await;
        cluster.assert_holds(&acknowledged).await;
    }
    cluster.stop_all().await;
}

/// A follower is asked to take a proposal: refused at once, with nothing appended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_refuses_proposals() {
    let mut cluster = Cluster::started(SEGMENT, CALM).await;
    let (leader, term) = cluster.leader().await;
    cluster.settle().await;
    for follower in cluster.followers(leader) {
        for term in [0, term, term + 1] {
            let told = propose(cluster.node(follower), term, 1, 100).await;
            let result = within(PATIENCE, "a refusal", told).await.unwrap();
            assert!(matches!(result, Err(ProposeError::NotLeader { .. })), "{result:?}");
        }
        assert!(!cluster.node(follower).leadership().borrow().ready);
        let seen = leadership(cluster.node(follower), "the leader", |now| now.leader.is_some()).await;
        assert_eq!((seen.leader, seen.role), (Some(leader), Role::Follower));
    }
    assert!(cluster.echo(leader).records().iter().all(|record| record.tag == u64::MAX));
    cluster.stop_all().await;
}

/// Without a majority nothing is acknowledged; with one again, everything goes on, and what was open
/// has an outcome.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_without_a_majority() {
    let mut cluster = Cluster::started(SEGMENT, Timing::default()).await;
    let (leader, term) = cluster.leader().await;
    let acknowledged = cluster.commit_many(0..50, 100).await;
    let followers = cluster.followers(leader);
    for follower in &followers {
        cluster.stop(*follower).await;
    }
    // The first ones are appended, as the leader cannot know yet; later it is sure and refuses.
    let mut open = Vec::new();
    let refused = within(PATIENCE, "a leader without its quorum refuses", async {
        for tag in 100.. {
            let mut told = propose(cluster.node(leader), term, tag, 100).await;
            match tokio::time::timeout(Duration::from_millis(20), &mut told).await {
                Ok(result) => return result.unwrap(),
                Err(_) => open.push((tag, told)),
            }
        }
        unreachable!("tags do not end")
    })
    .await;
    assert!(matches!(refused, Err(ProposeError::NotLeader { .. })), "{refused:?}");
    open.retain_mut(|(tag, told)| match told.try_recv() {
        Ok(result) => {
            assert!(result.is_err(), "{tag} was acknowledged without a quorum");
            false
        }
        Err(_) => true,
    });
    // Another one might lead by now, for all it knows: it gives its term up, and whoever waits need not wait any longer.
    let alone = leadership(cluster.node(leader), "it notices", |now| now.cut_off).await;
    assert_eq!((alone.term, alone.role, alone.ready), (term, Role::Leader, false));
    // Who comes back has less than it, and takes over all the same.
    cluster.start(followers[0]).await;
    let (_, next) = cluster.leader_after(term).await;
    assert!(term < next);
    cluster.commit(9999, 100).await;
    let seen = leadership(cluster.node(leader), "the term is over", |now| now.term == next).await;
    assert!(!seen.cut_off);
    for (_, told) in open {
        let _ = within(PATIENCE, "an outcome", told).await.unwrap();
    }
    cluster.start(followers[1]).await;
    cluster.assert_identical().await;
    cluster.assert_holds(&acknowledged).await;
    cluster.stop_all().await;
}

/// Leadership moves when asked, quickly, and only to another voter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_transferred() {
    let mut cluster = Cluster::started(SEGMENT, CALM).await;
    cluster.settle().await;
    for _ in 0..3 {
        let (from, term) = cluster.leader().await;
        cluster.settle().await;
        let to = cluster.followers(from)[0];
        let since = Instant::now();
        cluster.node(from).transfer_leader(to).await.unwrap();
        assert!(!cluster.node(from).leads(), "the other one may lead already, whatever the lease says");
        let (leader, _) = cluster.leader_after(term).await;
        let took = since.elapsed();
        println!("transferred from {from} to {to} in {took:?}");
        assert_eq!(leader, to);
        assert!(took < CALM.election_min, "an election by timeout is not a transfer: {took:?}");
        // The old leader knows, too.
        leadership(cluster.node(from), "to follow", |now| now.leader == Some(to)).await;
    }
    let (leader, _) = cluster.leader().await;
    for nobody in [leader, 99] {
        let error = cluster.node(leader).transfer_leader(nobody).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
    cluster.stop_all().await;
}

/// A stopped replica's store can be opened at once, by the same process, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_store_is_free_at_once() {
    let mut cluster = Cluster::started(SEGMENT, CALM).await;
    let mut acknowledged = cluster.commit_many(0..20, 100).await;
    for round in 1..=8 {
        let (leader, term) = cluster.leader().await;
        // Under way while it stops.
        let open: Vec<_> =
            join_all((0..20).map(|n| propose(cluster.node(leader), term, round * 100 + n, 2000))).await;
        let nodes = cluster.running();
        for node in &nodes {
            cluster.stop(*node).await;
            cluster.start(*node).await;
        }
        drop(open);
        acknowledged.extend(cluster.commit_many(round * 100 + 50..round * 100 + 60, 100).await);
    }
    cluster.assert_identical().await;
    cluster.assert_holds(&acknowledged).await;
    cluster.stop_all().await;
}

/// A leader that is stopped in order hands over: nobody waits for an election timeout, and no proposer
/// hears that the outcome is unknown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_stopped_hands_over() {
    let mut cluster = Cluster::started(SEGMENT, CALM).await;
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        cluster.settle().await;
        let (leader, term) = cluster.leader().await;
        let mut open = Vec::new();
        for n in 0..100 {
            let tag = round * 1000 + n;
            open.push((tag, propose(cluster.node(leader), term, tag, 2000).await));
        }
        let since = Instant::now();
        cluster.stop(leader).await;
        let (next, _) = cluster.leader_after(term).await;
        let took = since.elapsed();
        println!("node {next} leads {took:?} after node {leader} was asked to stop");
        assert!(took < CALM.election_max, "that is an election by timeout: {took:?}");
        for (tag, told) in open {
            let committed = within(PATIENCE, "a verdict", told).await.unwrap().unwrap();
            acknowledged.push((tag, committed.log_id));
        }
        cluster.start(leader).await;
    }
    cluster.assert_identical().await;
    cluster.assert_holds(&acknowledged).await;
    cluster.stop_all().await;
}

/// A replica that is dropped without being stopped stops by itself, and lets go of its store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_replica_lets_go_of_its_store() {
    let mut cluster = Cluster::started(SEGMENT, CALM).await;
    let acknowledged = cluster.commit_many(0..50, 1000).await;
    for node in [1, 2, 3] {
        cluster.abandon(node);
        within(PATIENCE, "the store is free", async {
            while cluster.try_start(node).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        cluster.assert_identical().await;
    }
    cluster.assert_holds(&acknowledged).await;
    cluster.stop_all().await;
}
