//! The client: connecting, losing, timing out.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use trireme_remoting::{
    Client, ClientOptions, CloseReason, Frame, FrameError, InvokeError, RequestCode, RequestHandler,
    Responder, Server, ServerOptions, response,
};

const LONG: Duration = Duration::from_secs(30);

/// Echoes bodies; closes the connection when asked to, keeps quiet when asked to.
struct Echo;

impl RequestHandler for Echo {
    fn on_request(&self, request: Frame, responder: Responder) {
        match request.body.as_slice() {
            b"close" => responder.connection().close(),
            b"quiet" => std::mem::forget(responder),
            _ => responder.reply(Frame::response(response::SUCCESS).with_body(request.body)),
        }
    }
}

fn serve() -> (Server, String) {
    let server =
        Server::bind("127.0.0.1:0".parse().unwrap(), ServerOptions::default(), Arc::new(Echo)).unwrap();
    let addr = server.local_addr().to_string();
    (server, addr)
}

fn client() -> Client {
    Client::new(ClientOptions::default(), None)
}

fn request(body: &str) -> Frame {
    Frame::request(RequestCode::HeartBeat).with_body(body.as_bytes().to_vec())
}

/// A port where nobody listens.
async fn dead_addr() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn callers_at_the_same_time_share_one_connection() {
    let (server, addr) = serve();
    let client = client();
    let calls: Vec<_> = (0..20)
        .map(|n| {
            let (client, addr) = (client.clone(), addr.clone());
            tokio::spawn(async move { client.invoke(&addr, request(&n.to_string()), LONG).await.unwrap() })
        })
        .collect();
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap().body.as_slice(), n.to_string().as_bytes());
    }
    assert_eq!(server.connections().len(), 1);
    let ready = client.ready(&addr).unwrap();
    assert_eq!(ready, client.connection(&addr).await.unwrap());
    assert_eq!(ready.peer_addr(), server.local_addr());
}

#[tokio::test]
async fn a_lost_connection_fails_its_requests_at_once_and_is_made_again() {
    let (_server, addr) = serve();
    let client = client();
    let started = Instant::now();
    let (quiet, close) = tokio::join!(
        client.invoke(&addr, request("quiet"), LONG),
        client.invoke(&addr, request("close"), LONG)
    );
    for lost in [quiet, close] {
        assert!(matches!(&lost, Err(InvokeError::Closed { reason: CloseReason::Peer, .. })), "{lost:?}");
    }
    assert!(started.elapsed() < LONG / 2);
    assert_eq!(client.invoke(&addr, request("again"), LONG).await.unwrap().body.as_slice(), b"again");
}

#[tokio::test]
async fn no_answer_in_time() {
    let (_server, addr) = serve();
    let client = client();
    let after = Duration::from_millis(100);
    let error = client.invoke(&addr, request("quiet"), after).await.unwrap_err();
    assert_eq!(error.to_string(), format!("no answer from {addr} to code 34 within 100ms"));
    // The connection is none the worse.
    assert!(client.invoke(&addr, request("x"), LONG).await.is_ok());
}

#[tokio::test]
async fn nobody_listens() {
    let addr = dead_addr().await;
    let client = client();
    for _ in 0..2 {
        let error = client.invoke(&addr, request("x"), LONG).await.unwrap_err();
        assert!(matches!(error, InvokeError::Connect { .. }), "{error}");
        assert!(client.ready(&addr).is_none());
    }
    let error = client.invoke("no port", request("x"), LONG).await.unwrap_err();
    assert!(matches!(error, InvokeError::Connect { .. }), "{error}");
}

#[tokio::test]
async fn a_request_too_large_is_not_sent_and_harms_nobody() {
    let (_server, addr) = serve();
    let mut options = ClientOptions::default();
    options.connection.max_frame = 200;
    let client = Client::new(options, None);
    let error = client.invoke(&addr, request(&"x".repeat(200)), LONG).await.unwrap_err();
    assert!(matches!(error, InvokeError::Frame(FrameError::TooLarge { max: 200, .. })), "{error}");
    assert!(client.invoke(&addr, request("x"), LONG).await.is_ok());
}

#[tokio::test]
async fn shutdown_fails_what_waits_and_what_comes() {
    let (server, addr) = serve();
    let client = client();
    let connection = client.connection(&addr).await.unwrap();
    let waiting = tokio::spawn({
        let (client, addr) = (client.clone(), addr.clone());
        async move { client.invoke(&addr, request("quiet"), LONG).await }
    });
    // The request is under way once the server has it.
    connection.invoke(request("x"), LONG).await.unwrap();
    client.shutdown();
    assert!(matches!(waiting.await.unwrap(), Err(InvokeError::Closed { reason: CloseReason::Local, .. })));
    assert!(connection.is_closed());
    assert!(matches!(client.connection(&addr).await, Err(InvokeError::Closed { .. })));
    while !server.connections().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn disconnect_makes_the_next_request_connect_again() {
    let (_server, addr) = serve();
    let client = client();
    let first = client.connection(&addr).await.unwrap();
    client.disconnect(&addr);
    assert!(first.is_closed());
    let second = client.connection(&addr).await.unwrap();
    assert_ne!(first, second);
}

#[tokio::test]
async fn only_a_connection_that_brings_nothing_is_left() {
    let (_server, addr) = serve();
    let client = client();
    let after = Duration::from_millis(100);
    // One request is not answered, another is.
    let asked = tokio::time::Instant::now();
    let (quiet, answered) =
        tokio::join!(client.invoke(&addr, request("quiet"), after), client.invoke(&addr, request("x"), LONG));
    assert!(quiet.is_err() && answered.is_ok());
    assert!(!client.disconnect_silent(&addr, asked));
    assert!(client.ready(&addr).is_some());
    // None is.
    let asked = tokio::time::Instant::now() + Duration::from_millis(2);
    assert!(client.invoke(&addr, request("quiet"), after).await.is_err());
    assert!(client.disconnect_silent(&addr, asked));
    assert!(client.ready(&addr).is_none());
    // One that never brought anything.
    let asked = tokio::time::Instant::now();
    assert!(client.invoke(&addr, request("quiet"), after).await.is_err());
    assert!(client.disconnect_silent(&addr, asked));
    assert!(!client.disconnect_silent(&addr, asked), "there is none any more");
}

#[tokio::test]
async fn the_last_client_closes_its_connections() {
    let (server, addr) = serve();
    let client = client();
    let connection = client.connection(&addr).await.unwrap();
    drop(client.clone());
    assert!(!connection.is_closed());
    drop(client);
    assert!(connection.is_closed());
    while !server.connections().is_empty() {
        tokio::task::yield_now().await;
    }
}

/// Many tasks on one connection, answered in whatever order: each gets its own answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_at_once() {
    let (_server, addr) = serve();
    let client = client();
    let done = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..50)
        .map(|task| {
            let (client, addr, done) = (client.clone(), addr.clone(), done.clone());
            tokio::spawn(async move {
                for n in 0..40 {
                    let text = format!("{task}-{n}-{}", "x".repeat(n * 200));
                    let answer = client.invoke(&addr, request(&text), LONG).await.unwrap();
                    assert_eq!(answer.body.as_slice(), text.as_bytes());
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(done.load(Ordering::Relaxed), 2000);
}
