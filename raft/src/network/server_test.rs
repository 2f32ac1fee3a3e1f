//! The peer port of a running replica, and what comes to it.

#![allow(clippy::unwrap_used)]

use std::time::Instant;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use trireme_commitlog::faulty::FaultyDisk;
use trireme_commitlog::{CommitLog, FrameBuf, LogId, Options};

use super::super::link::{self, Callee, Link};
use super::super::requests::append_request;
use super::super::wire::{AppendHeader, Message, SnapshotHeader, VoteHeader, VoteReply};
use super::*;
use crate::codec::WireVote;
use crate::config::{ClusterSettings, ReplicaConfig, Timing};
use crate::entry::kind;
use crate::node::{Node, Progress, Store};
use crate::peers::{NEWEST_VERSION, OLDEST_VERSION, Witnessed};
use crate::proposal::Outcome;
use crate::state_machine::{Applied, NotYet, RestoreError, StateMachine};
use crate::types::StoredMembership;

const PATIENCE: Duration = Duration::from_secs(30);
const STORE: u128 = 42;

struct Nothing;

impl StateMachine for Nothing {
    fn saved(&self) -> Option<LogId> {
        None
    }

    fn apply(&mut self, _: &Applied) -> Result<Outcome, NotYet> {
        Ok(Outcome::default())
    }

    fn applied(&mut self, _: LogId) {}

    fn checkpoint(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _: LogId, _: u64, _: &[u8]) -> Result<(), RestoreError> {
        Ok(())
    }
}

fn settings() -> ClusterSettings {
    ClusterSettings { cluster: "c".into(), group: "broker-a".into(), segment_bytes: 1 << 20 }
}

/// A group of one replica, which leads.
async fn alone() -> (Node, String, TempDir) {
    alone_of(NEWEST_VERSION).await
}

/// The same, of a release that reads formats up to a version.
async fn alone_of(format_version: u32) -> (Node, String, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let port = loop {
        let port = rand::rng().random_range(10_000..32_000);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            break port;
        }
    };
    let addr = format!("127.0.0.1:{port}");
    let config = ReplicaConfig {
        settings: settings(),
        node: 1,
        store: dir.path().to_owned(),
        listen: addr.parse().unwrap(),
        peers: [(1, addr.clone())].into(),
        client_addrs: BTreeMap::new(),
        joins: false,
        timing: Timing::default(),
        replication_window: 2,
        log_cache_bytes: 64 << 20,
        format_version,
    };
    let node = Node::start(Store::open(&config, STORE).unwrap(), Box::new(Nothing)).await.unwrap();
    timeout(PATIENCE, node.leadership().wait_for(|now| now.ready)).await.unwrap().unwrap();
    (node, addr, dir)
}

fn peer() -> Caller {
    Caller { settings: settings(), node: 2, store_id: 7, peers: Arc::default() }
}

fn to(addr: &str) -> Callee {
    Callee { node: 1, addr: addr.to_owned(), store_id: Some(STORE) }
}

fn hello(lane: Lane) -> Hello {
    Hello {
        magic: wire::MAGIC,
        version: 1,
        lane,
        settings: settings(),
        from: 2,
        from_store: 7,
        to: 1,
        to_store: Some(STORE),
    }
}

fn bytes(message: Outgoing) -> Vec<u8> {
    let mut parts = Vec::new();
    message.slices(&mut parts);
    parts.concat()
}

fn vote(term: u64) -> WireVote {
    WireVote { term, node: 2, committed: false }
}

/// Says hello and reads the answer.
async fn introduced(addr: &str, hello: &Hello) -> (TcpStream, Option<HelloReply>) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(&bytes(Outgoing::new(Kind::Hello, 0, hello, Vec::new()))).await.unwrap();
    let mut buffer = BytesMut::new();
    let reply = wire::read_message(&mut stream, &mut buffer, wire::MAX_HELLO).await.ok().flatten();
    (stream, reply.map(|message| message.header("reply").unwrap()))
}

