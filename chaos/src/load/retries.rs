//! A consumer that gives messages back, again and again: I11.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use trireme_broker::names;
use trireme_client::MessageQueue;
use trireme_remoting::headers::ConsumerSendMsgBackRequest;
use trireme_remoting::{Frame, RequestCode};

use super::Shared;
use super::senders::Straight;
use crate::check::Violations;
use crate::check::retries::{Copies, Failed, GivenBack, MOST};
use crate::history::Id;
use crate::outcome::Told;
use crate::wire::{self, Given};
use crate::world::GROUP as BROKERS;

/// The topic, of one queue.
pub(super) const TOPIC: &str = "chaos-retries";
/// The group.
pub(super) const GROUP: &str = "chaos-retries";
/// Between two messages.
pub(super) const SEND_EVERY: Duration = Duration::from_millis(200);
/// Between two looks whether there is something.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What was given back is delivered again after a second.
const LEVEL: i32 = 1;
/// Copies of which nobody knows whether they are stored have come within this.
const QUIET_FOR: Duration = Duration::from_secs(4);

/// What is known of it.
pub(super) struct Progress {
    given_back: Mutex<GivenBack>,
    last: Mutex<Instant>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { given_back: Mutex::default(), last: Mutex::new(Instant::now()) }
    }

    /// How many messages are consumed, or dead letters.
    pub(super) fn settled(&self) -> usize {
        self.given_back.lock().settled()
    }

    /// That what was given back, and nothing else, came again. `stored`: the messages themselves.
    pub(super) fn check(&self, stored: &[Id], copies: &Copies, violations: &mut Violations) {
        self.given_back.lock().check(stored, copies, violations);
    }

    /// Waits until each of these is consumed or a dead letter and nothing more comes, or as long as that may take.
    pub(super) async fn settle(&self, sent: &BTreeSet<Id>, within: Duration) {
        let deadline = Instant::now() + within;
        let is_over = || {
            let given_back = self.given_back.lock();
            QUIET_FOR <= self.last.lock().elapsed() && sent.iter().all(|id| given_back.is_settled(*id))
        };
        while !is_over() && Instant::now() < deadline {
            sleep(LOOK_EVERY).await;
        }
    }
}

/// The queues: where messages are sent to, and where they come again.
pub(super) fn queues() -> [MessageQueue; 2] {
    [MessageQueue::new(TOPIC, BROKERS, 0), MessageQueue::new(names::retry_topic(GROUP).as_str(), BROKERS, 0)]
}

/// Goes through both queues, once, and gives back what is to fail.
pub(super) async fn consume(shared: Arc<Shared>, mut replicas: Straight) {
    let mut queues = queues().map(|queue| (queue, 0));
    loop {
        let mut is_idle = true;
        for (queue, position) in &mut queues {
            // The topic of retries is made with the first one; and a replica may be behind.
            let found = wire::pull_from(replicas.remote(), replicas.addr(), queue, *position).await;
            let Ok(found) = found else {
                replicas.turn();
                continue;
            };
            for given in found {
                is_idle = false;
                *position += 1;
                match Id::of(&given.body) {
                    Ok(id) => settle(&shared, &mut replicas, id, &given).await,
                    Err(what) => shared.violations.lock().add(format!("I2: {what} is in {queue}")),
                }
            }
        }
        if is_idle {
            sleep(LOOK_EVERY).await;
        }
    }
}

async fn settle(shared: &Shared, replicas: &mut Straight, id: Id, given: &Given) {
    let failed: Failed = (id, given.reconsume_times);
    let fails = shared.retries.given_back.lock().given(failed);
    *shared.retries.last.lock() = Instant::now();
    if !fails {
        return;
    }
    loop {
        let header = ConsumerSendMsgBackRequest {
            offset: given.physical_offset,
            group: GROUP,
            delay_level: LEVEL,
            origin_msg_id: None,
            origin_topic: Some(TOPIC),
            unit_mode: Some(false),
            max_reconsume_times: i32::try_from(MOST).ok(),
        };
        let request = Frame::request(RequestCode::ConsumerSendMsgBack).with_ext(header.to_ext());
        let answer = replicas.ask(request).await;
        let told = shared.told(&answer);
        shared.retries.given_back.lock().back(failed, told);
        match told {
            Told::Yes => return,
            Told::No => replicas.turn(),
            Told::Perhaps => {}
        }
        sleep(LOOK_EVERY).await;
    }
}
