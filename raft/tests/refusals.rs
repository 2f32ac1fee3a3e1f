//! Stores and peers that do not belong to the group.

#![allow(clippy::unwrap_used)]

mod harness;

use std::time::Duration;

use harness::{CALM, Cluster, PATIENCE, leadership, propose, until, within};
use trireme_raft::node::Role;
use trireme_raft::proposal::ProposeError;

const SEGMENT: u64 = 1024 * 1024;

/// A replica of another cluster, group or segment size is not one of ours, and no group is made with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_made_of_equals_only() {
    let mut cluster = Cluster::new(SEGMENT, CALM);
    let sound = cluster.replicas[&3].config.settings.clone();
    let mut others = vec![sound.clone(), sound.clone(), sound.clone()];
    others[0].cluster = "other".into();
    others[1].group = "broker-b".into();
    others[2].segment_bytes = 2 * SEGMENT;
    cluster.start(1).await;
    cluster.start(2).await;
    for (n, settings) in others.into_iter().enumerate() {
        let replica = cluster.replicas.get_mut(&3).unwrap();
        replica.config.settings = settings;
        replica.config.store = replica.config.store.with_file_name(format!("other-{n}"));
        cluster.start(3).await;
        // Long enough for several rounds of asking; there is no event for what must not happen.
        tokio::time::sleep(Duration::from_millis(500)).await;
        for node in [1, 2, 3] {
            let seen = cluster.node(node).leadership().borrow().clone();
            assert_eq!((seen.term, seen.leader, seen.role), (0, None, Role::Learner), "node {node}");
            assert_eq!(cluster.node(node).log().last(), None);
        }
        cluster.stop(3).await;
    }
    let replica = cluster.replicas.get_mut(&3).unwrap();
    replica.config.settings = sound;
    replica.config.store = replica.config.store.with_file_name("node-3");
    cluster.start(3).await;
    cluster.assert_identical().await;
    cluster.stop_all().await;
}

/// A store is opened only as what it was made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_somebody_else_is_refused() {
    let mut cluster = Cluster::started(SEGMENT, CALM).await;
    cluster.settle().await;
    cluster.stop(3).await;
    let sound = cluster.replicas[&3].config.clone();
    let mut others = vec![sound.clone(), sound.clone(), sound.clone(), sound.clone()];
    others[0].settings.cluster = "other".into();
    others[1].settings.group = "broker-b".into();
    others[2].settings.segment_bytes = 2 * SEGMENT;
    others[3].store = cluster.store(2);
    let words = [
        "cluster name is other here and test at the store",
        "group name is broker-b here and broker-a at the store",
        "segment size is 2097152 here and 1048576 at the store",
        "it is node 2, this replica is configured as node 3",
    ];
    cluster.stop(2).await;
    for (config, words) in others.into_iter().zip(words) {
        cluster.replicas.get_mut(&3).unwrap().config = config;
        let error = cluster.try_start(3).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    cluster.replicas.get_mut(&3).unwrap().config = sound.clone();
    // The log without the memory of its votes.
    std::fs::rename(sound.store.join("hardstate"), sound.store.join("lost")).unwrap();
    let error = cluster.try_start(3).await.unwrap_err().to_string();
    assert!(error.contains("its hard state is gone"), "{error}");
    assert!(!sound.store.join("hardstate").exists(), "who is refused leaves nothing behind");
    std::fs::rename(sound.store.join("lost"), sound.store.join("hardstate")).unwrap();
    cluster.start_all().await;
    cluster.assert_identical().await;
    cluster.stop_all().await;
}

/// A replica whose store was replaced by an empty one has forgotten what it promised. Under its old id
/// it is never part of the quorum again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_store_never_counts() {
    replaced_store(3).await;
}

/// Not even when it is the one that makes groups.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_founder_never_counts() {
    replaced_store(1).await;
}

async fn replaced_store(replaced: u64) {
    {
        let mut cluster = Cluster::started(SEGMENT, CALM).await;
        cluster.commit_many(0..20, 100).await;
        cluster.stop(replaced).await;
        std::fs::remove_dir_all(cluster.store(replaced)).unwrap();
        cluster.start(replaced).await;
        // The two that are left go on, and refuse it.
        let acknowledged = {
            let old: Vec<u64> = cluster.running().into_iter().filter(|node| *node != replaced).collect();
            let mut acknowledged = Vec::new();
            for tag in 100..120 {
                let committed = cluster.commit(tag, 100).await;
                acknowledged.push((tag, committed.log_id));
            }
            for node in old {
                cluster.applied(node, acknowledged.last().unwrap().1.index).await;
            }
            acknowledged
        };
        let (leader, term) = cluster.leader().await;
        let other = cluster.followers(leader).into_iter().find(|node| *node != replaced).unwrap();
        cluster.stop(other).await;
        // The leader and the impostor: no quorum.
        let mut open = Vec::new();
        let refused = within(PATIENCE, "the leader refuses", async {
            for tag in 200.. {
                let mut told = propose(cluster.node(leader), term, tag, 100).await;
                match tokio::time::timeout(Duration::from_millis(50), &mut told).await {
                    Ok(result) => return result.unwrap(),
                    Err(_) => open.push(told),
                }
            }
            unreachable!("tags do not end")
        })
        .await;
        assert!(matches!(refused, Err(ProposeError::NotLeader { .. })), "{refused:?}");
        for told in &mut open {
            assert!(!matches!(told.try_recv(), Ok(Ok(_))), "acknowledged by the impostor");
        }
        // And the impostor with the other one: no leader.
        cluster.stop(leader).await;
        cluster.start(other).await;
        tokio::time::sleep(2 * CALM.election_max).await;
        assert!(!cluster.node(other).leadership().borrow().ready);
        let impostor = cluster.node(replaced);
        let seen = impostor.leadership().borrow().clone();
        assert_eq!((seen.term, seen.role), (0, Role::Learner));
        assert_eq!(impostor.log().last(), None);
        // With the other one back there is a group again.
        cluster.start(leader).await;
        cluster.stop(replaced).await;
        cluster.assert_identical().await;
        cluster.assert_holds(&acknowledged).await;
        cluster.stop_all().await;
    }
}

/// A replica comes back at another address; the configuration says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_may_move() {
    let mut cluster = Cluster::started(SEGMENT, CALM).await;
    cluster.commit_many(0..20, 100).await;
    cluster.stop_all().await;
    let port = harness::free_port();
    for replica in cluster.replicas.values_mut() {
        replica.config.peers.insert(3, format!("127.0.0.1:{port}"));
        if replica.config.node == 3 {
            replica.config.listen.set_port(port);
        }
    }
    cluster.start_all().await;
    cluster.assert_identical().await;
    leadership(cluster.node(3), "a leader", |now| now.leader.is_some()).await;
    cluster.stop_all().await;
}

/// A port that is taken is an error before anything runs, and leaves the store free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_told() {
    let mut cluster = Cluster::new(SEGMENT, CALM);
    let listener = std::net::TcpListener::bind(cluster.replicas[&1].config.listen).unwrap();
    let error = cluster.try_start(1).await.unwrap_err().to_string();
    assert!(error.contains("cannot listen for peers on"), "{error}");
    drop(listener);
    cluster.start_all().await;
    cluster.assert_identical().await;
    until("all know the leader", || {
        cluster.running().iter().all(|node| cluster.node(*node).leadership().borrow().leader.is_some())
    })
    .await;
    cluster.stop_all().await;
}
