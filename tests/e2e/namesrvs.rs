//! Several name servers that know nothing of each other: each hears of every leader by itself.

use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};

use crate::harness::{Cluster, Options, until};

/// Elections, each with a moment at which the leader serves and one at which each name server names it.
const ELECTIONS: usize = 3;
/// Far above what it takes, for machines that have much to do. What it took is printed.
const BOUND: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_hears_of_a_new_leader() {
    let mut cluster = Cluster::start_with(Options { namesrvs: 3, ..Options::default() }).await;
    let mut lags = Vec::new();
    for _ in 0..ELECTIONS {
        let old = cluster.leader().await;
        cluster.kill(old).await;
        let elected = async {
            let leader = cluster.leader().await;
            (Instant::now(), leader)
        };
        let old_addr = cluster.replicas[old].addr.to_string();
        let named = join_all(cluster.namesrvs.iter().map(async |namesrv| {
            let group = &cluster.replicas[0].group;
            let master = until("a name server names another master", async || {
                namesrv.master(&cluster.remote, group).await.filter(|master| *master != old_addr)
            });
            (master.await, Instant::now())
        }));
        let ((serves, leader), named) = join(elected, named).await;
        for (master, at) in named {
            assert_eq!(master, cluster.replicas[leader].addr.to_string());
            lags.push(at.saturating_duration_since(serves));
        }
        cluster.restart(old);
        cluster.caught_up(old).await;
    }
    lags.sort();
    let millis: Vec<_> = lags.iter().map(Duration::as_millis).collect();
    println!("ms from the first answer of a new leader until each name server names it: {millis:?}");
    assert!(lags[lags.len() - 1] < BOUND, "{lags:?}");
    cluster.assert_healthy();
}

/// A name server that was away learns everything again, and nobody misses it meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_was_away_learns_it_again() {
    let mut cluster = Cluster::start_with(Options { namesrvs: 2, ..Options::default() }).await;
    cluster.topic("known", 4).await;
    cluster.namesrvs[0].process.kill().await;
    // With the first name server gone: another leader, and another topic.
    let old = cluster.leader().await;
    cluster.kill(old).await;
    cluster.leader().await;
    cluster.topic("unknown", 4).await;
    cluster.restart(old);
    cluster.namesrvs[0].process.start();
    let leader = cluster.leader().await;
    let (group, addr) = (&cluster.replicas[leader].group, cluster.replicas[leader].addr.to_string());
    until("the name server that was away names the leader", async || {
        cluster.namesrvs[0].master(&cluster.remote, group).await.filter(|master| *master == addr)
    })
    .await;
    // It alone has to know both topics.
    cluster.namesrvs[1].process.kill().await;
    let admin = cluster.client().admin();
    for topic in ["known", "unknown"] {
        until("the name server that was away routes the topic", async || {
            admin.topic_route(topic).await.ok().flatten().filter(|route| route.queue_datas.len() == 1)
        })
        .await;
    }
}
