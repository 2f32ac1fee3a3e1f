//! Replicas of two releases in one group: an upgrade, one replica after the other, under load.

use std::path::PathBuf;

use trireme_broker::config::{NEWEST_VERSION, OLDEST_VERSION};

use crate::failover::same_logs;
use crate::harness::{Cluster, Options, eventually};
use crate::load::Load;

/// What the release before reads: its own program, if there is one in `TRIREME_E2E_OLD`, and its version in
/// `TRIREME_E2E_OLD_VERSION`.
const BEFORE: u32 = NEWEST_VERSION - 1;

fn old_program() -> Option<PathBuf> {
    std::env::var_os("TRIREME_E2E_OLD").map(Into::into)
}

fn old_version() -> u32 {
    let told = std::env::var("TRIREME_E2E_OLD_VERSION").ok();
    told.map_or(BEFORE, |text| text.parse().expect("TRIREME_E2E_OLD_VERSION is a number"))
}

/// What makes this program one of an old release.
fn as_of(version: u32) -> [String; 2] {
    ["--format-version".to_owned(), version.to_string()]
}

/// A replica's next start is one of the old release.
fn downgrade(cluster: &mut Cluster, at: usize, version: u32) {
    let process = &mut cluster.replicas[at].process;
    let mut args = process.args().to_vec();
    let program = old_program();
    if program.is_none() {
        args.extend(as_of(version));
    }
    process.change(program.as_deref(), args);
}

/// A replica's next start is one of this release.
fn upgrade(cluster: &mut Cluster, at: usize) {
    let process = &mut cluster.replicas[at].process;
    let mut args = process.args().to_vec();
    if let Some(old) = args.iter().position(|arg| arg == "--format-version") {
        args.truncate(old);
    }
    process.change(None, args);
}

/// Waits until the group writes this version, and all of its replicas know.
async fn writes(cluster: &Cluster, version: u32) {
    eventually(&format!("the group writes version {version}"), async || {
        let asked = (0..3).map(|at| cluster.status(at));
        let told = futures_util::future::join_all(asked).await;
        told.iter()
            .all(|status| status.as_ref().is_some_and(|told| told.format_version == u64::from(version)))
    })
    .await;
}

/// A cluster of an old release.
async fn old_cluster(version: u32) -> Cluster {
    match old_program() {
        None => Cluster::start_with(Options { args: as_of(version).into(), ..Options::default() }).await,
        Some(_) => Cluster::start_of(Options::default(), old_program().as_deref()).await,
    }
}

/// The old ones stop in order and start again as new ones, one after the other; one goes back once more, since it still can.
/// When all are new, and not before, the group writes the new formats, and none can go back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgraded_one_by_one() {
    upgrade_all_from(old_version()).await;
}

/// Also from the oldest formats, if no old program is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgraded_from_the_oldest() {
    if old_program().is_none() {
        upgrade_all_from(OLDEST_VERSION).await;
    }
}

async fn upgrade_all_from(version: u32) {
    let mut cluster = old_cluster(version).await;
    let load = Load::start(&cluster, "upgraded").await;
    writes(&cluster, version).await;
    load.history.progress(100).await;
    let leader = cluster.leader().await;
    let (first, second) = ((leader + 1) % 3, (leader + 2) % 3);
    for (at, is_new) in [(first, true), (first, false), (first, true), (second, true)] {
        cluster.replicas[at].process.stop().await;
        match is_new {
            true => upgrade(&mut cluster, at),
            false => downgrade(&mut cluster, at, version),
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
    // One of them is old.
    writes(&cluster, version).await;

    cluster.replicas[old].process.stop().await;
    upgrade(&mut cluster, old);
    cluster.restart(old);
    writes(&cluster, NEWEST_VERSION).await;
    load.history.progress(100).await;
    cluster.caught_up(old).await;
    // What a stop saves is of that version.
    cluster.replicas[old].process.stop().await;
    downgrade(&mut cluster, old, version);
    cluster.restart(old);
    let ended = cluster.replicas[old].process.ended().await;
    let output = cluster.replicas[old].process.output();
    let words = [format!("version is {NEWEST_VERSION}"), format!("formats of version {NEWEST_VERSION}")];
    assert!(!ended.success() && words.iter().any(|words| output.contains(words)), "{output}");
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
    writes(&cluster, NEWEST_VERSION).await;
    let at = (cluster.leader().await + 1) % 3;
    let old = cluster.replicas[at].node;
    cluster.kill(at).await;
    std::fs::remove_dir_all(&cluster.replicas[at].store).unwrap();
    cluster.renew(at, 4);
    downgrade(&mut cluster, at, BEFORE);
    cluster.restart(at);
    cluster.serves(at).await;
    let replica = &cluster.replicas[at];
    let (old, addr) = (old.to_string(), format!("{}/{}", replica.addr, replica.peer_addr));
    let replace = ["replica", "replace", "broker-a", "--old", &old, "--node", "4", "--addr", &addr];
    let words = cluster.admin(&replace).await.unwrap_err();
    assert!(
        words.contains(&format!("formats of version {NEWEST_VERSION}")) && words.contains("node 4"),
        "{words}"
    );
    cluster.kill(at).await;
    upgrade(&mut cluster, at);
    cluster.restart(at);
    cluster.serves(at).await;
    cluster.admin(&replace).await.unwrap();
    cluster.caught_up(at).await;
    same_logs(cluster).await;
}
