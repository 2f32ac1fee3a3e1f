//! Replicas of two releases in one group: an upgrade, one replica after the other, under load.

use std::path::PathBuf;

use crate::failover::same_logs;
use crate::harness::{Cluster, Options, eventually};
use crate::load::Load;

/// What makes a replica one of the release before: its own program, if there is one, or that it reads no newer formats.
const OLD: [&str; 2] = ["--format-version", "1"];

fn old_program() -> Option<PathBuf> {
    std::env::var_os("TRIREME_E2E_OLD").map(Into::into)
}

/// A replica's next start is one of the old release.
fn downgrade(cluster: &mut Cluster, at: usize) {
    let process = &mut cluster.replicas[at].process;
    let mut args = process.args().to_vec();
    let program = old_program();
    if program.is_none() {
        args.extend(OLD.map(str::to_owned));
    }
    process.change(program.as_deref(), args);
}

/// A replica's next start is one of this release.
fn upgrade(cluster: &mut Cluster, at: usize) {
    let process = &mut cluster.replicas[at].process;
    let mut args = process.args().to_vec();
    if args.ends_with(&OLD.map(str::to_owned)) {
        args.truncate(args.len() - OLD.len());
    }
    process.change(None, args);
}

async fn format_versions(cluster: &Cluster) -> Option<Vec<u64>> {
    let asked = (0..3).map(|at| cluster.status(at));
    let told = futures_util::future::join_all(asked).await;
    told.into_iter().map(|status| Some(status?.format_version)).collect()
}

/// A cluster of the old release.
async fn old_cluster() -> Cluster {
    match old_program() {
        None => {
            Cluster::start_with(Options { args: OLD.map(str::to_owned).into(), ..Options::default() }).await
        }
        Some(_) => Cluster::start_of(Options::default(), old_program().as_deref()).await,
    }
}

/// The old ones stop in order and start again as new ones, one after the other; one goes back once more, since it still can.
/// When all are new, and not before, the group writes the new formats, and none can go back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgraded_one_by_one() {
    let mut cluster = old_cluster().await;
    let load = Load::start(&cluster, "upgraded").await;
    load.history.progress(100).await;
    let leader = cluster.leader().await;
    let (first, second) = ((leader + 1) % 3, (leader + 2) % 3);
    for (at, is_new) in [(first, true), (first, false), (first, true), (second, true)] {
        cluster.replicas[at].process.stop().await;
        match is_new {
            true => upgrade(&mut cluster, at),
            false => downgrade(&mut cluster, at),
        }
        cluster.restart(at);
        cluster.caught_up(at).await;
        load.history.progress(100).await;
    }
    // A new one leads old ones: what it writes they read.
    let old = leader;
    cluster.replicas[old].process.stop().await;
    cluster.restart(old);
    cluster.caught_up(old).await;
    assert_ne!(cluster.leader().await, old);
    load.history.progress(300).await;
    assert_eq!(format_versions(&cluster).await, Some(vec![1; 3]), "one of them is old");

    cluster.replicas[old].process.stop().await;
    upgrade(&mut cluster, old);
    cluster.restart(old);
    eventually("the group writes version 2", async || format_versions(&cluster).await == Some(vec![2; 3]))
        .await;
    load.history.progress(100).await;
    cluster.caught_up(old).await;
    // What a stop saves is of version 2.
    cluster.replicas[old].process.stop().await;
    downgrade(&mut cluster, old);
    cluster.restart(old);
    let ended = cluster.replicas[old].process.ended().await;
    let output = cluster.replicas[old].process.output();
    assert!(
        !ended.success() && output.contains("version is 2") | output.contains("formats of version 2"),
        "{output}"
    );
    upgrade(&mut cluster, old);
    cluster.restart(old);
    cluster.caught_up(old).await;
    load.check(&cluster).await;
    same_logs(cluster).await;
}

/// A replica that cannot read what the group writes is not taken in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_too_old_is_not_taken_in() {
    let mut cluster = Cluster::start().await;
    eventually("the group writes version 2", async || format_versions(&cluster).await == Some(vec![2; 3]))
        .await;
    let at = (cluster.leader().await + 1) % 3;
    let old = cluster.replicas[at].node;
    cluster.kill(at).await;
    std::fs::remove_dir_all(&cluster.replicas[at].store).unwrap();
    cluster.renew(at, 4);
    downgrade(&mut cluster, at);
    cluster.restart(at);
    cluster.serves(at).await;
    let replica = &cluster.replicas[at];
    let (old, addr) = (old.to_string(), format!("{}/{}", replica.addr, replica.peer_addr));
    let replace = ["replica", "replace", "broker-a", "--old", &old, "--node", "4", "--addr", &addr];
    let words = cluster.admin(&replace).await.unwrap_err();
    assert!(words.contains("formats of version 2") && words.contains("node 4"), "{words}");
    cluster.kill(at).await;
    upgrade(&mut cluster, at);
    cluster.restart(at);
    cluster.serves(at).await;
    cluster.admin(&replace).await.unwrap();
    cluster.caught_up(at).await;
    same_logs(cluster).await;
}
