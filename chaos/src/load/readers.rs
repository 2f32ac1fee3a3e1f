//! Those who read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, sleep};
use trireme_client::{
    Client, ConsumeFrom, ConsumeOutcome, MessageBatch, PullConsumerConfig, PushConsumer, PushConsumerConfig,
};
use trireme_remoting::headers::{GetMaxOffsetRequest, OffsetResponse};
use trireme_remoting::{Frame, RequestCode, response};

use super::{ANSWER_WITHIN, QUEUES, Shared, TOPIC};
use crate::check::reads::Floor;

/// Between two questions where a queue ends.
const PROBE_EVERY: Duration = Duration::from_millis(20);
/// Between two commits of the reader.
const COMMIT_EVERY: Duration = Duration::from_millis(500);

/// Goes through all queues with a reader of our client, and commits how far it is.
pub(super) async fn read(shared: Arc<Shared>, client: Client) {
    let config = PullConsumerConfig { pull_batch: 256, ..PullConsumerConfig::new("chaos-reader") };
    let Ok(mut reader) = client.pull_consumer(config) else {
        return shared.violations.lock().add("I1: the reader cannot be made".into());
    };
    while reader.assign(shared.queues.iter().cloned(), "*").await.is_err() {
        sleep(Duration::from_millis(100)).await;
    }
    let mut committed = [Floor::default(); QUEUES];
    let mut last_commit = Instant::now();
    let mut turn = 0;
    loop {
        // Whatever a broker refuses is asked for again.
        for message in reader.poll(Duration::from_millis(100)).await.unwrap_or_default() {
            if let Some((queue, offset, id)) = shared.given(&message, &shared.queues) {
                shared.pulled.lock().add(queue, offset, id, &mut shared.violations.lock());
            }
        }
        if last_commit.elapsed() < COMMIT_EVERY {
            continue;
        }
        last_commit = Instant::now();
        turn = (turn + 1) % QUEUES;
        let queue = &shared.queues[turn];
        // Before it is committed again: a leader that knows nothing of the last time would learn it now.
        if let Ok(told) = reader.committed(queue).await {
            shared.probes.lock().1 += 1;
            tracing::debug!(%queue, ?told, "was told");
            let (told, least) = (told.and_then(|told| u64::try_from(told).ok()), committed[turn].least());
            if told.unwrap_or_default() < least {
                let violation = format!("I8: {least} of {queue} was committed, then {told:?} was told");
                shared.violations.lock().add(violation);
            }
        }
        let Some(position) = reader.position(queue) else { continue };
        let value = u64::try_from(position).unwrap_or_default();
        let done = reader.commit(queue, position).await;
        tracing::debug!(%queue, position, ?done, "commits");
        match done {
            Ok(()) => committed[turn].raise(value),
            Err(_) => committed[turn].unknown(value),
        }
    }
}

/// Asks some replica where some queue ends.
pub(super) async fn probe(
    shared: Arc<Shared>,
    remote: trireme_remoting::Client,
    addrs: Vec<SocketAddr>,
    seed: u64,
) {
    let mut random = StdRng::seed_from_u64(seed);
    loop {
        sleep(PROBE_EVERY).await;
        let (queue, addr) = (random.random_range(0..QUEUES), addrs[random.random_range(0..addrs.len())]);
        let (shared, remote) = (shared.clone(), remote.clone());
        // One that hangs keeps no other one from being asked.
        tokio::spawn(async move {
            let least = shared.ends.lock()[queue].least();
            let queue_id = shared.queues[queue].queue_id;
            let header = GetMaxOffsetRequest { topic: TOPIC, queue_id, committed: None };
            let request = Frame::request(RequestCode::GetMaxOffset).with_ext(header.to_ext());
            let Ok(answer) = remote.invoke(&addr.to_string(), request, ANSWER_WITHIN).await else { return };
            let told = OffsetResponse::from_ext(&answer.ext)
                .ok()
                .and_then(|header| u64::try_from(header.offset).ok());
            let (response::SUCCESS, Some(told)) = (answer.code, told) else { return };
            shared.probes.lock().0 += 1;
            if told < least {
                let violation = format!("I6: queue {queue} ends at {least} or later, {addr} told {told}");
                shared.violations.lock().add(violation);
            }
            shared.ends.lock()[queue].raise(told);
        });
    }
}

/// A group of consumers in no order, of one member.
pub(super) async fn consume(client: &Client, shared: Arc<Shared>) -> anyhow::Result<PushConsumer> {
    let config = PushConsumerConfig {
        consume_from: ConsumeFrom::First,
        consume_batch: 32,
        pull_batch: 128,
        ..PushConsumerConfig::new("chaos-consumers").subscribe(TOPIC, "*")
    };
    let listener = move |messages: MessageBatch| {
        for message in messages.iter() {
            if let Some((queue, offset, id)) = shared.given(message, &shared.queues) {
                shared.consumed.lock().add(queue, offset, id, &mut shared.violations.lock());
            }
        }
        async { ConsumeOutcome::Commit }
    };
    Ok(client.consume(config, listener).await?)
}
