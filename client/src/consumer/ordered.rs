//! Consuming in order: one task per queue, which goes on only when the batch before is done.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::core::Core;
use super::give_back::give_up;
use super::listener::{Listener, MessageBatch, OrderOutcome, run};
use super::process_queue::ProcessQueue;
use crate::message::ReceivedMessage;

/// How long a queue rests whose listener panicked, timed out, or failed to give a message up.
const REST: Duration = Duration::from_secs(1);

/// How often a queue looks whether its lock has been renewed.
const LOCK_WAIT: Duration = Duration::from_millis(100);

/// Consumes a queue's messages as they are pulled, until the queue is closed.
///
/// `slots` bounds how many queues consume at the same time.
pub(super) async fn run_queue(
    core: Arc<Core>,
    queue: Arc<ProcessQueue>,
    mut pulled: mpsc::UnboundedReceiver<(u64, ReceivedMessage)>,
    slots: Arc<Semaphore>,
) {
    let mut first = None;
    loop {
        let taken = match first.take() {
            Some(taken) => taken,
            None => tokio::select! {
                taken = pulled.recv() => match taken {
                    Some(taken) => taken,
                    None => return,
                },
                () = queue.closed() => return,
            },
        };
        let generation = taken.0;
        let mut messages = vec![taken.1];
        while messages.len() < core.config.consume_batch {
            match pulled.try_recv() {
                Ok((other, message)) if other == generation => messages.push(message),
                Ok(other) => {
                    first = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        if !consume(&core, &queue, generation, messages.into(), &slots).await {
            return;
        }
    }
}

/// Consumes a batch, again and again if need be. False if the queue was closed first.
async fn consume(
    core: &Core,
    queue: &ProcessQueue,
    generation: u64,
    mut messages: MessageBatch,
    slots: &Semaphore,
) -> bool {
    let Listener::Ordered(listener) = &core.listener else { return false };
    loop {
        // The queue may be closed while this waits for a lock or a slot: that is looked at last.
        while core.needs_locks() && !queue.is_lock_valid() {
            tokio::select! {
                () = sleep(LOCK_WAIT) => {}
                () = queue.closed() => return false,
            }
        }
        let Ok(_slot) = slots.acquire().await else { return false };
        if queue.is_closed() {
            return false;
        }
        if !queue.is_current(generation) {
            return true;
        }
        if core.needs_locks() && !queue.is_lock_valid() {
            continue;
        }
        let started = Instant::now();
        let outcome = run(listener, messages.clone(), core.config.consume_timeout).await;
        let took = started.elapsed();
        let rest = match outcome.unwrap_or(OrderOutcome::Suspend(REST)) {
            OrderOutcome::Commit => {
                core.stats.consumed(&queue.queue.topic, took, messages.len(), 0);
                queue.done(generation, messages.iter().map(|message| message.queue_offset));
                return true;
            }
            OrderOutcome::Suspend(rest) => rest,
        };
        core.stats.consumed(&queue.queue.topic, took, 0, messages.len());
        messages = failed_once_more(core, queue, generation, &messages).await;
        if messages.is_empty() {
            return true;
        }
        drop(_slot);
        tokio::select! {
            () = sleep(rest) => {}
            () = queue.closed() => return false,
        }
    }
}

/// The messages to try again, with one failure more each; those that have failed too often are given up.
async fn failed_once_more(
    core: &Core,
    queue: &ProcessQueue,
    generation: u64,
    messages: &MessageBatch,
) -> MessageBatch {
    let max = core.max_reconsume_times();
    let mut again = Vec::with_capacity(messages.len());
    for message in messages.iter() {
        if message.reconsume_times < max {
            again.push(message.failed_once_more());
            continue;
        }
        match give_up(core, message).await {
            Ok(()) => queue.done(generation, [message.queue_offset]),
            Err(error) => {
                warn!(queue = %queue.queue, queue_offset = message.queue_offset, %error, "message not given up");
                again.push(message.clone());
            }
        }
    }
    again.into()
}
