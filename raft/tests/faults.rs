//! Disks that are slow, full, broken, or lose what was not synced.

#![allow(clippy::unwrap_used)]

mod harness;

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::disk::Trouble;
use harness::{CALM, Cluster, PATIENCE, leadership, propose, stopped, until, within};
use trireme_commitlog::faulty::FaultyDisk;
use trireme_raft::node::Role;
use trireme_raft::proposal::ProposeError;

const SEGMENT: u64 = 256 * 1024;

/// A cluster whose node `n` has the disk `troubles[n - 1]`.
async fn troubled(segment_bytes: u64) -> (Cluster, [Trouble; 3]) {
    let mut cluster = Cluster::new(segment_bytes, CALM);
    let troubles = [Trouble::default(), Trouble::default(), Trouble::default()];
    for (replica, trouble) in cluster.replicas.values_mut().zip(&troubles) {
        replica.disk = Some(trouble.on_disk(&replica.config.store.join("commitlog")));
    }
    cluster.start_all().await;
    (cluster, troubles)
}

fn of(troubles: &[Trouble; 3], node: u64) -> &Trouble {
    &troubles[node as usize - 1]
}

/// A follower without space takes nothing and waits; the group goes on; it catches up when there is
/// space again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_follower_waits_and_catches_up() {
    let (mut cluster, troubles) = troubled(SEGMENT).await;
    let (leader, term) = cluster.leader().await;
    let follower = cluster.followers(leader)[0];
    of(&troubles, follower).set_full(true);
    let acknowledged = cluster.commit_many(0..200, 10_000).await;
    let last = acknowledged.last().unwrap().1;
    let behind = cluster.node(follower).progress();
    assert!(behind.last_log.unwrap().index < last.index, "{behind:?}");
    // Two segments at most: the one it had and the one that was prepared.
    assert!(cluster.node(follower).log().next_physical_offset() <= 2 * SEGMENT);
    assert_eq!(cluster.node(follower).leadership().borrow().role, Role::Follower);
    assert!(!cluster.node(follower).has_room(SEGMENT / 2));
    of(&troubles, follower).set_full(false);
    cluster.applied(follower, last.index).await;
    assert_eq!(cluster.leader().await, (leader, term));
    cluster.assert_identical().await;
    cluster.stop_all().await;
}

/// A leader without space says so before it accepts an entry, keeps leading, and goes on when there is
/// space again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_leader_refuses_in_time() {
    const LENGTH: usize = 10_000;
    let (mut cluster, troubles) = troubled(SEGMENT).await;
    let (leader, term) = cluster.leader().await;
    of(&troubles, leader).set_full(true);
    let mut tags = 0..1000;
    // What is under way is promised more room than it takes: when it has landed, one more may fit.
    while cluster.node(leader).has_room(LENGTH as u64) {
        let mut open = Vec::new();
        // As the sequencer does: many under way, each asked for just before.
        while cluster.node(leader).has_room(LENGTH as u64) {
            let tag = tags.next().expect("there was room for everything");
            open.push(propose(cluster.node(leader), term, tag, LENGTH).await);
        }
        for told in open {
            within(PATIENCE, "what fits is committed", told).await.unwrap().unwrap();
        }
    }
    assert_eq!(cluster.leader().await, (leader, term));
    of(&troubles, leader).set_full(false);
    until("there is room again", || cluster.node(leader).has_room(LENGTH as u64)).await;
    propose(cluster.node(leader), term, 5000, LENGTH).await.await.unwrap().unwrap();
    assert!(!cluster.node(leader).has_room(SEGMENT), "never for more than a segment");
    cluster.assert_identical().await;
    cluster.stop_all().await;
}

