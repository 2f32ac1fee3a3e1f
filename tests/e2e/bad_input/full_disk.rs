//! A disk without room: messages are refused, what is stored is served, and all goes on when there is room again.

use std::time::Instant;

use trireme_chaos::history::{Attempt, Id, Outcome};
use trireme_chaos::outcome;
use trireme_client::MessageQueue;

use crate::checks::check;
use crate::harness::{Cluster, Disk, Options, eventually, until};
use crate::wire;

const TOPIC: &str = "much";
const DISK_BYTES: u64 = 96 << 20;
const RESERVE_BYTES: u64 = 8 << 20;
/// Somebody else's file, which can be removed.
const BALLAST_BYTES: usize = 24 << 20;

/// Sends to one queue, and keeps account.
struct Sender<'a> {
    cluster: &'a Cluster,
    queue: MessageQueue,
    attempts: Vec<Attempt>,
}

impl<'a> Sender<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        Self { cluster, queue: MessageQueue::new(TOPIC, "broker-a", 0), attempts: Vec::new() }
    }

    /// Sends one message. Errors: the words of a refusal, or that there is no answer, as for a message that was
    /// taken just before the disk was full.
    async fn send(&mut self, bytes: usize) -> Result<(), String> {
        let id = Id { client: 0, seq: u32::try_from(self.attempts.len()).unwrap() };
        let request = wire::send_request(&self.queue, id.body(bytes), "");
        let started = Instant::now();
        let leader = self.cluster.leader().await;
        let answer = wire::ask(&self.cluster.remote, self.cluster.replicas[leader].addr, request).await;
        let said = match &answer {
            Ok(answer) => format!("code {}: {:?}", answer.code, answer.remark),
            Err(error) => error.to_string(),
        };
        let outcome = outcome::of_request(&self.queue, answer).unwrap();
        let is_acked = matches!(outcome, Outcome::Acked(_));
        self.attempts.push(Attempt::once(id, started, outcome));
        if is_acked { Ok(()) } else { Err(said) }
    }

    /// Sends until a message is refused, and returns the words.
    async fn send_until_refused(&mut self, bytes: usize) -> String {
        until("a message is refused", async || {
            self.send(bytes).await.err().filter(|said| said.starts_with("code 14"))
        })
        .await
    }

    /// Sends so many messages, each until it is taken.
    async fn send_all(&mut self, count: usize) {
        for _ in 0..count {
            eventually("a message is taken", async || self.send(100_000).await.is_ok()).await;
        }
    }

    /// While the disk is full, every replica serves what it has, and the leader has all that was acknowledged.
    async fn reads_go_on(&self) {
        let leader = self.cluster.leader().await;
        for at in (0..3).filter(|at| *at != leader).chain([leader]) {
            let addr = self.cluster.replicas[at].addr;
            let contents =
                wire::pull_all(&self.cluster.remote, addr, std::slice::from_ref(&self.queue)).await;
            assert!(contents[&self.queue].len() > 10, "replica {}", at + 1);
            if at == leader {
                check(&self.attempts, &contents).unwrap();
            }
        }
    }

    /// What was acknowledged is there, at every replica, and nothing that was refused.
    async fn check(&self) {
        self.cluster.converged(0).await;
        for replica in &self.cluster.replicas {
            let queues = [self.queue.clone()];
            let contents = wire::pull_all(&self.cluster.remote, replica.addr, &queues).await;
            let summary = check(&self.attempts, &contents).unwrap();
            assert!(summary.acked > 10, "{summary}");
        }
    }
}

