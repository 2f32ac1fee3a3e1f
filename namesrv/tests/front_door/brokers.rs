//! Registering: 103, 104, 322, 901, 904, and several name servers.

use trireme_remoting::body::{BrokerMemberGroupResponse, DataVersion};
use trireme_remoting::{Frame, RequestCode, SerializeType, response, version};

use crate::peer::{Broker, Peer, request, route_request, start};

const SLAVE: &str = "10.0.0.2:10911";

#[tokio::test]
async fn a_registered_topic_has_a_route() {
    let server = start();
    let (broker, client) = (Peer::of(&server), Peer::of(&server));
    let remark = client.refused(response::TOPIC_NOT_EXIST, route_request("T")).await;
    assert!(remark.contains('T'), "{remark}");

    let answer = broker.done(Broker::master().register()).await;
    assert_eq!(answer.ext.get("masterAddr"), None);
    assert!(answer.body.is_empty());
    let expect = concat!(
        r#"{"brokerDatas":[{"brokerAddrs":{"0":"10.0.0.1:10911"},"brokerName":"broker-a","cluster":"C","#,
        r#""enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"broker-a","perm":6,"#,
        r#""readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#
    );
    let mut binary = route_request("T");
    binary.serialize = SerializeType::RocketMq;
    let standard =
        request(RequestCode::GetRouteInfoByTopic, [("topic", "T"), ("acceptStandardJsonOnly", "true")]);
    for request in [route_request("T"), binary, standard] {
        let serialize = request.serialize;
        let answer = client.done(request).await;
        assert_eq!(answer.body.as_slice(), expect.as_bytes());
        assert_eq!(answer.serialize, serialize);
    }
    server.shutdown().await;
}

#[tokio::test]
async fn a_slave_learns_its_master() {
    let server = start();
    let (master, slave) = (Peer::of(&server), Peer::of(&server));
    master.done(Broker::master().register()).await;
    let answer = slave.done(Broker { id: 1, ..Broker::master().at(SLAVE) }.register()).await;
    assert_eq!(answer.ext.get("masterAddr"), Some("10.0.0.1:10911"));
    assert_eq!(answer.ext.get("haServerAddr"), Some("10.0.0.1:10912"));
    assert_eq!(master.listed().await, "broker-a{0=10.0.0.1:10911 1=10.0.0.2:10911}");
    server.shutdown().await;
}

#[tokio::test]
async fn compressed_registrations_of_both_lines() {
    let server = start();
    let peer = Peer::of(&server);
    for (name, version) in [("broker-4", version::V4_9_8), ("broker-5", version::V5_3_3)] {
        let broker = Broker::master().named(name);
        let body = broker.body().encode_compressed(version);
        let crc = crc32fast::hash(&body) & 0x7fff_ffff;
        let mut frame = broker.register().with_body(body);
        frame.version = version;
        frame.ext.set("compressed", true);
        frame.ext.set("bodyCrc32", crc ^ 1);
        let remark = peer.refused(response::SYSTEM_ERROR, frame.clone()).await;
        assert!(remark.contains("checksum"), "{remark}");
        frame.ext.set("bodyCrc32", crc);
        peer.done(frame).await;
    }
    let route = peer.route("T").await.unwrap();
    let names: Vec<_> = route.queue_datas.iter().map(|data| (data.broker_name.as_str(), data.perm)).collect();
    assert_eq!(names, [("broker-4", 6), ("broker-5", 6)]);
    server.shutdown().await;
}

#[tokio::test]
async fn a_zone_is_shown() {
    let server = start();
    let peer = Peer::of(&server);
    let mut frame = Broker::master().register();
    frame.ext.set("__ZONE_NAME", "z1");
    peer.done(frame).await;
    assert_eq!(peer.route("T").await.unwrap().broker_datas[0].zone_name.as_deref(), Some("z1"));
    server.shutdown().await;
}

