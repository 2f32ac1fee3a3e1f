//! What every header struct shares, shown on a few.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::ext::{ExtFields, FieldError};

fn ext<const N: usize>(fields: [(&str, &str); N]) -> ExtFields {
    fields.into_iter().collect()
}

#[test]
fn wire_names_in_both_directions() {
    let header = ConsumerSendMsgBackRequest {
        offset: 4096,
        group: "g",
        delay_level: -1,
        origin_msg_id: Some("id"),
        origin_topic: None,
        unit_mode: Some(false),
        max_reconsume_times: Some(16),
    };
    let fields = ext([
        ("offset", "4096"),
        ("group", "g"),
        ("delayLevel", "-1"),
        ("originMsgId", "id"),
        ("unitMode", "false"),
        ("maxReconsumeTimes", "16"),
    ]);
    assert_eq!(header.to_ext(), fields);
    assert_eq!(ConsumerSendMsgBackRequest::from_ext(&fields), Ok(header));
}

#[test]
fn unknown_fields_are_skipped() {
    let fields = ext([("Signature", "x"), ("topic", "T"), ("nsd", "true"), ("queueId", "3"), ("lo", "")]);
    assert_eq!(QueueRequest::from_ext(&fields), Ok(QueueRequest { topic: "T", queue_id: 3 }));
}

#[test]
fn mandatory_fields_are_demanded_by_name() {
    assert_eq!(QueueRequest::from_ext(&ext([("topic", "T")])), Err(FieldError::Missing { field: "queueId" }));
    let wrong = QueueRequest::from_ext(&ext([("topic", "T"), ("queueId", "three")])).unwrap_err();
    assert_eq!(wrong.to_string(), "header field queueId is \"three\", expected a 32-bit integer");
    // A field that may be absent must still make sense when it is there.
    let wrong = PullRequest::from_ext(&ext([("maxMsgBytes", "")])).unwrap_err();
    assert_eq!(wrong, FieldError::Missing { field: "consumerGroup" });
    let wrong = GetMaxOffsetRequest::from_ext(&ext([("topic", "T"), ("queueId", "2147483648")])).unwrap_err();
    assert!(matches!(wrong, FieldError::Invalid { field: "queueId", .. }));
}

#[test]
fn a_send_names_its_missing_field_in_words() {
    let mut fields =
        ext([("a", "g"), ("b", "T"), ("c", "TBW102"), ("d", "4"), ("e", "0"), ("f", "0"), ("g", "1")]);
    assert_eq!(SendHeader::from_ext(&fields), Err(FieldError::Missing { field: "flag" }));
    fields.set("h", 0);
    let header = SendHeader::from_ext(&fields).unwrap();
    assert_eq!((header.properties, header.is_batch(), header.reconsume_times), (None, false, None));
    fields.set("m", "true");
    assert!(SendHeader::from_ext(&fields).unwrap().is_batch());
}

/// The fields of code 12 beside the header proper, and those of a heartbeat's answer.
#[test]
fn fields_with_odd_names() {
    let fields = ext([
        ("topic", "T"),
        ("key", "k"),
        ("maxNum", "32"),
        ("beginTimestamp", "0"),
        ("endTimestamp", "9223372036854775807"),
        (UNIQUE_KEY_QUERY, "true"),
    ]);
    let query = QueryMessageRequest::from_ext(&fields).unwrap();
    assert_eq!((query.unique_key, query.end_timestamp), (Some(true), i64::MAX));
    let answer = HeartbeatResponse { supports_v2: Some(true), subscription_changed: Some(true) };
    assert_eq!(answer.to_ext(), ext([("IS_SUPPORT_HEART_BEAT_V2", "true"), ("IS_SUB_CHANGE", "true")]));
}