/// Waits until the other side has closed the connection.
async fn closed(mut stream: TcpStream, what: &str) {
    let mut rest = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    // A reset is an end, too: it closed with our bytes unread.
    assert!(end.is_ok(), "not closed: {what}");
}

fn unchanged(node: &Node, before: &(Progress, u64)) {
    let now = (node.progress(), node.leadership().borrow().term);
    assert_eq!(
        (&now.0.last_log, &now.0.committed, now.1),
        (&before.0.last_log, &before.0.committed, before.1)
    );
}

fn state(node: &Node) -> (Progress, u64) {
    (node.progress(), node.leadership().borrow().term)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_is_refused_in_words() {
    let (node, addr, _dir) = alone().await;
    let sound = hello(Lane::Control);
    let other = |change: &dyn Fn(&mut Hello)| {
        let mut hello = hello(Lane::Control);
        change(&mut hello);
        hello
    };
    let cases = [
        (sound.clone(), None),
        (other(&|h| h.to = 3), Some("this is node 1, not node 3")),
        (other(&|h| h.settings.cluster = "d".into()), Some("cluster name is c here and d at the peer")),
        (other(&|h| h.settings.group = "x".into()), Some("group name is broker-a here and x at the peer")),
        (
            other(&|h| h.settings.segment_bytes = 4096),
            Some("segment size is 1048576 here and 4096 at the peer"),
        ),
        (other(&|h| h.to_store = Some(8)), Some("the store of node 1 is not the one that joined")),
        (other(&|h| h.to_store = None), None),
        (other(&|h| h.from = 1), Some("the store of node 1 was replaced since it joined")),
        // Who only asks is told who we are, whoever we were taken for.
        (other(&|h| (h.lane, h.to_store) = (Lane::Probe, Some(8))), None),
    ];
    for (hello, refused) in cases {
        let (stream, reply) = introduced(&addr, &hello).await;
        let reply = reply.unwrap();
        assert_eq!((reply.store_id, reply.initialized), (STORE, true));
        match (refused, reply.refused) {
            (None, None) => {}
            (Some(words), Some(reason)) => {
                assert!(reason.contains(words), "{reason}");
                closed(stream, words).await;
            }
            (expected, found) => panic!("{expected:?}, but {found:?}"),
        }
    }
    let (_, reply) = introduced(&addr, &other(&|h| h.magic = 1)).await;
    assert!(reply.is_none(), "a stranger is told nothing");
    node.shutdown().await;
}

/// What is said of a hello in `docs/decisions/0017-versions.md`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn releases_understand_each_other() {
    // Version 1 says no more than it did, and is told no more; whoever comes later is, whatever he adds.
    let (node, addr, _dir) = alone().await;
    let say = |hello: Outgoing| async {
        let mut stream = TcpStream::connect(&addr).await.unwrap();
        stream.write_all(&bytes(hello)).await.unwrap();
        wire::read_message(&mut stream, &mut BytesMut::new(), wire::MAX_HELLO).await.ok().flatten()
    };
    let old = say(Outgoing::new(Kind::Hello, 0, &hello(Lane::Control), Vec::new())).await.unwrap();
    assert_eq!(old.header::<HelloReply>("reply").unwrap().refused, None);
    for version in [2, 3] {
        let said = (Hello { version, ..hello(Lane::Control) }, HelloMore { had: None });
        let later = Outgoing::new(Kind::Hello, 0, &(&said, "more than we know"), Vec::new());
        for hello in [Outgoing::new(Kind::Hello, 0, &said, Vec::new()), later] {
            let reply = say(hello).await.unwrap();
            let (reply, more) = reply.header_and_more::<HelloReply, HelloReplyMore>("reply").unwrap();
            assert_eq!((reply.refused, more.unwrap().version), (None, NEWEST_VERSION));
        }
    }
    let lying = say(Outgoing::new(Kind::Hello, 0, &Hello { version: 2, ..hello(Lane::Control) }, Vec::new()));
    assert!(lying.await.is_none(), "version 2 says more");
    node.shutdown().await;

    // Who knows version 1 alone is called once more, in its words; and left alone if the group is beyond that.
    let (node, addr, _dir) = alone_of(OLDEST_VERSION).await;
    let caller = peer();
    let told = link::probe(&caller, &to(&addr), PATIENCE).await.unwrap();
    assert_eq!((told.refused, told.version), (None, OLDEST_VERSION));
    caller.peers.learn(NEWEST_VERSION, BTreeMap::new());
    let link = Link::new(caller, to(&addr), Lane::Control);
    let error = link.call(Kind::PreVote, &1_u8, Vec::new(), PATIENCE).await.unwrap_err();
    assert!(error.to_string().contains("node 1 reads those up to 1"), "{error}");
    node.shutdown().await;
}

