//! Those who send.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Interval, MissedTickBehavior, interval};
use trireme_client::{Message, MessageQueue, Producer};
use trireme_remoting::{Client, Frame, InvokeError};

use super::{ANSWER_WITHIN, Shared, TOPIC};
use crate::history::{Attempt, Id, Outcome};
use crate::outcome::{self, Told};
use crate::wire::{batch_request, send_request};

/// Property and value: a second, five seconds.
const DELAYS: [&str; 2] = ["DELAY\u{1}1\u{2}", "DELAY\u{1}2\u{2}"];

/// One sender: a message after the other, at its pace.
pub(super) struct Sender {
    shared: Arc<Shared>,
    number: u32,
    is_single: bool,
    ticks: Interval,
    sent: u32,
}

/// What is about to be sent.
struct Sending {
    id: Id,
    messages: u32,
    started: std::time::Instant,
}

impl Sending {
    /// The first message's body.
    fn body(&self) -> Bytes {
        self.id.body(padding(self.id.seq))
    }
}

impl Sender {
    /// `number`: nobody else has it. `is_single`: it sends a message once at most.
    pub(super) fn new(shared: Arc<Shared>, number: u32, is_single: bool, period: Duration) -> Self {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { shared, number, is_single, ticks, sent: 0 }
    }

    /// The next one, when it is its time. `None` when the load is over.
    async fn next(&mut self) -> Option<Sending> {
        self.next_batch(1).await
    }

    /// The next ones, for one request.
    async fn next_batch(&mut self, messages: u32) -> Option<Sending> {
        self.ticks.tick().await;
        if self.shared.is_over() {
            return None;
        }
        let id = Id { client: self.number, seq: self.sent };
        self.sent += messages;
        Some(Sending { id, messages, started: std::time::Instant::now() })
    }

    fn told(&self, sending: &Sending, said: Result<Outcome, String>) {
        let outcome = self.shared.outcome(said);
        let Sending { id, messages, started } = *sending;
        let ended = std::time::Instant::now();
        self.shared.add(Attempt { id, is_single: self.is_single, messages, started, ended, outcome });
    }
}

/// Sends with a producer of our client.
pub(super) async fn produce(mut sender: Sender, producer: Producer) {
    while let Some(sending) = sender.next().await {
        let sent = producer.send(Message::new(TOPIC, sending.body())).await;
        sender.told(&sending, outcome::of_producer(sent));
    }
}

/// The replicas, of which one is asked as long as it answers, whoever leads.
pub(super) struct Straight {
    remote: Client,
    addrs: Vec<SocketAddr>,
}

impl Straight {
    /// Begins with one that depends on `number`.
    pub(super) fn new(remote: &Client, addrs: &[SocketAddr], number: u32) -> Self {
        let mut addrs = addrs.to_vec();
        let first = number as usize % addrs.len();
        addrs.rotate_left(first);
        Self { remote: remote.clone(), addrs }
    }

    /// What asks them.
    pub(super) fn remote(&self) -> &Client {
        &self.remote
    }

    /// The one that is asked.
    pub(super) fn addr(&self) -> SocketAddr {
        self.addrs[0]
    }

    /// The next one's turn.
    pub(super) fn turn(&mut self) {
        self.addrs.rotate_left(1);
    }

    /// One request, once.
    pub(super) async fn ask(&mut self, request: Frame) -> Result<Frame, InvokeError> {
        let answer = self.remote.invoke(&self.addr().to_string(), request, ANSWER_WITHIN).await;
        if answer.is_err() {
            self.turn();
        }
        answer
    }
}

/// Sends one request per message, to queues in turn.
pub(super) async fn send_straight(mut sender: Sender, mut to: Straight, queues: Vec<MessageQueue>) {
    while let Some(sending) = sender.next().await {
        let Id { client, seq } = sending.id;
        let queue = &queues[(seq as usize + client as usize) % queues.len()];
        let answer = to.ask(send_request(queue, sending.body(), "")).await;
        sender.told(&sending, outcome::of_request(queue, answer));
    }
}

/// Sends requests of so many messages each, to queues in turn.
pub(super) async fn send_batches(
    mut sender: Sender,
    mut to: Straight,
    queues: Vec<MessageQueue>,
    messages: u32,
) {
    while let Some(sending) = sender.next_batch(messages).await {
        let Id { client, seq } = sending.id;
        let queue = &queues[((seq / messages) as usize + client as usize) % queues.len()];
        let bodies = (seq..seq + messages).map(|seq| Id { client, seq }.body(padding(seq)));
        let answer = to.ask(batch_request(queue, bodies)).await;
        sender.told(&sending, outcome::of_batch(queue, messages, answer));
    }
}

/// Sends delayed messages, in the same way.
pub(super) async fn send_delayed(mut sender: Sender, mut to: Straight, queue: MessageQueue) {
    while let Some(sending) = sender.next().await {
        let id = sending.id;
        let delay = DELAYS[id.seq as usize % DELAYS.len()];
        let answer = to.ask(send_request(&queue, sending.body(), delay)).await;
        let told = sender.shared.told(&answer);
        sender.shared.delayed.lock().push((id, told));
    }
}

impl Shared {
    /// What the answer to a single request says.
    pub(super) fn told(&self, answer: &Result<Frame, InvokeError>) -> Told {
        outcome::told(answer).unwrap_or_else(|what| {
            self.violations.lock().add(format!("I1: {what}"));
            Told::Perhaps
        })
    }
}

/// Most bodies are small, some take part of a page, few take several.
fn padding(seq: u32) -> usize {
    match seq % 100 {
        0 => 20_000,
        1..10 => 1_500,
        _ => 100,
    }
}
