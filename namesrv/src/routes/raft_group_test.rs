//! Raft groups: the last leader stays listed, and an earlier one cannot come back.

#![allow(clippy::unwrap_used)]

use super::registration::Registered;
use super::testing::{Stage, broker, replica, secs};

/// Three replicas, of which the first leads in term 1.
fn group() -> Stage {
    let mut stage = Stage::new();
    stage.register(replica(2)).unwrap();
    stage.register(replica(1).leads(1)).unwrap();
    stage.register(replica(3)).unwrap();
    assert_eq!(stage.route("T"), "a{0=h1:1 2=h2:1 3=h3:1} a:rw 4/4");
    stage
}

#[test]
fn a_new_leader_takes_id_0_at_once() {
    let mut stage = group();
    stage.register(replica(2).leads(2).queues("T", 8)).unwrap();
    assert_eq!(stage.route("T"), "a{0=h2:1 3=h3:1} a:rw 8/8", "the old leader has not been heard of");
    stage.register(replica(1).term(2)).unwrap();
    assert_eq!(stage.route("T"), "a{0=h2:1 1=h1:1 3=h3:1} a:rw 8/8");
}

#[test]
fn a_leader_that_steps_down_stays_until_the_next() {
    let mut stage = group();
    stage.register(replica(1).term(1)).unwrap();
    assert_eq!(stage.listed(), "a{0=h1:1 2=h2:1 3=h3:1}");
    stage.register(replica(3).leads(2)).unwrap();
    assert_eq!(stage.listed(), "a{0=h3:1 1=h1:1 2=h2:1}", "and moves to its own id then");
    stage.close(1);
    assert_eq!(stage.listed(), "a{0=h3:1 2=h2:1}", "where it is a follower like any");
}

#[test]
fn a_leader_that_steps_down_and_dies_is_gone_with_the_next() {
    let mut stage = group();
    stage.register(replica(1).term(1)).unwrap();
    stage.close(1);
    assert_eq!(stage.listed(), "a{0=h1:1 2=h2:1 3=h3:1}");
    stage.register(replica(2).leads(2)).unwrap();
    assert_eq!(stage.listed(), "a{0=h2:1 3=h3:1}");
}

#[test]
fn a_leader_that_steps_down_may_lead_again() {
    let mut stage = group();
    stage.register(replica(1).term(1)).unwrap();
    stage.register(replica(1).leads(3)).unwrap();
    stage.register(replica(3).leads(4)).unwrap();
    assert_eq!(stage.listed(), "a{0=h3:1 2=h2:1}", "what it asked for as a follower is forgotten");
}

#[test]
fn a_dead_leader_stays_until_the_next_or_its_time() {
    let mut stage = group();
    stage.close(1);
    assert_eq!(stage.route("T"), "a{0=h1:1 2=h2:1 3=h3:1} a:rw 4/4");
    stage.register(replica(2).leads(2)).unwrap();
    assert_eq!(stage.route("T"), "a{0=h2:1 3=h3:1} a:rw 4/4");

    stage.close(2);
    stage.pass(secs(100));
    stage.heartbeat("a", "h3:1").unwrap();
    assert_eq!(stage.pass(secs(21)), ["h2:1"]);
    assert_eq!(stage.route("T"), "a{3=h3:1} a:rw 4/4");
}

#[test]
fn a_dead_follower_goes_at_once() {
    let mut stage = group();
    stage.close(3);
    assert_eq!(stage.listed(), "a{0=h1:1 2=h2:1}");
}

#[test]
fn a_leader_of_an_earlier_term_cannot_come_back() {
    let mut stage = group();
    stage.register(replica(2).leads(2)).unwrap();
    let master = Some(("h2:1".to_owned(), "h2:10".to_owned()));
    assert_eq!(stage.register(replica(1).leads(1)), Ok(Registered { master, left_out: 0 }));
    assert_eq!(stage.listed(), "a{0=h2:1 3=h3:1}");

    stage.close(2);
    stage.register(replica(1).leads(1)).unwrap();
    assert_eq!(stage.listed(), "a{0=h2:1 3=h3:1}", "nor while the later one is dead and listed");
}

#[test]
fn a_group_that_starts_again_from_nothing_waits_for_its_last_leaders_expiry() {
    let mut stage = group();
    stage.register(replica(2).leads(57)).unwrap();
    stage.close(2);
    stage.pass(secs(100));
    stage.register(replica(3).leads(1)).unwrap();
    assert_eq!(stage.listed(), "a{0=h2:1 3=h3:1}");
    assert_eq!(stage.pass(secs(21)), ["h2:1", "h3:1"]);
    stage.register(replica(3).leads(1)).unwrap();
    assert_eq!(stage.listed(), "a{0=h3:1}");
}

#[test]
fn a_leader_that_unregisters_stays_while_others_are_there() {
    let mut stage = group();
    assert!(stage.unregister("a", "h1:1"));
    assert_eq!(stage.listed(), "a{0=h1:1 2=h2:1 3=h3:1}");
    assert!(stage.unregister("a", "h2:1"));
    assert_eq!(stage.listed(), "a{0=h1:1 3=h3:1}");
    assert!(stage.unregister("a", "h3:1"));
    assert_eq!(
        (stage.route("T"), stage.listed()),
        ("none".to_owned(), String::new()),
        "the last takes it along"
    );
}

#[test]
fn a_leader_that_left_comes_back() {
    let mut stage = group();
    stage.unregister("a", "h1:1");
    stage.register(replica(1).leads(1).on(4)).unwrap();
    stage.close(2);
    stage.close(3);
    assert_eq!(stage.listed(), "a{0=h1:1}", "it no longer counts as gone");
    stage.unregister("a", "h1:1");
    assert_eq!(stage.listed(), "", "alone it goes when it says so");
}

#[test]
fn only_a_leader_brings_topics() {
    let mut stage = Stage::new();
    stage.register(replica(2).acting(true)).unwrap();
    assert_eq!(stage.route("T"), "none");
    stage.register(replica(1).leads(1)).unwrap();
    stage.register(replica(2).term(1).queues("T", 9).queues("more", 1)).unwrap();
    assert_eq!(stage.route("T"), "a{0=h1:1 2=h2:1} a:rw 4/4");
    assert_eq!(stage.route("more"), "none");
}

#[test]
fn a_leader_brings_all_of_its_topics() {
    let mut stage = group();
    stage.register(broker().named("b").at("h9:1").on(9)).unwrap();
    stage.register(replica(1).leads(1).counter(2).topics(["T"])).unwrap();
    assert_eq!(stage.route("T"), "a{0=h1:1 2=h2:1 3=h3:1} b{0=h9:1} a:rw 4/4 b:rw 4/4");
    assert_eq!(stage.route("U"), "b{0=h9:1} b:rw 4/4", "what it does not name is gone, at its own group");
}

#[test]
fn a_leader_brings_its_topics_though_its_version_was_seen() {
    let mut stage = group();
    stage.register(replica(2).term(2)).unwrap();
    stage.register(replica(2).leads(2).queues("T", 8)).unwrap();
    assert_eq!(stage.route("T"), "a{0=h2:1 3=h3:1} a:rw 8/8");
}

#[test]
fn one_topic_is_enough() {
    let mut stage = Stage::new();
    stage.register(replica(1).leads(1).topics(["T"])).unwrap();
    assert_eq!(stage.route("T"), "a{0=h1:1} a:rw 4/4");
}