/// A member that says that we had more than we have is right: it has it from us.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_less_than_it_had_is_told_by_whoever_knows() {
    let (node, addr, _dir) = alone().await;
    let store = Witnessed { store_id: STORE, last: node.progress().flushed.unwrap() };
    let outdated = node.peers().outdated();
    let call = async |node, last: LogId| {
        let caller = Caller { node, store_id: STORE, ..peer() };
        caller.peers.learn(NEWEST_VERSION, [(1, Witnessed { last, ..store })].into());
        let link = Link::new(caller, to(&addr), Lane::Control);
        let asked = VoteHeader { vote: vote(0), last_log: None, transfer: false };
        link.call(Kind::PreVote, &asked, Vec::new(), PATIENCE).await.map(drop)
    };
    call(1, store.last).await.unwrap();
    let more = LogId { index: store.last.index + 1, ..store.last };
    call(2, more).await.unwrap();
    assert_eq!(*outdated.borrow(), None, "a stranger may say anything");
    let error = call(1, more).await.unwrap_err();
    assert!(error.to_string().contains("its store is an older copy"), "{error}");
    assert!(outdated.borrow().as_ref().is_some_and(|reason| reason.contains("says node 1")));
    node.shutdown().await;
}

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Whatever strangers say or do not say, they are gone soon, cost little and change nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_cost_little_and_change_nothing() {
    let (node, addr, _dir) = alone().await;
    let before = state(&node);
    let memory = resident();
    let mut random = StdRng::seed_from_u64(1);
    let mut garbage = vec![0; 3000];
    random.fill(garbage.as_mut_slice());
    let introduction = bytes(Outgoing::new(Kind::Hello, 0, &hello(Lane::Bulk), Vec::new()));
    let said: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("garbage", garbage),
        ("an enormous length", [u32::MAX.to_le_bytes().as_slice(), &[0; 100]].concat()),
        ("the largest message, to a stranger", (wire::MAX_MESSAGE as u32).to_le_bytes().to_vec()),
        ("half a hello", introduction[..introduction.len() / 2].to_vec()),
        ("a request before the hello", bytes(Outgoing::new(Kind::Vote, 1, &1_u8, Vec::new()))),
        ("GET / HTTP/1.1", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
    ];
    let mut open = Vec::new();
    for n in 0..30 {
        for (what, bytes) in &said {
            let mut stream = TcpStream::connect(&addr).await.unwrap();
            // More than `STRANGERS` at a time: some are turned away before they can say anything.
            let _ = stream.write_all(bytes).await;
            open.push((format!("{what}, number {n}"), stream));
        }
    }
    assert!(STRANGERS < open.len());
    for (what, stream) in open {
        closed(stream, &what).await;
    }
    let grown = resident().saturating_sub(memory);
    assert!(grown < 64 << 20, "{grown} bytes for strangers");
    unchanged(&node, &before);
    assert!(introduced(&addr, &hello(Lane::Control)).await.1.is_some(), "peers are served as before");
    node.shutdown().await;
}

