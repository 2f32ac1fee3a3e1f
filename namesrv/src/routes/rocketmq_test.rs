//! RocketMQ's own brokers: the rules of `RouteInfoManager`.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use trireme_remoting::body::QueueData;

use super::Limits;
use super::registration::{Refusal, Registered};
use super::testing::{LIMITS, Stage, broker, secs};

#[test]
fn a_master_brings_its_topics_and_a_slave_its_address() {
    let mut stage = Stage::new();
    assert_eq!(stage.register(broker()), Ok(Registered::default()));
    assert_eq!(stage.route("T"), "a{0=h0:1} a:rw 4/4");

    let slave = broker().id(1).at("h1:1").on(2).queues("T", 9).queues("only-on-slave", 1);
    let master = Some(("h0:1".to_owned(), "h0:2".to_owned()));
    assert_eq!(stage.register(slave), Ok(Registered { master, left_out: 0 }));
    assert_eq!(stage.route("T"), "a{0=h0:1 1=h1:1} a:rw 4/4");
    assert_eq!(stage.route("only-on-slave"), "none");
}

#[test]
fn topics_are_shared_by_groups_in_order_of_names() {
    let mut stage = Stage::new();
    stage.register(broker().named("b").at("h9:1").on(9).queues("T", 8)).unwrap();
    stage.register(broker()).unwrap();
    assert_eq!(stage.route("T"), "a{0=h0:1} b{0=h9:1} a:rw 4/4 b:rw 8/8");
}

#[test]
fn topics_change_with_the_version_only() {
    let mut stage = Stage::new();
    stage.register(broker()).unwrap();
    stage.register(broker().queues("T", 8).queues("new", 1)).unwrap();
    assert_eq!(stage.route("T"), "a{0=h0:1} a:rw 4/4", "same version: what is known stays");
    assert_eq!(stage.route("new"), "a{0=h0:1} a:rw 1/1", "same version: what is missing comes");
    stage.register(broker().counter(2).queues("T", 8)).unwrap();
    assert_eq!(stage.route("T"), "a{0=h0:1} a:rw 8/8");
    stage.register(broker().counter(3).topics(["T"])).unwrap();
    assert_ne!(stage.route("U"), "none", "a registration may be of single topics");
    let complete = broker().counter(4).topics(["T"]);
    stage.register(super::Registration { complete: true, ..complete }).unwrap();
    assert_eq!(stage.route("U"), "none");
}

#[test]
fn a_wiped_permission_lasts_until_something_changes() {
    let mut stage = Stage::new();
    stage.register(broker()).unwrap();
    assert_eq!(stage.table.wipe_write_perm("a"), 2);
    assert_eq!(stage.route("T"), "a{0=h0:1} a:r 4/4");
    stage.register(broker()).unwrap();
    assert_eq!(stage.route("T"), "a{0=h0:1} a:r 4/4");
    assert_eq!(stage.table.add_write_perm("a"), 2);
    assert_eq!(stage.route("T"), "a{0=h0:1} a:rw 4/4");
    stage.table.wipe_write_perm("a");
    stage.register(broker().counter(2)).unwrap();
    assert_eq!(stage.route("T"), "a{0=h0:1} a:rw 4/4");
    assert_eq!(stage.table.wipe_write_perm("nobody"), 0);
}

#[test]
fn an_address_belongs_to_one_id() {
    let mut stage = Stage::new();
    stage.register(broker()).unwrap();
    stage.register(broker().id(1).at("h1:1").on(2)).unwrap();
    stage.register(broker().at("h1:1").on(2)).unwrap();
    assert_eq!(stage.route("T"), "a{0=h1:1} a:rw 4/4", "the slave took over");
    stage.register(broker().id(1).on(1)).unwrap();
    assert_eq!(stage.route("T"), "a{0=h1:1 1=h0:1} a:rw 4/4", "the master became a slave");
}

