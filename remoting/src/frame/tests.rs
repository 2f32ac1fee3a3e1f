//! Golden bytes, real peers' peculiarities, and what is refused.

#![allow(clippy::unwrap_used)]

use bytes::{Bytes, BytesMut};

use super::*;
use crate::json::JsonError;
use crate::response;

fn decode(bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
    FrameDecoder::default().decode(&mut BytesMut::from(bytes))
}

/// A frame around this header and body.
fn frame(serialize: u8, header: &[u8], body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&(4 + header.len() as u32 + body.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&(header.len() as u32).to_be_bytes());
    bytes[4] = serialize;
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(body);
    bytes
}

fn json_frame(header: &str) -> Result<Option<Frame>, FrameError> {
    decode(&frame(0, header.as_bytes(), b""))
}

fn request_105() -> Frame {
    let mut request = Frame::request(RequestCode::GetRouteInfoByTopic);
    request.version = version::V4_9_4;
    request.opaque = 1;
    request.ext.set("topic", "TopicTest");
    request
}

#[test]
fn golden_binary_request() {
    let request = Frame { serialize: SerializeType::RocketMq, ..request_105() };
    let bytes: &[u8] =
        b"\x00\x00\x00\x2d\x01\x00\x00\x29\x00\x69\x00\x01\x91\x00\x00\x00\x01\x00\x00\x00\x00\
        \x00\x00\x00\x00\x00\x00\x00\x14\x00\x05topic\x00\x00\x00\x09TopicTest";
    assert_eq!(request.to_bytes().unwrap(), bytes);
    assert_eq!(decode(bytes), Ok(Some(request)));
}

#[test]
fn golden_json_request() {
    let header =
        br#"{"code":105,"extFields":{"topic":"TopicTest"},"flag":0,"language":"JAVA","opaque":1,"version":401}"#;
    assert_eq!(request_105().to_bytes().unwrap(), frame(0, header, b""));
    assert_eq!(decode(&frame(0, header, b"")), Ok(Some(request_105())));
}

#[test]
fn lengths_of_a_header_of_131_bytes() {
    let mut request = request_105();
    request.remark = Some("x".repeat(131 - request.to_bytes().unwrap().len() + 8 - ",\"remark\":\"\"".len()));
    assert_eq!(request.to_bytes().unwrap()[..8], [0, 0, 0, 0x87, 0, 0, 0, 0x83]);
}

#[test]
fn every_field_in_both_notations() {
    for serialize in [SerializeType::Json, SerializeType::RocketMq] {
        let mut sent = Frame::response(response::PULL_NOT_FOUND)
            .with_remark("why \"not\"\n\u{1}é中😀\\")
            .with_body(b"body".to_vec());
        sent.serialize = serialize;
        sent.language = Language::Go;
        sent.version = 317;
        sent.opaque = i32::MIN;
        sent.set_oneway();
        sent.ext.set("properties", "k\u{1}v\u{2}\t\"\\/é中😀");
        sent.ext.set("", "");
        sent.ext.set("ключ", -7);
        let received = decode(&sent.to_bytes().unwrap()).unwrap().unwrap();
        assert_eq!(received, sent);
        assert_eq!(received.ext.iter().collect::<Vec<_>>(), sent.ext.iter().collect::<Vec<_>>());
    }
}

#[test]
fn pop_codes_are_cut_to_16_bits_and_found_again() {
    let mut pop = Frame::request(RequestCode::PopMessage);
    pop.serialize = SerializeType::RocketMq;
    assert_eq!(pop.to_bytes().unwrap()[8..10], 3442i16.to_be_bytes());
    assert_eq!(decode(&pop.to_bytes().unwrap()).unwrap().unwrap().code, 200_050);

    // A response code of the same number is just that number.
    let mut answer = Frame::response(3442);
    answer.serialize = SerializeType::RocketMq;
    assert_eq!(decode(&answer.to_bytes().unwrap()).unwrap().unwrap().code, 3442);
}

