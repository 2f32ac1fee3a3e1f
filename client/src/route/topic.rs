//! The route of one topic, made ready for use.

use std::collections::BTreeSet;
use std::sync::Arc;

use trireme_remoting::body::{PERM_READ, PERM_WRITE, TopicRouteData};

use super::broker::Broker;
use crate::message::MessageQueue;

/// A queue that can be written to, with the group that has it.
#[derive(Debug, Clone)]
pub(crate) struct PublishQueue {
    pub(crate) queue: MessageQueue,
    pub(crate) broker: Arc<Broker>,
    /// The topic does not exist yet, see [`TopicRoute::provisional`].
    pub(crate) provisional: bool,
}

/// Where a topic is.
#[derive(Debug)]
pub(crate) struct TopicRoute {
    /// The topic.
    pub(crate) topic: Arc<str>,
    /// The queues that producers see.
    pub(crate) publish: Vec<PublishQueue>,
    /// The queues that consumers see, in order.
    pub(crate) subscribe: BTreeSet<MessageQueue>,
    /// The groups that have it.
    pub(crate) brokers: Vec<Arc<Broker>>,
    /// The topic does not exist yet; this is what it will be like when the first message has made it.
    pub(crate) provisional: bool,
    /// As the name server told it, to see whether that has changed.
    data: TopicRouteData,
}

impl TopicRoute {
    /// The route of `topic` that `data` describes. `broker` finds a group, which knows its replicas by now.
    ///
    /// Producers get the writable queues of groups that list a master: a RocketMQ group without one takes no
    /// messages, and a Trireme group lists its last leader until there is a new one. If no group lists a master
    /// all are tried, since the list may be younger than the name server.
    pub(crate) fn new(
        topic: &Arc<str>,
        data: TopicRouteData,
        provisional: bool,
        broker: impl Fn(&str) -> Option<Arc<Broker>>,
    ) -> Self {
        let has_master = |name: &str| {
            data.broker_datas
                .iter()
                .any(|broker| broker.broker_name == name && broker.broker_addrs.contains_key(&0))
        };
        let no_master = !data.broker_datas.iter().any(|broker| broker.broker_addrs.contains_key(&0));
        let mut publish = Vec::new();
        let mut subscribe = BTreeSet::new();
        let mut brokers: Vec<Arc<Broker>> = Vec::new();
        for queues in &data.queue_datas {
            let Some(broker) = broker(&queues.broker_name) else { continue };
            let queue =
                |queue_id| MessageQueue { topic: topic.clone(), broker_name: broker.name.clone(), queue_id };
            if queues.perm & PERM_WRITE != 0 && (no_master || has_master(&queues.broker_name)) {
                publish.extend((0..queues.write_queue_nums).map(|queue_id| PublishQueue {
                    queue: queue(queue_id),
                    broker: broker.clone(),
                    provisional,
                }));
            }
            if queues.perm & PERM_READ != 0 {
                subscribe.extend((0..queues.read_queue_nums).map(queue));
            }
            brokers.push(broker);
        }
        Self { topic: topic.clone(), publish, subscribe, brokers, provisional, data }
    }

    /// Whether the name server tells the same as when this route was made.
    pub(crate) fn is_same(&self, data: &TopicRouteData, provisional: bool) -> bool {
        self.provisional == provisional && self.data == *data
    }

    /// The write queue of this id at this group.
    pub(crate) fn find(&self, queue: &MessageQueue) -> Option<&PublishQueue> {
        self.publish.iter().find(|publish| publish.queue == *queue)
    }
}

/// Orders a route's parts, which name servers keep in hash tables, so that equal routes compare equal.
pub(crate) fn sort(data: &mut TopicRouteData) {
    data.broker_datas.sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
    data.queue_datas.sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
}

/// What a topic that does not exist will be like: the template's queues, at most `queues` of them per group.
pub(crate) fn provisional(mut template: TopicRouteData, queues: i32) -> TopicRouteData {
    for data in &mut template.queue_datas {
        let count = data.read_queue_nums.min(queues);
        data.read_queue_nums = count;
        data.write_queue_nums = count;
    }
    template
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use trireme_remoting::body::{BrokerData, QueueData};

    use super::super::Brokers;
    use super::*;

    fn data(queues: &[(&str, i32, i32, i32)]) -> TopicRouteData {
        TopicRouteData {
            broker_datas: queues
                .iter()
                .map(|(name, ..)| BrokerData {
                    broker_name: (*name).to_owned(),
                    broker_addrs: [(0, format!("{name}:1"))].into(),
                    ..BrokerData::default()
                })
                .collect(),
            queue_datas: queues
                .iter()
                .map(|(name, perm, read, write)| QueueData {
                    broker_name: (*name).to_owned(),
                    perm: *perm,
                    read_queue_nums: *read,
                    write_queue_nums: *write,
                    topic_sys_flag: 0,
                })
                .collect(),
            ..TopicRouteData::default()
        }
    }

    fn route(data: TopicRouteData) -> TopicRoute {
        let brokers = Brokers::default();
        for broker in &data.broker_datas {
            brokers.update(&broker.broker_name, &broker.broker_addrs);
        }
        TopicRoute::new(&"T".into(), data, false, |name| brokers.get(name))
    }

    fn names(route: &TopicRoute) -> (String, String) {
        let publish: Vec<_> = route.publish.iter().map(|publish| publish.queue.to_string()).collect();
        let subscribe: Vec<_> = route.subscribe.iter().map(ToString::to_string).collect();
        (publish.join(" "), subscribe.join(" "))
    }

    #[test]
    fn permissions_and_counts() {
        let route = route(data(&[("b", 6, 1, 2), ("a", 4, 1, 1), ("c", 2, 1, 1)]));
        assert_eq!(names(&route), ("T@b:0 T@b:1 T@c:0".to_owned(), "T@a:0 T@b:0".to_owned()));
        assert!(route.find(&MessageQueue::new("T", "b", 1)).is_some());
        assert!(route.find(&MessageQueue::new("T", "a", 0)).is_none());
    }

    #[test]
    fn queues_of_unlisted_groups_are_left_out() {
        let mut data = data(&[("a", 6, 1, 1), ("b", 6, 1, 1)]);
        data.broker_datas.truncate(1);
        assert_eq!(names(&route(data)), ("T@a:0".to_owned(), "T@a:0".to_owned()));
    }

    #[test]
    fn groups_without_a_master_take_messages_only_if_there_is_no_other() {
        let mut data = data(&[("a", 6, 1, 1), ("b", 6, 1, 1)]);
        data.broker_datas[0].broker_addrs = [(1, "a:2".to_owned())].into();
        assert_eq!(names(&route(data.clone())), ("T@b:0".to_owned(), "T@a:0 T@b:0".to_owned()));
        data.broker_datas.truncate(1);
        assert_eq!(names(&route(data)).0, "T@a:0");
    }

    #[test]
    fn a_template_gives_no_more_queues_than_asked() {
        let template = provisional(data(&[("a", 7, 8, 8), ("b", 7, 2, 8)]), 4);
        assert_eq!(names(&route(template)).0, "T@a:0 T@a:1 T@a:2 T@a:3 T@b:0 T@b:1");
    }
}
