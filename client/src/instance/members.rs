//! The producers and consumers of an instance, as heartbeats and brokers' requests need them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use trireme_remoting::Responder;
use trireme_remoting::body::{ConsumerData, HeartbeatData, ProducerData};

use super::Instance;
use crate::error::ClientError;
use crate::message::{MessageQueue, ReceivedMessage};

/// What a broker asks of a consumer.
pub(crate) enum MemberEvent {
    /// Go on at these offsets.
    ResetOffsets { topic: String, offsets: BTreeMap<MessageQueue, i64> },
    /// Tell the offsets of a topic's queues.
    Offsets { topic: String, responder: Responder },
    /// Tell how things are.
    RunningInfo { responder: Responder },
    /// Consume this message, whatever the offsets say.
    ConsumeDirectly { message: Box<ReceivedMessage>, responder: Responder },
}

/// How the instance reaches a consumer.
pub(crate) struct ConsumerLink {
    /// What heartbeats say of it.
    pub(crate) data: ConsumerData,
    /// Permit: queues may have to be divided anew.
    pub(crate) rebalance: Notify,
    /// Permit: locks may have to be renewed, since a leader has changed.
    pub(crate) relock: Notify,
    /// Where brokers' requests go; none for a consumer that its user drives.
    pub(crate) events: Option<mpsc::Sender<MemberEvent>>,
}

impl ConsumerLink {
    /// The group.
    pub(crate) fn group(&self) -> &str {
        &self.data.group_name
    }
}

/// All members.
#[derive(Default)]
pub(super) struct Members {
    /// How many producers each group has here.
    producers: Mutex<HashMap<String, usize>>,
    consumers: Mutex<HashMap<String, Arc<ConsumerLink>>>,
}

impl Members {
    pub(super) fn consumer(&self, group: &str) -> Option<Arc<ConsumerLink>> {
        self.consumers.lock().get(group).cloned()
    }

    pub(super) fn route_changed(&self) {
        for link in self.consumers.lock().values() {
            link.rebalance.notify_one();
        }
    }

    pub(super) fn leader_changed(&self) {
        for link in self.consumers.lock().values() {
            link.relock.notify_one();
        }
    }

    /// Whether there is a consumer, and what a heartbeat says; nothing if there is nobody to speak for.
    pub(super) fn heartbeat(&self, client_id: &str) -> Option<(bool, HeartbeatData)> {
        let mut producers: Vec<String> = self.producers.lock().keys().cloned().collect();
        producers.sort();
        let mut consumers: Vec<_> = self.consumers.lock().values().map(|link| link.data.clone()).collect();
        consumers.sort_by(|a, b| a.group_name.cmp(&b.group_name));
        if producers.is_empty() && consumers.is_empty() {
            return None;
        }
        let consuming = !consumers.is_empty();
        let data = HeartbeatData {
            client_id: client_id.to_owned(),
            consumer_data_set: consumers,
            producer_data_set: producers.into_iter().map(|group_name| ProducerData { group_name }).collect(),
            ..HeartbeatData::default()
        };
        Some((consuming, data))
    }
}

impl Instance {
    /// Counts a producer of this group.
    pub(crate) fn add_producer(&self, group: &str) {
        *self.members.producers.lock().entry(group.to_owned()).or_default() += 1;
    }

    /// Counts one producer less; whether it was the group's last here.
    pub(crate) fn remove_producer(&self, group: &str) -> bool {
        let mut producers = self.members.producers.lock();
        match producers.get_mut(group) {
            Some(count) if *count > 1 => {
                *count -= 1;
                false
            }
            _ => producers.remove(group).is_some(),
        }
    }

    /// Enters a consumer. Errors: the group has one here.
    pub(crate) fn add_consumer(&self, link: &Arc<ConsumerLink>) -> Result<(), ClientError> {
        let mut consumers = self.members.consumers.lock();
        if consumers.contains_key(link.group()) {
            return Err(ClientError::GroupInUse { group: link.group().to_owned() });
        }
        consumers.insert(link.group().to_owned(), link.clone());
        Ok(())
    }

    /// Removes a consumer, if it is this one.
    pub(crate) fn remove_consumer(&self, link: &Arc<ConsumerLink>) {
        let mut consumers = self.members.consumers.lock();
        if consumers.get(link.group()).is_some_and(|known| Arc::ptr_eq(known, link)) {
            consumers.remove(link.group());
        }
    }
}