/// Numbers, booleans and nulls where strings belong, an empty remark, a newline at the end.
#[test]
fn headers_of_cpp_clients() {
    let frame = json_frame(
        "{\n \"code\" : 11, \"extFields\":{\"queueId\":3,\"offset\":-12,\"rate\":1.50,\"jstackEnable\":true,\
         \"AccessKey\":null,\"Signature\":\"\"},\n\"flag\":0,\"language\":\"CPP\",\"opaque\":5,\"remark\":\"\",\
         \"serializeTypeCurrentRPC\":\"JSON\",\"version\":333}\n",
    )
    .unwrap()
    .unwrap();
    let ext: Vec<_> = frame.ext.iter().collect();
    assert_eq!(
        ext,
        [("queueId", "3"), ("offset", "-12"), ("rate", "1.50"), ("jstackEnable", "true"), ("Signature", "")]
    );
    assert_eq!((frame.language, frame.remark.as_deref()), (Language::Cpp, Some("")));
}

#[test]
fn json_headers_are_read_leniently() {
    for (header, expect) in [
        (r#"{"code":1}"#, Frame { language: Language::Other, version: 0, ..Frame::new(1, 0) }),
        (
            r#"{"code":"1","language":"KLINGON","flag":null,"extFields":null,"remark":null,"version":"3"}"#,
            Frame { language: Language::Other, version: 3, ..Frame::new(1, 0) },
        ),
        (
            r#"{"new":{"a":[1,{"b":"\u0041"}]},"code":1,"language":9,"code":2}"#,
            Frame { language: Language::Go, version: 0, ..Frame::new(2, 0) },
        ),
        (
            r#"{"c\u006fde":1,"extFields":{"a\n":"x\u0041","a\n":"y"},"language":"JAVA","version":479}"#,
            Frame::new(1, 0).with_ext([("a\n", "y")].into_iter().collect()),
        ),
    ] {
        assert_eq!(json_frame(header), Ok(Some(expect)), "{header}");
    }
}

#[test]
fn json_headers_that_are_refused() {
    for header in [
        "",
        "null",
        "[]",
        "{",
        "{}",
        r#"{"code":null}"#,
        r#"{"code":1.5}"#,
        r#"{"code":"x"}"#,
        r#"{"code":2147483648}"#,
        r#"{"code":1}}"#,
        r#"{"code":1,"extFields":[]}"#,
        r#"{"code":1,"extFields":7}"#,
        r#"{"code":1,"extFields":{"a":{}}}"#,
        r#"{"code":1,"extFields":{"a":1},"extFields":{"a":2}}"#,
        r#"{"code":1,"remark":{}}"#,
        r#"{"code":1,"x":tru}"#,
    ] {
        let refused = json_frame(header);
        assert!(
            matches!(refused, Err(FrameError::Json(_) | FrameError::JsonField(_))),
            "{header} {refused:?}"
        );
    }
    assert_eq!(
        decode(&frame(0, b"{\"code\":1,\"remark\":\"\xff\"}", b"")),
        Err(JsonError::Utf8 { at: 20 }.into())
    );
    let deep = format!("{{\"code\":1,\"x\":{}", "[".repeat(40_000));
    assert!(matches!(json_frame(&deep), Err(FrameError::Json(JsonError::TooDeep { .. }))));
}

#[test]
fn the_number_of_fields_has_a_bound() {
    for serialize in [SerializeType::Json, SerializeType::RocketMq] {
        let mut request = request_105();
        request.serialize = serialize;
        request.ext = (0..MAX_FIELDS).map(|n| (n.to_string(), n)).collect();
        assert!(decode(&request.to_bytes().unwrap()).is_ok());
        request.ext.set("one more", 1);
        assert_eq!(decode(&request.to_bytes().unwrap()), Err(FrameError::TooManyFields));
    }
}

/// Whatever else a field is set to, the others stay what they are; also where keys look alike, and values have escapes.
#[test]
fn a_key_that_comes_twice_counts_as_it_came_last() {
    let json = br#"{"code":1,"extFields":{"key":"a","other":"b\u0001c","k\u0065y":"d\"e","yek":7}}"#;
    let mut binary = b"\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00".to_vec();
    let fields = [("key", "a"), ("other", "b\u{1}c"), ("key", "d\"e"), ("yek", "7")];
    let len: usize = fields.iter().map(|(key, value)| 2 + key.len() + 4 + value.len()).sum();
    binary.extend_from_slice(&(len as u32).to_be_bytes());
    for (key, value) in fields {
        binary.extend_from_slice(&(key.len() as u16).to_be_bytes());
        binary.extend_from_slice(key.as_bytes());
        binary.extend_from_slice(&(value.len() as u32).to_be_bytes());
        binary.extend_from_slice(value.as_bytes());
    }
    for (serialize, header) in [(0, &json[..]), (1, &binary)] {
        let mut ext = decode(&frame(serialize, header, b"")).unwrap().unwrap().ext;
        assert_eq!(
            ext.iter().collect::<Vec<_>>(),
            [("key", "d\"e"), ("other", "b\u{1}c"), ("yek", "7")],
            "{serialize}"
        );
        ext.set("key", "f");
        ext.set("new", "g");
        assert_eq!((ext.get("key"), ext.get("yek"), ext.get("new")), (Some("f"), Some("7"), Some("g")));
        assert_eq!(ext.len(), 4);
    }
}

/// Two halves of a character are none, also side by side.
#[test]
fn no_character_goes_over_the_end_of_a_field() {
    let mut header = b"\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00".to_vec();
    header.extend_from_slice(b"\x00\x00\x00\x09\x00\x01\xc3\x00\x00\x00\x02\xa9x");
    assert_eq!(decode(&frame(1, &header, b"")), Err(FrameError::BinaryText("field name")));
    // A length that is no text by itself.
    let value = "y".repeat(0xc3);
    let mut header = header[..17].to_vec();
    header.extend_from_slice(b"\x00\x00\x00\xca\x00\x01k\x00\x00\x00\xc3");
    header.extend_from_slice(value.as_bytes());
    let found = decode(&frame(1, &header, b"")).unwrap().unwrap();
    assert_eq!(found.ext.get("k"), Some(&*value));
}

#[test]
fn lengths_are_checked_as_soon_as_they_are_there() {
    let decoder = FrameDecoder { max_frame: 1024, max_header: 100 };
    for (start, expect) in [
        (&b"\x00\x00\x00\x03"[..], FrameError::TooShort(3)),
        (b"\xff\xff\xff\xff", FrameError::TooShort(-1)),
        (b"\x80\x00\x00\x00", FrameError::TooShort(i32::MIN)),
        (b"\x00\x00\x03\xfd", FrameError::TooLarge { bytes: 1025, max: 1024 }),
        (b"\x7f\xff\xff\xff", FrameError::TooLarge { bytes: 0x8000_0003, max: 1024 }),
        (b"GET / HTTP/1.1", FrameError::TooLarge { bytes: 0x4745_5424, max: 1024 }),
        (b"\x16\x03\x01\x02\x00", FrameError::Tls),
        (b"\x00\x00\x00\x10\x02\x00\x00\x00", FrameError::SerializeType(2)),
        (b"\x00\x00\x00\x10\x00\x00\x00\x0d", FrameError::HeaderOverrun { header: 13, frame: 16 }),
        (b"\x00\x00\x00\x10\x01\xff\xff\xff", FrameError::HeaderOverrun { header: 0xff_ffff, frame: 16 }),
        (b"\x00\x00\x03\x00\x00\x00\x00\x65", FrameError::HeaderTooLarge { bytes: 101, max: 100 }),
    ] {
        assert_eq!(decoder.decode(&mut BytesMut::from(start)), Err(expect), "{start:?}");
    }
    assert_eq!(decoder.decode(&mut BytesMut::from(&b"\x00\x00\x03\xfc\x00\x00\x00\x64"[..])), Ok(None));
}

#[test]
fn binary_headers_whose_parts_overrun() {
    let good =
        Frame { serialize: SerializeType::RocketMq, ..request_105() }.with_remark("ok").to_bytes().unwrap();
    let header = &good[8..];
    for len in 0..header.len() {
        let cut = decode(&frame(1, &header[..len], b""));
        assert!(matches!(cut, Err(FrameError::BinaryOverrun(_))), "{len} {cut:?}");
    }
    for (at, bytes, what) in [
        (13, &b"\x80\x00\x00\x00"[..], FrameError::BinaryOverrun("remark")),
        (13, b"\x7f\xff\xff\xff", FrameError::BinaryOverrun("remark")),
        (17, b"\xff\xff", FrameError::BinaryText("remark")),
        (19, b"\xff\xff\xff\xff", FrameError::BinaryOverrun("fields")),
        (23, b"\xff\xff", FrameError::BinaryOverrun("field name")),
        (25, b"\xff", FrameError::BinaryText("field name")),
        (30, b"\x00\x00\x00\x0a", FrameError::BinaryOverrun("field value")),
    ] {
        let mut wrong = header.to_vec();
        wrong[at..at + bytes.len()].copy_from_slice(bytes);
        assert_eq!(decode(&frame(1, &wrong, b"")), Err(what), "{at}");
    }
}

#[test]
fn frames_are_found_however_the_bytes_arrive() {
    let frames: Vec<_> = [
        request_105(),
        request_105().with_body(vec![7; 300]),
        Frame { serialize: SerializeType::RocketMq, ..request_105() }.with_body(b"x".to_vec()),
    ]
    .into();
    let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.to_bytes().unwrap()).collect();
    for step in [1, 2, 7, 100, bytes.len()] {
        let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
        for chunk in bytes.chunks(step) {
            buffer.extend_from_slice(chunk);
            while let Some(frame) = FrameDecoder::default().decode(&mut buffer).unwrap() {
                found.push(frame);
            }
        }
        assert!(buffer.is_empty());
        assert_eq!(found, frames, "{step}");
    }
}