/// A replica whose sync fails stops, says so, and acknowledges nothing of what was not synced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_stops_the_replica() {
    let (mut cluster, troubles) = troubled(SEGMENT).await;
    let (leader, _) = cluster.leader().await;
    let mut acknowledged = cluster.commit_many(0..20, 100).await;

    let follower = cluster.followers(leader)[0];
    // A sync that is under way when the disk breaks may still succeed: let there be none.
    cluster.settle().await;
    of(&troubles, follower).set_broken(true);
    let before = cluster.node(follower).log().flushed();
    acknowledged.extend(cluster.commit_many(20..40, 100).await);
    stopped(cluster.node(follower)).await;
    assert_eq!(cluster.node(follower).log().flushed(), before);
    assert!(cluster.node(follower).log().fault().is_some());
    cluster.stop(follower).await;
    of(&troubles, follower).set_broken(false);
    cluster.replicas.get_mut(&follower).unwrap().disk = None;
    cluster.start(follower).await;
    cluster.assert_identical().await;

    let (leader, term) = cluster.leader().await;
    if leader == follower {
        // Its disk is a sound one now.
        cluster.node(leader).transfer_leader(cluster.followers(leader)[0]).await.unwrap();
        cluster.leader_after(term).await;
    }
    let (leader, term) = cluster.leader().await;
    of(&troubles, leader).set_broken(true);
    let mut open = Vec::new();
    for tag in 100..120 {
        open.push(propose(cluster.node(leader), term, tag, 100).await);
    }
    stopped(cluster.node(leader)).await;
    for told in open {
        let result = within(PATIENCE, "a verdict", told).await.unwrap();
        assert!(result.is_err(), "a leader that cannot sync acknowledged {result:?}");
    }
    let told = propose(cluster.node(leader), term, 500, 100).await;
    let result = within(PATIENCE, "a verdict of a stopped replica", told).await.unwrap();
    assert!(matches!(result, Err(ProposeError::NotLeader { .. })), "{result:?}");
    cluster.stop(leader).await;
    let (_, _) = cluster.leader_after(term).await;
    cluster.replicas.get_mut(&leader).unwrap().disk = None;
    cluster.start(leader).await;
    cluster.assert_identical().await;
    cluster.assert_holds(&acknowledged).await;
    cluster.stop_all().await;
}

/// An entry that no follower could sync is on the leader's disk alone, whatever was written where.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_to_sync_does_not_count() {
    let (mut cluster, troubles) = troubled(SEGMENT).await;
    cluster.settle().await;
    let (leader, term) = cluster.leader().await;
    let followers = cluster.followers(leader);
    followers.iter().for_each(|follower| of(&troubles, *follower).set_broken(true));
    let mut told = propose(cluster.node(leader), term, 1, 100).await;
    for follower in followers {
        stopped(cluster.node(follower)).await;
    }
    assert!(!matches!(told.try_recv(), Ok(Ok(_))), "acknowledged by one disk of three");
    assert!(cluster.echo(leader).records().iter().all(|record| record.tag != 1));
    cluster.stop_all().await;
}

/// Followers whose syncs take longer than an election timeout, and a leader that sends them large
/// entries: nobody is deposed, and nothing is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_wait_neither_for_disks_nor_for_bulk() {
    const LENGTH: usize = 1024 * 1024;
    let (mut cluster, troubles) = troubled(8 * 1024 * 1024).await;
    let (leader, term) = cluster.leader().await;
    for follower in cluster.followers(leader) {
        of(&troubles, follower).set_delay(CALM.election_max + Duration::from_millis(200));
    }
    let since = Instant::now();
    let mut open = Vec::new();
    for tag in 0..5 {
        open.push(propose(cluster.node(leader), term, tag, LENGTH).await);
    }
    for told in open {
        within(PATIENCE, "a slow commit", told).await.unwrap().unwrap();
    }
    assert!(CALM.election_max < since.elapsed(), "the disks were not slow");
    // Still accepted at once: the leader's lease did not run out meanwhile.
    let told = propose(cluster.node(leader), term, 100, 100).await;
    within(PATIENCE, "a slow commit", told).await.unwrap().unwrap();
    for node in cluster.running() {
        assert_eq!(cluster.node(node).leadership().borrow().term, term, "node {node} saw another term");
    }
    troubles.iter().for_each(|trouble| trouble.set_delay(Duration::ZERO));
    cluster.assert_identical().await;
    cluster.stop_all().await;
}

/// Power cuts of all replicas at once, under load: of what was not synced, a part is kept and a part is
/// lost, differently everywhere. Nothing that was acknowledged is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cuts_lose_nothing_acknowledged() {
    let mut cluster = Cluster::new(SEGMENT, CALM);
    let disks = [FaultyDisk::new(), FaultyDisk::new(), FaultyDisk::new()];
    let mut acknowledged = Vec::new();
    for round in 0..4_u64 {
        for (replica, disk) in cluster.replicas.values_mut().zip(&disks) {
            replica.disk = Some(disk.handle());
        }
        cluster.start_all().await;
        let (leader, term) = cluster.leader().await;
        cluster.settle().await;
        cluster.assert_holds(&acknowledged).await;
        let mut open = Vec::new();
        for n in 0..400 {
            let tag = round * 10_000 + n;
            open.push((tag, propose(cluster.node(leader), term, tag, 700).await));
            if n % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
        // Wait for some, so that the cut comes in the middle of the others.
        let mut open = open.into_iter();
        for (tag, told) in open.by_ref().take(50) {
            if let Ok(committed) = within(PATIENCE, "a commit", told).await.unwrap() {
                acknowledged.push((tag, committed.log_id));
            }
        }
        for (n, disk) in disks.iter().enumerate() {
            disk.crash((round > 0).then_some(round * 3 + n as u64));
        }
        cluster.stop_all().await;
        for (tag, told) in open {
            if let Ok(committed) = told.await.unwrap() {
                acknowledged.push((tag, committed.log_id));
            }
        }
    }
    for (replica, disk) in cluster.replicas.values_mut().zip(&disks) {
        replica.disk = Some(disk.handle());
    }
    cluster.start_all().await;
    cluster.assert_identical().await;
    cluster.assert_holds(&acknowledged).await;
    cluster.stop_all().await;
}

