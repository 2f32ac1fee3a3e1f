//! What no sane peer sends: a refusal each, and everybody else is served as before.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use trireme_namesrv::{NameServer, NameServerOptions, StartError};
use trireme_remoting::body::TopicConfig;
use trireme_remoting::{Frame, RequestCode, response};

use crate::peer::{Broker, Peer, options, route_request, start};

/// Changes one header field of a good registration, or removes it.
fn with(field: &str, value: Option<&str>) -> Frame {
    let mut frame = Broker::master().register();
    match value {
        Some(value) => frame.ext.set(field, value),
        None => assert!(frame.ext.remove(field)),
    }
    frame
}

#[tokio::test]
async fn registrations_that_make_no_sense_are_refused() {
    let server = start();
    let peer = Peer::of(&server);
    let body = |bytes: &[u8]| Broker::master().register().with_body(bytes.to_vec());
    let mut not_zlib = body(b"not zlib");
    not_zlib.ext.set("compressed", true);
    let cases = [
        with("brokerName", None),
        with("brokerName", Some("")),
        with("brokerName", Some("a:1;b")),
        with("brokerName", Some(&"b".repeat(128))),
        with("clusterName", Some("a b")),
        with("brokerAddr", None),
        with("brokerAddr", Some("10.0.0.1")),
        with("brokerAddr", Some("10.0.0.1:10911,1:10.0.0.2:10911")),
        with("brokerAddr", Some("10.0.0.1:0")),
        with("haServerAddr", Some("\u{0}")),
        with("brokerId", Some("-1")),
        with("brokerId", Some("first")),
        with("brokerId", Some("9223372036854775808")),
        with("heartbeatTimeoutMillis", Some("soon")),
        with("__ZONE_NAME", Some("a,b")),
        with("bodyCrc32", Some("1")),
        body(b"{"),
        body(b"[]"),
        body(b"\xff\xfe\x00"),
        body(br#"{"topicConfigSerializeWrapper":{"topicConfigTable":7}}"#),
        body(br#"{"topicConfigSerializeWrapper":{"topicConfigTable":{"T":{"perm":"six"}}}}"#),
        body("[".repeat(100_000).as_bytes()),
        not_zlib,
    ];
    for frame in cases {
        let (ext, bytes) = (frame.ext.clone(), frame.body.len());
        let answer = peer.ask(frame).await;
        assert_eq!(answer.code, response::SYSTEM_ERROR, "{ext:?} and {bytes} bytes");
        assert!(answer.remark.is_some_and(|remark| !remark.is_empty() && remark.len() < 400), "{ext:?}");
    }
    assert_eq!(peer.listed().await, "");
    server.shutdown().await;
}

#[tokio::test]
async fn a_broker_is_not_refused_for_a_topic() {
    let server = start();
    let peer = Peer::of(&server);
    let mut broker = Broker::master();
    let good = broker.topics[0].clone();
    let named = |name: &str| TopicConfig { topic_name: name.to_owned(), ..good.clone() };
    broker.topics.extend([
        named("../../x"),
        named(&"x".repeat(128)),
        TopicConfig { read_queue_nums: -1, ..named("negative") },
        TopicConfig { write_queue_nums: i32::MAX, ..named("huge") },
        TopicConfig { perm: 64, ..named("perm") },
    ]);
    peer.done(broker.register()).await;
    assert_eq!(peer.topics(Frame::request(RequestCode::GetAllTopicListFromNameServer)).await, ["T", "U"]);
    server.shutdown().await;
}

#[tokio::test]
async fn full_tables_say_so() {
    let server = NameServer::start(NameServerOptions { max_brokers: 1, max_topics: 1, ..options() }).unwrap();
    let (first, second) = (Peer::of(&server), Peer::of(&server));
    let remark = first.refused(response::SYSTEM_ERROR, Broker::master().register()).await;
    assert_eq!(remark, "the route table is full (1 topics): 1 not routed");
    assert_eq!(first.listed().await, "broker-a{0=10.0.0.1:10911}", "it stays listed");
    assert!(first.route("T").await.is_some());
    let other = Broker::master().named("broker-b");
    let remark = second.refused(response::SYSTEM_ERROR, other.register()).await;
    assert_eq!(remark, "the route table is full: 1 brokers");
    server.shutdown().await;
}

#[tokio::test]
async fn codes_that_are_not_a_name_servers() {
    let server = start();
    let peer = Peer::of(&server);
    let mut unknown = Frame::request(RequestCode::HeartBeat);
    for code in [10, 34, 310, 1003, -7, i32::MAX] {
        unknown.code = code;
        let remark = peer.refused(response::REQUEST_CODE_NOT_SUPPORTED, unknown.clone()).await;
        assert!(remark.contains(&code.to_string()), "{remark}");
    }
    peer.refused(response::SYSTEM_ERROR, Frame::request(RequestCode::GetRouteInfoByTopic)).await;
    peer.refused(response::TOPIC_NOT_EXIST, route_request("../../x")).await;
    peer.refused(response::TOPIC_NOT_EXIST, route_request("")).await;
    server.shutdown().await;
}

#[tokio::test]
async fn garbage_closes_its_own_connection_only() {
    let server = start();
    let peer = Peer::of(&server);
    peer.done(Broker::master().register()).await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], &[0, 0, 0, 4, 0, 0xff, 0xff, 0xff]] {
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "the connection is closed");
        assert!(rest.is_empty());
    }
    assert_eq!(peer.listed().await, "broker-a{0=10.0.0.1:10911}");
    server.shutdown().await;
}

#[tokio::test]
async fn what_prevents_a_start_is_named() {
    let server = start();
    let taken = NameServerOptions { listen: server.local_addr(), ..options() };
    let Err(StartError::Bind(error)) = NameServer::start(taken) else { panic!("the port is taken") };
    assert!(error.to_string().contains(&server.local_addr().to_string()), "{error}");
    let absurd = NameServerOptions { max_topics: 0, ..options() };
    let Err(error @ StartError::Option(_)) = NameServer::start(absurd) else { panic!("it takes no topics") };
    assert_eq!(error.to_string(), "max_topics is 0, allowed are 1 to 10000000");
    server.shutdown().await;
}
