//! Sending messages.
//!
//! ```text
//!   send(message) -> validate, id, compress -> choose a queue -> ask its group's leader -> judge the answer
//!                                                   ^                                          |
//!                                                   +---- another group, replica, or pause ----+
//! ```
//! A send is the caller's own future: nothing is spawned, no task stands between it and the connection. Any
//! number may be awaited at once; they share one connection per broker, and their requests leave in the order
//! in which they were first polled.

mod callback;
mod config;
mod judge;
mod outgoing;
mod select;
mod send;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::ClientError;
use crate::instance::{Instance, Leaving};
use crate::message::{BatchSendResult, Message, MessageQueue, SendResult};
use callback::Callbacks;

pub use config::ProducerConfig;
pub(crate) use outgoing::Outgoing;
pub(crate) use select::Choice;
pub(crate) use send::Sender;

/// Sends messages. Clones are the same producer.
///
/// A send succeeds once the broker has acknowledged it. Within its timeout it is tried again: at the group's
/// other replicas when one does not answer, at another group when one refuses, after a short pause while a group
/// elects its leader. A try without an answer may have stored the message nevertheless, so that **a message can
/// be stored twice**; copies have the same [`msg_id`](SendResult::msg_id).
#[derive(Clone)]
pub struct Producer {
    shared: Arc<Shared>,
}

struct Shared {
    sender: Sender,
    callbacks: Callbacks,
    stopped: AtomicBool,
}

impl Producer {
    pub(crate) fn start(instance: Arc<Instance>, config: ProducerConfig) -> Result<Self, ClientError> {
        config.validate()?;
        instance.check_open()?;
        instance.add_producer(&config.group);
        let callbacks = Callbacks::new(config.max_async_sends);
        let sender = Sender::new(instance, config);
        Ok(Self { shared: Arc::new(Shared { sender, callbacks, stopped: AtomicBool::new(false) }) })
    }

    /// Sends a message to one of its topic's queues, each in turn, and waits for the acknowledgement.
    ///
    /// Errors: [`ClientError::Name`] and [`ClientError::Message`] before anything is sent;
    /// [`ClientError::TopicNotFound`]; [`ClientError::NoQueue`]; [`ClientError::NameServer`];
    /// [`ClientError::SendFailed`]; [`ClientError::Closed`].
    pub async fn send(&self, message: Message) -> Result<SendResult, ClientError> {
        self.sender()?.send_single(message, Choice::Any).await
    }

    /// As [`send`](Self::send), to this queue. Replicas of the queue's group are tried, other groups are not.
    ///
    /// Messages that are sent one after the other, each when the one before is acknowledged, are stored in this
    /// order; a repeated try can leave a second copy of a message behind it.
    pub async fn send_to_queue(
        &self,
        message: Message,
        queue: &MessageQueue,
    ) -> Result<SendResult, ClientError> {
        self.sender()?.send_single(message, Choice::Queue(queue)).await
    }

    /// As [`send_to_queue`](Self::send_to_queue), with the queue that belongs to `sharding_key`: messages of one
    /// key go to one queue, as long as the number of queues stays the same. The message is given the key.
    pub async fn send_sharded(
        &self,
        message: Message,
        sharding_key: &str,
    ) -> Result<SendResult, ClientError> {
        self.sender()?.send_single(message.with_sharding_key(sharding_key), Choice::Key(sharding_key)).await
    }

    /// Sends messages of one topic as one request: they are stored in one queue at consecutive offsets, all or
    /// none of them.
    ///
    /// Errors: as [`send`](Self::send); [`ClientError::Message`] also for an empty batch, several topics, a
    /// delayed message, or more bytes than [`ProducerConfig::max_message_bytes`] in all.
    pub async fn send_batch(&self, messages: Vec<Message>) -> Result<BatchSendResult, ClientError> {
        self.sender()?.send_batch(messages, Choice::Any).await
    }

    /// As [`send_batch`](Self::send_batch), to this queue.
    pub async fn send_batch_to_queue(
        &self,
        messages: Vec<Message>,
        queue: &MessageQueue,
    ) -> Result<BatchSendResult, ClientError> {
        self.sender()?.send_batch(messages, Choice::Queue(queue)).await
    }

    /// Sends a message without waiting for an acknowledgement: it can be lost without a word.
    ///
    /// Errors: as [`send`](Self::send), if it is not even queued on a connection.
    pub async fn send_oneway(&self, message: Message) -> Result<(), ClientError> {
        self.sender()?.send_oneway(message).await
    }

    /// Sends a message in the background and calls `callback` with the outcome of [`send`](Self::send), on the
    /// producer's own task: it must not block.
    ///
    /// Returns when the message is accepted; waits while [`ProducerConfig::max_async_sends`] are under way.
    /// Errors: [`ClientError::Closed`], then `callback` is not called.
    pub async fn send_async<F>(&self, message: Message, callback: F) -> Result<(), ClientError>
    where
        F: FnOnce(Result<SendResult, ClientError>) + Send + 'static,
    {
        self.sender()?;
        let shared = self.shared.clone();
        let send = async move { callback(shared.sender.send_single(message, Choice::Any).await) };
        self.shared.callbacks.submit(send).await
    }

    /// The queues that this topic's messages can be sent to, for use with [`send_to_queue`](Self::send_to_queue).
    ///
    /// Errors: [`ClientError::TopicNotFound`], [`ClientError::NameServer`].
    pub async fn queues(&self, topic: &str) -> Result<Vec<MessageQueue>, ClientError> {
        let sender = self.sender()?;
        let route = sender.instance.publish_route(topic, sender.config.default_topic_queues).await?;
        Ok(route.publish.iter().map(|publish| publish.queue.clone()).collect())
    }

    /// Stops: later sends fail, sends with a callback are awaited, brokers are told that the group has left.
    pub async fn shutdown(&self) {
        if self.shared.stopped.swap(true, Ordering::AcqRel) {
            return;
        }
        self.shared.callbacks.drain().await;
        let Sender { instance, config, .. } = &self.shared.sender;
        if instance.remove_producer(&config.group) {
            instance.unregister(Leaving::Producer(&config.group)).await;
        }
    }

    /// Errors: [`ClientError::Closed`].
    fn sender(&self) -> Result<&Sender, ClientError> {
        if self.shared.stopped.load(Ordering::Acquire) {
            Err(ClientError::Closed)
        } else {
            Ok(&self.shared.sender)
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if !*self.stopped.get_mut() {
            self.sender.instance.remove_producer(&self.sender.config.group);
        }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("group", &self.shared.sender.config.group).finish_non_exhaustive()
    }
}
