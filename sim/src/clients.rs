//! The host that all clients run on.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use trireme_chaos::group::Group;
use trireme_chaos::load::Load;
use trireme_chaos::watch::{Runs, Watch};
use trireme_client::{Client, ClientConfig, Message, ProducerConfig, PullConsumerConfig, TopicSpec};
use trireme_remoting::ClientOptions;

use crate::hosts::Addrs;
use crate::scene::{BEGINS_WITHIN, ENDS_WITHIN, Newcomer, Plan, Stage, TICK};

/// Bytes of a message that was there before all others.
const OLD_BYTES: usize = 120 << 10;
/// Of so many a position is committed, and of none that comes after.
const OLD_POSITIONS: u64 = 4;
/// Where it is.
const OLD_TOPIC: &str = "old";
/// When nothing more happens, a replica has taken another's place by then.
const REPLACED_WITHIN: Duration = Duration::from_secs(30);

/// Sends, reads, gives orders and looks, until the stage is over; then waits until all is the same everywhere.
pub async fn run(addrs: Addrs, plan: Plan, old_bytes: u64, stage: Rc<Stage>, runs: Runs) -> turmoil::Result {
    let remote = trireme_remoting::Client::new(ClientOptions::default(), None);
    let group = Group { remote, addrs: addrs.brokers() };
    group.leader(BEGINS_WITHIN).await?;
    let new_client = Arc::new(move || Client::new(ClientConfig::new(&addrs.namesrv.to_string())));
    if old_bytes > 0 {
        fill(&new_client()?, old_bytes, plan.seed).await?;
    }
    let mut load = Load::start(new_client, &group, plan.rate, plan.seed).await?;
    let watch = Watch::start(&group, runs);
    stage.has_begun.set(true);
    let mut orders = Orders { addrs, group: group.clone(), replacing: None };
    while !stage.is_over.get() {
        orders.look(&stage).await;
    }
    load.stop_sending().await;
    let replaced = timeout(REPLACED_WITHIN, async {
        while stage.newcomer.get().is_some() {
            orders.look(&stage).await;
        }
    });
    if replaced.await.is_err() {
        let told = format!("I16: {:?} has not come in within {REPLACED_WITHIN:?}", stage.newcomer.get());
        stage.violations.borrow_mut().add(told);
    }
    load.deliver(&group).await;
    let entries = match group.converged(ENDS_WITHIN / 8).await {
        Ok(entries) => entries,
        Err(error) => {
            stage.violations.borrow_mut().add(format!("I15: {error}"));
            0
        }
    };
    same_states(&stage).await;
    load.drain(ENDS_WITHIN / 8).await;
    load.stop_reading().await;
    stage.violations.borrow_mut().append(watch.finish().await);
    *stage.done.borrow_mut() = Some((load, entries));
    std::future::pending().await
}

/// What replicas make of the log is the same as well: I3.
async fn same_states(stage: &Stage) {
    let found = timeout(ENDS_WITHIN / 8, async {
        loop {
            match stage.differences() {
                Some(parts) => return parts,
                // What is written of what replicas have is on its way.
                None => sleep(10 * TICK).await,
            }
        }
    });
    let told = match found.await {
        Ok(parts) if parts.is_empty() => return,
        Ok(parts) => format!("I3: replicas have applied the same, and their states differ in {parts:?}"),
        Err(_) => "I15: replicas do not come to the same entry".to_owned(),
    };
    stage.violations.borrow_mut().add(told);
}

/// Makes the log as long as one that is old enough to be trimmed: with messages that nobody reads, and positions among them,
/// so that there is something to know of what is gone.
async fn fill(client: &Client, bytes: u64, seed: u64) -> turmoil::Result {
    let mut random = StdRng::seed_from_u64(seed);
    while client.admin().create_topic(&TopicSpec::new(OLD_TOPIC), None).await.is_err() {
        sleep(10 * TICK).await;
    }
    let producer = client.producer(ProducerConfig::new("old"))?;
    let reader = client.pull_consumer(PullConsumerConfig::new("old"))?;
    for nth in 0..bytes.div_ceil(OLD_BYTES as u64) {
        let mut body = vec![0; OLD_BYTES];
        random.fill(&mut body[..]);
        let sent = producer.send(Message::new(OLD_TOPIC, body)).await?;
        if nth < OLD_POSITIONS {
            reader.commit(&sent.queue, sent.queue_offset.try_into()?).await?;
        }
    }
    reader.shutdown().await;
    Ok(())
}

/// What the script wants done by whoever leads.
struct Orders {
    addrs: Addrs,
    group: Group,
    replacing: Option<JoinHandle<bool>>,
}

impl Orders {
    async fn look(&mut self, stage: &Stage) {
        sleep(10 * TICK).await;
        if let Some(at) = stage.shall_lead.take() {
            tokio::spawn(hand_over(self.group.clone(), stage.nodes.get()[at]));
        }
        let is_asked = self.replacing.as_ref().map(JoinHandle::is_finished);
        match (stage.newcomer.get(), is_asked) {
            (Some(Newcomer { at, node, instead_of }), None) => {
                let (group, addr) = (self.group.clone(), self.addrs.order(at));
                let asking = async move { group.replace(instead_of, node, &addr).await };
                self.replacing = Some(tokio::spawn(asking));
            }
            (_, Some(true)) => {
                if let Some(asked) = self.replacing.take()
                    && asked.await.unwrap_or(false)
                {
                    tracing::info!(newcomer = ?stage.newcomer.take(), "it is in");
                }
            }
            _ => {}
        }
    }
}

async fn hand_over(group: Group, to: u64) {
    if let Some(leader) = group.leads().await {
        group.hand_over(leader, to).await;
    }
}