#[test]
fn what_is_missing_is_known() {
    let decoder = FrameDecoder::default();
    let bytes = request_105().with_body(vec![0; 50]).to_bytes().unwrap();
    let missing = |len: usize| decoder.missing(&BytesMut::from(&bytes[..len]));
    assert_eq!((missing(0), missing(5), missing(8)), (8, 3, bytes.len() - 8));
    assert_eq!((missing(bytes.len() - 1), missing(bytes.len())), (1, 0));
}

#[test]
fn a_frame_too_large_is_not_encoded() {
    let request = request_105().with_body(vec![0; 1000]);
    let len = request.to_bytes().unwrap().len();
    let mut out = b"before".to_vec();
    assert_eq!(
        request.encode_header(&mut out, len - 1),
        Err(FrameError::TooLarge { bytes: len as u64, max: len - 1 })
    );
    assert_eq!(out, &b"before"[..]);
    assert_eq!(request.encode_header(&mut out, len), Ok(()));

    let mut long_key = Frame { serialize: SerializeType::RocketMq, ..request_105() };
    long_key.ext.set(&"k".repeat(32768), 1);
    assert_eq!(long_key.to_bytes(), Err(FrameError::KeyTooLong(32768)));
}

#[test]
fn a_body_of_many_runs_is_one_body() {
    let parts = vec![Bytes::from_static(b"ab"), Bytes::new(), Bytes::from_static(b"cde")];
    let frame = request_105().with_body(parts);
    assert_eq!((frame.body.len(), frame.body.is_empty()), (5, false));
    let received = decode(&frame.to_bytes().unwrap()).unwrap().unwrap();
    assert_eq!(received.body.as_slice(), b"abcde");
    assert_eq!(received, frame);
    assert!(Body::Many(vec![Bytes::new()]).is_empty());
    assert!(matches!(Body::from(Bytes::new()), Body::Empty));
}

/// A thousand frames of a fixed seed, in both notations: text of every kind, fields of every number.
#[test]
fn frames_survive_a_round_trip() {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    const CHARS: [char; 12] = ['a', '0', ' ', '"', '\\', '/', '\n', '\u{0}', '\u{1}', '\u{7f}', 'é', '😀'];
    for _ in 0..1000 {
        let mut frame = Frame::new(random(30_000) as i32, random(4) as i32);
        frame.serialize = if random(2) == 0 { SerializeType::Json } else { SerializeType::RocketMq };
        frame.opaque = random(1 << 32) as i32;
        frame.language = Language::ALL[random(Language::ALL.len() as u64) as usize];
        frame.version = random(600) as i32;
        let mut text = |max: u64| -> String {
            (0..random(max)).map(|_| CHARS[random(CHARS.len() as u64) as usize]).collect()
        };
        frame.remark = Some(text(9)).filter(|remark| !remark.is_empty());
        for _ in 0..text(20).chars().count() {
            frame.ext.set(&text(9), text(30));
        }
        frame.body = text(40).into_bytes().into();
        assert_eq!(decode(&frame.to_bytes().unwrap()), Ok(Some(frame)));
    }
}
