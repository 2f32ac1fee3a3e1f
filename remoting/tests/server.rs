//! A server on loopback, talked to by our client and by bare sockets.

#![allow(clippy::unwrap_used)]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use trireme_remoting::{
    Client, ClientOptions, CloseReason, Connection, ConnectionOptions, Frame, FrameDecoder, FrameError,
    InvokeError, Language, RequestCode, RequestHandler, Responder, SerializeType, Server, ServerOptions,
    response, version,
};

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(200);

/// Answers with a function, and reports why connections end.
struct Handler<F> {
    answer: F,
    closed: mpsc::UnboundedSender<CloseReason>,
}

impl<F: Fn(Frame, Responder) + Send + Sync + 'static> RequestHandler for Handler<F> {
    fn on_request(&self, request: Frame, responder: Responder) {
        (self.answer)(request, responder);
    }

    fn on_close(&self, connection: &Connection) {
        // The test may have ended.
        let _ = self.closed.send(connection.close_reason().unwrap());
    }
}

type Closed = mpsc::UnboundedReceiver<CloseReason>;

fn handler(answer: impl Fn(Frame, Responder) + Send + Sync + 'static) -> (Arc<dyn RequestHandler>, Closed) {
    let (closed, reasons) = mpsc::unbounded_channel();
    (Arc::new(Handler { answer, closed }), reasons)
}

fn serve(
    options: ServerOptions,
    answer: impl Fn(Frame, Responder) + Send + Sync + 'static,
) -> (Server, Closed) {
    let (handler, closed) = handler(answer);
    (Server::bind("127.0.0.1:0".parse().unwrap(), options, handler).unwrap(), closed)
}

fn connection_options(change: impl FnOnce(&mut ConnectionOptions)) -> ServerOptions {
    let mut options = ServerOptions::default();
    change(&mut options.connection);
    options
}

/// Answers with the request's body.
fn echo(request: Frame, responder: Responder) {
    responder.reply(Frame::response(response::SUCCESS).with_ext(request.ext).with_body(request.body));
}

fn client() -> Client {
    Client::new(ClientOptions::default(), None)
}

fn request(body: impl Into<Vec<u8>>) -> Frame {
    Frame::request(RequestCode::HeartBeat).with_body(body.into())
}

/// A bare socket that speaks frames.
struct Bare {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Bare {
    async fn connect(addr: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(addr).await.unwrap(), buffer: BytesMut::new() }
    }

