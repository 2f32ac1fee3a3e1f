//! The lenient JSON reader, and bodies through it.
//!
//! What is read has to be written to something that is read as the same, members that are null aside.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use trireme_remoting::body::{
    ConsumerStatusBody, HeartbeatData, LockBatchBody, RegisterBrokerBody, ResetOffsetBody,
    SubscriptionGroupConfig, TopicRouteData, TopicStatsTable,
};
use trireme_remoting::json;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut value) = json::parse(bytes) else { return };
    strip_nulls(&mut value);
    let written = json::to_bytes(&value).expect("a value has a json form");
    assert_eq!(json::parse(&written), Ok(value));

    macro_rules! round_trip {
        ($($body:ty),*) => {$(
            if let Ok(body) = <$body>::decode(bytes) {
                assert_eq!(<$body>::decode(&body.encode()), Ok(body));
            }
        )*};
    }
    round_trip!(
        ConsumerStatusBody,
        HeartbeatData,
        LockBatchBody,
        RegisterBrokerBody,
        ResetOffsetBody,
        SubscriptionGroupConfig,
        TopicRouteData,
        TopicStatsTable
    );
});

fn strip_nulls(value: &mut Value) {
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(strip_nulls),
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(strip_nulls);
        }
        _ => {}
    }
}