/// An entry is committed by the followers while the leader's disk is stuck, and the leader's power fails.
/// It must not come back as the leader of the same term: it would give the entry's log id away again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_lost_its_tail_does_not_resume_its_term() {
    let mut cluster = Cluster::new(SEGMENT, CALM);
    let disks = [FaultyDisk::new(), FaultyDisk::new(), FaultyDisk::new()];
    let troubles = [Trouble::default(), Trouble::default(), Trouble::default()];
    for (n, replica) in cluster.replicas.values_mut().enumerate() {
        replica.disk = Some(troubles[n].on(disks[n].handle()));
    }
    cluster.start_all().await;
    cluster.settle().await;
    let (leader, term) = cluster.leader().await;
    of(&troubles, leader).hold(true);
    let told = propose(cluster.node(leader), term, 77, 500).await;
    for follower in cluster.followers(leader) {
        until("the followers commit", || cluster.echo(follower).records().iter().any(|r| r.tag == 77)).await;
    }
    let applied = cluster.echo(leader).records().iter().any(|record| record.tag == 77);
    assert!(!applied, "what is not on the disk is not applied");
    disks[leader as usize - 1].crash(None);
    of(&troubles, leader).hold(false);
    // By itself: nobody is asked to take over, and the others still wait for it when it is back.
    stopped(cluster.node(leader)).await;
    cluster.stop(leader).await;
    let result = told.await.unwrap();
    assert!(matches!(result, Err(ProposeError::Unknown { .. })), "{result:?}");
    cluster.replicas.get_mut(&leader).unwrap().disk = Some(disks[leader as usize - 1].handle());
    cluster.start(leader).await;
    let (_, next) = cluster.leader_after(term).await;
    assert!(term < next);
    cluster.assert_identical().await;
    let tags: Vec<u64> = cluster.echo(leader).records().iter().map(|record| record.tag).collect();
    assert!(tags.contains(&77), "{tags:?}");
    cluster.stop_all().await;
}

/// The disk behind `Arc<dyn LogDir>` can be anything; two replicas never share one by mistake.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_in_use_is_refused() {
    let mut cluster = Cluster::started(SEGMENT, CALM).await;
    let config = cluster.replicas[&1].config.clone();
    let second = trireme_raft::node::Store::open(&config, 1);
    let error = second.err().expect("the first one is open").to_string();
    assert!(error.contains("commitlog"), "{error}");
    let other = Arc::new(config);
    cluster.stop(1).await;
    drop(trireme_raft::node::Store::open(&other, 1).unwrap());
    cluster.start(1).await;
    cluster.stop_all().await;
}

/// Who is to take over may be the one whose disk stands still: the other one does, and nobody waits for an election timeout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_disk_stands_still_holds_up_no_hand_over() {
    let (mut cluster, troubles) = troubled(SEGMENT).await;
    for round in 0..4 {
        cluster.settle().await;
        let (leader, term) = cluster.leader().await;
        let followers = cluster.followers(leader);
        let (stuck, free) = (followers[round % 2], followers[1 - round % 2]);
        for follower in [stuck, free] {
            of(&troubles, follower).hold(true);
        }
        let told = propose(cluster.node(leader), term, round as u64, 1000).await;
        let since = Instant::now();
        let stopping = cluster.node(leader).clone();
        let handed_over = tokio::spawn(async move { stopping.hand_over().await });
        leadership(cluster.node(leader), "to give up", |now| !now.ready).await;
        of(&troubles, free).hold(false);
        let (next, _) = cluster.leader_after(term).await;
        assert_eq!(next, free);
        let took = since.elapsed();
        assert!(took < CALM.election_max, "that is an election by timeout: {took:?}");
        handed_over.await.unwrap();
        of(&troubles, stuck).hold(false);
        within(PATIENCE, "a verdict", told).await.unwrap().unwrap();
    }
    cluster.assert_identical().await;
    cluster.stop_all().await;
}