/// Nonsense from somebody who introduced himself ends his connection and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_of_a_peer_changes_nothing() {
    let (node, addr, _dir) = alone().await;
    let before = state(&node);
    let header = AppendHeader { session: 1, vote: vote(0), prev: None, leader_commit: None, entries: 1 };
    let committed = AppendHeader { vote: WireVote { committed: true, ..vote(0) }, ..header };
    let frame = frames(1, 1).remove(0);
    let mut flipped = frame.to_vec();
    flipped[45] ^= 1;
    let part = |at, total| SnapshotHeader {
        vote: vote(0),
        last_log: Some((0, 5)),
        membership: (&StoredMembership::default()).into(),
        physical_offset: 1 << 20,
        total,
        at,
    };
    let append = |header: &AppendHeader, body: Vec<u8>| {
        bytes(Outgoing::new(Kind::Append, 1, header, vec![body.into()]))
    };
    let snapshot = |header: &SnapshotHeader, body: &'static [u8]| {
        bytes(Outgoing::new(Kind::Snapshot, 1, header, vec![Bytes::from_static(body)]))
    };
    let cases: Vec<(Lane, &str, Vec<u8>)> = vec![
        (Lane::Bulk, "an enormous length", u32::MAX.to_le_bytes().to_vec()),
        (Lane::Bulk, "an unknown kind", [13_u32.to_le_bytes().as_slice(), &[99; 13]].concat()),
        (Lane::Bulk, "a vote", bytes(Outgoing::new(Kind::Vote, 1, &1_u8, Vec::new()))),
        (Lane::Bulk, "a header of another type", bytes(Outgoing::new(Kind::Append, 1, &1_u8, Vec::new()))),
        (Lane::Bulk, "no frame", append(&header, b"no frame".to_vec())),
        (Lane::Bulk, "a flipped frame", append(&committed, flipped)),
        (Lane::Bulk, "half a frame", append(&committed, frame[..frame.len() / 2].to_vec())),
        (Lane::Bulk, "more frames than announced", append(&header, [&frame[..], &frame[..]].concat())),
        (Lane::Bulk, "an entry out of sequence", append(&committed, frame.to_vec())),
        (Lane::Snapshot, "a piece from the middle", snapshot(&part(5, 10), b"12345")),
        (Lane::Snapshot, "a piece from the end of time", snapshot(&part(u64::MAX, 10), b"12345")),
        (Lane::Snapshot, "more than announced", snapshot(&part(0, 3), b"12345")),
        (Lane::Snapshot, "more than anybody has", snapshot(&part(0, u64::MAX), b"12345")),
        (Lane::Control, "an enormous length", u32::MAX.to_le_bytes().to_vec()),
    ];
    for (lane, what, message) in cases {
        let (mut stream, reply) = introduced(&addr, &hello(lane)).await;
        assert_eq!(reply.unwrap().refused, None);
        stream.write_all(&message).await.unwrap();
        closed(stream, what).await;
    }
    // Here the connection goes on; the request is not answered.
    let (mut stream, _) = introduced(&addr, &hello(Lane::Control)).await;
    for message in
        [bytes(Outgoing::new(Kind::Snapshot, 1, &1_u8, Vec::new())), append(&header, frame.to_vec())]
    {
        stream.write_all(&message).await.unwrap();
    }
    let asked = VoteHeader { vote: vote(0), last_log: None, transfer: false };
    stream.write_all(&bytes(Outgoing::new(Kind::PreVote, 77, &asked, Vec::new()))).await.unwrap();
    let mut buffer = BytesMut::new();
    let reading = wire::read_message(&mut stream, &mut buffer, wire::MAX_MESSAGE);
    let answer = timeout(PATIENCE, reading).await.unwrap().unwrap().unwrap();
    assert_eq!((answer.kind, answer.id), (Kind::PreVote, 77));
    assert!(!answer.header::<VoteReply>("reply").unwrap().granted);
    unchanged(&node, &before);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_has_one_connection_of_each_lane() {
    let (node, addr, _dir) = alone().await;
    let (first, _) = introduced(&addr, &hello(Lane::Bulk)).await;
    let (mut control, _) = introduced(&addr, &hello(Lane::Control)).await;
    let (_second, reply) = introduced(&addr, &hello(Lane::Bulk)).await;
    assert_eq!(reply.unwrap().refused, None);
    closed(first, "replaced").await;
    let asked = VoteHeader { vote: vote(0), last_log: None, transfer: false };
    control.write_all(&bytes(Outgoing::new(Kind::PreVote, 5, &asked, Vec::new()))).await.unwrap();
    let mut buffer = BytesMut::new();
    let reading = wire::read_message(&mut control, &mut buffer, wire::MAX_MESSAGE);
    assert_eq!(timeout(PATIENCE, reading).await.unwrap().unwrap().unwrap().id, 5, "another lane stays");
    node.shutdown().await;
}

