//! Tables over the registry.

use std::time::{Duration, Instant};

use trireme_remoting::body::{ConsumerData, HeartbeatData, ProducerData, SubscriptionData};

use super::*;

fn consumer(client_id: &str, group: &str, topics: &[(&str, &str, i64)]) -> HeartbeatData {
    let subscription_data_set = topics
        .iter()
        .map(|(topic, sub_string, sub_version)| SubscriptionData {
            topic: (*topic).into(),
            sub_string: (*sub_string).into(),
            sub_version: *sub_version,
            ..SubscriptionData::default()
        })
        .collect();
    let data = ConsumerData { group_name: group.into(), subscription_data_set, ..ConsumerData::default() };
    HeartbeatData { client_id: client_id.into(), consumer_data_set: vec![data], ..HeartbeatData::default() }
}

fn changed(group: &str) -> Vec<Change> {
    vec![Change { group: group.into() }]
}

#[test]
fn a_group_changes_when_a_member_comes_or_subscribes_differently() {
    let clients = Clients::new();
    let now = Instant::now();
    let beat = |data: &HeartbeatData| clients.heartbeat(data, &Origin::Forwarded, now).0;
    assert_eq!(beat(&consumer("c1", "g", &[("t", "*", 1)])), changed("g"));
    assert_eq!(beat(&consumer("c1", "g", &[("t", "*", 1)])), vec![]);
    assert_eq!(beat(&consumer("c2", "g", &[("t", "*", 2)])), changed("g"), "a second member");
    assert_eq!(beat(&consumer("c2", "g", &[("t", "TagA", 3)])), changed("g"), "another expression");
    assert_eq!(beat(&consumer("c1", "g", &[("t", "*", 1)])), vec![], "an older subscription counts no more");
    assert_eq!(clients.subscription("g", "t").map(|s| s.sub_string), Some("TagA".into()));
    assert_eq!(clients.members("g"), ["c1", "c2"]);
}

#[test]
fn who_leaves_or_is_silent_is_gone() {
    let clients = Clients::new();
    let start = Instant::now();
    for client in ["c1", "c2"] {
        clients.heartbeat(&consumer(client, "g", &[("t", "*", 1)]), &Origin::Forwarded, start);
    }
    assert_eq!(clients.unregister("c1", None, Some("g"), true), changed("g"));
    assert_eq!(clients.unregister("c1", None, Some("g"), true), vec![]);
    assert_eq!(clients.expire(start + Duration::from_secs(119)), vec![]);
    assert_eq!(clients.expire(start + Duration::from_secs(121)), changed("g"));
    assert!(clients.members("g").is_empty());
}

#[test]
fn an_abbreviated_heartbeat_of_an_unknown_client_asks_for_the_full_one() {
    let clients = Clients::new();
    let now = Instant::now();
    let mut full = consumer("c1", "g", &[("t", "*", 1)]);
    full.heartbeat_fingerprint = 7;
    let short = HeartbeatData { without_sub: true, ..full.clone() };
    assert!(!clients.heartbeat(&full, &Origin::Forwarded, now).1);
    assert!(!clients.heartbeat(&short, &Origin::Forwarded, now).1);
    let other = HeartbeatData { heartbeat_fingerprint: 8, ..short };
    assert!(clients.heartbeat(&other, &Origin::Forwarded, now).1);
}

#[test]
fn producers_do_not_change_groups() {
    let clients = Clients::new();
    let data = HeartbeatData {
        client_id: "p".into(),
        producer_data_set: vec![ProducerData { group_name: "pg".into() }],
        ..HeartbeatData::default()
    };
    assert_eq!(clients.heartbeat(&data, &Origin::Forwarded, Instant::now()), (vec![], false));
}
