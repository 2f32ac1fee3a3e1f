//! A topic in two groups: while one elects its leader, the other takes its messages.

use std::time::{Duration, Instant};

use trireme_chaos::history::Attempt;

use crate::harness::{Cluster, Options, until};
use crate::load::Load;

/// A send that only has to turn to another group should take no time at all; machines that test have little.
const BOUND: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_go_to_the_other_group() {
    let mut cluster = Cluster::start_with(Options { groups: 2, ..Options::default() }).await;
    let load = Load::start(&cluster, "two").await;
    let leader = cluster.leader_of(0).await;
    let old = cluster.replicas[leader].addr;
    let killed = cluster.kill(leader).await;
    let outage = first_ack_of(&load, "broker-a", killed).await;

    let new = cluster.replicas[cluster.leader_of(0).await].addr;
    assert_ne!(new, old);
    let admin = cluster.client().admin();
    until("the route names the new leader", async || {
        let route = admin.topic_route("two").await.ok().flatten()?;
        let group = route.broker_datas.into_iter().find(|group| group.broker_name == "broker-a")?;
        (group.broker_addrs.get(&0) == Some(&new.to_string())).then_some(())
    })
    .await;
    println!("routed {} ms after the kill", killed.elapsed().as_millis());

    load.history.progress(50).await;
    cluster.restart(leader);
    cluster.caught_up(leader).await;
    let attempts = load.check(&cluster).await;
    let meanwhile: Vec<&Attempt> = attempts
        .iter()
        .filter(|attempt| !attempt.is_single && attempt.started > killed && attempt.started < killed + outage)
        .collect();
    let longest = meanwhile.iter().map(|attempt| attempt.ended - attempt.started).max().unwrap_or_default();
    println!(
        "{} sends while broker-a had no leader, for {} ms; the longest took {} ms",
        meanwhile.len(),
        outage.as_millis(),
        longest.as_millis()
    );
    assert!(meanwhile.len() >= 5, "producers stood still: {} sends", meanwhile.len());
    assert!(meanwhile.iter().all(|attempt| attempt.place().is_some()), "a producer gave up: {meanwhile:?}");
    assert!(longest < BOUND, "a send took {longest:?}");
    cluster.assert_healthy();
}

/// How long after `since` a message was acknowledged by the group that was sent after it.
async fn first_ack_of(load: &Load, group: &str, since: Instant) -> Duration {
    until("the group takes messages again", async || {
        let is_it = |attempt: &&Attempt| {
            attempt.started > since && attempt.place().is_some_and(|place| &*place.queue.broker_name == group)
        };
        load.history.attempts().iter().find(is_it).map(|attempt| attempt.ended - since)
    })
    .await
}
