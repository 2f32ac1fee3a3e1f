//! What clients and administrators ask.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;
use trireme_remoting::body::{BrokerMemberGroup, ClusterInfo, QueueData, TopicList, TopicRouteData};

use super::RouteTable;
use super::group::Group;
use super::registration::Queues;
use super::topics::Topic;

/// Why a route that an administrator sent was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadRoute {
    /// It names a group that is not registered.
    #[error("broker {0} is not registered")]
    UnknownBroker(String),
    /// The table is full.
    #[error("the route table is full: {max} topics")]
    TooManyTopics {
        /// The limit.
        max: usize,
    },
}

impl RouteTable {
    /// The encoded `TopicRouteData` of a topic; none if no listed group carries it.
    ///
    /// Encoded once and kept until the topic's queues or any listing change; only a route with `order_conf` is
    /// encoded for each answer.
    pub fn route(&mut self, topic: &str, order_conf: Option<String>) -> Option<Bytes> {
        let topic = self.topics.get_mut(topic)?;
        if order_conf.is_some() {
            return Some(route_of(topic, &self.groups, order_conf).encode());
        }
        if let Some((layout, encoded)) = &topic.encoded
            && *layout == self.layout
        {
            return Some(encoded.clone());
        }
        let encoded = route_of(topic, &self.groups, None).encode();
        topic.encoded = Some((self.layout, encoded.clone()));
        Some(encoded)
    }

    /// Adds the route of a topic that has none. Groups that it names must be registered; without any nothing is
    /// added, and a topic that has a route keeps it. Source: RocketMQ `RouteInfoManager#registerTopic`.
    pub fn register_topic(&mut self, topic: &str, queue_datas: Vec<QueueData>) -> Result<(), BadRoute> {
        if self.topics.contains(topic) || queue_datas.is_empty() {
            return Ok(());
        }
        let mut queues = BTreeMap::new();
        for data in queue_datas {
            let (name, _) = self
                .groups
                .get_key_value(&*data.broker_name)
                .ok_or_else(|| BadRoute::UnknownBroker(data.broker_name.clone()))?;
            queues.insert(name.clone(), Queues::from(&data));
        }
        if !self.topics.has_room() {
            return Err(BadRoute::TooManyTopics { max: self.limits.max_topics });
        }
        self.topics.insert(topic.to_owned(), queues);
        Ok(())
    }

    /// All groups, by name and by cluster.
    pub fn cluster_info(&self) -> ClusterInfo {
        let mut info = ClusterInfo::default();
        for (name, group) in &self.groups {
            info.broker_addr_table.insert(name.to_string(), group.listing.clone());
            info.cluster_addr_table.entry(group.cluster.clone()).or_default().insert(name.to_string());
        }
        info
    }

    /// One group's replicas; none listed if it is unknown.
    pub fn member_group(&self, cluster: &str, broker_name: &str) -> BrokerMemberGroup {
        let listing = self.groups.get(broker_name).map(|group| &group.listing);
        BrokerMemberGroup {
            broker_addrs: listing.map(|listing| listing.broker_addrs.clone()).unwrap_or_default(),
            broker_name: broker_name.to_owned(),
            cluster: cluster.to_owned(),
        }
    }

    /// All topics.
    pub fn topics(&self) -> TopicList {
        TopicList { broker_addr: None, topic_list: self.topics.names().cloned().collect() }
    }

    /// The topics of a cluster's groups.
    pub fn topics_of_cluster(&self, cluster: &str) -> TopicList {
        let of_cluster =
            |(name, group): (&'_ Arc<str>, &Group)| (group.cluster == cluster).then(|| name.clone());
        let brokers: BTreeSet<Arc<str>> = self.groups.iter().filter_map(of_cluster).collect();
        TopicList { broker_addr: None, topic_list: self.topics.names_of(&brokers).cloned().collect() }
    }

    /// The topics that brokers have of themselves and know no name for: one of each cluster's and group's name;
    /// and the address of a broker that knows the others.
    pub fn system_topics(&self) -> TopicList {
        let mut list = TopicList::default();
        for (cluster, brokers) in self.cluster_info().cluster_addr_table {
            list.topic_list.push(cluster);
            list.topic_list.extend(brokers);
        }
        let first = self.groups.values().next();
        list.broker_addr = first.and_then(|group| group.listing.broker_addrs.values().next().cloned());
        list
    }
}

fn route_of(topic: &Topic, groups: &BTreeMap<Arc<str>, Group>, order_conf: Option<String>) -> TopicRouteData {
    let listings = topic.queues.keys().filter_map(|broker| groups.get(broker));
    TopicRouteData {
        broker_datas: listings.map(|group| group.listing.clone()).collect(),
        filter_server_table: BTreeMap::new(),
        order_topic_conf: order_conf,
        queue_datas: topic.queues.iter().map(|(broker, queues)| queues.shown_of(broker)).collect(),
    }
}

impl From<&QueueData> for Queues {
    fn from(data: &QueueData) -> Self {
        Self {
            read: data.read_queue_nums,
            write: data.write_queue_nums,
            perm: data.perm,
            sys_flag: data.topic_sys_flag,
        }
    }
}

impl Queues {
    fn shown_of(self, broker: &str) -> QueueData {
        QueueData {
            broker_name: broker.to_owned(),
            perm: self.perm,
            read_queue_nums: self.read,
            topic_sys_flag: self.sys_flag,
            write_queue_nums: self.write,
        }
    }
}
