//! Replicas that die, stand still or are restarted under load. Nothing acknowledged is lost, moved or repeated.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::timeout;
use trireme_chaos::check::Violations;
use trireme_chaos::check::logs::{self, Log};
use trireme_chaos::history::{Attempt, Id, Outcome};
use trireme_chaos::outcome;
use trireme_client::MessageQueue;
use trireme_remoting::headers::{
    CreateTopicRequest, ElectMasterRequest, GetMaxOffsetRequest, OffsetResponse, QueryConsumerOffsetRequest,
    UpdateConsumerOffsetRequest,
};
use trireme_remoting::{ClientOptions, Frame, RequestCode, response};

use crate::harness::{Cluster, Options};
use crate::history::History;
use crate::load::Load;
use crate::wire;

/// No machine is so busy that a group should be longer without a leader, or a replica take longer to come back.
const BOUND: Duration = Duration::from_secs(20);
const FIRST_ACK: &str = "to the first acknowledged send";
/// Sends that wait for a frozen replica to go on.
const TO_THE_FROZEN: u32 = 8;

/// Heartbeats come every 50 ms, elections take longer than this.
const SILENCE: Duration = Duration::from_millis(350);

/// How often leaders are killed or frozen.
fn strikes(default: usize) -> usize {
    let told = std::env::var("TRIREME_E2E_KILLS").ok();
    told.map_or(default, |text| text.parse().expect("TRIREME_E2E_KILLS is a number"))
}

