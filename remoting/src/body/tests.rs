//! Defaults, odd members, and compressed registrations from strangers.

#![allow(clippy::unwrap_used)]

use std::io::Write;

use super::*;
use crate::version;

#[test]
fn absent_members_take_javas_defaults() {
    let group = SubscriptionGroupConfig::decode(br#"{"groupName":"g","retryMaxTimes":3}"#).unwrap();
    let expect = SubscriptionGroupConfig { group_name: "g".into(), retry_max_times: 3, ..Default::default() };
    assert_eq!(group, expect);
    assert!(group.consume_enable && group.notify_consumer_ids_changed_enable);
    assert_eq!(
        group.encode(),
        concat!(
            r#"{"attributes":{},"brokerId":0,"consumeBroadcastEnable":true,"consumeEnable":true,"#,
            r#""consumeFromMinEnable":true,"consumeMessageOrderly":false,"consumeTimeoutMinute":15,"#,
            r#""groupName":"g","groupRetryPolicy":{"type":"CUSTOMIZED"},"groupSysFlag":0,"#,
            r#""notifyConsumerIdsChangedEnable":true,"retryMaxTimes":3,"retryQueueNums":1,"#,
            r#""whichBrokerWhenConsumeSlowly":1}"#
        )
    );
    let topic = TopicConfig::decode(b"{}").unwrap();
    assert_eq!(
        (topic.perm, topic.read_queue_nums, topic.topic_filter_type),
        (6, 16, TopicFilterType::SingleTag)
    );
}

/// C++ clients add nulls and leave out what they do not know.
#[test]
fn heartbeats_of_cpp_clients() {
    let text = r#"{"clientID":"10.0.0.9@x","consumerDataSet":[{"consumeFromWhere":2,"consumeType":1,
        "groupName":"g","messageModel":"CLUSTERING","subscriptionDataSet":[{"subString":"*","topic":"T",
        "subVersion":"17","tagsSet":null,"codeSet":[],"expressionType":null}]}],"producerDataSet":null}
"#;
    let heartbeat = HeartbeatData::decode(text.as_bytes()).unwrap();
    let consumer = &heartbeat.consumer_data_set[0];
    assert_eq!(consumer.consume_type, ConsumeType::Passively);
    assert_eq!(consumer.consume_from_where, ConsumeFromWhere::MinOffset);
    let subscription = &consumer.subscription_data_set[0];
    assert!(subscription.is_tag());
    assert_eq!(subscription.sub_version, 17);
    assert_eq!(heartbeat.heartbeat_fingerprint, 0);
}

#[test]
fn an_unknown_enum_name_is_not_an_error() {
    let consumer = ConsumerData::decode(br#"{"consumeType":"CONSUME_BY_MAGIC","messageModel":9}"#).unwrap();
    assert_eq!(consumer.consume_type, ConsumeType::Actively);
    assert_eq!(consumer.message_model, MessageModel::Broadcasting);
}

#[test]
fn routes_are_compact_with_quoted_keys() {
    let route = TopicRouteData {
        broker_datas: vec![BrokerData {
            broker_addrs: [(0, "10.0.0.1:10911".into()), (1, "[::1]:10911".into())].into(),
            broker_name: "broker-a".into(),
            cluster: "DefaultCluster".into(),
            ..Default::default()
        }],
        queue_datas: vec![QueueData {
            broker_name: "broker-a".into(),
            perm: PERM_READ | PERM_WRITE,
            read_queue_nums: 4,
            topic_sys_flag: 0,
            write_queue_nums: 4,
        }],
        ..Default::default()
    };
    assert_eq!(
        route.encode(),
        concat!(
            r#"{"brokerDatas":[{"brokerAddrs":{"0":"10.0.0.1:10911","1":"[::1]:10911"},"brokerName":"broker-a","#,
            r#""cluster":"DefaultCluster","enableActingMaster":false}],"filterServerTable":{},"#,
            r#""queueDatas":[{"brokerName":"broker-a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#
        )
    );
}

#[test]
fn empty_collections_are_written() {
    assert_eq!(ConsumerIdList::default().encode(), r#"{"consumerIdList":[]}"#);
    assert_eq!(TopicList::default().encode(), r#"{"topicList":[]}"#);
    assert_eq!(LockBatchResponse::default().encode(), r#"{"lockOKMQSet":[]}"#);
    assert_eq!(KvTable::default().encode(), r#"{"table":{}}"#);
}

fn registration() -> RegisterBrokerBody {
    let mut body = RegisterBrokerBody::default();
    let wrapper = &mut body.topic_config_serialize_wrapper;
    wrapper.data_version = DataVersion { counter: 3, state_version: 9, timestamp: 17 };
    let attributes = [("message.type".into(), "FIFO".into())].into();
    let topic = TopicConfig { topic_name: "T".into(), attributes, perm: 7, ..Default::default() };
    wrapper.topic_config_table.insert("T".into(), topic);
    wrapper.topic_queue_mapping_info_map.insert("T".into(), serde_json::json!({"topic": "T", "epoch": 1}));
    body
}

#[test]
fn compressed_registrations_by_version() {
    let body = registration();
    let new = body.encode_compressed(version::V5_3_3);
    assert_eq!(RegisterBrokerBody::decode_compressed(&new, version::V5_3_3).unwrap(), body);

    // An older name server would refuse attributes, and knows no mappings.
    let old = body.encode_compressed(version::V4_9_8);
    let mut expect = body;
    expect.topic_config_serialize_wrapper.topic_queue_mapping_info_map.clear();
    expect.topic_config_serialize_wrapper.topic_config_table.get_mut("T").unwrap().attributes.clear();
    assert_eq!(RegisterBrokerBody::decode_compressed(&old, version::V4_9_8).unwrap(), expect);
}

#[test]
fn compressed_registrations_that_are_refused() {
    let deflate = |parts: &[&[u8]]| {
        let mut stream = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        parts.iter().for_each(|part| stream.write_all(part).unwrap());
        stream.finish().unwrap()
    };
    let version: &[u8] = b"\x00\x00\x00\x02{}";
    let cases: [(&[&[u8]], &str); 6] = [
        (&[b"\xff\xff\xff\xff"], "length -1 is negative"),
        (&[b"\x7f\xff\xff\xffx"], "inflating: unexpected end of file"),
        (&[version, b"\x00\x00\x00\x01", b"\x00\x00\x00\x05T 1 x"], "topic \"T 1 x\" is malformed"),
        (&[version, b"\x00\x00\x00\x01", b"\x00\x00\x00\x00"], "topic \"\" is malformed"),
        (
            &[version, b"\x00\x00\x00\x01", b"\x00\x00\x00\x0bT 1 1 6 OTHER"],
            "topic \"T 1 1 6 OTH\" is malformed",
        ),
        (&[version, b"\x00\x00\x00\x00", b"\x00\x00\x00\x01["], "expected a value at byte 1"),
    ];
    for (parts, expect) in cases {
        let error = RegisterBrokerBody::decode_compressed(&deflate(parts), version::V4_9_8).unwrap_err();
        assert_eq!(error.to_string(), expect);
    }
    assert!(RegisterBrokerBody::decode_compressed(b"not zlib", version::V4_9_8).is_err());

    // A few kilobytes that inflate to megabytes: reading stops at the limit.
    let bomb = deflate(&[&(1i32 << 30).to_be_bytes(), &[b' '; 4 << 20]]);
    let error = RegisterBrokerBody::decode_within(1 << 20, &bomb, version::V4_9_8).unwrap_err();
    assert_eq!(error.to_string(), "inflating: unexpected end of file");
}
