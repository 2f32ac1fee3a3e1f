//! Old messages go, a segment at a time, and nothing else does.

use bytes::Bytes;
use trireme_client::MessageQueue;
use trireme_remoting::headers::{SendResponse, TrimRequest, TrimResponse};
use trireme_remoting::message::{OffsetMsgId, properties, property};
use trireme_remoting::{Frame, RequestCode, response};

use crate::harness::{Cluster, Disk, Options, eventually};
use crate::wire;

const SEGMENT: u64 = 1280 << 10;
const BODY: usize = 100_000;

fn options(args: &[&str]) -> Options {
    let args = [&["--max-message-bytes", "131072"], args].concat();
    Options {
        segment_bytes: SEGMENT,
        args: args.into_iter().map(str::to_owned).collect(),
        ..Options::default()
    }
}

/// The body of the message at a queue offset.
fn body(number: i64) -> Bytes {
    let seed = number.to_le_bytes();
    seed.iter().cycle().take(BODY).copied().collect()
}

/// Sends, one after the other, the messages that shall lie at these queue offsets. One whose answer was lost may be there
/// already.
async fn send(cluster: &Cluster, queue: &MessageQueue, offsets: std::ops::Range<i64>) {
    for number in offsets {
        eventually("a message is taken", async || {
            let leader = cluster.replicas[cluster.leader().await].addr;
            let request = wire::send_request(queue, body(number), "");
            let Ok(answer) = wire::ask(&cluster.remote, leader, request).await else { return false };
            let placed = SendResponse::from_ext(&answer.ext).map(|header| header.queue_offset);
            assert!(answer.code != response::SUCCESS || placed == Ok(number), "{placed:?}, not {number}");
            answer.code == response::SUCCESS
        })
        .await;
    }
}

/// What a replica has of the queue: everything from where it says that the queue starts. Returns that.
async fn has_the_rest(cluster: &Cluster, at: usize, queue: &MessageQueue, end: i64) -> i64 {
    let addr = cluster.replicas[at].addr;
    let start = wire::moved_to(&cluster.remote, addr, queue).await.unwrap_or(0);
    let found = wire::pull_from(&cluster.remote, addr, queue, start).await;
    assert_eq!(start + i64::try_from(found.len()).unwrap(), end, "replica {}", at + 1);
    for (number, found) in (start..).zip(found) {
        assert!(found == body(number), "message {number} of replica {}", at + 1);
    }
    start
}

async fn trim(cluster: &Cluster, at: usize, order: TrimRequest) -> (u64, u64, Option<u64>) {
    let request = Frame::request(RequestCode::DeleteExpiredCommitLog).with_ext(order.to_ext());
    let answer = wire::ask(&cluster.remote, cluster.replicas[at].addr, request).await.unwrap();
    assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    let TrimResponse { started_at, starts_at, held_by } = TrimResponse::from_ext(&answer.ext).unwrap();
    (started_at.cast_unsigned(), starts_at.cast_unsigned(), held_by.map(i64::cast_unsigned))
}

/// The log stays within its size; a replica that was away for longer than that starts from a checkpoint; a crash of all
/// brings nothing back and takes nothing away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_segments_go_and_the_rest_stays() {
    const KEPT: u64 = 3 * SEGMENT;
    let mut cluster = Cluster::start_with(options(&["--retention-bytes", &KEPT.to_string()])).await;
    cluster.topic("many", 1).await;
    let queue = MessageQueue::new("many", "broker-a", 0);
    send(&cluster, &queue, 0..20).await;
    let away = (cluster.leader().await + 1) % 3;
    cluster.kill(away).await;
    send(&cluster, &queue, 20..150).await;
    for at in (0..3).filter(|at| *at != away) {
        eventually("the log is small", async || {
            let status = cluster.status(at).await;
            status.is_some_and(|status| status.log_end - status.log_start < KEPT + SEGMENT)
        })
        .await;
        let status = cluster.status(at).await.unwrap();
        assert!(status.log_end - status.log_start >= KEPT, "{status:?}");
        let start = has_the_rest(&cluster, at, &queue, 150).await;
        assert!((100..150).contains(&start), "{start}");
        let files = std::fs::read_dir(cluster.replicas[at].store.join("commitlog")).unwrap();
        let segments =
            files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|e| e == "log"));
        // What is kept, a segment that is prepared, and one that is just going.
        assert!(segments.count() <= 6);
    }

    cluster.restart(away);
    cluster.caught_up(away).await;
    assert!(cluster.status(away).await.unwrap().log_start > 20 * BODY as u64);
    let start = has_the_rest(&cluster, away, &queue, 150).await;
    assert!(start >= 100, "{start}");

    send(&cluster, &queue, 150..200).await;
    cluster.kill_all().await;
    for at in 0..3 {
        cluster.restart(at);
    }
    cluster.converged(0).await;
    send(&cluster, &queue, 200..210).await;
    cluster.converged(0).await;
    for at in 0..3 {
        eventually("the log is small again", async || {
            let status = cluster.status(at).await;
            status.is_some_and(|status| status.log_end - status.log_start < KEPT + SEGMENT)
        })
        .await;
    }
    // All of them, since a follower asks its leader for what it does not have.
    for at in 0..3 {
        let start = has_the_rest(&cluster, at, &queue, 210).await;
        assert!(start >= 150, "replica {} has messages from {start} on", at + 1);
    }
    // The one that came back from a checkpoint can lead.
    for _ in 0..3 {
        let leader = cluster.leader().await;
        if leader == away {
            break;
        }
        cluster.kill(leader).await;
        cluster.restart(leader);
        cluster.serves(leader).await;
    }
    send(&cluster, &queue, 210..220).await;
    cluster.converged(0).await;
    cluster.assert_healthy();
}

