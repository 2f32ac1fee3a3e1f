//! Golden bytes, round trips, and what is refused.

#![allow(clippy::unwrap_used)]

use super::*;

const GOLDEN: &str = "00000088daa320a769c865ed000000030000000000000000000000070000000000001000000000000000018bcfe56800\
    0a0000090000c7380000018bcfe568010a00000100002a9f0000000000000000000000000000000e48656c6c6f20526f636b65744d5109\
    546f706963546573740016554e49515f4b45590130410254414753015461674102";

fn golden() -> Vec<u8> {
    (0..GOLDEN.len()).step_by(2).map(|at| u8::from_str_radix(&GOLDEN[at..at + 2], 16).unwrap()).collect()
}

fn fields() -> StoredMessageFields<'static> {
    StoredMessageFields {
        body_crc: body_crc(b"Hello RocketMQ"),
        queue_id: 3,
        flag: 0,
        queue_offset: 7,
        physical_offset: 4096,
        sys_flag: 0,
        born_timestamp: 1_700_000_000_000,
        born_host: "10.0.0.9:51000".parse().unwrap(),
        store_timestamp: 1_700_000_000_001,
        store_host: "10.0.0.1:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: b"Hello RocketMQ",
        topic: "TopicTest",
        properties: "UNIQ_KEY\u{1}0A\u{2}TAGS\u{1}TagA\u{2}",
    }
}

fn encode(fields: &StoredMessageFields<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    assert_eq!(fields.encode_into(&mut out), Ok(out.len()));
    assert_eq!(fields.encoded_len(), Ok(out.len()));
    out
}

#[test]
fn golden_message() {
    assert_eq!(encode(&fields()), golden());
    let bytes = golden();
    let message = StoredMessage::parse(&bytes).unwrap();
    assert_eq!(StoredMessageFields::from(message), fields());
    assert_eq!(message.bytes, bytes);
    assert_eq!(message.property(property::TAGS), Some("TagA"));
    let id = OffsetMsgId { store_host: message.store_host, physical_offset: message.physical_offset };
    assert_eq!(id.to_string(), "0A00000100002A9F0000000000001000");
}

#[test]
fn every_shape_survives_a_round_trip() {
    let long_topic = "%RETRY%".to_owned() + &"t".repeat(200);
    let v6 = "[2001:db8::9]:65535".parse().unwrap();
    let properties = properties::build([("k", "中"), ("l", "é")]);
    for topic in ["", "T", &"t".repeat(TOPIC_V1_MAX), &long_topic] {
        for (born_host, store_host) in [(fields().born_host, v6), (v6, fields().store_host), (v6, v6)] {
            for (body, properties) in [(&b""[..], ""), (&[0xff; 5000], properties.as_str())] {
                let sys_flag = sys_flag::COMPRESSED | sys_flag::TRANSACTION_COMMIT;
                let given = StoredMessageFields {
                    topic,
                    born_host,
                    store_host,
                    body,
                    properties,
                    sys_flag,
                    ..fields()
                };
                let bytes = encode(&given);
                let message = StoredMessage::parse(&bytes).unwrap();
                let bits = |host: std::net::SocketAddr, bit| if host.is_ipv6() { bit } else { 0 };
                let sys_flag = sys_flag
                    | bits(born_host, sys_flag::BORN_HOST_V6)
                    | bits(store_host, sys_flag::STORE_HOST_V6);
                assert_eq!(StoredMessageFields::from(message), StoredMessageFields { sys_flag, ..given });
                // What was read encodes to the same bytes: host bits come from the hosts.
                assert_eq!(encode(&message.into()), bytes);
            }
        }
    }
}

#[test]
fn v2_only_when_the_topic_needs_it() {
    let magic = |topic: &str| {
        let bytes = encode(&StoredMessageFields { topic, ..fields() });
        u32::from_be_bytes(*bytes[4..].first_chunk().unwrap())
    };
    assert_eq!(magic(&"t".repeat(127)), MAGIC_V1);
    assert_eq!(magic(&"t".repeat(128)), MAGIC_V2);
}

#[test]
fn parts_too_long_are_not_encoded() {
    let long = "x".repeat(32768);
    for (given, field) in [
        (StoredMessageFields { topic: &long, ..fields() }, "topic"),
        (StoredMessageFields { properties: &long, ..fields() }, "properties"),
    ] {
        let mut out = Vec::new();
        assert_eq!(
            given.encode_into(&mut out),
            Err(MessageError::TooLong { field, bytes: 32768, max: 32767 })
        );
        assert!(out.is_empty());
    }
}

#[test]
fn patches_hit_their_fields() {
    let v6 = "[::1]:1".parse().unwrap();
    for born_host in [fields().born_host, v6] {
        let mut bytes = encode(&StoredMessageFields { born_host, ..fields() });
        patch_queue_offset(&mut bytes, i64::MAX);
        patch_physical_offset(&mut bytes, 1 << 40);
        patch_store_timestamp(&mut bytes, 99);
        let patched = StoredMessageFields {
            born_host,
            queue_offset: i64::MAX,
            physical_offset: 1 << 40,
            store_timestamp: 99,
            ..fields()
        };
        assert_eq!(bytes, encode(&patched));
    }
}

#[test]
#[should_panic(expected = "at least 91 bytes")]
fn patching_what_is_no_message_panics() {
    patch_queue_offset(&mut [0; 90], 1);
}