    async fn send(&mut self, opaque: i32, frame: Frame) {
        self.write(&Frame { opaque, ..frame }.to_bytes().unwrap()).await;
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next frame, or none when the server has closed.
    async fn receive(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = FrameDecoder::default().decode(&mut self.buffer).unwrap() {
                return Some(frame);
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[tokio::test]
async fn requests_are_answered_in_their_notation() {
    let (server, _closed) = serve(ServerOptions::default(), echo);
    let mut bare = Bare::connect(server.local_addr()).await;
    for serialize in [SerializeType::RocketMq, SerializeType::Json] {
        let mut sent = request("hello");
        sent.serialize = serialize;
        sent.language = Language::Go;
        sent.ext.set("k", "v");
        bare.send(-7, sent).await;
        let answer = bare.receive().await.unwrap();
        assert_eq!((answer.serialize, answer.opaque, answer.code), (serialize, -7, response::SUCCESS));
        assert_eq!((answer.language, answer.version), (Language::Java, version::OURS));
        assert!(answer.is_response());
        assert_eq!((answer.ext.get("k"), answer.body.as_slice()), (Some("v"), &b"hello"[..]));
    }
}

#[tokio::test]
async fn answers_may_come_in_another_order_than_requests() {
    let held = Arc::new(Mutex::new(Vec::new()));
    let (server, _closed) = serve(ServerOptions::default(), {
        let held = held.clone();
        move |request, responder| {
            let mut held = held.lock();
            held.push((request, responder));
            if held.len() == 3 {
                held.drain(..).rev().for_each(|(request, responder)| echo(request, responder));
            }
        }
    });
    let client = client();
    let addr = server.local_addr().to_string();
    let ask = async |text: &str| client.invoke(&addr, request(text), LONG).await.unwrap().body.to_bytes();
    let (a, b, c) = tokio::join!(ask("a"), ask("b"), ask("c"));
    assert_eq!((&a[..], &b[..], &c[..]), (&b"a"[..], &b"b"[..], &b"c"[..]));
}

#[tokio::test]
async fn one_way_requests_are_handled_and_not_answered() {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let (server, _closed) = serve(ServerOptions::default(), move |request, responder| {
        seen.send((request.body.to_bytes(), responder.is_oneway())).unwrap();
        echo(request, responder);
    });
    let mut bare = Bare::connect(server.local_addr()).await;
    let mut oneway = request("first");
    oneway.set_oneway();
    bare.send(1, oneway).await;
    bare.send(2, request("second")).await;
    assert_eq!(bare.receive().await.unwrap().opaque, 2);
    assert_eq!(requests.recv().await, Some((Bytes::from_static(b"first"), true)));

    let client = client();
    client.oneway(&server.local_addr().to_string(), request("third")).await.unwrap();
    assert_eq!(requests.recv().await, Some((Bytes::from_static(b"second"), false)));
    assert_eq!(requests.recv().await, Some((Bytes::from_static(b"third"), true)));
}

/// Takes down what it is asked, and says that it was cut off.
struct CutOff {
    asked: mpsc::UnboundedSender<Option<Bytes>>,
}

impl RequestHandler for CutOff {
    fn on_request(&self, request: Frame, responder: Responder) {
        self.asked.send(Some(request.body.to_bytes())).unwrap();
        echo(request, responder);
    }

    fn on_close(&self, _: &Connection) {
        self.asked.send(None).unwrap();
    }

    fn was_cut_off_since(&self, _: tokio::time::Instant) -> bool {
        true
    }
}

#[tokio::test]
async fn who_has_gone_while_the_server_was_cut_off_has_nothing_done() {
    let (asked, mut requests) = mpsc::unbounded_channel();
    let handler = Arc::new(CutOff { asked });
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), ServerOptions::default(), handler).unwrap();
    let body = |body: &'static str| Some(Some(Bytes::from(body)));
    // Who is still there is answered.
    let mut stays = Bare::connect(server.local_addr()).await;
    stays.send(1, request("who stays")).await;
    assert_eq!(stays.receive().await.unwrap().opaque, 1);
    assert_eq!(requests.recv().await, body("who stays"));

    let mut goes = Bare::connect(server.local_addr()).await;
    goes.send(1, request("has asked somebody else")).await;
    let mut oneway = request("waits for no answer");
    oneway.set_oneway();
    goes.send(2, oneway).await;
    drop(goes);
    assert_eq!(requests.recv().await, body("waits for no answer"));
    assert_eq!(requests.recv().await, Some(None), "it was closed, and nothing else");
}

#[tokio::test]
async fn a_forgotten_request_is_answered_all_the_same() {
    let (server, _closed) = serve(ServerOptions::default(), |_, responder| drop(responder));
    let answer = client().invoke(&server.local_addr().to_string(), request(""), LONG).await.unwrap();
    assert_eq!(answer.code, response::SYSTEM_ERROR);
}

#[tokio::test]
async fn an_answer_too_large_becomes_an_error() {
    let options = connection_options(|connection| connection.max_frame = 1000);
    let (server, _closed) = serve(options, |_, responder| {
        responder.reply(Frame::response(response::SUCCESS).with_body(vec![0; 1000]));
    });
    let answer = client().invoke(&server.local_addr().to_string(), request(""), LONG).await.unwrap();
    assert_eq!(answer.code, response::SYSTEM_ERROR);
    assert!(answer.remark.unwrap().contains("exceeds the limit of 1000"));
}

#[tokio::test]
async fn servers_ask_their_clients() {
    // Registers the connection by a heartbeat, then asks back over it.
    let (connected, mut connections) = mpsc::unbounded_channel();
    let (server, _closed) = serve(ServerOptions::default(), move |request, responder| {
        connected.send(responder.connection().clone()).unwrap();
        echo(request, responder);
    });
    let addr = server.local_addr().to_string();
    let (answers, _client_closed) = handler(|request, responder| {
        assert_eq!(request.serialize, SerializeType::Json);
        echo(request, responder);
    });
    let client = Client::new(ClientOptions::default(), Some(answers));
    client.invoke(&addr, request(""), LONG).await.unwrap();
    let connection = connections.recv().await.unwrap();
    let answer = connection.invoke(request("back"), LONG).await.unwrap();
    assert_eq!(answer.body.as_slice(), b"back");

    // A client without a handler says so.
    let plain = self::client();
    plain.invoke(&addr, request(""), LONG).await.unwrap();
    let connection = connections.recv().await.unwrap();
    let answer = connection.invoke(request("back"), LONG).await.unwrap();
    assert_eq!(answer.code, response::REQUEST_CODE_NOT_SUPPORTED);
}

#[tokio::test]
async fn bodies_of_many_runs_arrive_whole() {
    let runs: Vec<Bytes> = (0..200).map(|n| Bytes::from(vec![n as u8; 40_000 * (n % 3) + n])).collect();
    let expect = runs.concat();
    let (server, _closed) = serve(ServerOptions::default(), move |_, responder| {
        responder.reply(Frame::response(response::SUCCESS).with_body(runs.clone()));
    });
    let client = client();
    for _ in 0..3 {
        let answer = client.invoke(&server.local_addr().to_string(), request(""), LONG).await.unwrap();
        assert_eq!(answer.body.as_slice(), expect);
    }
}

#[tokio::test]
async fn garbage_closes_its_own_connection_and_no_other() {
    let (server, mut closed) = serve(ServerOptions::default(), echo);
    let mut neighbour = Bare::connect(server.local_addr()).await;
    for (garbage, expect) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], FrameError::Tls),
        (b"GET / HTTP/1.1\r\n\r\n", FrameError::TooLarge { bytes: 0x4745_5424, max: 16 << 20 }),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff", FrameError::TooShort(-1)),
        (b"\x00\x00\x00\x10\x07\x00\x00\x00", FrameError::SerializeType(7)),
        (b"\x00\xff\xff\xf0\x00\xff\xff\x00", FrameError::HeaderTooLarge { bytes: 0xff_ff00, max: 65536 }),
        (b"\x00\x00\x00\x06\x01\x00\x00\x02\x00\x00", FrameError::BinaryOverrun("language")),
    ] {
        let mut bare = Bare::connect(server.local_addr()).await;
        bare.write(garbage).await;
        assert_eq!(bare.receive().await, None);
        let reason = closed.recv().await.unwrap();
        assert!(matches!(&reason, CloseReason::Malformed(error) if *error == expect), "{reason}");

        neighbour.send(1, request("still here")).await;
        assert_eq!(neighbour.receive().await.unwrap().body.as_slice(), b"still here");
    }
}

