//! Replicas that are lost for good, and those that take their place, under load.

use crate::failover::same_logs;
use crate::harness::{Cluster, eventually};
use crate::load::Load;

/// What `trireme admin replica list` says: numbers of voters, and of learners.
async fn members(cluster: &Cluster) -> (Vec<u64>, Vec<u64>) {
    let told = cluster.admin(&["replica", "list", "broker-a"]).await.unwrap();
    let rows: Vec<Vec<&str>> = told.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    let with = |learns: bool| {
        let these = rows.iter().filter(move |row| (row[1] == "learner") == learns);
        these.map(|row| row[0].parse().unwrap()).collect()
    };
    assert_eq!(rows.iter().filter(|row| row[1] == "leader").count(), 1, "{told}");
    (with(false), with(true))
}

/// The order for the replica that is to come in at a place.
fn replace(cluster: &Cluster, at: usize, old: u64) -> impl Future<Output = Result<String, String>> + use<> {
    let replica = &cluster.replicas[at];
    let (old, new) = (old.to_string(), replica.node.to_string());
    let addr = format!("{}/{}", replica.addr, replica.peer_addr);
    cluster.admin(&["replica", "replace", "broker-a", "--old", &old, "--node", &new, "--addr", &addr])
}

/// The machine of the leader is gone, then that of a follower; each time another one takes its place, at its address.
/// After that the group is as good as new: it can lose one of the first three.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replaced_under_load() {
    let mut cluster = Cluster::start().await;
    let load = Load::start(&cluster, "replaced").await;
    let leader = cluster.leader().await;
    for (at, node) in [(leader, 4), ((leader + 1) % 3, 5)] {
        load.history.progress(100).await;
        let old = cluster.replicas[at].node;
        cluster.kill(at).await;
        std::fs::remove_dir_all(&cluster.replicas[at].store).unwrap();
        cluster.renew(at, node);
        load.history.progress(50).await;
        let words = replace(&cluster, at, old).await.unwrap_err();
        assert!(words.contains(&format!("replica {node} at")) && words.contains("is it started"), "{words}");
        cluster.restart(at);
        cluster.serves(at).await;
        let told = replace(&cluster, at, old).await.unwrap();
        assert!(told.lines().count() == 4, "{told}");
        let (voters, learners) = members(&cluster).await;
        assert!(voters.contains(&node) && !voters.contains(&old) && learners.is_empty(), "{voters:?}");
        cluster.caught_up(at).await;
        // Asked again, it is so already.
        assert_eq!(replace(&cluster, at, old).await.unwrap(), told);
    }
    // The one that is left of the first three goes: the new ones are a majority.
    let first = (leader + 2) % 3;
    cluster.kill(first).await;
    load.history.progress(100).await;
    cluster.restart(first);
    // Whoever came in later is known from the membership alone.
    for at in [leader, (leader + 1) % 3] {
        cluster.kill(at).await;
        load.history.progress(50).await;
        cluster.restart(at);
        cluster.caught_up(at).await;
    }
    load.check(&cluster).await;
    same_logs(cluster).await;
}

/// A replica that is removed stops, also when it was away; the leader too. What would leave no majority is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removed_and_added() {
    let mut cluster = Cluster::start().await;
    let load = Load::start(&cluster, "removed").await;
    let leader = cluster.leader().await;
    let (at, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let gone = cluster.replicas[at].node;
    cluster.kill(at).await;
    load.history.progress(50).await;
    let words = cluster
        .admin(&["replica", "remove", "broker-a", "--node", &cluster.replicas[other].node.to_string()])
        .await
        .unwrap_err();
    assert!(words.contains("no majority"), "{words}");
    cluster.admin(&["replica", "remove", "broker-a", "--node", &gone.to_string()]).await.unwrap();
    load.history.progress(50).await;
    // It comes back, and hears of it.
    cluster.restart(at);
    let ended = cluster.replicas[at].process.ended().await;
    assert_eq!(ended.code(), Some(1));
    let output = cluster.replicas[at].process.output();
    assert!(output.contains("this replica was removed from its group"), "{output}");
    // Its number is free, its store is not.
    cluster.renew(at, 4);
    cluster.restart(at);
    cluster.serves(at).await;
    let addr = format!("{}/{}", cluster.replicas[at].addr, cluster.replicas[at].peer_addr);
    cluster.admin(&["replica", "add", "broker-a", "--node", "4", "--addr", &addr]).await.unwrap();
    assert_eq!(members(&cluster).await.0.len(), 3);
    load.history.progress(50).await;
    // The leader goes while it leads.
    let leader = cluster.leader().await;
    let node = cluster.replicas[leader].node;
    cluster.admin(&["replica", "remove", "broker-a", "--node", &node.to_string()]).await.unwrap();
    assert_eq!(cluster.replicas[leader].process.ended().await.code(), Some(1));
    let (voters, _) = members(&cluster).await;
    assert!(voters.len() == 2 && !voters.contains(&node), "{voters:?}");
    load.history.progress(50).await;
    let admin = cluster.client().admin();
    let addr = cluster.replicas[leader].addr.to_string();
    eventually("the name server forgets it", async || {
        let Ok(info) = admin.cluster_info().await else { return false };
        !info.broker_addr_table["broker-a"].broker_addrs.values().any(|listed| *listed == addr)
    })
    .await;
    cluster.renew(leader, 5);
    cluster.restart(leader);
    cluster.serves(leader).await;
    let addr = format!("{}/{}", cluster.replicas[leader].addr, cluster.replicas[leader].peer_addr);
    cluster.admin(&["replica", "add", "broker-a", "--node", "5", "--addr", &addr]).await.unwrap();
    load.check(&cluster).await;
    same_logs(cluster).await;
}

/// The leader is killed while a replica is replaced, at whatever stage that is: the one command is enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replaced_while_the_leader_is_killed() {
    let mut cluster = Cluster::start().await;
    let load = Load::start(&cluster, "both").await;
    for node in 4..8 {
        load.history.progress(50).await;
        let leader = cluster.leader().await;
        let at = (leader + 1) % 3;
        let old = cluster.replicas[at].node;
        cluster.kill(at).await;
        std::fs::remove_dir_all(&cluster.replicas[at].store).unwrap();
        cluster.renew(at, node);
        cluster.restart(at);
        cluster.serves(at).await;
        let command = tokio::spawn(replace(&cluster, at, old));
        eventually("it is taken in", async || {
            let told = cluster.admin(&["replica", "list", "broker-a"]).await.unwrap_or_default();
            told.lines().any(|line| line.split_whitespace().next() == Some(&node.to_string()))
        })
        .await;
        println!("replica {node} was a voter already: {}", members(&cluster).await.0.contains(&node));
        cluster.kill(leader).await;
        cluster.restart(leader);
        command.await.unwrap().unwrap();
        let (voters, learners) = members(&cluster).await;
        assert!(voters.contains(&node) && !voters.contains(&old) && learners.is_empty(), "{voters:?}");
        cluster.caught_up(at).await;
    }
    load.check(&cluster).await;
    same_logs(cluster).await;
}