#[test]
fn a_master_of_an_earlier_epoch_is_ignored() {
    let mut stage = Stage::new();
    stage.register(broker().term(5)).unwrap();
    let master = Some(("h0:1".to_owned(), "h0:2".to_owned()));
    let stale = stage.register(broker().term(4).at("h1:1").on(2).queues("stale", 1));
    assert_eq!(stale, Ok(Registered { master, left_out: 0 }), "it learns who is master");
    assert_eq!(stage.route("T"), "a{0=h0:1} a:rw 4/4");
    assert_eq!(stage.route("stale"), "none");
    stage.register(broker().term(4)).unwrap();
    stage.register(broker().term(4).at("h1:1").on(2)).unwrap();
    assert_eq!(
        stage.listed(),
        "a{0=h1:1}",
        "the same address may start again, and equals replace each other"
    );
}

#[test]
fn a_broker_with_one_topic_must_be_known() {
    let mut stage = Stage::new();
    let refusal = Err(Refusal::HalfStarted("a".to_owned()));
    assert_eq!(stage.register(broker().topics(["T"])), refusal);
    assert_eq!(stage.listed(), "");
    stage.register(broker()).unwrap();
    assert!(stage.register(broker().counter(2).topics(["new"])).is_ok(), "a known one may add a topic");
    assert_eq!(stage.register(broker().id(1).at("h1:1").topics(["T"])), refusal);
    assert_eq!(stage.listed(), "a{0=h0:1}");
}

#[test]
fn a_closed_connection_unregisters_at_once() {
    let mut stage = Stage::new();
    stage.register(broker()).unwrap();
    stage.register(broker().id(1).at("h1:1").on(2)).unwrap();
    stage.close(99);
    stage.close(1);
    assert_eq!(stage.route("T"), "a{1=h1:1} a:rw 4/4", "no master, the topics stay readable on the slave");
    stage.close(2);
    assert_eq!((stage.route("T"), stage.listed()), ("none".to_owned(), String::new()));
}

#[test]
fn a_broker_that_reconnected_survives_its_old_connection() {
    let mut stage = Stage::new();
    stage.register(broker()).unwrap();
    stage.register(broker().on(2)).unwrap();
    stage.close(1);
    assert_eq!(stage.listed(), "a{0=h0:1}");
    stage.close(2);
    assert_eq!(stage.listed(), "");
}

#[test]
fn one_connection_may_register_several_groups() {
    let mut stage = Stage::new();
    stage.register(broker()).unwrap();
    stage.register(broker().named("b")).unwrap();
    assert_eq!(stage.listed(), "a{0=h0:1} b{0=h0:1}", "groups may share an address too");
    stage.close(1);
    assert_eq!(stage.listed(), "");
}

#[test]
fn silence_expires() {
    let mut stage = Stage::new();
    stage.register(broker()).unwrap();
    let hasty = super::Registration { timeout: Some(secs(10)), ..broker().id(1).at("h1:1").on(2) };
    stage.register(hasty).unwrap();
    assert_eq!(stage.pass(secs(10)), Vec::<String>::new());
    assert_eq!(stage.pass(Duration::from_millis(1)), ["h1:1"]);
    assert_eq!(stage.pass(secs(109)), Vec::<String>::new());
    stage.heartbeat("a", "h0:1").unwrap();
    assert_eq!(stage.pass(secs(120)), Vec::<String>::new(), "a heartbeat begins a new period");
    stage.register(broker()).unwrap();
    assert_eq!(stage.pass(secs(120)), Vec::<String>::new(), "and so does a registration");
    assert_eq!(stage.pass(secs(1)), ["h0:1"]);
    assert_eq!(stage.route("T"), "none");
    assert_eq!(stage.heartbeat("a", "h0:1"), None, "who has expired must register");
}

#[test]
fn an_absurd_expiry_is_brought_into_range() {
    let mut stage = Stage::new();
    let with = |timeout| super::Registration { timeout: Some(timeout), ..broker() };
    stage.register(with(Duration::from_millis(1))).unwrap();
    assert_eq!(stage.pass(secs(1)), Vec::<String>::new());
    stage.register(with(Duration::MAX)).unwrap();
    assert_eq!(stage.pass(secs(3601)), ["h0:1"]);
}