#[tokio::test]
async fn a_peer_that_leaves_inside_a_frame() {
    let (server, mut closed) = serve(ServerOptions::default(), echo);
    let mut bare = Bare::connect(server.local_addr()).await;
    let bytes = request("whole").to_bytes().unwrap();
    bare.write(&bytes[..bytes.len() - 2]).await;
    drop(bare);
    assert!(matches!(closed.recv().await.unwrap(), CloseReason::Truncated { missing: 2 }));
}

#[tokio::test]
async fn a_peer_that_half_closes_still_gets_its_answer() {
    let (server, mut closed) = serve(ServerOptions::default(), echo);
    let mut bare = Bare::connect(server.local_addr()).await;
    bare.send(1, request("last words")).await;
    bare.stream.shutdown().await.unwrap();
    assert_eq!(bare.receive().await.unwrap().body.as_slice(), b"last words");
    assert_eq!(bare.receive().await, None);
    assert!(matches!(closed.recv().await.unwrap(), CloseReason::Peer));
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_not_read_from() {
    let asked = Arc::new(AtomicUsize::new(0));
    let options = connection_options(|options| options.outbound_pause = 1 << 20);
    let (server, _closed) = serve(options, {
        let asked = asked.clone();
        move |_, responder| {
            asked.fetch_add(1, Ordering::SeqCst);
            responder.reply(Frame::response(response::SUCCESS).with_body(vec![7; 100_000]));
        }
    });
    // Far more answers than the sockets' buffers and the bound hold together.
    const REQUESTS: usize = 400;
    let Bare { stream, buffer } = Bare::connect(server.local_addr()).await;
    let (reader, mut writer) = stream.into_split();
    let sending = tokio::spawn(async move {
        let one = request("").to_bytes().unwrap();
        for _ in 0..REQUESTS {
            writer.write_all(&one).await.unwrap();
        }
        writer
    });
    // Wait until the server has stopped: more is queued than it resumes at, and the count of requests stands.
    let connection = loop {
        match server.connections().pop() {
            Some(connection) if connection.queued_bytes() > 1 << 19 => break connection,
            _ => tokio::task::yield_now().await,
        }
    };
    let mut before = 0;
    while asked.load(Ordering::SeqCst) != before {
        before = asked.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(before < REQUESTS, "all requests were taken from a peer that reads nothing");
    assert!(connection.queued_bytes() < (1 << 20) + 200_000, "{}", connection.queued_bytes());

    // It reads again: everything is answered.
    let mut bare = Bare { stream: reader.reunite(sending.await.unwrap()).unwrap(), buffer };
    for _ in 0..REQUESTS {
        assert_eq!(bare.receive().await.unwrap().body.len(), 100_000);
    }
    assert_eq!(asked.load(Ordering::SeqCst), REQUESTS);
}

#[tokio::test]
async fn a_peer_that_is_sent_too_much_is_closed() {
    let options = connection_options(|options| options.outbound_close = 1 << 20);
    let (server, mut closed) = serve(options, echo);
    let mut bare = Bare::connect(server.local_addr()).await;
    bare.send(1, request("")).await;
    bare.receive().await.unwrap();
    let connection = server.connections().pop().unwrap();
    let refused = loop {
        if let Err(error) = connection.oneway(request(vec![0; 100_000])) {
            break error;
        }
        tokio::task::yield_now().await;
    };
    assert!(matches!(refused, InvokeError::Closed { reason: CloseReason::Overflow { .. }, .. }), "{refused}");
    assert!(matches!(closed.recv().await.unwrap(), CloseReason::Overflow { .. }));
}

#[tokio::test]
async fn requests_in_flight_have_a_bound() {
    let held = Arc::new(Mutex::new(Vec::new()));
    let (server, _closed) = serve(connection_options(|options| options.max_in_flight = 2), {
        let held = held.clone();
        move |_, responder| held.lock().push(responder)
    });
    let mut bare = Bare::connect(server.local_addr()).await;
    for opaque in 0..4 {
        bare.send(opaque, request("")).await;
    }
    while held.lock().len() < 2 {
        tokio::task::yield_now().await;
    }
    // One answer makes room for one more request, and so on until all four are answered.
    for opaque in 0..4 {
        assert!(held.lock().len() <= 2);
        loop {
            let first = held.lock().pop();
            match first {
                Some(responder) => break responder.reply(Frame::response(response::SUCCESS)),
                None => tokio::task::yield_now().await,
            }
        }
        assert!(bare.receive().await.is_some(), "{opaque}");
    }
}

#[tokio::test]
async fn bodies_in_flight_have_a_bound_over_all_connections() {
    let held = Arc::new(Mutex::new(Vec::new()));
    let options = ServerOptions { max_inbound_bytes: 1000, ..ServerOptions::default() };
    let (server, _closed) = serve(options, {
        let held = held.clone();
        move |_, responder| held.lock().push(responder)
    });
    let mut big = Bare::connect(server.local_addr()).await;
    big.send(1, request(vec![0; 1001])).await;
    while held.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    // The budget is spent: another connection gets one request in, and its next one only later.
    let mut other = Bare::connect(server.local_addr()).await;
    other.send(1, request("x")).await;
    other.send(2, request("y")).await;
    while held.lock().len() < 2 {
        tokio::task::yield_now().await;
    }
    for responder in std::mem::take(&mut *held.lock()) {
        responder.reply(Frame::response(response::SUCCESS));
    }
    assert_eq!(other.receive().await.unwrap().opaque, 1);
    while held.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    held.lock().clear();
    assert_eq!(other.receive().await.unwrap().opaque, 2);
}

#[tokio::test]
async fn shutdown_answers_what_is_in_flight() {
    let (hold, mut held) = mpsc::unbounded_channel();
    let (server, mut closed) =
        serve(ServerOptions::default(), move |_, responder| hold.send(responder).unwrap());
    let addr = server.local_addr();
    let mut bare = Bare::connect(addr).await;
    bare.send(1, request("")).await;
    let responder = held.recv().await.unwrap();

    let shutdown = tokio::spawn(server.shutdown(LONG));
    // A request that comes now is turned away, once the drain has begun; until then it is held like the first.
    let mut opaque = 2;
    let turned_away = loop {
        bare.send(opaque, request("")).await;
        tokio::select! {
            answer = bare.receive() => break answer.unwrap(),
            late = held.recv() => {
                late.unwrap().reply(Frame::response(response::SUCCESS));
                assert_eq!(bare.receive().await.unwrap().code, response::SUCCESS);
                opaque += 1;
            }
        }
    };
    assert_eq!((turned_away.opaque, turned_away.code), (opaque, response::GO_AWAY));
    assert!(!shutdown.is_finished());

    responder.reply(Frame::response(response::SUCCESS).with_body(b"at last".to_vec()));
    let answer = bare.receive().await.unwrap();
    assert_eq!((answer.opaque, answer.body.as_slice()), (1, &b"at last"[..]));
    assert_eq!(bare.receive().await, None);
    shutdown.await.unwrap();
    assert!(matches!(closed.recv().await.unwrap(), CloseReason::Shutdown));

    // The port is free, and nobody listens.
    assert_eq!(TcpStream::connect(addr).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    TcpListener::bind(addr).await.unwrap();
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let held = Arc::new(Mutex::new(Vec::new()));
    let (server, mut closed) = serve(ServerOptions::default(), {
        let held = held.clone();
        move |_, responder| held.lock().push(responder)
    });
    let mut bare = Bare::connect(server.local_addr()).await;
    bare.send(1, request("")).await;
    while held.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    let started = Instant::now();
    server.shutdown(SHORT).await;
    assert!(started.elapsed() >= SHORT);
    assert_eq!(bare.receive().await, None);
    assert!(matches!(closed.recv().await.unwrap(), CloseReason::Shutdown));
}

#[tokio::test]
async fn a_dropped_server_closes_everything() {
    let (server, mut closed) = serve(ServerOptions::default(), echo);
    let mut bare = Bare::connect(server.local_addr()).await;
    bare.send(1, request("")).await;
    bare.receive().await.unwrap();
    drop(server);
    assert_eq!(bare.receive().await, None);
    assert!(matches!(closed.recv().await.unwrap(), CloseReason::Shutdown));
}

#[tokio::test]
async fn a_handler_that_panics_costs_its_connection() {
    let (server, mut closed) = serve(ServerOptions::default(), |request, responder| {
        assert!(request.body.as_slice() != b"panic", "asked to panic");
        echo(request, responder);
    });
    let mut neighbour = Bare::connect(server.local_addr()).await;
    let mut bare = Bare::connect(server.local_addr()).await;
    bare.send(1, request("panic")).await;
    assert!(matches!(closed.recv().await.unwrap(), CloseReason::Panicked));
    while bare.receive().await.is_some() {}
    neighbour.send(1, request("fine")).await;
    assert_eq!(neighbour.receive().await.unwrap().body.as_slice(), b"fine");
}

#[tokio::test]
async fn connections_have_a_bound() {
    for options in [
        ServerOptions { max_connections: 1, ..ServerOptions::default() },
        ServerOptions { max_connections_per_ip: 1, ..ServerOptions::default() },
    ] {
        let (server, mut closed) = serve(options, echo);
        let mut first = Bare::connect(server.local_addr()).await;
        first.send(1, request("")).await;
        first.receive().await.unwrap();
        assert_eq!(Bare::connect(server.local_addr()).await.receive().await, None);

        // When the first is gone there is room again.
        drop(first);
        closed.recv().await.unwrap();
        while !server.connections().is_empty() {
            tokio::task::yield_now().await;
        }
        let mut second = Bare::connect(server.local_addr()).await;
        second.send(1, request("")).await;
        assert!(second.receive().await.is_some());
    }
}

#[tokio::test]
async fn binding_a_taken_port_names_it() {
    let (server, _closed) = serve(ServerOptions::default(), echo);
    let (handler, _) = handler(echo);
    let error = Server::bind(server.local_addr(), ServerOptions::default(), handler).err().unwrap();
    assert_eq!(error.addr, server.local_addr());
    assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
}