/// Segments so small that a few are filled while a test runs.
async fn cluster() -> Cluster {
    let args = vec!["--max-message-bytes".into(), "131072".into()];
    Cluster::start_with(Options { segment_bytes: 1280 << 10, args, ..Options::default() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_leader_under_load() {
    let mut cluster = cluster().await;
    let load = Load::start(&cluster, "killed").await;
    let mut times = Vec::new();
    for _ in 0..strikes(3) {
        let leader = cluster.leader().await;
        let killed = cluster.kill(leader).await;
        times.push(load.history.first_ack(killed, cluster.replicas[leader].addr).await);
        load.history.progress(100).await;
        cluster.restart(leader);
        cluster.caught_up(leader).await;
        load.history.progress(100).await;
    }
    report("SIGKILL", FIRST_ACK, times);
    let attempts = load.check(&cluster).await;
    let log = same_logs(cluster).await;
    assert!(log.sealed_segments() > 0, "the load filled no segment");
    assert_terms(&log, &attempts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn freeze_leader() {
    let cluster = cluster().await;
    let load = Load::start(&cluster, "frozen").await;
    let mut times = Vec::new();
    let mut late = Vec::new();
    for strike in 0..strikes(2) {
        let leader = cluster.leader().await;
        let term = cluster.status(leader).await.unwrap().term;
        let frozen = cluster.replicas[leader].process.freeze().await;
        times.push(load.history.first_ack(frozen, cluster.replicas[leader].addr).await);
        load.history.progress(100).await;
        let waiting = Waiting::start(&cluster, leader, strike, &load).await;
        cluster.replicas[leader].process.thaw();
        for attempt in waiting.answers().await {
            late.extend(attempt.place().map(|place| (place.physical_offset, term)));
            load.history.add(attempt);
        }
        cluster.caught_up(leader).await;
        load.history.progress(100).await;
    }
    report("SIGSTOP", FIRST_ACK, times);
    let attempts = load.check(&cluster).await;
    let log = same_logs(cluster).await;
    for (physical_offset, term) in late {
        let stored = log.term_at(physical_offset).unwrap();
        assert!(
            stored > term,
            "acknowledged in term {stored} by the leader of term {term}, which was frozen"
        );
    }
    assert_terms(&log, &attempts);
}

/// A client that got no answer goes elsewhere. What it left behind must not be done when the replica goes on: a message
/// would be there twice, a position be set back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_left_at_a_frozen_replica_is_not_done() {
    let mut cluster = Cluster::start().await;
    let topic = cluster.topic("left", 1).await;
    let queue = MessageQueue::new(&*topic, "broker-a", 0);
    let send = async |at: usize, seq| {
        let request = wire::send_request(&queue, Id { client: 0, seq }.body(0), "");
        let answer = wire::ask(&cluster.remote, cluster.replicas[at].addr, request).await.unwrap();
        assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    };
    let leader = cluster.leader().await;
    for frozen in [leader, (leader + 1) % 3] {
        let addr = cluster.replicas[frozen].addr.to_string();
        let client = trireme_remoting::Client::new(ClientOptions::default(), None);
        client.connection(&addr).await.unwrap();
        cluster.replicas[frozen].process.freeze().await;
        // What another replica passes on to it.
        let (remote, passing) = (&cluster.remote, cluster.replicas[(frozen + 1) % 3].addr);
        let pass_on = (200..210).filter(|_| frozen == leader).map(|seq| {
            let request = wire::send_request(&queue, Id { client: 1, seq }.body(0), "");
            tokio::spawn({
                let remote = remote.clone();
                async move { wire::ask(&remote, passing, request).await }
            })
        });
        let passed_on: Vec<_> = pass_on.collect();
        // A replica that has not heard of its leader for a while waits for the next one, and asks that.
        let queue_of_late = queue.clone();
        let late = tokio::spawn({
            let remote = remote.clone();
            async move {
                tokio::time::sleep(SILENCE).await;
                let request = wire::send_request(&queue_of_late, Id { client: 0, seq: 50 }.body(0), "");
                wire::ask(&remote, passing, request).await
            }
        });
        for seq in 100..110 {
            let request = wire::send_request(&queue, Id { client: 1, seq }.body(0), "");
            let answer = client.invoke(&addr, request, Duration::from_millis(100)).await;
            assert!(answer.is_err(), "{answer:?}");
        }
        client.shutdown();
        send(cluster.leader().await, 0).await;
        for answer in passed_on {
            let answer = answer.await.unwrap().unwrap();
            assert_eq!(answer.code, response::SYSTEM_ERROR, "{:?}", answer.remark);
        }
        let answer = late.await.unwrap().unwrap();
        assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
        cluster.replicas[frozen].process.thaw();
        cluster.caught_up(frozen).await;
        // Each takes longer than what was left would.
        for seq in 1..20 {
            send(frozen, seq).await;
        }
    }
    let found =
        wire::pull_from(&cluster.remote, cluster.replicas[cluster.leader().await].addr, &queue, 0).await;
    let late = found.iter().filter(|body| Id::of(body).unwrap().client == 1).count();
    assert_eq!((late, found.len()), (0, 42));
    cluster.assert_healthy();
}

/// Requests that lie in a frozen replica's sockets: what it answers them with is the first thing that it does when
/// it goes on, before it can know that it leads no more.
struct Waiting {
    sends: Vec<tokio::task::JoinHandle<Attempt>>,
    max_offset: tokio::task::JoinHandle<()>,
}

impl Waiting {
    async fn start(cluster: &Cluster, frozen: usize, strike: usize, load: &Load) -> Self {
        let addr = cluster.replicas[frozen].addr;
        let queue = MessageQueue::new("frozen", &*cluster.replicas[frozen].group, 0);
        // The load has connections to the replica too; these are new ones, which only the system has accepted.
        let client = trireme_remoting::Client::new(ClientOptions::default(), None);
        client.connection(&addr.to_string()).await.unwrap();
        let acked: Vec<Attempt> = load.history.attempts();
        let offsets = acked.iter().filter_map(Attempt::place).filter(|place| place.queue == queue);
        let floor = offsets.map(|place| place.offset + 1).max().unwrap_or(0);
        let header = GetMaxOffsetRequest { topic: "frozen", queue_id: 0, committed: None };
        let request = Frame::request(RequestCode::GetMaxOffset).with_ext(header.to_ext());
        let asking = client.clone();
        let max_offset = tokio::spawn(async move {
            let Ok(answer) = wire::ask(&asking, addr, request).await else { return };
            if answer.code == response::SUCCESS {
                let told = OffsetResponse::from_ext(&answer.ext).unwrap().offset;
                assert!(
                    told.cast_unsigned() >= floor,
                    "the resumed replica says that the queue ends at {told}, not {floor}"
                );
            }
        });
        let sends = (0..TO_THE_FROZEN).map(|number| {
            let id = Id { client: 1000 + u32::try_from(strike).unwrap(), seq: number };
            let request = wire::send_request(&queue, id.body(100), "");
            let (client, queue, started) = (client.clone(), queue.clone(), Instant::now());
            tokio::spawn(async move {
                let outcome = outcome::of_request(&queue, wire::ask(&client, addr, request).await).unwrap();
                Attempt::once(id, started, outcome)
            })
        });
        let sends: Vec<_> = sends.collect();
        load.history.progress(100).await;
        assert!(sends.iter().all(|send| !send.is_finished()), "a frozen replica answered");
        Self { sends, max_offset }
    }

    async fn answers(self) -> Vec<Attempt> {
        self.max_offset.await.unwrap();
        let mut attempts = Vec::new();
        for send in self.sends {
            attempts.push(send.await.unwrap());
        }
        attempts
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_at_once() {
    let mut cluster = cluster().await;
    let load = Load::start(&cluster, "all-gone").await;
    for _ in 0..2 {
        load.history.progress(100).await;
        cluster.kill_all().await;
        (0..3).for_each(|at| cluster.restart(at));
        load.history.progress(100).await;
    }
    let attempts = load.check(&cluster).await;
    let log = same_logs(cluster).await;
    assert_terms(&log, &attempts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn majority_gone() {
    let mut cluster = cluster().await;
    let load = Load::start(&cluster, "alone").await;
    cluster.topic("quiet", 1).await;
    for (round, survivor_leads) in (0..).zip([true, false]) {
        let leader = cluster.leader().await;
        let survivor = if survivor_leads { leader } else { (leader + 1) % 3 };
        let gone: Vec<usize> = (0..3).filter(|at| *at != survivor).collect();
        let addr = cluster.replicas[survivor].addr;
        let (remote, quiet) =
            (cluster.remote.clone(), MessageQueue::new("quiet", &*cluster.replicas[survivor].group, 0));
        let pull = wire::waiting_pull_request(&quiet, 0, wire::LONG_POLL);
        let waiting =
            tokio::spawn(async move { remote.invoke(&addr.to_string(), pull, wire::LONG_POLL).await });
        for at in &gone {
            cluster.kill(*at).await;
        }
        let alone = Instant::now();
        let queues: Vec<MessageQueue> =
            (0..4).map(|id| MessageQueue::new("alone", &*cluster.replicas[survivor].group, id)).collect();
        let words = until_refused(&cluster, survivor, round, &queues[0], &load.history).await;
        assert!(words.contains(if survivor_leads { "no quorum" } else { "no leader" }), "{words}");
        if survivor_leads {
            // Soon, also for what it had taken before it knew: another replica might lead by now.
            let took = alone.elapsed();
            assert!(
                took < Duration::from_secs(2),
                "a leader without its group kept who asked it for {took:?}"
            );
            // Who waits for messages may find them elsewhere, too.
            let answer = timeout(wire::PATIENCE, waiting).await.expect("it is let go").unwrap().unwrap();
            assert_eq!(answer.code, response::SERVICE_NOT_AVAILABLE);
            assert!(answer.remark.is_some_and(|words| words.contains("no quorum")));
        }
        let found = wire::pull_all(&cluster.remote, addr, &queues).await;
        let attempts = load.history.attempts();
        for attempt in &attempts {
            let Some(place) = attempt.place() else { continue };
            assert!(attempt.started < alone, "acknowledged without a majority: {attempt:?}");
            // A follower may not have been told yet that the last ones are committed.
            if survivor_leads {
                let body = found[&place.queue].get(usize::try_from(place.offset).unwrap());
                assert_eq!(body.map(|body| Id::of(body)), Some(Ok(attempt.id)));
            }
        }
        assert!(found.values().map(Vec::len).sum::<usize>() > 20, "the survivor has messages");
        cluster.restart(gone[0]);
        load.history.progress(100).await;
        cluster.restart(gone[1]);
        cluster.caught_up(gone[1]).await;
        load.history.progress(100).await;
    }
    let attempts = load.check(&cluster).await;
    let log = same_logs(cluster).await;
    assert_terms(&log, &attempts);
}

/// Sends to a replica until it refuses, and returns its words. One that led may have taken the first message before it
/// knew.
async fn until_refused(
    cluster: &Cluster,
    at: usize,
    round: u32,
    queue: &MessageQueue,
    history: &History,
) -> String {
    for seq in 0.. {
        let id = Id { client: 2000 + round, seq };
        let request = wire::send_request(queue, id.body(0), "");
        let started = Instant::now();
        let answer = wire::ask(&cluster.remote, cluster.replicas[at].addr, request).await;
        let said =
            answer.as_ref().ok().map(|answer| (answer.code, answer.remark.clone().unwrap_or_default()));
        let outcome = outcome::of_request(queue, answer).unwrap();
        history.add(Attempt::once(id, started, outcome));
        if let Some((response::SERVICE_NOT_AVAILABLE, words)) = said {
            return words;
        }
    }
    unreachable!("it sends until it returns")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling() {
    let mut cluster = cluster().await;
    let load = Load::start(&cluster, "rolling").await;
    for at in 0..3 {
        let took = cluster.replicas[at].process.stop().await;
        assert!(took < BOUND, "stopping took {took:?}");
        load.history.progress(100).await;
        cluster.restart(at);
        cluster.caught_up(at).await;
        load.history.progress(100).await;
    }
    let attempts = load.check(&cluster).await;
    let of_producers: Vec<&Attempt> = attempts.iter().filter(|attempt| !attempt.is_single).collect();
    let longest = of_producers.iter().map(|attempt| attempt.ended - attempt.started).max().unwrap();
    println!("the longest of {} sends of producers took {} ms", of_producers.len(), longest.as_millis());
    let failed: Vec<_> = of_producers.iter().filter(|attempt| attempt.place().is_none()).collect();
    assert!(failed.is_empty(), "a producer noticed: {failed:?}");
    let log = same_logs(cluster).await;
    assert_terms(&log, &attempts);
}

/// The lead is handed round by order, under load: nobody notices but by a send that takes a moment longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handed_over() {
    let mut cluster = cluster().await;
    let load = Load::start(&cluster, "handed").await;
    for round in 0..6 {
        let (from, to) = (cluster.leader().await, round % 3);
        let asked = Instant::now();
        // Any replica passes it on.
        let header = ElectMasterRequest { broker_id: Some(to as i64 + 1), ..Default::default() };
        let request = Frame::request(RequestCode::ControllerElectMaster).with_ext(header.to_ext());
        let answer = wire::ask(&cluster.remote, cluster.replicas[round % 2].addr, request).await.unwrap();
        assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
        println!("from {} to {} in {} ms", from + 1, to + 1, asked.elapsed().as_millis());
        assert_eq!(cluster.leader().await, to);
        load.history.progress(50).await;
    }
    let attempts = load.check(&cluster).await;
    let longest = attempts.iter().map(|attempt| attempt.ended - attempt.started).max().unwrap();
    println!("the longest of {} sends took {} ms", attempts.len(), longest.as_millis());
    let failed: Vec<&Attempt> = attempts.iter().filter(|attempt| attempt.place().is_none()).collect();
    assert!(failed.is_empty(), "somebody noticed: {failed:?}");
    cluster.assert_healthy();
}

/// Nobody waits for the answer to a position that a consumer commits as it goes, nor sends it again: it goes along with the lead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_go_along_with_the_lead() {
    const GROUP: &str = "goes-along";
    let mut cluster = cluster().await;
    let topic = cluster.topic("goes-along", 4).await;
    for round in 1..=6 {
        let from = cluster.leader().await;
        let addr = cluster.replicas[from].addr;
        for queue in 0..4 {
            let header = UpdateConsumerOffsetRequest {
                consumer_group: GROUP,
                topic: &topic,
                queue_id: queue,
                commit_offset: round * 10 + i64::from(queue),
            };
            let commit = Frame::request(RequestCode::UpdateConsumerOffset).with_ext(header.to_ext());
            cluster.remote.oneway(&addr.to_string(), commit).await.unwrap();
        }
        // Behind them on the same connection; every other time the leader stops instead.
        if round % 2 == 0 {
            let to = (from as i64 + 1) % 3 + 1;
            let header = ElectMasterRequest { broker_id: Some(to), ..Default::default() };
            let elect = Frame::request(RequestCode::ControllerElectMaster).with_ext(header.to_ext());
            let answer = wire::ask(&cluster.remote, addr, elect).await.unwrap();
            assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
        } else {
            cluster.status(from).await;
            cluster.replicas[from].process.stop().await;
            cluster.restart(from);
        }
        let led = cluster.leader().await;
        for queue in 0..4 {
            let header = QueryConsumerOffsetRequest {
                consumer_group: GROUP,
                topic: &topic,
                queue_id: queue,
                ..Default::default()
            };
            let query = Frame::request(RequestCode::QueryConsumerOffset).with_ext(header.to_ext());
            let answer = wire::ask(&cluster.remote, cluster.replicas[led].addr, query).await.unwrap();
            let told = OffsetResponse::from_ext(&answer.ext).map(|header| header.offset);
            assert_eq!(told, Ok(round * 10 + i64::from(queue)), "queue {queue} in round {round}");
        }
        cluster.caught_up(from).await;
    }
    cluster.assert_healthy();
}

/// What the leader refuses since it hands over was not done: it goes to the next one, whatever was asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_in_a_hand_over_is_done_by_the_next_leader() {
    let mut cluster = cluster().await;
    let remote = &cluster.remote;
    let addrs: Vec<SocketAddr> = cluster.replicas.iter().map(|replica| replica.addr).collect();
    let (made, is_over) = (watch::Sender::new(0_usize), AtomicBool::new(false));
    // One at each replica.
    let asking = join_all(addrs.iter().map(async |addr| {
        while !is_over.load(Ordering::Relaxed) {
            let topic = format!("made-{}-{}", addr.port(), *made.borrow());
            let header = CreateTopicRequest {
                topic: &topic,
                default_topic: "TBW102",
                read_queue_nums: 1,
                write_queue_nums: 1,
                perm: 6,
                topic_filter_type: "SINGLE_TAG",
                ..Default::default()
            };
            let request = Frame::request(RequestCode::UpdateAndCreateTopic).with_ext(header.to_ext());
            let answer = wire::ask(remote, *addr, request).await.unwrap();
            assert_eq!(answer.code, response::SUCCESS, "{topic}: {:?}", answer.remark);
            made.send_modify(|made| *made += 1);
        }
    }));
    let handing = async {
        let mut progress = made.subscribe();
        for round in 0..20 {
            let until = *progress.borrow() + 3;
            let header = ElectMasterRequest { broker_id: Some(round % 3 + 1), ..Default::default() };
            let elect = Frame::request(RequestCode::ControllerElectMaster).with_ext(header.to_ext());
            let answer = wire::ask(remote, addrs[0], elect).await.unwrap();
            assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
            progress.wait_for(|made| until <= *made).await.unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(asking, handing);
    cluster.assert_healthy();
}

/// The leader dies just as it hands over, sooner or later in that: one of the others leads, and nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_hands_over() {
    let mut cluster = cluster().await;
    let load = Load::start(&cluster, "handing").await;
    let mut times = Vec::new();
    for millis in [0, 1, 3, 10] {
        let from = cluster.leader().await;
        let header = ElectMasterRequest { broker_id: Some((from as i64 + 1) % 3 + 1), ..Default::default() };
        let request = Frame::request(RequestCode::ControllerElectMaster).with_ext(header.to_ext());
        let (remote, addr) = (cluster.remote.clone(), cluster.replicas[from].addr);
        let mut asking = Box::pin(async move { wire::ask(&remote, addr, request).await });
        // It may have been answered by then, or not.
        let _ = tokio::time::timeout(Duration::from_millis(millis), &mut asking).await;
        let killed = cluster.kill(from).await;
        times.push(load.history.first_ack(killed, cluster.replicas[from].addr).await);
        load.history.progress(50).await;
        cluster.restart(from);
        cluster.caught_up(from).await;
    }
    report("SIGKILL", FIRST_ACK, times);
    let attempts = load.check(&cluster).await;
    let log = same_logs(cluster).await;
    assert_terms(&log, &attempts);
}

/// A follower that another one takes for the leader may be far behind: what it lacks is no end of the queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_passed_on_to_a_follower_comes_back() {
    let mut cluster = Cluster::start().await;
    let topic = cluster.topic("passed", 1).await;
    let queue = MessageQueue::new(&*topic, "broker-a", 0);
    let leader = cluster.leader().await;
    for seq in 0..3 {
        let request = wire::send_request(&queue, Id { client: 0, seq }.body(0), "");
        let answer = wire::ask(&cluster.remote, cluster.replicas[leader].addr, request).await.unwrap();
        assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    }
    for at in (0..3).filter(|at| *at != leader) {
        cluster.caught_up(at).await;
        let mut request = wire::pull_request(&queue, 7);
        request.ext.set("TRIREME_FORWARDED", "127.0.0.1:1");
        let answer = wire::ask(&cluster.remote, cluster.replicas[at].addr, request).await.unwrap();
        assert!(answer.ext.contains("TRIREME_NOT_DONE"), "{} {:?}", answer.code, answer.remark);
    }
    let answer = wire::ask(&cluster.remote, cluster.replicas[leader].addr, wire::pull_request(&queue, 7))
        .await
        .unwrap();
    assert_eq!(answer.code, response::PULL_OFFSET_MOVED);
    cluster.assert_healthy();
}

/// A replica that stops in order answers the pulls that wait at it, so that nobody has to find out that it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_answers_who_waits() {
    let mut cluster = Cluster::start().await;
    let topic = cluster.topic("silent", 1).await;
    let queue = MessageQueue::new(&*topic, "broker-a", 0);
    for at in [(cluster.leader().await + 1) % 3, cluster.leader().await] {
        let addr = cluster.replicas[at].addr;
        // Longer than the test may take.
        let request = wire::waiting_pull_request(&queue, 0, wire::LONG_POLL);
        let client = cluster.remote.clone();
        let waits = async move { client.invoke(&addr.to_string(), request, wire::LONG_POLL).await };
        // Sent when it is first polled, which is before the question behind it.
        let mut waits = Box::pin(waits);
        assert!(futures_util::poll!(&mut waits).is_pending());
        let waiting = tokio::spawn(waits);
        let status = cluster.status(at).await;
        assert!(status.is_some(), "requests of a connection are taken in their order: the pull waits by now");
        cluster.replicas[at].process.stop().await;
        let answer = waiting.await.unwrap().expect("an answer, and not the end of the connection");
        assert_eq!(answer.code, response::PULL_NOT_FOUND, "{:?}", answer.remark);
        cluster.restart(at);
        cluster.caught_up(at).await;
    }
    cluster.assert_healthy();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_replica_again_and_again() {
    let mut cluster = cluster().await;
    let mut load = Load::start(&cluster, "one").await;
    let mut times = Vec::new();
    for round in 0..6 {
        if round == 3 {
            load.stop_sending().await;
        }
        let follower = (cluster.leader().await + 1) % 3;
        cluster.kill(follower).await;
        if round < 3 {
            load.history.progress(20).await;
        }
        let started = Instant::now();
        cluster.restart(follower);
        cluster.serves(follower).await;
        cluster.caught_up(follower).await;
        times.push(started.elapsed());
    }
    report("start", "to be up to date", times);
    let attempts = load.check(&cluster).await;
    let log = same_logs(cluster).await;
    assert_terms(&log, &attempts);
}

/// Stops the replicas the hard way when they have converged, and compares their logs, frame by frame.
pub async fn same_logs(mut cluster: Cluster) -> Log {
    cluster.assert_healthy();
    let index = cluster.converged(0).await;
    cluster.kill_all().await;
    let mut violations = Violations::default();
    let read = cluster.replicas.iter().map(|replica| Log::read(&replica.store, &mut violations).unwrap());
    let mut logs: Vec<Log> = read.collect();
    logs::same(&logs, index, &mut violations);
    assert!(violations.is_empty(), "{violations:#?}");
    logs.swap_remove(0)
}

/// Leaderships follow one another: what was acknowledged later lies in the same term or a later one.
fn assert_terms(log: &Log, attempts: &[Attempt]) {
    let mut sent: Vec<&Attempt> = attempts.iter().filter(|attempt| attempt.place().is_some()).collect();
    sent.sort_by_key(|attempt| attempt.ended);
    let term = |attempt: &Attempt| match &attempt.outcome {
        Outcome::Acked(place) => log.term_at(place.physical_offset).unwrap(),
        Outcome::Unknown | Outcome::Refused => unreachable!("only acknowledged ones were kept"),
    };
    let mut latest = 0;
    let mut at = 0;
    let mut by_start = sent.clone();
    by_start.sort_by_key(|attempt| attempt.started);
    for attempt in by_start {
        while sent[at].ended < attempt.started {
            latest = latest.max(term(sent[at]));
            at += 1;
        }
        let own = term(attempt);
        assert!(
            own >= latest,
            "{attempt:?} is in term {own}, one acknowledged before it was sent in {latest}"
        );
    }
}

fn report(from: &str, to: &str, mut times: Vec<Duration>) {
    println!("ms from {from} {to}: {:?}", millis(&times));
    times.sort();
    let max = times.last().copied().unwrap_or_default();
    println!("p50 {} ms, max {} ms", times[times.len() / 2].as_millis(), max.as_millis());
    assert!(max < BOUND, "it took {max:?} {to}");
}

fn millis(times: &[Duration]) -> Vec<u128> {
    times.iter().map(Duration::as_millis).collect()
}
