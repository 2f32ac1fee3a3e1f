//! What the Java classes of 4.9.8 and 5.3.3 encode, read and written again by ours.
//!
//! The bytes are fixtures, see `data/README.md`. Where Java's output does not depend on the order of a hash map,
//! ours has to be equal byte for byte.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use trireme_remoting::body::*;
use trireme_remoting::headers::*;
use trireme_remoting::message::*;
use trireme_remoting::{Frame, FrameDecoder, Language, RequestCode, SerializeType, response, version};

const BODY: &[u8] = b"Hello RocketMQ";

struct Capture {
    version: i32,
    vectors: BTreeMap<&'static str, Bytes>,
}

fn captures() -> [Capture; 2] {
    let capture = |version, text: &'static str| {
        let line = |line: &'static str| line.split_once(' ').map(|(name, hex)| (name, unhex(hex))).unwrap();
        Capture { version, vectors: text.lines().map(line).collect() }
    };
    [
        capture(version::V4_9_8, include_str!("data/java-4.9.8.txt")),
        capture(version::V5_3_3, include_str!("data/java-5.3.3.txt")),
    ]
}

fn unhex(hex: &str) -> Bytes {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

impl Capture {
    fn get(&self, name: &str) -> Bytes {
        self.vectors[name].clone()
    }

    #[track_caller]
    fn frame(&self, name: &str) -> Frame {
        let mut buffer = BytesMut::from(&self.get(name)[..]);
        let frame = FrameDecoder::default().decode(&mut buffer).unwrap().unwrap();
        assert!(buffer.is_empty());
        frame
    }

    /// The frame under both notations; they differ in nothing else.
    #[track_caller]
    fn both(&self, name: &str) -> Frame {
        let json = self.frame(&format!("frame_{name}_json"));
        let binary = self.frame(&format!("frame_{name}_rocketmq"));
        assert_eq!(json.serialize, SerializeType::Json);
        assert_eq!(binary.serialize, SerializeType::RocketMq);
        assert_eq!(Frame { serialize: SerializeType::Json, ..binary }, json);
        assert_eq!((json.language, json.version, json.opaque), (Language::Java, self.version, 77));
        json
    }
}

#[test]
fn frames_survive_a_round_trip_byte_for_byte() {
    for capture in captures() {
        for (name, bytes) in &capture.vectors {
            if name.starts_with("frame_") && name.ends_with("_rocketmq") {
                assert_eq!(capture.frame(name).to_bytes().unwrap(), bytes, "{name}");
            }
            if name.starts_with("frame_") && name.ends_with("_json") {
                // We leave out one member, which nobody reads.
                let text =
                    String::from_utf8_lossy(&bytes[8..]).replace(",\"serializeTypeCurrentRPC\":\"JSON\"", "");
                assert_eq!(capture.frame(name).to_bytes().unwrap()[8..], *text.as_bytes(), "{name}");
            }
        }
    }
}

#[test]
fn send_requests_mean_the_same_under_both_names() {
    let properties =
        "UNIQ_KEY\u{1}0A00000900002A9F0000000000000001\u{2}KEYS\u{1}k1 \"k2\" é中\\\u{2}TAGS\u{1}TagA\u{2}";
    let expect = SendHeader {
        producer_group: "GID_producer",
        topic: "TopicTest",
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        queue_id: 3,
        sys_flag: 0,
        born_timestamp: 1_700_000_000_000,
        flag: 7,
        properties: Some(properties),
        reconsume_times: Some(0),
        unit_mode: Some(false),
        max_reconsume_times: Some(16),
        batch: Some(false),
        broker_name: None,
    };
    for capture in captures() {
        let (v1, v2) = (capture.both("send_v1"), capture.both("send_v2"));
        assert_eq!(v1.request_code(), Ok(RequestCode::SendMessage));
        assert_eq!(v2.request_code(), Ok(RequestCode::SendMessageV2));
        for frame in [&v1, &v2] {
            assert!(!frame.is_response() && !frame.is_oneway());
            assert_eq!(frame.body.as_slice(), BODY);
            assert_eq!(SendHeader::from_ext(&frame.ext), Ok(expect.clone()));
        }
        assert_eq!(v1.ext, expect.to_ext_v1());
        assert_eq!(v2.ext, expect.to_ext_v2());
    }
}

#[test]
fn pulls_and_answers() {
    for capture in captures() {
        let pull = capture.both("pull");
        let header = PullRequest {
            consumer_group: "GID_consumer",
            topic: "TopicTest",
            queue_id: 2,
            queue_offset: 123_456_789_012,
            max_msg_nums: 32,
            sys_flag: PULL_COMMIT_OFFSET | PULL_SUSPEND | PULL_SUBSCRIPTION,
            commit_offset: 123_456_789_000,
            suspend_timeout_millis: 15_000,
            subscription: Some("TagA || TagB"),
            sub_version: 1_700_000_000_000,
            expression_type: Some("TAG"),
            max_msg_bytes: None,
            request_source: None,
            proxy_forward_client_id: None,
        };
        assert_eq!(PullRequest::from_ext(&pull.ext), Ok(header.clone()));
        assert_eq!(header.to_ext(), pull.ext);

        let pulled = capture.both("pull_response");
        assert!(pulled.is_response());
        assert_eq!((pulled.code, pulled.remark.as_deref()), (response::SUCCESS, Some("FOUND")));
        let header = PullResponse::from_ext(&pulled.ext).unwrap();
        assert_eq!((header.next_begin_offset, header.min_offset, header.max_offset), (33, 0, 100));

        let sent = capture.both("send_response");
        let header = SendResponse::from_ext(&sent.ext).unwrap();
        assert_eq!(header.msg_id.as_bytes(), capture.get("text_offset_msg_id"));
        assert_eq!((header.queue_id, header.queue_offset), (3, 7));

        let register = capture.both("register_broker");
        let header = RegisterBrokerRequest::from_ext(&register.ext).unwrap();
        assert_eq!((header.broker_name, header.broker_id, header.compressed), ("broker-a", 0, Some(true)));
        assert!(capture.both("heartbeat_empty").ext.is_empty());
    }
}

#[test]
fn stored_messages() {
    for capture in captures() {
        for (name, born, store) in [
            ("stored_v4", "10.0.0.9:51000", "10.0.0.1:10911"),
            ("stored_born_v6", "[2001:db8::9]:51000", "10.0.0.1:10911"),
            ("stored_both_v6", "[2001:db8::9]:51000", "[2001:db8::1]:10911"),
        ] {
            let bytes = capture.get(name);
            let message = StoredMessage::parse(&bytes).unwrap();
            assert_eq!(message.property(property::TAGS), Some("TagA"));
            assert_eq!(message.verify_body(), Ok(()));
            let fields = StoredMessageFields {
                body_crc: body_crc(BODY),
                queue_id: 3,
                flag: 9,
                queue_offset: 7,
                physical_offset: 4096,
                sys_flag: 0,
                born_timestamp: 1_700_000_000_000,
                born_host: born.parse().unwrap(),
                store_timestamp: 1_700_000_000_001,
                store_host: store.parse().unwrap(),
                reconsume_times: 2,
                prepared_transaction_offset: 4000,
                body: BODY,
                topic: "TopicTest",
                // 4.9 leaves out the last separator.
                properties: message.properties,
            };
            let mut encoded = Vec::new();
            assert_eq!(fields.encode_into(&mut encoded), Ok(bytes.len()));
            assert_eq!(encoded, bytes, "{name}");
        }
    }
}

#[test]
fn batches() {
    for capture in captures() {
        let bytes = capture.get("batch");
        let items: Vec<_> = BatchItems::new(&bytes).collect::<Result<_, _>>().unwrap();
        assert_eq!((items[0].flag, items[0].body), (5, BODY));
        assert_eq!(properties::get(items[0].properties, property::KEYS), Some("k1"));
        assert_eq!((items[1].flag, items[1].body), (0, &b""[..]));
        assert_eq!(properties::get(items[1].properties, "user"), Some("中"));
        assert_eq!(items.len(), 2);
        let mut encoded = Vec::new();
        items.iter().for_each(|item| item.encode_into(&mut encoded).unwrap());
        assert_eq!(encoded, bytes);
    }
}

#[test]
fn bodies() {
    let [old, new] = captures();
    let queue = MessageQueue { broker_name: "broker-a".into(), queue_id: 3, topic: "TopicTest".into() };

    let heartbeat = HeartbeatData::decode(&new.get("body_heartbeat")).unwrap();
    assert_eq!(HeartbeatData::decode(&old.get("body_heartbeat")), Ok(heartbeat.clone()));
    let consumer = &heartbeat.consumer_data_set[0];
    assert_eq!(consumer.consume_type, ConsumeType::Passively);
    assert_eq!(consumer.message_model, MessageModel::Clustering);
    assert_eq!(consumer.consume_from_where, ConsumeFromWhere::FirstOffset);
    let subscription = &consumer.subscription_data_set[0];
    assert_eq!(subscription.code_set, [2598919, 2598920].into());
    assert!(subscription.is_tag());
    assert_eq!(heartbeat.encode(), new.get("body_heartbeat"));

    let lock = LockBatchBody::decode(&new.get("body_lock")).unwrap();
    assert_eq!(lock.mq_set, [queue.clone()].into());
    assert_eq!(lock.encode(), new.get("body_lock"));

    let stats = TopicStatsTable::decode(&new.get("body_topic_stats")).unwrap();
    assert_eq!(stats.offset_table[&queue].max_offset, 9);
    assert_eq!(stats.encode(), new.get("body_topic_stats"));

    let reset = ResetOffsetBody::decode(&new.get("body_reset_offset")).unwrap();
    assert_eq!(reset.offset_table, [(queue, 5)].into());
    assert_eq!(reset.encode(), new.get("body_reset_offset"));
}

/// Java leaves integer keys without quotes; we always quote them, and read both.
#[test]
fn routes_differ_only_in_the_quotes_of_integer_keys() {
    let [old, new] = captures();
    let quoted = |bytes: Bytes| {
        String::from_utf8(bytes.to_vec()).unwrap().replace("{0:", "{\"0\":").replace(",1:", ",\"1\":")
    };
    let route = TopicRouteData::decode(&new.get("body_route")).unwrap();
    assert_eq!(TopicRouteData::decode(&old.get("body_route")), Ok(route.clone()));
    assert_eq!(route.broker_datas[0].broker_addrs[&1], "10.0.0.2:10911");
    assert_eq!(route.encode(), quoted(new.get("body_route")));

    let cluster = ClusterInfo::decode(&new.get("body_cluster")).unwrap();
    assert_eq!(cluster.encode(), quoted(new.get("body_cluster")));
}

#[test]
fn registrations() {
    for capture in captures() {
        let plain = RegisterBrokerBody::decode(&capture.get("body_register_plain")).unwrap();
        let topics = &plain.topic_config_serialize_wrapper.topic_config_table;
        assert_eq!(topics.keys().collect::<Vec<_>>(), ["Ordered", "TopicTest"]);
        assert_eq!((topics["TopicTest"].read_queue_nums, topics["TopicTest"].write_queue_nums), (8, 4));
        assert!(topics["Ordered"].order);
        assert_eq!((plain.data_version().counter, plain.data_version().timestamp), (42, 1_700_000_000_000));
        assert_eq!(plain.filter_server_list, ["10.0.0.1:1234"]);
        if capture.version >= version::V5_0_0 {
            assert_eq!(plain.encode(), capture.get("body_register_plain"));
        }

        // The compressed form has no `order`, nor a version of mappings.
        let bytes = capture.get("body_register_compressed");
        let compressed = RegisterBrokerBody::decode_compressed(&bytes, capture.version).unwrap();
        let mut expect = plain;
        expect.topic_config_serialize_wrapper.topic_config_table.get_mut("Ordered").unwrap().order = false;
        expect.topic_config_serialize_wrapper.mapping_data_version = None;
        assert_eq!(compressed, expect);
        let again = compressed.encode_compressed(capture.version);
        assert_eq!(RegisterBrokerBody::decode_compressed(&again, capture.version).unwrap(), expect);
    }
}

#[test]
fn no_cut_of_a_captured_encoding_is_taken_for_a_whole_one() {
    for capture in captures() {
        for (name, bytes) in &capture.vectors {
            for len in 0..bytes.len() {
                let cut = &bytes[..len];
                if name.starts_with("frame_") {
                    assert_eq!(
                        FrameDecoder::default().decode(&mut BytesMut::from(cut)),
                        Ok(None),
                        "{name} {len}"
                    );
                } else if name.starts_with("stored_") {
                    assert!(StoredMessage::parse(cut).is_err(), "{name} {len}");
                } else if *name == "batch" {
                    let whole = BatchItems::new(bytes).count();
                    assert!(BatchItems::new(cut).filter_map(Result::ok).count() < whole, "{name} {len}");
                } else if *name == "body_register_compressed" {
                    assert!(
                        RegisterBrokerBody::decode_compressed(cut, capture.version).is_err(),
                        "{name} {len}"
                    );
                } else if name.starts_with("body_") {
                    assert!(trireme_remoting::json::parse(cut).is_err(), "{name} {len}");
                }
            }
        }
    }
}