/// A cluster whose replicas share a small disk, on which so much should stay free, with a topic of one queue. `None`, and it
/// is told why, where no disk can be mounted.
async fn on_small_disk(trim_bytes: u64) -> Option<(Disk, Cluster)> {
    let disk = match Disk::mount(DISK_BYTES) {
        Ok(disk) => disk,
        Err(reason) => {
            println!("skipped: no disk can be mounted here: {reason}");
            return None;
        }
    };
    let (reserve, trim) = (RESERVE_BYTES.to_string(), trim_bytes.to_string());
    let room = ["--disk-reserve-bytes", &reserve, "--disk-trim-bytes", &trim];
    let args = room.into_iter().chain(["--max-message-bytes", "131072"]).map(str::to_owned).collect();
    let stores = Some(disk.path().to_owned());
    let options = Options { segment_bytes: 1280 << 10, stores, args, ..Options::default() };
    let cluster = Cluster::start_with(options).await;
    cluster.topic(TOPIC, 1).await;
    Some((disk, cluster))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_recovers() {
    // Nothing goes to make room.
    let Some((disk, mut cluster)) = on_small_disk(0).await else { return };
    let mut sender = Sender::new(&cluster);

    // Messages alone fill the disk up to the reserve.
    let ballast = disk.fill(BALLAST_BYTES);
    let refused = sender.send_until_refused(100_000).await;
    assert!(refused.contains("no room"), "{refused}");
    sender.reads_go_on().await;
    std::fs::remove_file(&ballast).unwrap();
    eventually("there is room again", async || sender.send(1_000).await.is_ok()).await;

    // Somebody else takes all that is left, while messages come in.
    let ballast = disk.fill(usize::MAX / 2);
    let refused = sender.send_until_refused(100_000).await;
    assert!(refused.contains("no room"), "{refused}");
    sender.reads_go_on().await;
    std::fs::remove_file(&ballast).unwrap();
    eventually("there is room again", async || sender.send(1_000).await.is_ok()).await;
    sender.check().await;

    let acked = sender.attempts.iter().filter(|attempt| matches!(attempt.outcome, Outcome::Acked(_)));
    println!("{} of {} messages taken", acked.count(), sender.attempts.len());
    cluster.assert_healthy();
}

/// Old messages make room for new ones, also when somebody else takes the last byte, and however often.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_makes_room_by_itself() {
    let Some((disk, mut cluster)) = on_small_disk(2 * RESERVE_BYTES).await else { return };
    let mut sender = Sender::new(&cluster);
    for round in 0..3 {
        sender.send_all(100).await;
        let ballast = disk.fill(usize::MAX / 2);
        sender.send_all(100).await;
        println!("round {round}: {} attempts", sender.attempts.len());
        std::fs::remove_file(&ballast).unwrap();
    }
    cluster.converged(0).await;
    for at in 0..3 {
        let status = cluster.status(at).await.unwrap();
        assert!(status.log_start > 0, "{status:?}");
    }
    cluster.assert_healthy();
}

/// A replica starts on a disk without a byte left, with what it had kept; and with nothing left it says so and touches
/// nothing, so that it is as good as before when there is room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_on_a_full_disk() {
    let Some((disk, mut cluster)) = on_small_disk(0).await else { return };
    let kept = |cluster: &Cluster, at: usize| cluster.replicas[at].store.join("reserve");
    eventually("room is kept", async || (0..3).all(|at| kept(&cluster, at).exists())).await;
    let mut sender = Sender::new(&cluster);
    sender.send_all(12).await;
    let attempts = sender.attempts;
    let at = (cluster.leader().await + 1) % 3;
    cluster.kill(at).await;
    // The others give up theirs, one after the other, and somebody takes it.
    let take_all = async |cluster: &Cluster| {
        let others = [(at + 1) % 3, (at + 2) % 3];
        // In this order: what one gives up, another one may keep until it is taken.
        eventually("room is given up", async || {
            disk.fill(usize::MAX / 2);
            others.iter().all(|other| !kept(cluster, *other).exists()) && disk.is_full()
        })
        .await;
    };
    take_all(&cluster).await;
    for _ in 0..2 {
        assert!(kept(&cluster, at).exists());
        cluster.restart(at);
        cluster.serves(at).await;
        cluster.kill(at).await;
        take_all(&cluster).await;
        cluster.restart(at);
        let ended = cluster.replicas[at].process.ended().await;
        let output = cluster.replicas[at].process.output();
        assert!(!ended.success() && output.contains("make room"), "{ended}: {output}");
        std::fs::remove_file(disk.fill(1)).unwrap();
        cluster.restart(at);
        cluster.serves(at).await;
        cluster.caught_up(at).await;
        eventually("room is kept again", async || (0..3).all(|at| kept(&cluster, at).exists())).await;
        cluster.kill(at).await;
        take_all(&cluster).await;
    }
    std::fs::remove_file(disk.fill(1)).unwrap();
    cluster.restart(at);
    cluster.serves(at).await;
    let sender = Sender { attempts, ..Sender::new(&cluster) };
    sender.check().await;
    cluster.assert_healthy();
}