/// What a delayed message lies in stays until it is delivered, whatever wants it to go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delayed_message_is_delivered_before_its_segment_goes() {
    let mut cluster = Cluster::start_with(options(&["--retention-bytes", &SEGMENT.to_string()])).await;
    cluster.topic("later", 1).await;
    cluster.topic("many", 1).await;
    let (queue, many) = (MessageQueue::new("later", "broker-a", 0), MessageQueue::new("many", "broker-a", 0));
    let leader = cluster.leader().await;
    let addr = cluster.replicas[leader].addr;
    let mut delay = String::new();
    // Ten seconds.
    properties::append(&mut delay, property::DELAY_TIME_LEVEL, "3");
    let answer = wire::ask(&cluster.remote, addr, wire::send_request(&queue, body(0), &delay)).await.unwrap();
    assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    let id = SendResponse::from_ext(&answer.ext).unwrap().msg_id.to_owned();
    let lies_at = id.parse::<OffsetMsgId>().unwrap().physical_offset.cast_unsigned();

    send(&cluster, &many, 0..60).await;
    let is_delivered = async || {
        let answer = wire::ask(&cluster.remote, addr, wire::pull_request(&queue, 0)).await.unwrap();
        answer.code == response::SUCCESS
    };
    let everything = TrimRequest { before_timestamp: None, keep_bytes: Some(0) };
    let (_, starts_at, held_by) = trim(&cluster, leader, everything).await;
    assert!(
        (starts_at <= lies_at && held_by == Some(lies_at)) || is_delivered().await,
        "{starts_at}, {held_by:?}"
    );
    eventually("the message is delivered", is_delivered).await;
    for at in 0..3 {
        eventually("the segment goes", async || {
            cluster.status(at).await.is_some_and(|status| status.log_start > lies_at)
        })
        .await;
    }
    let delivered = wire::pull_from(&cluster.remote, addr, &queue, 0).await;
    assert!(delivered == [body(0)]);
    cluster.assert_healthy();
}

/// By hand: what is asked for, as far as segments go, and no more than is safe.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_by_order() {
    let mut cluster = Cluster::start_with(options(&[])).await;
    cluster.topic("many", 1).await;
    let queue = MessageQueue::new("many", "broker-a", 0);
    send(&cluster, &queue, 0..60).await;
    let leader = cluster.leader().await;
    // As `mqadmin deleteExpiredCommitLog` asks: nothing is 72 hours old.
    assert_eq!(trim(&cluster, leader, TrimRequest::default()).await, (0, 0, None));
    let old = TrimRequest { before_timestamp: Some(1), keep_bytes: None };
    assert_eq!(trim(&cluster, leader, old).await, (0, 0, None));
    let keep = TrimRequest { before_timestamp: None, keep_bytes: Some((2 * SEGMENT).cast_signed()) };
    trim(&cluster, leader, keep).await;
    let status = cluster.status(leader).await.unwrap();
    assert!((2 * SEGMENT..3 * SEGMENT).contains(&(status.log_end - status.log_start)), "{status:?}");
    assert!(has_the_rest(&cluster, leader, &queue, 60).await > 20);
    // Each replica has its own disk, and was not asked.
    for at in (0..3).filter(|at| *at != leader) {
        assert_eq!(has_the_rest(&cluster, at, &queue, 60).await, 0);
    }
    let all = TrimRequest { before_timestamp: Some(i64::MAX), keep_bytes: None };
    trim(&cluster, leader, all.clone()).await;
    let status = cluster.status(leader).await.unwrap();
    assert!(status.log_end - status.log_start < SEGMENT, "{status:?}");
    // The state that was saved last is older than the log now: the checkpoint is what a restart goes on from.
    send(&cluster, &queue, 60..120).await;
    let (_, starts_at, _) = trim(&cluster, leader, all).await;
    assert!(starts_at > 60 * BODY as u64);
    cluster.kill_all().await;
    for at in 0..3 {
        cluster.restart(at);
        cluster.serves(at).await;
    }
    cluster.converged(0).await;
    has_the_rest(&cluster, leader, &queue, 120).await;
    cluster.assert_healthy();
}

/// A small disk holds the newest messages, and takes more for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_go_for_room() {
    let disk = match Disk::mount(128 << 20) {
        Ok(disk) => disk,
        Err(reason) => return println!("skipped: no disk can be mounted here: {reason}"),
    };
    const ROOM: u64 = 88 << 20;
    let room = ["--disk-reserve-bytes", "8MiB", "--disk-trim-bytes", &ROOM.to_string()];
    let mut cluster =
        Cluster::start_with(Options { stores: Some(disk.path().to_owned()), ..options(&room) }).await;
    cluster.topic("many", 1).await;
    let queue = MessageQueue::new("many", "broker-a", 0);
    send(&cluster, &queue, 0..600).await;
    for at in 0..3 {
        eventually("there is room", async || {
            cluster.status(at).await.is_some_and(|status| status.disk_free >= ROOM)
        })
        .await;
    }
    cluster.converged(0).await;
    for at in 0..3 {
        let start = has_the_rest(&cluster, at, &queue, 600).await;
        assert!(start > 200, "{start}");
        let refusals = cluster.replicas[at].process.output().matches("messages are refused").count();
        assert_eq!(refusals, 0, "replica {}", at + 1);
    }
    cluster.assert_healthy();
}
