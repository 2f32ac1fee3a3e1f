//! What brokers ask of a consumer on behalf of administrators.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::info;
use trireme_remoting::body::{ConsumeMessageDirectlyResult, ConsumerRunningInfo, ConsumerStatusBody};
use trireme_remoting::{Frame, response, version};

use super::core::Core;
use super::listener::{ConsumeOutcome, Failure, Listener, OrderOutcome, run};
use crate::instance::MemberEvent;
use crate::message::{MessageQueue, ReceivedMessage};

impl Core {
    pub(super) async fn on_event(self: &Arc<Self>, event: MemberEvent) {
        match event {
            MemberEvent::ResetOffsets { topic, offsets } => self.reset(&topic, offsets).await,
            MemberEvent::Offsets { topic, responder } => {
                let of_topic = |queue: &MessageQueue| &*queue.topic == topic.as_str();
                let queues = self.queues();
                let offsets = queues.iter().filter(|queue| of_topic(&queue.queue));
                let body = ConsumerStatusBody {
                    message_queue_table: offsets.map(|q| (q.queue.to_wire(), q.commit_offset())).collect(),
                    ..ConsumerStatusBody::default()
                };
                responder.reply(Frame::response(response::SUCCESS).with_body(body.encode()));
            }
            MemberEvent::RunningInfo { responder } => {
                responder.reply(Frame::response(response::SUCCESS).with_body(self.running_info().encode()));
            }
            MemberEvent::ConsumeDirectly { message, responder } => {
                let core = self.clone();
                // The listener may take its time; other events go on.
                tokio::spawn(async move {
                    let result = core.consume_directly(*message).await;
                    responder.reply(Frame::response(response::SUCCESS).with_body(result.encode()));
                });
            }
        }
    }

    /// Goes on at these offsets in the queues of `topic` that this member has; the others' new owners learn
    /// theirs from the broker.
    async fn reset(&self, topic: &str, offsets: BTreeMap<MessageQueue, i64>) {
        let mut progress = Vec::new();
        for queue in self.queues() {
            if &*queue.queue.topic != topic {
                continue;
            }
            if let Some(offset) = offsets.get(&queue.queue) {
                info!(queue = %queue.queue, from = queue.commit_offset(), to = *offset, "offset reset");
                queue.reset(*offset);
                progress.push((queue.queue.clone(), *offset));
            }
        }
        self.commit(progress).await;
    }

    async fn consume_directly(&self, message: ReceivedMessage) -> ConsumeMessageDirectlyResult {
        let started = Instant::now();
        let messages = [message].into();
        let timeout = self.config.consume_timeout;
        let result = match &self.listener {
            Listener::Concurrent(listener) => {
                run(listener, messages, timeout).await.map(|outcome| match outcome {
                    ConsumeOutcome::Commit => true,
                    ConsumeOutcome::CommitFirst(consumed) => consumed > 0,
                    ConsumeOutcome::Retry | ConsumeOutcome::RetryAtLevel(_) => false,
                })
            }
            Listener::Ordered(listener) => {
                run(listener, messages, timeout).await.map(|outcome| outcome == OrderOutcome::Commit)
            }
        };
        let (consume_result, remark) = match result {
            Ok(true) => ("CR_SUCCESS", None),
            Ok(false) => ("CR_LATER", None),
            Err(Failure::Panicked) => ("CR_THROW_EXCEPTION", Some("the listener panicked".to_owned())),
            Err(Failure::TimedOut) => ("CR_LATER", Some("the listener timed out".to_owned())),
        };
        ConsumeMessageDirectlyResult {
            auto_commit: true,
            consume_result: consume_result.to_owned(),
            order: self.listener.is_ordered(),
            remark,
            spent_time_mills: started.elapsed().as_millis() as i64,
        }
    }

    fn running_info(&self) -> ConsumerRunningInfo {
        let properties = [
            ("PROP_NAMESERVER_ADDR", self.instance.config.namesrv_addrs.join(";")),
            ("PROP_CONSUME_TYPE", "CONSUME_PASSIVELY".to_owned()),
            ("PROP_CONSUMEORDERLY", self.listener.is_ordered().to_string()),
            ("PROP_THREADPOOL_CORE_SIZE", self.config.concurrency.to_string()),
            ("PROP_CONSUMER_START_TIMESTAMP", self.started_ms.to_string()),
            ("PROP_CLIENT_VERSION", version::name(version::OURS).unwrap_or_default().to_owned()),
        ];
        ConsumerRunningInfo {
            jstack: None,
            mq_pop_table: BTreeMap::new(),
            mq_table: self.queues().iter().map(|queue| (queue.queue.to_wire(), queue.info())).collect(),
            properties: properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            status_table: self.stats.rates(Instant::now()),
            subscription_set: self
                .subscriptions
                .values()
                .map(|subscription| subscription.data.clone())
                .collect(),
        }
    }
}
