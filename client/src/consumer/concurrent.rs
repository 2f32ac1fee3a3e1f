//! Consuming in no order: workers that take the next batch, whichever queue it is of.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::core::Core;
use super::give_back::give_back;
use super::listener::{ConsumeOutcome, Listener, MessageBatch, run};
use super::process_queue::ProcessQueue;
use crate::message::ReceivedMessage;

/// How long a message that could not even be given back waits here before it is consumed again.
const LOCAL_RETRY: Duration = Duration::from_secs(5);

/// Batches that wait for a worker. Bounded by the limits of the queues that they are of.
pub(super) struct Work {
    batches: Mutex<VecDeque<Batch>>,
    /// A permit for each batch; closed when the consumer stops.
    ready: Semaphore,
}

struct Batch {
    queue: Arc<ProcessQueue>,
    generation: u64,
    messages: MessageBatch,
}

impl Work {
    pub(super) fn new() -> Self {
        Self { batches: Mutex::default(), ready: Semaphore::new(0) }
    }

    /// Adds messages in batches of at most `batch`.
    pub(super) fn put(
        &self,
        queue: &Arc<ProcessQueue>,
        generation: u64,
        messages: Vec<ReceivedMessage>,
        batch: usize,
    ) {
        if messages.is_empty() {
            return;
        }
        let count = messages.len().div_ceil(batch);
        {
            let mut batches = self.batches.lock();
            let mut messages = messages.into_iter();
            for _ in 0..count {
                let messages = messages.by_ref().take(batch).collect();
                batches.push_back(Batch { queue: queue.clone(), generation, messages });
            }
        }
        self.ready.add_permits(count);
    }

    /// The next batch; nothing once the work is closed.
    async fn next(&self) -> Option<Batch> {
        self.ready.acquire().await.ok()?.forget();
        self.batches.lock().pop_front()
    }

    /// Ends the workers, each after the batch that it has.
    pub(super) fn close(&self) {
        self.ready.close();
    }
}

/// A worker: consumes batches until the work is closed.
pub(super) async fn work(core: Arc<Core>, work: Arc<Work>) {
    while let Some(batch) = work.next().await {
        if batch.queue.is_closed() || !batch.queue.is_current(batch.generation) {
            continue;
        }
        consume(&core, &work, batch).await;
    }
}

async fn consume(core: &Arc<Core>, work: &Arc<Work>, batch: Batch) {
    let Listener::Concurrent(listener) = &core.listener else { return };
    let started = Instant::now();
    let outcome = run(listener, batch.messages.clone(), core.config.consume_timeout).await;
    let (consumed, level) = match outcome.unwrap_or(ConsumeOutcome::Retry) {
        ConsumeOutcome::Commit => (batch.messages.len(), 0),
        ConsumeOutcome::CommitFirst(consumed) => (consumed.min(batch.messages.len()), 0),
        ConsumeOutcome::Retry => (0, 0),
        ConsumeOutcome::RetryAtLevel(level) => (0, i32::from(level)),
    };
    let (ok, failed) = batch.messages.split_at(consumed);
    core.stats.consumed(&batch.queue.queue.topic, started.elapsed(), ok.len(), failed.len());
    batch.queue.done(batch.generation, ok.iter().map(|message| message.queue_offset));
    if failed.is_empty() {
        return;
    }
    if core.is_broadcasting() {
        warn!(queue = %batch.queue.queue, messages = failed.len(), "messages failed; broadcast ones do not come again");
        batch.queue.done(batch.generation, failed.iter().map(|message| message.queue_offset));
        return;
    }
    let mut kept = Vec::new();
    for message in failed {
        match give_back(core, &batch.queue.queue, message, level).await {
            Ok(()) => batch.queue.done(batch.generation, [message.queue_offset]),
            Err(error) => {
                warn!(queue = %batch.queue.queue, queue_offset = message.queue_offset, %error,
                    "message not given back, consuming it again here");
                kept.push(message.failed_once_more());
            }
        }
    }
    if !kept.is_empty() {
        let (core, work) = (core.clone(), work.clone());
        // Rare enough for a task of its own; it ends by itself.
        tokio::spawn(async move {
            sleep(LOCAL_RETRY).await;
            work.put(&batch.queue, batch.generation, kept, core.config.consume_batch);
        });
    }
}
