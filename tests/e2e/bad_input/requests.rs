//! Requests that are well-formed frames and must be refused.

use std::net::SocketAddr;

use trireme_broker::names;
use trireme_client::MessageQueue;
use trireme_remoting::body::KvTable;
use trireme_remoting::headers::SendHeader;
use trireme_remoting::message::{BatchItem, properties, property};
use trireme_remoting::{ClientOptions, ExtFields, Frame, RequestCode, response};

use crate::harness::Cluster;
use crate::wire;

/// A request, the code that it must be answered with, and what the remark must say.
struct Case {
    name: &'static str,
    request: Frame,
    code: i32,
    says: &'static str,
}

fn case(name: &'static str, request: Frame, code: i32, says: &'static str) -> Case {
    Case { name, request, code, says }
}

/// A request with these fields.
fn fields<const N: usize>(code: RequestCode, fields: [(&str, &str); N]) -> Frame {
    Frame::request(code).with_ext(fields.into_iter().collect())
}

/// `frame` with one field changed.
fn with(mut frame: Frame, field: &str, value: &str) -> Frame {
    frame.ext.set(field, value);
    frame
}

fn without(mut frame: Frame, field: &str) -> Frame {
    assert!(frame.ext.remove(field), "there is no field {field}");
    frame
}

fn queue(topic: &str, id: i32) -> MessageQueue {
    MessageQueue::new(topic, "broker-a", id)
}

fn send(topic: &str, id: i32, body: Vec<u8>) -> Frame {
    wire::send_request(&queue(topic, id), body, "")
}

