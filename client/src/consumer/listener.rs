//! The user's code, and what it says of messages.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::FutureExt;
use tracing::{error, warn};

use crate::message::ReceivedMessage;

/// Messages of one queue, in their order.
pub type MessageBatch = Arc<[ReceivedMessage]>;

/// What became of a batch that is consumed in no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumeOutcome {
    /// All messages are consumed.
    Commit,
    /// The first so many are consumed; the others come again as with [`Retry`](Self::Retry).
    CommitFirst(usize),
    /// The messages come again, later each time, until they have failed too often and become dead letters.
    /// When broadcasting they do not come again.
    Retry,
    /// As [`Retry`](Self::Retry), after the time of this delay level (1 is 1 s, 18 is 2 h by default).
    RetryAtLevel(u8),
}

/// What became of a batch that is consumed in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderOutcome {
    /// All messages are consumed.
    Commit,
    /// The same messages come again after this time; nothing else of their queue comes before.
    Suspend(Duration),
}

/// Consumes messages, many batches at the same time, in no order. Closures that return a future are listeners:
///
/// ```
/// use trireme_client::{ConcurrentListener, ConsumeOutcome, MessageBatch};
///
/// fn listener() -> impl ConcurrentListener {
///     |messages: MessageBatch| async move {
///         for message in messages.iter() {
///             println!("{} {}", message.msg_id(), String::from_utf8_lossy(&message.body));
///         }
///         ConsumeOutcome::Commit
///     }
/// }
/// # let _ = listener();
/// ```
///
/// A listener that panics, or takes longer than
/// [`consume_timeout`](crate::PushConsumerConfig::consume_timeout), has said [`ConsumeOutcome::Retry`].
pub trait ConcurrentListener: Send + Sync + 'static {
    /// Consumes a batch of at most [`consume_batch`](crate::PushConsumerConfig::consume_batch) messages.
    fn consume(&self, messages: MessageBatch) -> impl Future<Output = ConsumeOutcome> + Send;
}

/// Consumes the messages of each queue one batch after the other, in their order; queues at the same time.
/// Closures that return a future are listeners, as for [`ConcurrentListener`].
///
/// A listener that panics or takes too long has said [`OrderOutcome::Suspend`] with a second. Taking longer than
/// 30 s is dangerous: the broker gives the queue to another member 60 s after it last heard that it is locked.
pub trait OrderedListener: Send + Sync + 'static {
    /// Consumes a batch of at most [`consume_batch`](crate::PushConsumerConfig::consume_batch) messages.
    fn consume(&self, messages: MessageBatch) -> impl Future<Output = OrderOutcome> + Send;
}

impl<F, Fut> ConcurrentListener for F
where
    F: Fn(MessageBatch) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ConsumeOutcome> + Send,
{
    fn consume(&self, messages: MessageBatch) -> impl Future<Output = ConsumeOutcome> + Send {
        self(messages)
    }
}

impl<F, Fut> OrderedListener for F
where
    F: Fn(MessageBatch) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = OrderOutcome> + Send,
{
    fn consume(&self, messages: MessageBatch) -> impl Future<Output = OrderOutcome> + Send {
        self(messages)
    }
}

type Call<T> = Box<dyn Fn(MessageBatch) -> Pin<Box<dyn Future<Output = T> + Send>> + Send + Sync>;

/// A listener of either kind, its type forgotten.
pub(super) enum Listener {
    Concurrent(Call<ConsumeOutcome>),
    Ordered(Call<OrderOutcome>),
}

/// A listener did not come to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Panicked,
    TimedOut,
}

impl Listener {
    pub(super) fn concurrent<L: ConcurrentListener>(listener: L) -> Self {
        let listener = Arc::new(listener);
        Self::Concurrent(Box::new(move |messages| {
            let listener = listener.clone();
            Box::pin(async move { listener.consume(messages).await })
        }))
    }

    pub(super) fn ordered<L: OrderedListener>(listener: L) -> Self {
        let listener = Arc::new(listener);
        Self::Ordered(Box::new(move |messages| {
            let listener = listener.clone();
            Box::pin(async move { listener.consume(messages).await })
        }))
    }

    pub(super) fn is_ordered(&self) -> bool {
        matches!(self, Self::Ordered(_))
    }
}

/// Runs a listener, come what may.
pub(super) async fn run<T>(call: &Call<T>, messages: MessageBatch, timeout: Duration) -> Result<T, Failure> {
    let queue = messages.first().map(|message| (message.queue.clone(), message.queue_offset));
    let consume = AssertUnwindSafe(async move { call(messages).await }).catch_unwind();
    match tokio::time::timeout(timeout, consume).await {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(_)) => {
            error!(?queue, "listener panicked");
            Err(Failure::Panicked)
        }
        Err(_) => {
            warn!(?queue, ?timeout, "listener timed out");
            Err(Failure::TimedOut)
        }
    }
}