#[tokio::test]
async fn a_new_leader_is_in_the_route_when_it_has_its_answer() {
    let server = start();
    let (old, new, client) = (Peer::of(&server), Peer::of(&server), Peer::of(&server));
    old.done(Broker::master().replica(0, 1).register()).await;
    new.done(Broker::master().replica(2, 1).at(SLAVE).register()).await;
    assert_eq!(client.listed().await, "broker-a{0=10.0.0.1:10911 2=10.0.0.2:10911}");
    new.done(Broker::master().replica(0, 2).at(SLAVE).register()).await;
    assert_eq!(client.listed().await, "broker-a{0=10.0.0.2:10911}");
    let answer = old.done(Broker::master().replica(0, 1).register()).await;
    assert_eq!(answer.ext.get("masterAddr"), Some(SLAVE), "the old one hears who leads");
    assert_eq!(client.listed().await, "broker-a{0=10.0.0.2:10911}");
    server.shutdown().await;
}

#[tokio::test]
async fn unregistering() {
    let server = start();
    let peer = Peer::of(&server);
    peer.done(Broker::master().register()).await;
    let identity = [
        ("brokerName", "broker-a"),
        ("brokerAddr", "10.0.0.1:10911"),
        ("clusterName", "C"),
        ("brokerId", "0"),
    ];
    peer.done(request(RequestCode::UnregisterBroker, identity)).await;
    assert_eq!(peer.route("T").await, None);
    peer.done(request(RequestCode::UnregisterBroker, identity)).await;
    server.shutdown().await;
}

#[tokio::test]
async fn a_broker_asks_whether_its_version_is_known() {
    let server = start();
    let peer = Peer::of(&server);
    let ask = |version: DataVersion| {
        let identity = [
            ("brokerName", "broker-a"),
            ("brokerAddr", "10.0.0.1:10911"),
            ("clusterName", "C"),
            ("brokerId", "0"),
        ];
        request(RequestCode::QueryDataVersion, identity).with_body(version.encode())
    };
    let version = Broker::master().body().data_version();
    let answer = peer.done(ask(version)).await;
    assert_eq!((answer.ext.get("changed"), answer.body.len()), (Some("true"), 0), "not registered");
    peer.done(Broker::master().register()).await;
    let answer = peer.done(ask(version)).await;
    assert_eq!(answer.ext.get("changed"), Some("false"));
    assert_eq!(DataVersion::decode(answer.body.as_slice()).unwrap(), version);
    let answer = peer.done(ask(DataVersion { counter: 2, ..version })).await;
    assert_eq!(answer.ext.get("changed"), Some("true"));
    server.shutdown().await;
}

#[tokio::test]
async fn the_members_of_a_group() {
    let server = start();
    let peer = Peer::of(&server);
    peer.done(Broker::master().register()).await;
    let ask = request(RequestCode::GetBrokerMemberGroup, [("clusterName", "C"), ("brokerName", "broker-a")]);
    let answer = peer.done(ask).await;
    let group =
        BrokerMemberGroupResponse::decode(answer.body.as_slice()).unwrap().broker_member_group.unwrap();
    assert_eq!((group.cluster.as_str(), group.broker_name.as_str()), ("C", "broker-a"));
    assert_eq!(group.broker_addrs.into_iter().collect::<Vec<_>>(), [(0, "10.0.0.1:10911".to_owned())]);
    server.shutdown().await;
}

#[tokio::test]
async fn name_servers_know_nothing_of_each_other() {
    let (one, two) = (start(), start());
    let (at_one, at_two) = (Peer::of(&one), Peer::of(&two));
    at_one.done(Broker::master().register()).await;
    assert_eq!(at_two.listed().await, "");
    at_two.done(Broker::master().register()).await;
    one.shutdown().await;
    assert_eq!(at_two.listed().await, "broker-a{0=10.0.0.1:10911}");
    two.shutdown().await;
}

#[tokio::test]
async fn a_registration_may_be_one_way() {
    let server = start();
    let peer = Peer::of(&server);
    let mut frame: Frame = Broker::master().register();
    frame.set_oneway();
    peer.tell(frame).await;
    // Requests of one connection are taken in their order.
    assert_eq!(peer.listed().await, "broker-a{0=10.0.0.1:10911}");
    server.shutdown().await;
}