/// Connections of this process from or to `port` that are not closed on both sides.
fn connections(port: &str) -> usize {
    let port = format!(":{:04X}", port.parse::<u16>().unwrap());
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let open = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let ours = fields.len() > 3 && (fields[1].ends_with(&port) || fields[2].ends_with(&port));
        // Established, or closed by the peer only.
        ours && matches!(fields[3], "01" | "08")
    };
    table.lines().filter(open).count()
}

/// A link that is dropped, or given up because its peer is silent, leaves no socket and no task, here or
/// there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reconnects_leave_nothing() {
    let (node, addr, _dir) = alone().await;
    let port = addr.split(':').next_back().unwrap().to_owned();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let asked = VoteHeader { vote: vote(0), last_log: None, transfer: false };
    let before = (tasks(), connections(&port));
    let limit = Duration::from_secs(10);
    for _ in 0..500 {
        let link = Link::new(peer(), to(&addr), Lane::Control);
        link.call(Kind::PreVote, &asked, Vec::new(), limit).await.unwrap();
    }
    let link = Link::new(peer(), to(&addr), Lane::Control);
    for _ in 0..500 {
        link.call(Kind::PreVote, &asked, Vec::new(), limit).await.unwrap();
        link.disconnect_if_silent(Duration::ZERO);
    }
    link.disconnect_if_silent(PATIENCE);
    drop(link);
    // A peer that reads nothing: what is queued for it does not keep the connection.
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let deaf_addr = deaf.local_addr().unwrap().to_string();
    let accepting = tokio::spawn(async move {
        let (mut stream, _) = deaf.accept().await.unwrap();
        let reply = HelloReply { refused: None, store_id: STORE, initialized: true };
        stream.write_all(&bytes(Outgoing::new(Kind::Hello, 0, &reply, Vec::new()))).await.unwrap();
        stream
    });
    let link = Link::new(peer(), to(&deaf_addr), Lane::Bulk);
    let body = vec![Bytes::from(vec![0; 1 << 20])];
    let mut calls = Vec::new();
    for _ in 0..20 {
        calls.push(link.send(Kind::Append, &1_u8, body.clone()).await.unwrap());
    }
    let stream = accepting.await.unwrap();
    drop(link);
    for call in calls {
        assert!(timeout(PATIENCE, call.reply()).await.unwrap().is_err(), "a call of a closed link fails");
    }
    let since = Instant::now();
    loop {
        let now = (tasks(), connections(&port));
        // openraft's own tasks may come and go by one or two.
        if now.0 <= before.0 + 2 && now.1 <= before.1 {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "tasks and connections: {before:?} before, {now:?} after");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Until here: its deafness must not keep our side.
    drop(stream);
    node.shutdown().await;
}

