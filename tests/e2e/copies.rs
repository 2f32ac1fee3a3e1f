//! Stores that are put back as they once were.

use std::path::Path;
use std::process::Command;

use crate::failover::same_logs;
use crate::harness::{Cluster, eventually};
use crate::load::Load;

/// Puts a copy of what is at `from` to `to`, which is removed before.
fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    let status = Command::new("cp").args(["-a", "--sparse=always"]).args([from, to]).status().unwrap();
    assert!(status.success());
}

/// Starts a replica, which has an older copy of its store, and waits until it has stopped for that.
async fn is_refused(cluster: &mut Cluster, at: usize) {
    let before = cluster.replicas[at].process.output().len();
    cluster.restart(at);
    let ended = cluster.replicas[at].process.ended().await;
    let output = cluster.replicas[at].process.output().split_off(before);
    assert!(!ended.success() && output.contains("its store is an older copy"), "{output}");
}

/// What was written since the copy is known to the leader who was told of it, and some seconds later to everybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_is_not_used() {
    let mut cluster = Cluster::start().await;
    let load = Load::start(&cluster, "copied").await;
    load.history.progress(100).await;
    let at = (cluster.leader().await + 1) % 3;
    let store = cluster.replicas[at].store.clone();
    let (old, new) = (store.with_extension("old"), store.with_extension("new"));
    cluster.kill(at).await;
    copy(&store, &old);
    cluster.restart(at);
    cluster.caught_up(at).await;
    let copied = cluster.status(at).await.unwrap().applied;
    load.history.progress(100).await;
    cluster.caught_up(at).await;

    // The leader is the same: it knows by itself.
    cluster.kill(at).await;
    copy(&store, &new);
    copy(&old, &store);
    is_refused(&mut cluster, at).await;

    // With what it had, it goes on. When that is witnessed, any of them knows it.
    copy(&new, &store);
    cluster.restart(at);
    cluster.caught_up(at).await;
    let other = (cluster.leader().await + if (cluster.leader().await + 1) % 3 == at { 2 } else { 1 }) % 3;
    eventually("it is witnessed", async || {
        cluster.status(at).await.is_some_and(|now| now.witnessed > copied)
    })
    .await;
    cluster.caught_up(other).await;
    cluster.kill(at).await;
    copy(&store, &new);
    copy(&old, &store);
    let node = cluster.replicas[other].node.to_string();
    cluster.admin(&["transfer", "broker-a", "--to", &node]).await.unwrap();
    let leader = cluster.leader().await;
    assert_eq!(leader, other);
    is_refused(&mut cluster, at).await;

    copy(&new, &store);
    cluster.restart(at);
    cluster.caught_up(at).await;
    load.check(&cluster).await;
    same_logs(cluster).await;
}