#[test]
fn no_cut_of_a_message_is_a_message() {
    let v2 = encode(&StoredMessageFields { topic: &"t".repeat(300), ..fields() });
    for bytes in [golden(), v2] {
        for len in 0..bytes.len() {
            let cut = StoredMessage::parse(&bytes[..len]);
            assert!(matches!(cut, Err(MessageError::Truncated { .. })), "{len} {cut:?}");
            // The same with a total size that fits the cut: the parts do not.
            if len >= 4 {
                let mut claims = bytes[..len].to_vec();
                claims[..4].copy_from_slice(&(len as u32).to_be_bytes());
                assert!(StoredMessage::parse(&claims).is_err(), "{len}");
            }
        }
    }
}

#[test]
fn messages_that_are_refused() {
    let properties_at = golden().len() - 24;
    for (at, wrong, expect) in [
        (0, &[0x80, 0, 0, 0][..], MessageError::Length { field: "message", length: -2147483648 }),
        (0, &[0, 0, 0, 90], MessageError::Length { field: "message", length: 90 }),
        (0, &[8, 0, 0, 1], MessageError::Length { field: "message", length: 0x0800_0001 }),
        (4, &[0xcb, 0xd4, 0x31, 0x94], MessageError::Magic(MAGIC_BLANK)),
        (52, &[0, 1, 0, 0], MessageError::Length { field: "port", length: 65536 }),
        (84, &[0xff; 4], MessageError::Length { field: "body", length: -1 }),
        (84, &[0x7f, 0xff, 0xff, 0xff], MessageError::Length { field: "body", length: 0x7fff_ffff }),
        (102, &[0xff], MessageError::Length { field: "topic", length: 255 }),
        (103, &[0xff], MessageError::Text("topic")),
        (properties_at, &[0xff, 0xff], MessageError::Length { field: "properties", length: -1 }),
        (properties_at, &[0, 21], MessageError::Size { total: 136, parts: 135 }),
        (properties_at + 2, &[0xff], MessageError::Text("properties")),
    ] {
        let mut bytes = golden();
        bytes[at..at + wrong.len()].copy_from_slice(wrong);
        assert_eq!(StoredMessage::parse(&bytes), Err(expect), "{at}");
    }
}

#[test]
fn a_changed_body_is_found() {
    let mut bytes = golden();
    bytes[88] ^= 1;
    let message = StoredMessage::parse(&bytes).unwrap();
    assert!(matches!(message.verify_body(), Err(MessageError::BodyCrc { stored: 1774740973, .. })));
}

#[test]
fn messages_back_to_back() {
    let mut bytes = golden();
    StoredMessageFields { queue_offset: 8, ..fields() }.encode_into(&mut bytes).unwrap();
    fn offsets(bytes: &[u8]) -> Vec<Result<i64, MessageError>> {
        StoredMessages::new(bytes).map(|message| message.map(|message| message.queue_offset)).collect()
    }
    assert_eq!(offsets(&bytes), [Ok(7), Ok(8)]);
    assert_eq!(offsets(&[]), []);
    bytes.pop();
    assert_eq!(offsets(&bytes), [Ok(7), Err(MessageError::Truncated { needed: 136, available: 135 })]);
}

#[test]
fn golden_batch() {
    let items = [
        BatchItem { flag: 5, body: b"one", properties: "K\u{1}v\u{2}" },
        BatchItem { flag: -1, body: b"", properties: "" },
    ];
    let mut body = Vec::new();
    items.iter().for_each(|item| item.encode_into(&mut body).unwrap());
    assert_eq!(
        body,
        b"\x00\x00\x00\x1d\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x03one\x00\x04K\x01v\x02\
          \x00\x00\x00\x16\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00"
    );
    assert_eq!(BatchItems::new(&body).collect::<Result<Vec<_>, _>>().unwrap(), items);
}

#[test]
fn batches_that_are_refused() {
    let mut item = Vec::new();
    BatchItem { flag: 5, body: b"one", properties: "K\u{1}v\u{2}" }.encode_into(&mut item).unwrap();
    for len in 1..item.len() {
        let cut: Vec<_> = BatchItems::new(&item[..len]).collect();
        assert!(matches!(cut[..], [Err(MessageError::Truncated { .. })]), "{len}");
    }
    for (at, wrong, expect) in [
        (0, &[0xff; 4][..], MessageError::Length { field: "batch item", length: -1 }),
        (0, &[0, 0, 0, 21], MessageError::Length { field: "batch item", length: 21 }),
        (16, &[0xff; 4], MessageError::Length { field: "body", length: -1 }),
        (16, &[0, 0, 0, 2], MessageError::Length { field: "properties", length: 0x6500 }),
        (23, &[0xff, 0xff], MessageError::Length { field: "properties", length: -1 }),
        (23, &[0, 3], MessageError::Size { total: 29, parts: 28 }),
        (25, &[0xff], MessageError::Text("properties")),
    ] {
        let mut bytes = item.clone();
        bytes[at..at + wrong.len()].copy_from_slice(wrong);
        assert_eq!(BatchItems::new(&bytes).collect::<Vec<_>>(), [Err(expect)], "{at}");
    }
    let long = "x".repeat(32768);
    let too_long = BatchItem { flag: 0, body: b"", properties: &long }.encode_into(&mut item);
    assert_eq!(too_long, Err(MessageError::TooLong { field: "properties", bytes: 32768, max: 32767 }));
}
