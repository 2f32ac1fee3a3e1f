//! Disks that give back other bytes than they were given: nobody is given these, and they are mended.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use trireme_client::MessageQueue;
use trireme_remoting::body::KvTable;
use trireme_remoting::{Frame, RequestCode, response};

use crate::failover::same_logs;
use crate::harness::{Cluster, Options, eventually};
use crate::wire;

const SEGMENT: u64 = 1280 << 10;
const BODY: usize = 30_000;
/// Four segments and some more.
const MESSAGES: u64 = 200;

/// A cluster whose replicas look at so many bytes a second, and what its one queue holds.
async fn filled(scrub: &str) -> (Cluster, MessageQueue, Vec<Bytes>) {
    let args = ["--max-message-bytes", "131072", "--scrub-bytes-per-second", scrub];
    let args = args.map(str::to_owned).into();
    let cluster = Cluster::start_with(Options { segment_bytes: SEGMENT, args, ..Options::default() }).await;
    let queue = MessageQueue::new(cluster.topic("kept", 1).await, "broker-a", 0);
    let leader = cluster.replicas[cluster.leader().await].addr;
    let mut bodies = Vec::new();
    for number in 0..MESSAGES {
        let body: Bytes = number.to_le_bytes().iter().cycle().take(BODY).copied().collect();
        let answer = wire::ask(&cluster.remote, leader, wire::send_request(&queue, body.clone(), "")).await;
        assert_eq!(answer.unwrap().code, response::SUCCESS);
        bodies.push(body);
    }
    cluster.converged(0).await;
    (cluster, queue, bodies)
}

/// Damages the log of a replica that does not run, below what recovery looks at: a bit, a page, where a frame begins. The same places each time. Returns how many frames are affected at least.
fn damage(cluster: &Cluster, at: usize) -> u64 {
    let in_segment = |segment: u64| {
        let path = cluster.replicas[at].store.join(format!("commitlog/{:020}.log", segment * SEGMENT));
        OpenOptions::new().read(true).write(true).open(path).unwrap()
    };
    let flip = |segment: u64, pos: u64, mask: u8| {
        let (file, mut byte) = (in_segment(segment), [0]);
        file.read_exact_at(&mut byte, pos).unwrap();
        file.write_all_at(&[byte[0] ^ mask], pos).unwrap();
    };
    flip(0, 300_000, 1);
    flip(0, 301_000, 0x80);
    flip(2, 1_000_000, 4);
    in_segment(1).write_all_at(&[0; 4096], 640 << 10).unwrap();
    // The magic number of a frame. That of a segment's first one is looked at when the log is opened.
    let mut bytes = vec![0; 600_000];
    in_segment(3).read_exact_at(&mut bytes, 0).unwrap();
    let second = (8..bytes.len()).step_by(8).find(|pos| bytes[*pos..].starts_with(&bytes[..4])).unwrap();
    flip(3, second as u64, 0xff);
    4
}

/// How much a replica says that it has mended, and what is left.
async fn mended(cluster: &Cluster, at: usize) -> (u64, u64) {
    let request = Frame::request(RequestCode::GetBrokerRuntimeInfo);
    let answer = wire::ask(&cluster.remote, cluster.replicas[at].addr, request).await.unwrap();
    let table = KvTable::decode(answer.body.as_slice()).unwrap().table;
    (table["logMended"].parse().unwrap(), table["logDamaged"].parse().unwrap())
}

/// A consumer reads from each replica after its log was damaged, the leader's too. Nobody looks for damage meanwhile: it is
/// come across.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_is_whole() {
    let (mut cluster, queue, bodies) = filled("0").await;
    for at in 0..3 {
        // What is applied again at the start would be looked at.
        cluster.replicas[at].process.stop().await;
        let damaged = damage(&cluster, at);
        cluster.restart(at);
        cluster.serves(at).await;
        cluster.caught_up(at).await;
        // Of a log that it opens, Raft looks at an entry here and there.
        let (early, left) = mended(&cluster, at).await;
        assert!(early < damaged && left == 0, "{early} mended before anybody reads, {left} left");
        let found = wire::pull_from(&cluster.remote, cluster.replicas[at].addr, &queue, 0).await;
        assert!(found == bodies, "{} messages of {}", found.len(), bodies.len());
        let (mended, left) = mended(&cluster, at).await;
        assert!(mended >= damaged && left == 0, "{mended} mended of {damaged}, {left} left");
    }
    same_logs(cluster).await;
}

/// Nobody reads: it is found all the same. Two replicas are damaged at the same places, and the third helps both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_reads_is_mended() {
    let (mut cluster, ..) = filled("64MiB").await;
    let leader = cluster.leader().await;
    let others = [(leader + 1) % 3, (leader + 2) % 3];
    for at in others {
        cluster.replicas[at].process.stop().await;
        damage(&cluster, at);
    }
    for at in others {
        cluster.restart(at);
    }
    for at in others {
        cluster.serves(at).await;
        eventually("its log is mended", async || {
            let (mended, left) = mended(&cluster, at).await;
            mended >= 4 && left == 0
        })
        .await;
    }
    same_logs(cluster).await;
}

/// The newest checkpoint is for trimming the log, and for replicas that are far behind: nobody needs it to start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_checkpoint_keeps_nobody_from_starting() {
    let (mut cluster, queue, bodies) = filled("0").await;
    let at = (cluster.leader().await + 1) % 3;
    cluster.replicas[at].process.stop().await;
    let dir = std::fs::read_dir(cluster.replicas[at].store.join("checkpoints")).unwrap();
    let newest = dir.map(|entry| entry.unwrap().path()).max().unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    bytes[50] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    cluster.restart(at);
    cluster.serves(at).await;
    cluster.caught_up(at).await;
    assert!(wire::pull_from(&cluster.remote, cluster.replicas[at].addr, &queue, 0).await == bodies);
    assert!(cluster.replicas[at].process.output().contains("the newest checkpoint is damaged"));
    same_logs(cluster).await;
}