fn batch(items: &[BatchItem<'_>], cut: usize) -> Frame {
    let mut body = Vec::new();
    items.iter().for_each(|item| item.encode_into(&mut body).unwrap());
    body.truncate(body.len() - cut);
    let queue = queue("known", 0);
    let header = SendHeader { batch: Some(true), ..wire::send_header(&queue, "") };
    Frame::request(RequestCode::SendBatchMessage).with_ext(header.to_ext_v2()).with_body(body)
}

fn create(topic: &str, queues: &str, perm: &str) -> Frame {
    fields(
        RequestCode::UpdateAndCreateTopic,
        [
            ("topic", topic),
            ("defaultTopic", "TBW102"),
            ("readQueueNums", queues),
            ("writeQueueNums", "4"),
            ("perm", perm),
            ("topicFilterType", "SINGLE_TAG"),
            ("order", "false"),
        ],
    )
}

fn commit(topic: &str, queue: &str, offset: &str) -> Frame {
    let header = [("consumerGroup", "group"), ("topic", topic), ("queueId", queue), ("commitOffset", offset)];
    fields(RequestCode::UpdateConsumerOffset, header)
}

fn send_back(offset: &str, group: &str) -> Frame {
    fields(RequestCode::ConsumerSendMsgBack, [("offset", offset), ("group", group), ("delayLevel", "1")])
}

fn unknown_code(code: i32) -> Frame {
    let mut frame = Frame::request(RequestCode::HeartBeat);
    frame.code = code;
    frame
}

/// To brokers.
fn cases() -> Vec<Case> {
    use response::*;
    let item = |body| BatchItem { flag: 0, body, properties: "" };
    let delayed = properties::build([(property::DELAY_TIME_LEVEL, "3")]);
    let half = properties::build([(property::TRANSACTION_PREPARED, "true")]);
    let timed = properties::build([(property::TIMER_DELAY_SEC, "10")]);
    let many = properties::build([("p", "x".repeat(40_000).as_str())]);
    let long = "t".repeat(200);
    let known = || send("known", 0, vec![1]);
    let pull = |id, offset| wire::pull_request(&queue("known", id), offset);
    vec![
        case("a path as a topic", send("../../x", 0, vec![1]), INVALID_PARAMETER, "../../x"),
        case("a path as a new topic", create("../../x", "4", "6"), INVALID_PARAMETER, "../../x"),
        case("a path to pull from", wire::pull_request(&queue("../../x", 0), 0), TOPIC_NOT_EXIST, "../../x"),
        case("a path as a group", with(pull(0, 0), "consumerGroup", "../x"), INVALID_PARAMETER, "../x"),
        case("no topic", send("", 0, vec![1]), INVALID_PARAMETER, "topic name is empty"),
        case("a long topic", send(&long, 0, vec![1]), INVALID_PARAMETER, "200 bytes"),
        case(
            "the broker's topic",
            send(names::SCHEDULE_TOPIC, 0, vec![1]),
            NO_PERMISSION,
            "the broker's own",
        ),
        case("a body of 5 MiB", send("known", 0, vec![1; 5 << 20]), MESSAGE_ILLEGAL, "5242880 bytes"),
        case("a queue that is not there", send("known", 4, vec![1]), INVALID_PARAMETER, "it has 4"),
        case("the last queue of all", send("known", i32::MAX, vec![1]), INVALID_PARAMETER, "it has 4"),
        case("a queue that is no number", with(known(), "e", "four"), SYSTEM_ERROR, "queueId is \"four\""),
        case("a number that is too large", with(known(), "e", "99999999999"), SYSTEM_ERROR, "queueId"),
        case("no queue field", without(known(), "e"), SYSTEM_ERROR, "queueId is missing"),
        case("no fields at all", Frame::request(RequestCode::SendMessage), SYSTEM_ERROR, "is missing"),
        case(
            "long properties",
            wire::send_request(&queue("known", 0), vec![1], &many),
            MESSAGE_ILLEGAL,
            "40",
        ),
        case(
            "half a transaction",
            wire::send_request(&queue("known", 0), vec![1], &half),
            NO_PERMISSION,
            "transaction",
        ),
        case(
            "a timer",
            wire::send_request(&queue("known", 0), vec![1], &timed),
            MESSAGE_ILLEGAL,
            "TIMER_DELAY_SEC",
        ),
        case("an empty batch", batch(&[], 0), MESSAGE_ILLEGAL, "batch is empty"),
        case("a batch cut short", batch(&[item(b"one"), item(b"two")], 1), MESSAGE_ILLEGAL, ""),
        case(
            "a delayed message in a batch",
            batch(&[BatchItem { flag: 0, body: b"one", properties: &delayed }], 0),
            MESSAGE_ILLEGAL,
            "delayed",
        ),
        case("a code that nobody knows", unknown_code(31_337), REQUEST_CODE_NOT_SUPPORTED, "31337"),
        case("a negative code", unknown_code(-1), REQUEST_CODE_NOT_SUPPORTED, "-1"),
        case("a name server's code", unknown_code(103), REQUEST_CODE_NOT_SUPPORTED, "REGISTER_BROKER"),
        case("a pull below the first offset", pull(0, -1), PULL_OFFSET_MOVED, ""),
        case("a pull behind the end", pull(0, i64::MAX), PULL_OFFSET_MOVED, ""),
        case("a pull from a negative queue", pull(-1, 0), INVALID_PARAMETER, "queue -1"),
        case("a pull from a queue that is not there", pull(4, 0), INVALID_PARAMETER, "it has 4"),
        case(
            "a pull without a group",
            without(pull(0, 0), "consumerGroup"),
            SYSTEM_ERROR,
            "consumerGroup is missing",
        ),
        case("a pull by SQL", with(pull(0, 0), "expressionType", "SQL92"), SYSTEM_ERROR, "SQL92"),
        case("a pull with half a filter", with(pull(0, 0), "subscription", "a || "), PULL_NOT_FOUND, ""),
        case(
            "a garbled heartbeat",
            Frame::request(RequestCode::HeartBeat).with_body(b"{\"clientID\":".to_vec()),
            SYSTEM_ERROR,
            "heartbeat",
        ),
        case("an empty heartbeat", Frame::request(RequestCode::HeartBeat), SYSTEM_ERROR, "heartbeat"),
        case(
            "garbled locks",
            Frame::request(RequestCode::LockBatchMq).with_body(b"\xff\xfe".to_vec()),
            SYSTEM_ERROR,
            "",
        ),
        case("a negative position", commit("known", "0", "-7"), INVALID_PARAMETER, "-7"),
        case("a position in no queue", commit("known", "77", "1"), INVALID_PARAMETER, "queue 77"),
        case("a position in no topic", commit("unknown", "0", "1"), TOPIC_NOT_EXIST, "unknown"),
        case("no queues for a topic", create("new", "0", "6"), INVALID_PARAMETER, "readQueueNums is 0"),
        case(
            "a billion queues for a topic",
            create("new", "1000000000", "6"),
            INVALID_PARAMETER,
            "1000000000",
        ),
        case("a permission that is none", create("new", "4", "99"), INVALID_PARAMETER, "perm is 99"),
        case("the broker's topic made anew", create("TBW102", "4", "6"), INVALID_PARAMETER, "TBW102"),
        case("nothing to send back", send_back("0", "group"), SYSTEM_ERROR, "physical offset 0"),
        case(
            "nothing to send back before the log",
            send_back("-1", "group"),
            SYSTEM_ERROR,
            "physical offset -1",
        ),
        case(
            "a send-back of a group that is not there",
            send_back("0", "nobody"),
            SUBSCRIPTION_GROUP_NOT_EXIST,
            "nobody",
        ),
        case("no message", fields(RequestCode::ViewMessageById, [("offset", "8")]), SYSTEM_ERROR, "8"),
        case(
            "no message at the end",
            fields(RequestCode::ViewMessageById, [("offset", "9223372036854775807")]),
            SYSTEM_ERROR,
            "",
        ),
        case(
            "a bound of no queue",
            fields(RequestCode::GetMaxOffset, [("topic", "known"), ("queueId", "-2")]),
            INVALID_PARAMETER,
            "queue -2",
        ),
        case(
            "a time before all times",
            fields(
                RequestCode::SearchOffsetByTimestamp,
                [("topic", "known"), ("queueId", "0"), ("timestamp", "-9223372036854775808")],
            ),
            SUCCESS,
            "",
        ),
    ]
}

/// To name servers.
fn namesrv_cases() -> Vec<Case> {
    use response::*;
    let register = || {
        let header = [
            ("brokerName", "b"),
            ("brokerAddr", "nonsense"),
            ("clusterName", "c"),
            ("haServerAddr", ""),
            ("brokerId", "0"),
        ];
        fields(RequestCode::RegisterBroker, header)
    };
    vec![
        case("a code that nobody knows", unknown_code(31_337), REQUEST_CODE_NOT_SUPPORTED, "31337"),
        case("a broker's code", unknown_code(310), REQUEST_CODE_NOT_SUPPORTED, "SEND_MESSAGE_V2"),
        case(
            "the route of a path",
            fields(RequestCode::GetRouteInfoByTopic, [("topic", "../../x")]),
            TOPIC_NOT_EXIST,
            "",
        ),
        case(
            "a route of nothing",
            Frame::request(RequestCode::GetRouteInfoByTopic),
            SYSTEM_ERROR,
            "topic is missing",
        ),
        case(
            "a broker without fields",
            Frame::request(RequestCode::RegisterBroker),
            SYSTEM_ERROR,
            "is missing",
        ),
        case("a broker at no address", register(), SYSTEM_ERROR, "nonsense"),
        case(
            "a broker that says garbage",
            with(register(), "brokerAddr", "127.0.0.1:1").with_body(b"\x01\x02{".to_vec()),
            SYSTEM_ERROR,
            "",
        ),
        case("no key", Frame::request(RequestCode::GetKvConfig), SYSTEM_ERROR, "is missing"),
        case(
            "garbled settings",
            Frame::request(RequestCode::UpdateNamesrvConfig).with_body(b"\xff".to_vec()),
            SYSTEM_ERROR,
            "",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_are_refused_in_words() {
    let mut cluster = Cluster::start().await;
    cluster.topic("known", 4).await;
    let leader = cluster.leader().await;
    // A group that exists, so that what is refused is refused for its own reason.
    wire::pull_all(&cluster.remote, cluster.replicas[leader].addr, &[queue("known", 0)]).await;
    let made = with(pull_of_group("group"), "topic", "known");
    cluster.remote.invoke(&cluster.replicas[leader].addr.to_string(), made, wire::PATIENCE).await.unwrap();
    cluster.converged(0).await;
    let messages = messages(&cluster, leader).await;
    for at in [leader, (leader + 1) % 3] {
        ask_all(cluster.replicas[at].addr, cases()).await;
    }
    ask_all(cluster.namesrvs[0].addr, namesrv_cases()).await;
    assert_eq!(self::messages(&cluster, leader).await, messages, "a refused message was stored");
    let topics = cluster.client().admin().topics().await.unwrap();
    for topic in ["new", "../../x", "unknown"] {
        assert!(!topics.iter().any(|known| known == topic), "{topic} was made");
    }
    cluster.assert_healthy();
}

fn pull_of_group(group: &str) -> Frame {
    with(wire::pull_request(&queue("known", 0), 0), "consumerGroup", group)
}

/// Asks everything on one connection, which must stay open.
async fn ask_all(addr: SocketAddr, cases: Vec<Case>) {
    let client = trireme_remoting::Client::new(ClientOptions::default(), None);
    let connection = client.connection(&addr.to_string()).await.unwrap();
    let mut wrong = Vec::new();
    for Case { name, request, code, says } in cases {
        let answer = connection.invoke(request, wire::PATIENCE).await;
        let answer = answer.unwrap_or_else(|error| panic!("{name}: {error}"));
        let remark = answer.remark.unwrap_or_default();
        // What a pull is told of offsets is in its fields; every other refusal has to say why.
        let speaks = !remark.is_empty()
            || matches!(code, response::SUCCESS | response::PULL_NOT_FOUND..=response::PULL_OFFSET_MOVED);
        if answer.code != code || !remark.contains(says) || !speaks {
            wrong.push(format!("{name}: code {} for {code}, {remark:?} for {says:?}", answer.code));
        }
    }
    assert!(wrong.is_empty(), "from {addr}: {wrong:#?}");
    // One-way requests are refused in silence, and answers to nothing are dropped.
    connection.oneway(send("known", 99, vec![1])).unwrap();
    connection.oneway(unknown_code(4711)).unwrap();
    assert!(!connection.is_closed());
}

/// A negative queue means "any" to RocketMQ: clients send it when they do not care.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_negative_queue_is_any_queue() {
    let mut cluster = Cluster::start().await;
    cluster.topic("known", 4).await;
    let leader = cluster.leader().await;
    for id in [-1, i32::MIN] {
        let answer =
            wire::ask(&cluster.remote, cluster.replicas[leader].addr, send("known", id, vec![1])).await;
        let answer = answer.unwrap();
        assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
        let queue: i32 = answer.ext.required("queueId").unwrap();
        assert!((0..4).contains(&queue), "{queue}");
    }
    cluster.assert_healthy();
}

/// Messages that a replica has in all queues.
async fn messages(cluster: &Cluster, at: usize) -> String {
    let request = Frame::request(RequestCode::GetBrokerRuntimeInfo).with_ext(ExtFields::new());
    let answer = wire::ask(&cluster.remote, cluster.replicas[at].addr, request).await.unwrap();
    KvTable::decode(answer.body.as_slice()).unwrap().table["msgPutTotalTodayNow"].clone()
}
