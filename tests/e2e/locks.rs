//! Queues that are consumed in order, and who holds them when leaders die.

use std::collections::BTreeSet;

use trireme_remoting::body::{LockBatchBody, LockBatchResponse, MessageQueue};
use trireme_remoting::{Frame, RequestCode, response};

use crate::harness::{Cluster, eventually};
use crate::wire;

const TOPIC: &str = "in-order";

fn body(client: &str, queues: &[i32]) -> LockBatchBody {
    let queue =
        |id: &i32| MessageQueue { topic: TOPIC.into(), broker_name: "broker-a".into(), queue_id: *id };
    LockBatchBody {
        consumer_group: "in-order".into(),
        client_id: client.into(),
        only_this_broker: false,
        mq_set: queues.iter().map(queue).collect(),
    }
}

/// Asks the leader, whoever that is, until it answers.
async fn ask(cluster: &Cluster, code: RequestCode, body: LockBatchBody) -> Frame {
    loop {
        let addr = cluster.replicas[cluster.leader().await].addr;
        let request = Frame::request(code).with_body(body.encode());
        match wire::ask(&cluster.remote, addr, request).await {
            Ok(answer) if answer.code == response::SUCCESS => return answer,
            _ => {}
        }
    }
}

/// Which of these queues the client holds then.
async fn lock(cluster: &Cluster, client: &str, queues: &[i32]) -> BTreeSet<i32> {
    let answer = ask(cluster, RequestCode::LockBatchMq, body(client, queues)).await;
    let held = LockBatchResponse::decode(answer.body.as_slice()).unwrap().lock_ok_mq_set;
    held.into_iter().map(|queue| queue.queue_id).collect()
}

async fn unlock(cluster: &Cluster, client: &str, queues: &[i32]) {
    ask(cluster, RequestCode::UnlockBatchMq, body(client, queues)).await;
}

/// A consumer that was given a queue has it until it gives it back, whichever leader is asked: two that consume it at the same
/// time would be out of order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_has_one_consumer_through_failovers() {
    let mut cluster = Cluster::start().await;
    cluster.topic(TOPIC, 4).await;
    // From this version on.
    eventually("the newest formats are written", async || {
        let leader = cluster.leader().await;
        cluster.status(leader).await.is_some_and(|status| status.format_version >= 3)
    })
    .await;
    assert_eq!(lock(&cluster, "one", &[0, 1, 2]).await, [0, 1, 2].into());
    unlock(&cluster, "one", &[2]).await;
    for _ in 0..2 {
        let leader = cluster.leader().await;
        cluster.kill(leader).await;
        assert_eq!(lock(&cluster, "other", &[0, 1]).await, [].into());
        assert_eq!(lock(&cluster, "one", &[0, 1]).await, [0, 1].into());
        cluster.restart(leader);
        cluster.caught_up(leader).await;
    }
    assert_eq!(
        lock(&cluster, "other", &[0, 1, 2, 3, 4, -1]).await,
        [2, 3].into(),
        "those are free, and exist"
    );
    unlock(&cluster, "one", &[0]).await;
    assert_eq!(lock(&cluster, "other", &[0, 1]).await, [0].into());
    // Also when all of them begin again.
    cluster.kill_all().await;
    (0..3).for_each(|at| cluster.restart(at));
    assert_eq!(lock(&cluster, "one", &[0, 1, 2, 3]).await, [1].into());
    assert_eq!(lock(&cluster, "other", &[0, 1, 2, 3]).await, [0, 2, 3].into());
    cluster.assert_healthy();
}