/// Who is refused hears it at every call, and nobody is connected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_link_says_why() {
    let (node, addr, _dir) = alone().await;
    let link = Link::new(peer(), Callee { store_id: Some(8), ..to(&addr) }, Lane::Control);
    for _ in 0..3 {
        let error = link.call(Kind::PreVote, &1_u8, Vec::new(), PATIENCE).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains("must join under a new id"), "{error}");
    }
    let told = link::probe(&peer(), &to(&addr), PATIENCE).await.unwrap();
    assert_eq!((told.store_id, told.refused), (STORE, None));
    node.shutdown().await;
    let error = link::probe(&peer(), &to(&addr), PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "the port is closed after a shutdown");
}

/// Frames `first..first + count` of a log, as a leader sends them.
fn frames(first: u64, count: u64) -> Vec<Bytes> {
    let log = CommitLog::open(FaultyDisk::new().handle(), Options { segment_bytes: 64 * 1024 }).unwrap();
    for index in 0..first + count {
        let mut frame = FrameBuf::new(kind::NORMAL);
        frame.extend_from_slice(&[index as u8; 50]);
        log.append(LogId { term: 1, index }, frame, |_, _| {}).unwrap();
    }
    log.read(first, first + count, u64::MAX).unwrap().into_iter().map(|frame| frame.frame).collect()
}

fn received(header: &AppendHeader, body: &[u8]) -> Message {
    let message = bytes(Outgoing::new(Kind::Append, 1, header, vec![Bytes::copy_from_slice(body)]));
    wire::split_message(&mut BytesMut::from(message.as_slice()), wire::MAX_MESSAGE).unwrap().unwrap()
}

#[test]
fn entries_of_a_request_follow_each_other() {
    let header =
        |prev, entries| AppendHeader { session: 1, vote: vote(1), prev, leader_commit: None, entries };
    let three = frames(4, 3).concat();
    let check = |prev, entries, body: &[u8], expect: Result<usize, &str>| {
        let result = append_request(&received(&header(prev, entries), body));
        match (result, expect) {
            (Ok((request, session)), Ok(count)) => {
                assert_eq!((request.entries.len(), session), (count, 1));
            }
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
            (result, expect) => panic!("{expect:?}, but {:?}", result.map(|(request, _)| request.entries)),
        }
    };
    check(Some((1, 3)), 3, &three, Ok(3));
    check(Some((0, 3)), 3, &three, Ok(3));
    check(Some((1, 3)), 0, &[], Ok(0));
    check(None, 0, &[], Ok(0));
    check(Some((1, 2)), 3, &three, Err("does not follow"));
    check(Some((2, 3)), 3, &three, Err("does not follow"));
    check(Some((1, u64::MAX)), 3, &three, Err("does not follow"));
    check(None, 3, &three, Err("does not follow"));
    check(Some((1, 3)), 2, &three, Err("3 entries where 2 were announced"));
    check(Some((1, 3)), u32::MAX, &three, Err("3 entries where 4294967295 were announced"));
    let doubled = [&three[..], &frames(6, 1)[0]].concat();
    check(Some((1, 3)), 4, &doubled, Err("does not follow"));
}

/// No cut and no flip of what a peer sends panics, or becomes an entry that the peer did not send.
#[test]
fn damaged_requests_are_errors() {
    let header =
        AppendHeader { session: 1, vote: vote(1), prev: Some((1, 3)), leader_commit: None, entries: 3 };
    let sound = frames(4, 3);
    let body = sound.concat();
    for cut in 0..body.len() {
        assert!(append_request(&received(&header, &body[..cut])).is_err(), "cut at {cut}");
    }
    let mut random = StdRng::seed_from_u64(3);
    for _ in 0..20_000 {
        let mut damaged = body.clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..damaged.len());
            damaged[at] ^= 1 << random.random_range(0..8);
        }
        if let Ok((request, _)) = append_request(&received(&header, &damaged)) {
            let same = request.entries.iter().zip(&sound);
            assert!(
                damaged == body
                    || same.clone().all(|(entry, frame)| entry.frame.as_ref().unwrap().frame == *frame),
                "a damaged frame passed for a sound one"
            );
        }
    }
}