#[test]
fn unregistering_takes_the_address_off() {
    let mut stage = Stage::new();
    stage.register(broker()).unwrap();
    stage.register(broker().id(1).at("h1:1").on(2)).unwrap();
    assert!(!stage.unregister("a", "h7:1"));
    assert!(!stage.unregister("b", "h0:1"));
    assert!(stage.unregister("a", "h0:1"));
    assert_eq!(stage.route("T"), "a{1=h1:1} a:rw 4/4");
    assert!(stage.unregister("a", "h1:1"));
    assert_eq!(stage.route("T"), "none");
}

#[test]
fn since_5_0_the_smallest_id_brings_its_topics_read_only() {
    let mut stage = Stage::new();
    stage.register(broker().acting(false).id(2).at("h2:1").on(2)).unwrap();
    assert_eq!(stage.route("T"), "a{2=h2:1} a:r 4/4");
    stage.register(broker().acting(false).id(3).at("h3:1").on(3).queues("mine", 1)).unwrap();
    assert_eq!(stage.route("mine"), "none");
    stage.register(broker().acting(false)).unwrap();
    assert_eq!(stage.route("T"), "a{0=h0:1 2=h2:1 3=h3:1} a:rw 4/4");
}

#[test]
fn acting_master_groups_become_read_only_without_their_master() {
    let mut stage = Stage::new();
    stage.register(broker().acting(true)).unwrap();
    stage.register(broker().acting(true).id(1).at("h1:1").on(2)).unwrap();
    stage.close(1);
    assert_eq!(stage.route("T"), "a{1=h1:1} a:r 4/4");
    stage.register(broker().acting(true).on(3)).unwrap();
    assert_eq!(stage.route("T"), "a{0=h0:1 1=h1:1} a:rw 4/4");
}

#[test]
fn a_name_belongs_to_one_cluster_while_its_group_lives() {
    let mut stage = Stage::new();
    stage.register(broker()).unwrap();
    let foreign = broker().cluster("D").at("h1:1").on(2);
    let refusal = Refusal::OtherCluster { name: "a".to_owned(), cluster: "C".to_owned() };
    assert_eq!(stage.register(foreign), Err(refusal));
    stage.register(broker().cluster("D")).unwrap();
    assert_eq!(stage.table.cluster_info().cluster_addr_table.into_keys().collect::<Vec<_>>(), ["D"]);
}

#[test]
fn a_full_table_refuses_further_brokers_and_topics() {
    let mut stage = Stage::with(Limits { max_brokers: 2, max_topics: 3, ..LIMITS });
    stage.register(broker()).unwrap();
    let left_out =
        stage.register(broker().id(1).at("h1:1").on(2).topics(["V", "W"])).map(|done| done.left_out);
    assert_eq!(left_out, Ok(0), "a slave brings no topics");
    let third = broker().named("b").at("h2:1").on(3);
    assert_eq!(stage.register(third.clone()), Err(Refusal::TooManyBrokers { max: 2 }));
    assert_eq!(stage.listed(), "a{0=h0:1 1=h1:1}");

    let left_out =
        stage.register(broker().counter(2).topics(["T", "U", "V", "W", "X"])).map(|done| done.left_out);
    assert_eq!(left_out, Ok(2));
    assert_eq!(stage.route("V"), "a{0=h0:1 1=h1:1} a:rw 4/4");
    assert_eq!(stage.route("W"), "none");
    stage.table.delete_topic("U", None);
    stage.register(broker().counter(2).topics(["T", "V", "W"])).unwrap();
    assert_ne!(stage.route("W"), "none", "it is tried again with every registration");

    stage.close(2);
    stage.register(third).unwrap();
}

