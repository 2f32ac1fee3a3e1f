//! What tools ask: topic lists, permissions, topics of the name server, its settings.

use trireme_namesrv::{NameServer, NameServerOptions};
use trireme_remoting::body::{QueueData, TopicList, TopicRouteData};
use trireme_remoting::{Frame, RequestCode, response};

use crate::peer::{Broker, Peer, options, request, start};

#[tokio::test]
async fn topic_lists() {
    let server = start();
    let peer = Peer::of(&server);
    peer.done(Broker::master().register()).await;
    assert_eq!(peer.topics(Frame::request(RequestCode::GetAllTopicListFromNameServer)).await, ["T", "U"]);
    assert_eq!(peer.topics(request(RequestCode::GetTopicsByCluster, [("cluster", "C")])).await, ["T", "U"]);
    let none: [&str; 0] = [];
    assert_eq!(peer.topics(request(RequestCode::GetTopicsByCluster, [("cluster", "D")])).await, none);
    for code in [
        RequestCode::GetUnitTopicList,
        RequestCode::GetHasUnitSubTopicList,
        RequestCode::GetHasUnitSubUnunitTopicList,
    ] {
        assert_eq!(peer.topics(Frame::request(code)).await, none);
    }
    let answer = peer.done(Frame::request(RequestCode::GetSystemTopicListFromNs)).await;
    let system = TopicList::decode(answer.body.as_slice()).unwrap();
    assert_eq!(system.topic_list, ["C", "broker-a"]);
    assert_eq!(system.broker_addr.as_deref(), Some("10.0.0.1:10911"));
    server.shutdown().await;
}

#[tokio::test]
async fn cluster_information_is_compact_json() {
    let server = start();
    let peer = Peer::of(&server);
    peer.done(Broker::master().register()).await;
    let answer = peer.done(Frame::request(RequestCode::GetBrokerClusterInfo)).await;
    let expect = concat!(
        r#"{"brokerAddrTable":{"broker-a":{"brokerAddrs":{"0":"10.0.0.1:10911"},"brokerName":"broker-a","#,
        r#""cluster":"C","enableActingMaster":false}},"clusterAddrTable":{"C":["broker-a"]}}"#
    );
    assert_eq!(answer.body.as_slice(), expect.as_bytes());
    server.shutdown().await;
}

#[tokio::test]
async fn write_permission_is_wiped_and_added() {
    let server = start();
    let peer = Peer::of(&server);
    peer.done(Broker::master().register()).await;
    let broker = [("brokerName", "broker-a")];
    let answer = peer.done(request(RequestCode::WipeWritePermOfBroker, broker)).await;
    assert_eq!(answer.ext.get("wipeTopicCount"), Some("2"));
    assert_eq!(peer.route("T").await.unwrap().queue_datas[0].perm, 4);
    peer.done(Broker::master().register()).await;
    assert_eq!(
        peer.route("T").await.unwrap().queue_datas[0].perm,
        4,
        "the 30 s registration leaves it alone"
    );
    let answer = peer.done(request(RequestCode::AddWritePermOfBroker, broker)).await;
    assert_eq!(answer.ext.get("addTopicCount"), Some("2"));
    assert_eq!(peer.route("T").await.unwrap().queue_datas[0].perm, 6);
    server.shutdown().await;
}

#[tokio::test]
async fn topics_are_registered_and_deleted() {
    let server = start();
    let peer = Peer::of(&server);
    peer.done(Broker::master().register()).await;
    let route = |broker: &str, queues| {
        let data = QueueData {
            broker_name: broker.to_owned(),
            perm: 6,
            read_queue_nums: queues,
            write_queue_nums: queues,
            ..QueueData::default()
        };
        TopicRouteData { queue_datas: vec![data], ..TopicRouteData::default() }.encode()
    };
    let register = |topic: &'static str, body| {
        request(RequestCode::RegisterTopicInNamesrv, [("topic", topic)]).with_body(body)
    };
    peer.done(register("V", route("broker-a", 2))).await;
    assert_eq!(peer.route("V").await.unwrap().queue_datas[0].read_queue_nums, 2);
    peer.refused(response::SYSTEM_ERROR, register("../../x", route("broker-a", 2))).await;
    peer.refused(response::SYSTEM_ERROR, register("W", route("nobody", 2))).await;
    peer.refused(response::SYSTEM_ERROR, register("W", route("broker-a", -1))).await;
    peer.refused(response::SYSTEM_ERROR, register("W", b"{\"queueDatas\":7}".to_vec().into())).await;

    let elsewhere = [("topic", "V"), ("clusterName", "D")];
    peer.done(request(RequestCode::DeleteTopicInNamesrv, elsewhere)).await;
    assert!(peer.route("V").await.is_some());
    peer.done(request(RequestCode::DeleteTopicInNamesrv, [("topic", "V")])).await;
    assert_eq!(peer.route("V").await, None);
    server.shutdown().await;
}

#[tokio::test]
async fn settings_are_shown_and_few_are_changed() {
    let folder = tempfile::tempdir().unwrap();
    let kv_path = folder.path().join("kvConfig.json");
    let server =
        NameServer::start(NameServerOptions { kv_path: Some(kv_path.clone()), ..options() }).unwrap();
    let peer = Peer::of(&server);
    let update =
        |text: &str| Frame::request(RequestCode::UpdateNamesrvConfig).with_body(text.as_bytes().to_vec());
    peer.done(update("scanNotActiveBrokerInterval=1000\n")).await;
    let outside = folder.path().join("elsewhere");
    let path_like = format!("orderMessageEnable=true\nkvConfigPath={}", outside.display());
    let remark = peer.refused(response::NO_PERMISSION, update(&path_like)).await;
    assert!(remark.contains("kvConfigPath"), "{remark}");
    peer.refused(response::NO_PERMISSION, update("configStorePath=/etc/passwd")).await;
    peer.refused(response::INVALID_PARAMETER, update("orderMessageEnable=maybe")).await;
    peer.refused(response::SYSTEM_ERROR, update("orderMessageEnable")).await;

    let answer = peer.done(Frame::request(RequestCode::GetNamesrvConfig)).await;
    let text = String::from_utf8(answer.body.to_bytes().into()).unwrap();
    for line in [
        format!("listenPort={}", server.local_addr().port()),
        format!("kvConfigPath={}", kv_path.display()),
        "orderMessageEnable=false".to_owned(),
        "scanNotActiveBrokerInterval=1000".to_owned(),
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
    }
    assert!(!outside.exists());
    server.shutdown().await;
}
