//! Bytes that are no requests, on every port.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use trireme_client::{Message, Producer, ProducerConfig};

use crate::harness::{Cluster, Process, eventually};

/// A server has this long to close a connection that makes no sense.
const CLOSED_WITHIN: Duration = Duration::from_secs(20);
/// Connections at a time.
const AT_ONCE: usize = 16;
/// How often each kind of garbage is sent before memory is measured, and after.
const WARM_UP: usize = 20;
const ROUNDS: usize = 100;
/// Connections that are kept half-open. More than strangers that a peer port lets wait.
const HALF_OPEN: usize = 200;
/// What a process may grow by meanwhile: it serves others too, whose messages it keeps in page-sized buffers.
const GROWTH_KIB: u64 = 16 * 1024;

/// Kinds of garbage. Each is enough to know that nothing sensible follows.
fn garbage() -> Vec<(&'static str, Vec<u8>)> {
    let frame = |length: u32, notation: u8, header: u32, rest: &[u8]| {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.push(notation);
        bytes.extend(&header.to_be_bytes()[1..]);
        bytes.extend(rest);
        bytes
    };
    let json = |header: &str| frame(4 + header.len() as u32, 0, header.len() as u32, header.as_bytes());
    let random: Vec<u8> = (0..2000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 | 0x80).collect();
    vec![
        ("http", b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n".to_vec()),
        ("tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("high bytes", random),
        ("frame of 17 MiB", frame(17 << 20, 0, 10, b"{")),
        ("frame of 2 GiB", frame(i32::MAX as u32, 0, 10, b"{")),
        ("negative frame", frame(u32::MAX, 0, 10, b"{")),
        ("frame of 0", frame(0, 0, 0, b"\0\0\0\0")),
        ("frame of 3", frame(3, 0, 0, b"\0\0\0\0")),
        ("header longer than its frame", frame(100, 0, 97, &[b' '; 96])),
        ("negative header", frame(100, 0, 0x00ff_ffff, &[b' '; 96])),
        ("header of 1 MiB", frame(2 << 20, 0, 1 << 20, &[b' '; 96])),
        ("unknown notation", frame(100, 7, 96, &[b' '; 96])),
        ("no JSON", json("code=10, opaque=1")),
        ("unfinished JSON", json("{\"code\":10,\"opaque\":1,\"extFields\":{\"a\":")),
        ("deep JSON", json(&"[".repeat(30_000))),
        ("JSON without a code", json("{\"opaque\":1}")),
        ("binary header of nothing", frame(8, 1, 4, &[0; 4])),
        (
            "a peer's hello that is none",
            [&20u32.to_le_bytes()[..], &[0; 9], &2u32.to_le_bytes(), &[9; 7]].concat(),
        ),
        ("a peer's vote without a hello", [&60u32.to_le_bytes()[..], &[2], &[0; 59]].concat()),
        ("binary header of high bytes", frame(84, 1, 80, &[0xff; 80])),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_every_port() {
    let mut cluster = Cluster::start().await;
    cluster.topic("served", 4).await;
    let leader = cluster.leader().await;
    let client = cluster.client();
    let producer = client.producer(ProducerConfig::new("served")).unwrap();
    let ports = [cluster.replicas[leader].addr, cluster.replicas[leader].peer_addr, cluster.namesrvs[0].addr];

    throw(&ports, WARM_UP, &producer).await;
    let before = usage(&cluster, leader);
    throw(&ports, ROUNDS, &producer).await;
    let _held = hold(&ports).await;
    send(&producer).await;
    // A peer comes back although strangers fill the port: they have little time to say who they are.
    let follower = (leader + 1) % 3;
    cluster.kill(follower).await;
    cluster.restart(follower);
    cluster.caught_up(follower).await;
    eventually("connections that say nothing are let go", async || {
        let now = usage(&cluster, leader);
        now.iter().zip(&before).all(|((descriptors, _), (before, _))| *descriptors < before + 20)
    })
    .await;
    for ((_, now), (_, before)) in usage(&cluster, leader).iter().zip(&before) {
        assert!(*now < before + GROWTH_KIB, "memory grew from {before} KiB to {now} KiB");
    }
    send(&producer).await;
    let log = cluster.replicas[leader].process.output();
    for reason in [
        "frame of 2147483651 bytes exceeds the limit",
        "json header: ",
        "no first frame within",
        "message of 4294967295 bytes, allowed are",
        "cannot decode hello",
        "said nothing in time",
    ] {
        assert!(log.contains(reason), "the log does not say {reason:?}");
    }
    cluster.assert_healthy();
}

/// Sends every kind of garbage to every port so many times; each connection must be closed. Others are served.
async fn throw(ports: &[SocketAddr], rounds: usize, producer: &Producer) {
    let kinds = garbage();
    for _ in 0..rounds.div_ceil(20) {
        let each = ports.iter().flat_map(|port| kinds.iter().map(move |kind| (*port, kind)));
        let many = each.flat_map(|(port, (name, bytes))| std::iter::repeat_n((port, *name, bytes), 20));
        let all = futures_util::stream::iter(many.map(|(port, name, bytes)| expect_close(port, name, bytes)));
        all.buffer_unordered(AT_ONCE).collect::<()>().await;
        send(producer).await;
    }
}

async fn expect_close(port: SocketAddr, name: &str, bytes: &[u8]) {
    let mut stream = TcpStream::connect(port).await.unwrap();
    // The server may have closed it before all is written.
    let _ = stream.write_all(bytes).await;
    let closed = async {
        let mut answer = [0; 1024];
        loop {
            match stream.read(&mut answer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    };
    let in_time = tokio::time::timeout(CLOSED_WITHIN, closed).await;
    assert!(in_time.is_ok(), "{name} to {port}: the connection stays open");
}

/// Connections that say nothing, and such that stop in the middle of a frame.
async fn hold(ports: &[SocketAddr]) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for port in ports {
        for number in 0..HALF_OPEN {
            let mut stream = TcpStream::connect(port).await.unwrap();
            if number % 2 == 0 {
                stream.write_all(&[0, 0, 0, 100, 0]).await.unwrap();
            }
            held.push(stream);
        }
    }
    held
}

async fn send(producer: &Producer) {
    producer.send(Message::new("served", "body")).await.unwrap();
}

/// Descriptors and memory of the processes whose ports are used.
fn usage(cluster: &Cluster, leader: usize) -> [(usize, u64); 2] {
    let of = |process: &Process| (process.descriptors(), process.resident_kib());
    [of(&cluster.replicas[leader].process), of(&cluster.namesrvs[0].process)]
}
