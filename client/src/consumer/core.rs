//! What the tasks of one consumer share.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::MessageModel;
use super::config::PushConsumerConfig;
use super::listener::Listener;
use super::offsets::Offsets;
use super::process_queue::ProcessQueue;
use super::stats::Stats;
use super::subscription::Subscription;
use super::window::Limits;
use crate::instance::{ConsumerLink, Instance};
use crate::message::MessageQueue;
use crate::producer::Sender;

/// After how many failures a message is a dead letter, unless configured otherwise.
const DEFAULT_MAX_RECONSUME: u32 = 16;

/// See the module.
pub(super) struct Core {
    pub(super) instance: Arc<Instance>,
    pub(super) config: PushConsumerConfig,
    pub(super) link: Arc<ConsumerLink>,
    /// By topic; has the group's retry topic when clustering.
    pub(super) subscriptions: BTreeMap<Arc<str>, Subscription>,
    pub(super) listener: Listener,
    pub(super) offsets: Offsets,
    /// The queues that this member has. Changed by the rebalance task only.
    pub(super) assigned: Mutex<BTreeMap<MessageQueue, Arc<ProcessQueue>>>,
    /// Sends what cannot be given back otherwise.
    pub(super) sender: Sender,
    pub(super) stats: Stats,
    pub(super) started_ms: u64,
}

impl Core {
    pub(super) fn group(&self) -> &str {
        &self.config.group
    }

    pub(super) fn is_broadcasting(&self) -> bool {
        self.config.model == MessageModel::Broadcasting
    }

    /// Whether queues have to be locked before they are consumed.
    pub(super) fn needs_locks(&self) -> bool {
        self.listener.is_ordered() && !self.is_broadcasting()
    }

    /// After how many failures a message is a dead letter.
    pub(super) fn max_reconsume_times(&self) -> i32 {
        let default = if self.listener.is_ordered() { u32::MAX } else { DEFAULT_MAX_RECONSUME };
        i32::try_from(self.config.max_reconsume_times.unwrap_or(default)).unwrap_or(i32::MAX)
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            messages: self.config.queue_max_messages,
            bytes: self.config.queue_max_bytes,
            span: (!self.listener.is_ordered()).then_some(i64::from(self.config.queue_max_span)),
        }
    }

    /// The queues that this member has now.
    pub(super) fn queues(&self) -> Vec<Arc<ProcessQueue>> {
        self.assigned.lock().values().cloned().collect()
    }
}
