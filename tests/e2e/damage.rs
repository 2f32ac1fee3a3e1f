//! Disks that give back other bytes than they were given: nobody is given these, and they are mended.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use trireme_client::MessageQueue;
use trireme_commitlog::frame;
use trireme_remoting::body::KvTable;
use trireme_remoting::headers::ReadLogRequest;
use trireme_remoting::{Frame, RequestCode, RequestHandler, Responder, Server, ServerOptions, response};

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

fn segment_path(store: &Path, segment: u64) -> PathBuf {
    store.join(format!("commitlog/{:020}.log", segment * SEGMENT))
}

/// Damages the log of a replica that does not run, below what recovery looks at: a bit, a page, where a frame begins. The same places each time. Returns how many frames are affected at least.
fn damage(cluster: &Cluster, at: usize) -> u64 {
    let in_segment = |segment: u64| {
        let path = segment_path(&cluster.replicas[at].store, segment);
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

/// Stands where a replica was, and gives away other frames than it is asked for: noise, the frame behind, the right one
/// with a bit of its payload turned over, the right one cut short.
struct Impostor {
    /// A replica's, as it was.
    store: PathBuf,
    asked: AtomicUsize,
}

impl RequestHandler for Impostor {
    fn on_request(&self, request: Frame, responder: Responder) {
        if request.code != RequestCode::ReadLog as i32 {
            return responder.refuse(response::SERVICE_NOT_AVAILABLE, "not here");
        }
        let at = ReadLogRequest::from_ext(&request.ext).unwrap().physical_offset.cast_unsigned();
        let mut bytes = vec![0; 2 * BODY + 1024];
        File::open(segment_path(&self.store, at / SEGMENT))
            .unwrap()
            .read_at(&mut bytes, at % SEGMENT)
            .unwrap();
        let length = frame::decode(&bytes).unwrap().header.frame_len() as usize;
        let answer = match self.asked.fetch_add(1, Ordering::Relaxed) % 4 {
            0 => vec![0x5a; length],
            1 => bytes.split_off(length),
            2 => {
                bytes.truncate(length);
                bytes[length / 2] ^= 1;
                bytes
            }
            _ => {
                bytes.truncate(length - 1);
                bytes
            }
        };
        responder.reply(Frame::response(response::SUCCESS).with_body(Bytes::from(answer)));
    }
}

/// Of a replica's log something is damaged, and nobody can help, or somebody pretends to. Whoever reads there is told what
/// is damaged, everything else is served, and it is mended when another replica is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_can_mend_is_named() {
    let (mut cluster, queue, bodies) = filled("0").await;
    let at = (cluster.leader().await + 1) % 3;
    let others = [(at + 1) % 3, (at + 2) % 3];
    cluster.replicas[at].process.stop().await;
    let damaged = damage(&cluster, at);
    cluster.restart(at);
    cluster.serves(at).await;
    cluster.caught_up(at).await;
    for other in others {
        cluster.kill(other).await;
    }
    let addr = cluster.replicas[at].addr;
    let refusal = async |cluster: &Cluster| {
        let refused = trireme_chaos::wire::pull_from(&cluster.remote, addr, &queue, 0).await.unwrap_err();
        assert!(refused.contains(&format!("code {}", response::SYSTEM_ERROR)), "{refused}");
        refused
    };
    let alone = refusal(&cluster).await;
    let last = i64::try_from(MESSAGES - 10).unwrap();
    assert!(wire::pull_from(&cluster.remote, addr, &queue, last).await == bodies[bodies.len() - 10..]);

    let impostors = others.map(|other| {
        let store = cluster.replicas[other].store.clone();
        let impostor = Arc::new(Impostor { store, asked: AtomicUsize::new(0) });
        let server =
            Server::bind(cluster.replicas[other].addr, ServerOptions::default(), impostor.clone()).unwrap();
        (impostor, server)
    });
    eventually("every wrong answer was given", async || {
        impostors.iter().all(|(impostor, _)| impostor.asked.load(Ordering::Relaxed) > 8)
    })
    .await;
    assert_eq!(refusal(&cluster).await, alone);
    for (_, server) in impostors {
        server.shutdown(Duration::ZERO).await;
    }
    for other in others {
        cluster.restart(other);
    }
    eventually("it is mended", async || {
        trireme_chaos::wire::pull_from(&cluster.remote, addr, &queue, 0)
            .await
            .is_ok_and(|found| found.into_iter().map(|given| given.body).eq(bodies.iter().cloned()))
    })
    .await;
    let (mended, left) = mended(&cluster, at).await;
    assert!(mended >= damaged && left == 0, "{mended} mended of {damaged}, {left} left");
    same_logs(cluster).await;
}
