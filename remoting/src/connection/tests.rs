//! Deadlines and memory, over a pipe and a clock that only the test moves.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::time::{Instant, sleep};

use super::driver::Reader;
use super::*;
use crate::code::RequestCode;
use crate::response;
use crate::server::{RequestHandler, Responder};

struct Echo;

impl RequestHandler for Echo {
    fn on_request(&self, request: Frame, responder: Responder) {
        responder.reply(Frame::response(response::SUCCESS).with_body(request.body));
    }
}

fn connect(options: ConnectionOptions) -> (Connection, DuplexStream) {
    let (ours, theirs) = duplex(64 * 1024);
    let (reader, writer): (ReadHalf<_>, WriteHalf<_>) = split(ours);
    let addr = "127.0.0.1:1".parse().unwrap();
    let socket = Socket { reader, writer, peer: addr, local: addr };
    let inbound = Arc::new(InboundBudget::new(usize::MAX));
    (spawn(socket, options, inbound, Arc::new(Echo), |_| {}), theirs)
}

impl Reader for ReadHalf<DuplexStream> {
    fn peer_has_ended(&self) -> bool {
        false
    }
}

fn frame() -> Vec<u8> {
    Frame::request(RequestCode::HeartBeat).with_body(b"x".to_vec()).to_bytes().unwrap().to_vec()
}

/// Reads until the connection closes the pipe; why, and after how long.
async fn end(connection: &Connection, peer: &mut DuplexStream) -> (CloseReason, Duration) {
    let started = Instant::now();
    peer.read_to_end(&mut Vec::new()).await.unwrap();
    (connection.close_reason().unwrap(), started.elapsed())
}

#[track_caller]
fn assert_about(elapsed: Duration, seconds: u64) {
    let expect = Duration::from_secs(seconds);
    assert!(
        (expect..expect + Duration::from_millis(50)).contains(&elapsed),
        "{elapsed:?}, expected {expect:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn silence_from_the_start() {
    let (connection, mut peer) = connect(ConnectionOptions::default());
    let (reason, elapsed) = end(&connection, &mut peer).await;
    assert!(matches!(reason, CloseReason::FirstFrame(_)), "{reason}");
    assert_about(elapsed, 5);
}

#[tokio::test(start_paused = true)]
async fn a_first_frame_that_trickles_in() {
    let (connection, mut peer) = connect(ConnectionOptions::default());
    let trickle = async {
        for byte in frame() {
            if peer.write_all(&[byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
    };
    let started = Instant::now();
    tokio::select! {
        () = trickle => panic!("the whole frame was taken"),
        () = connection.wait_closed() => {}
    }
    assert!(matches!(connection.close_reason(), Some(CloseReason::FirstFrame(_))));
    assert_about(started.elapsed(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_not_finished() {
    let (connection, mut peer) = connect(ConnectionOptions::default());
    peer.write_all(&frame()).await.unwrap();
    peer.write_all(&frame()[..20]).await.unwrap();
    let (reason, elapsed) = end(&connection, &mut peer).await;
    assert!(matches!(reason, CloseReason::FrameCompletion(_)), "{reason}");
    assert_about(elapsed, 30);
}

#[tokio::test(start_paused = true)]
async fn silence_after_a_request() {
    let (connection, mut peer) = connect(ConnectionOptions::default());
    peer.write_all(&frame()).await.unwrap();
    let (reason, elapsed) = end(&connection, &mut peer).await;
    assert!(matches!(reason, CloseReason::Idle(_)), "{reason}");
    assert_about(elapsed, 120);
}

/// The completion deadline is of one frame, not of a connection whose buffer is never empty; and traffic keeps
/// the idle deadline away.
#[tokio::test(start_paused = true)]
async fn frames_cut_at_odd_places_live_on() {
    let (connection, mut peer) = connect(ConnectionOptions::default());
    let frame = frame();
    let (head, tail) = frame.split_at(20);
    peer.write_all(&[&frame, head].concat()).await.unwrap();
    assert!(peer.read(&mut [0; 1024]).await.unwrap() > 0);
    for _ in 0..20 {
        sleep(Duration::from_secs(20)).await;
        peer.write_all(&[tail, head].concat()).await.unwrap();
        assert!(peer.read(&mut [0; 1024]).await.unwrap() > 0);
    }
    assert!(!connection.is_closed());
}

/// What a peer claims costs nothing; what it sends costs its size, give or take a read.
#[tokio::test(start_paused = true)]
async fn a_claimed_length_allocates_nothing() {
    let mut buffer = bytes::BytesMut::from(&b"\x00\xff\xff\x00\x00\x00\x00\x10"[..]);
    driver::reserve(&mut buffer, 0xff_ff00, 4096);
    assert!(buffer.capacity() <= 2 * 4096, "{}", buffer.capacity());
    buffer.resize(100_000, 0);
    driver::reserve(&mut buffer, 0xff_ff00, 4096);
    assert!(buffer.capacity() <= 4 * 100_000, "{}", buffer.capacity());
}

/// A peer that takes nothing at all is given up once it has been silent for the idle time.
#[tokio::test(start_paused = true)]
async fn a_peer_that_is_stuck() {
    let (connection, peer) = connect(ConnectionOptions::default());
    let request = Frame::request(RequestCode::HeartBeat).with_body(vec![0; 50_000]).to_bytes().unwrap();
    let (mut reader, mut writer) = split(peer);
    let started = Instant::now();
    let stuck = async { while writer.write_all(&request).await.is_ok() {} };
    tokio::select! {
        () = stuck => {}
        () = connection.wait_closed() => {}
    }
    assert!(matches!(connection.close_reason(), Some(CloseReason::Idle(_))));
    assert_about(started.elapsed(), 120);
    // What had been written before is still there for it.
    assert!(reader.read(&mut [0; 16]).await.unwrap() > 0);
}

/// Whoever waits is told at his own deadline, in whatever order they were set, and again after a pause.
#[tokio::test(start_paused = true)]
async fn each_request_has_its_own_deadline() {
    let (connection, mut peer) = connect(ConnectionOptions { first_frame: None, ..Default::default() });
    tokio::spawn(async move { peer.read_to_end(&mut Vec::new()).await });
    let ask = async |seconds| {
        let started = Instant::now();
        let request = Frame::request(RequestCode::HeartBeat);
        let error = connection.invoke(request, Duration::from_secs(seconds)).await.unwrap_err();
        assert!(matches!(error, InvokeError::Timeout { after, .. } if after.as_secs() == seconds), "{error}");
        assert_about(started.elapsed(), seconds);
    };
    for _ in 0..2 {
        tokio::join!(ask(5), ask(2), ask(9), async {
            sleep(Duration::from_secs(1)).await;
            tokio::join!(ask(3), ask(1), ask(4));
        });
        assert!(connection.shared.pending.is_empty());
    }
    // Too long for a clock, and ended by the connection.
    let request = Frame::request(RequestCode::HeartBeat);
    let (answer, ()) = tokio::join!(connection.invoke(request, Duration::MAX), async {
        sleep(Duration::from_secs(60)).await;
        connection.close();
    });
    assert!(matches!(answer.unwrap_err(), InvokeError::Closed { .. }));
}