#[test]
fn topics_are_deleted_everywhere_or_in_one_cluster() {
    let mut stage = Stage::new();
    stage.register(broker()).unwrap();
    stage.register(broker().named("b").cluster("D").at("h9:1").on(9)).unwrap();
    stage.table.delete_topic("T", Some("nowhere"));
    stage.table.delete_topic("T", Some("D"));
    assert_eq!(stage.route("T"), "a{0=h0:1} a:rw 4/4");
    stage.table.delete_topic("U", None);
    assert_eq!(stage.route("U"), "none");
    stage.table.delete_topic("T", Some("C"));
    assert_eq!(stage.route("T"), "none");
    stage.table.check();
}

#[test]
fn a_route_can_be_registered_of_a_new_topic_only() {
    let mut stage = Stage::new();
    stage.register(broker()).unwrap();
    let queues = |broker: &str, n| QueueData {
        broker_name: broker.to_owned(),
        perm: 6,
        read_queue_nums: n,
        write_queue_nums: n,
        ..QueueData::default()
    };
    assert!(stage.table.register_topic("V", vec![queues("a", 2), queues("nobody", 2)]).is_err());
    assert_eq!(stage.route("V"), "none");
    stage.table.register_topic("V", vec![queues("a", 2)]).unwrap();
    stage.table.register_topic("V", vec![queues("a", 3)]).unwrap();
    stage.table.register_topic("W", Vec::new()).unwrap();
    assert_eq!(stage.route("V"), "a{0=h0:1} a:rw 2/2");
    assert_eq!(stage.route("W"), "none");
}

#[test]
fn lists() {
    let mut stage = Stage::new();
    assert_eq!(stage.table.system_topics().topic_list, Vec::<String>::new());
    stage.register(broker()).unwrap();
    stage.register(broker().named("b").cluster("D").at("h9:1").on(9).topics(["T", "V"])).unwrap();
    assert_eq!(stage.table.topics().topic_list, ["T", "U", "V"]);
    assert_eq!(stage.table.topics_of_cluster("D").topic_list, ["T", "V"]);
    assert_eq!(stage.table.topics_of_cluster("nowhere").topic_list, Vec::<String>::new());
    let system = stage.table.system_topics();
    assert_eq!(system.topic_list, ["C", "a", "D", "b"]);
    assert_eq!(system.broker_addr.as_deref(), Some("h0:1"));
    assert_eq!(stage.table.member_group("C", "a").broker_addrs.into_values().collect::<Vec<_>>(), ["h0:1"]);
    assert!(stage.table.member_group("C", "nobody").broker_addrs.is_empty());
}

#[test]
fn a_route_is_compact_json_with_quoted_keys_in_a_fixed_order() {
    let mut stage = Stage::new();
    stage.register(broker()).unwrap();
    stage.register(broker().id(1).at("h1:1").on(2)).unwrap();
    let plain = concat!(
        r#"{"brokerDatas":[{"brokerAddrs":{"0":"h0:1","1":"h1:1"},"brokerName":"a","cluster":"C","#,
        r#""enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"a","perm":6,"#,
        r#""readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#
    );
    assert_eq!(stage.table.route("T", None).unwrap(), plain);
    let ordered = plain.replace(r#","queueDatas""#, r#","orderTopicConf":"a:4","queueDatas""#);
    assert_eq!(stage.table.route("T", Some("a:4".to_owned())).unwrap(), ordered);
    assert_eq!(stage.table.route("T", None).unwrap(), plain);
}

#[test]
fn an_unchanged_route_is_encoded_once() {
    let mut stage = Stage::new();
    stage.register(broker()).unwrap();
    let first = stage.table.route("T", None).unwrap();
    stage.register(broker()).unwrap();
    let second = stage.table.route("T", None).unwrap();
    assert_eq!(first.as_ptr(), second.as_ptr(), "a repeated registration changes nothing");
    stage.register(broker().named("b").at("h9:1").on(9).topics(["V", "W"])).unwrap();
    assert_eq!(stage.table.route("T", None).unwrap(), first, "a group without the topic changes no content");
}
