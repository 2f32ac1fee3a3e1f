//! Trimming, and replicas that need what was trimmed.

#![allow(clippy::unwrap_used)]

mod harness;

use std::fs;

use harness::{CALM, Cluster, first_index, until};
use trireme_raft::config::Timing;

/// The smallest that there is: a few dozen entries fill one.
const SEGMENT: u64 = 64 * 1024;
const LENGTH: usize = 1000;

/// Writes several segments while `absent` is stopped, and trims the others so that it needs a
/// checkpoint. Returns where the log starts now.
async fn trim_past(cluster: &mut Cluster, absent: u64) -> u64 {
    cluster.commit_many(0..100, LENGTH).await;
    cluster.settle().await;
    cluster.stop(absent).await;
    cluster.commit_many(100..500, LENGTH).await;
    cluster.settle().await;
    let (leader, _) = cluster.leader().await;
    let points = cluster.node(leader).trim_points().unwrap();
    let start = points[points.len() - 2];
    for node in cluster.running() {
        assert_eq!(cluster.node(node).trim_points().unwrap(), points, "recorded by every replica");
        cluster.node(node).trim(start).await.unwrap();
        assert_eq!(cluster.node(node).log().min_physical_offset(), start);
        assert_eq!(cluster.node(node).trim_points().unwrap()[0], start);
        let kept = (points.last().unwrap() - start) / SEGMENT + 1;
        let files = || fs::read_dir(cluster.store(node).join("commitlog")).unwrap();
        let segments =
            || files().filter(|f| f.as_ref().unwrap().path().extension().is_some_and(|e| e == "log"));
        // One more may be prepared for the future.
        until("the files go", || segments().count() as u64 <= kept + 1).await;
    }
    start
}

/// A replica that needs trimmed entries installs the checkpoint and gets the rest by replication; so
/// does every restart after that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_far_behind_starts_from_the_checkpoint() {
    let mut cluster = Cluster::started(SEGMENT, CALM).await;
    let (leader, _) = cluster.leader().await;
    let absent = cluster.followers(leader)[0];
    let start = trim_past(&mut cluster, absent).await;

    cluster.start(absent).await;
    cluster.assert_identical().await;
    assert_eq!(cluster.echo(absent).restored(), 1);
    assert_eq!(cluster.node(absent).log().min_physical_offset(), start);
    let (leader, _) = cluster.leader().await;
    assert_eq!(first_index(cluster.node(absent)), first_index(cluster.node(leader)));
    // Its own old checkpoints are of no use any more; the next trim takes them away.
    cluster.node(absent).trim(start).await.unwrap();
    assert_eq!(cluster.node(absent).trim_points().unwrap()[0], start);

    for node in [1, 2, 3] {
        cluster.stop(node).await;
        cluster.start(node).await;
        cluster.assert_identical().await;
        assert_eq!(cluster.echo(node).restored(), 1, "nothing else is saved");
    }
    cluster.stop_all().await;
    cluster.start_all().await;
    cluster.commit_many(1000..1100, LENGTH).await;
    cluster.assert_identical().await;
    cluster.stop_all().await;
}

/// A crash after the checkpoint was saved and before the log started over: the start finishes what was
/// begun, without anybody's help.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_install_that_was_cut_short_is_finished_at_the_next_start() {
    let mut cluster = Cluster::started(SEGMENT, CALM).await;
    let (leader, _) = cluster.leader().await;
    let absent = cluster.followers(leader)[0];
    let start = trim_past(&mut cluster, absent).await;
    let trimmed = cluster.node(leader).log().trimmed();
    let (_, term) = cluster.leader().await;
    cluster.stop_all().await;

    // What `install_snapshot` does first.
    let name = format!("checkpoints/{start:020}.checkpoint");
    let from = cluster.store(leader).join(&name);
    fs::copy(from, cluster.store(absent).join(&name)).unwrap();
    cluster.start(absent).await;
    assert_eq!(cluster.node(absent).log().trimmed(), trimmed);
    assert_eq!(cluster.node(absent).log().min_physical_offset(), start);
    assert_eq!(cluster.node(absent).applied().borrow().unwrap(), trimmed.unwrap());
    assert_eq!(cluster.echo(absent).restored(), 1);

    // A second crash, in a log that has only started over.
    cluster.stop(absent).await;
    cluster.start(absent).await;
    assert_eq!(cluster.node(absent).log().trimmed(), trimmed);
    cluster.start_all().await;
    cluster.leader_after(term).await;
    cluster.assert_identical().await;
    cluster.stop_all().await;
}

/// Trimming goes to recorded checkpoints only, and never back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trimming_is_refused_or_done_once() {
    let mut cluster = Cluster::started(SEGMENT, Timing { ..CALM }).await;
    cluster.commit_many(0..300, LENGTH).await;
    cluster.settle().await;
    let (leader, _) = cluster.leader().await;
    let node = cluster.node(leader);
    let points = node.trim_points().unwrap();
    assert!(points.iter().all(|at| at.is_multiple_of(SEGMENT)) && points.len() >= 3, "{points:?}");
    for nowhere in [0, points[0] + 8, 100 * SEGMENT] {
        assert_eq!(node.trim(nowhere).await.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    }
    let (first, second) = tokio::join!(node.trim(points[1]), node.trim(points[2]));
    first.and(second).unwrap();
    assert_eq!(node.log().min_physical_offset(), points[2]);
    assert_eq!(node.trim_points().unwrap(), points[2..]);
    node.trim(points[2]).await.unwrap();
    // Left over by a crash between the trim and the removal.
    let store = cluster.store(leader);
    let of = |at: u64| store.join(format!("checkpoints/{at:020}.checkpoint"));
    fs::copy(of(points[2]), of(points[1])).unwrap();
    node.trim(points[1]).await.unwrap();
    assert_eq!(node.log().min_physical_offset(), points[2], "not back");
    assert_eq!(node.trim_points().unwrap(), points[2..]);
    cluster.assert_identical().await;

    // Without its start's checkpoint a log is of no use: the replica says so instead of voting.
    cluster.stop(leader).await;
    let mut bytes = fs::read(of(points[2])).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(of(points[2]), bytes).unwrap();
    let error = cluster.try_start(leader).await.unwrap_err().to_string();
    assert!(error.contains("checksum is wrong"), "{error}");
    cluster.settle().await;
    cluster.stop_all().await;
}
