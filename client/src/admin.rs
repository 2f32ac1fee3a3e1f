//! Administration of topics, groups, offsets; finding single messages.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use trireme_remoting::body::{
    ClusterInfo, ConsumeStats, PERM_READ, PERM_WRITE, SubscriptionGroupConfig, TopicList, TopicRouteData,
    TopicStatsTable,
};
use trireme_remoting::headers::{
    ConsumeStatsRequest, CreateTopicRequest, DeleteSubscriptionGroupRequest, DeleteTopicInNamesrvRequest,
    QueryMessageRequest, TopicRequest, ViewMessageRequest,
};
use trireme_remoting::message::{OffsetMsgId, StoredMessage, property};
use trireme_remoting::{ExtFields, Frame, RequestCode, response};

use crate::error::ClientError;
use crate::instance::{Answer, Instance};
use crate::message::ReceivedMessage;
use crate::route::Broker;
use crate::validate::{self, DEFAULT_TOPIC, DLQ_PREFIX, retry_topic};

/// How long a change of configuration may take at one broker group: it is on disk everywhere when it returns.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a topic shall be like.
#[derive(Debug, Clone)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// Queues at each broker group that consumers see. Default 8.
    pub read_queues: i32,
    /// Queues at each broker group that producers see. Default 8.
    pub write_queues: i32,
    /// Bits of `PERM_READ` (4) and `PERM_WRITE` (2). Default both.
    pub perm: i32,
    /// Whether it is marked as a topic of ordered messages. Default no.
    pub order: bool,
}

impl TopicSpec {
    /// A topic of this name that is like RocketMQ's defaults.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            read_queues: 8,
            write_queues: 8,
            perm: PERM_READ | PERM_WRITE,
            order: false,
        }
    }
}

/// What a consumer group shall be like.
#[derive(Debug, Clone)]
pub struct GroupSpec {
    /// Its name.
    pub name: String,
    /// After how many failures a message goes to the dead-letter topic. Default 16.
    pub retry_max_times: i32,
    /// Queues of its retry topic at each broker group. Default 1.
    pub retry_queues: i32,
    /// Whether it may consume at all. Default yes.
    pub consume_enable: bool,
    /// Whether it consumes in order. Default no.
    pub ordered: bool,
}

impl GroupSpec {
    /// A group of this name that is like RocketMQ's defaults.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), retry_max_times: 16, retry_queues: 1, consume_enable: true, ordered: false }
    }
}

/// Administration. Clones are cheap.
#[derive(Clone)]
pub struct Admin {
    instance: Arc<Instance>,
}

impl Admin {
    pub(crate) fn new(instance: Arc<Instance>) -> Self {
        Self { instance }
    }

    /// Creates a topic, or changes it, at every broker group of `cluster`, or of all clusters.
    ///
    /// Errors: [`ClientError::Name`]; the first broker group's that fails, then others may have it already.
    pub async fn create_topic(&self, spec: &TopicSpec, cluster: Option<&str>) -> Result<(), ClientError> {
        validate::topic(&spec.name)?;
        let header = CreateTopicRequest {
            topic: &spec.name,
            default_topic: DEFAULT_TOPIC,
            read_queue_nums: spec.read_queues,
            write_queue_nums: spec.write_queues,
            perm: spec.perm,
            topic_filter_type: "SINGLE_TAG",
            topic_sys_flag: Some(0),
            order: spec.order,
            attributes: None,
            force: None,
        };
        let code = RequestCode::UpdateAndCreateTopic;
        for broker in self.brokers(cluster).await? {
            self.change(&broker, code, self.instance.request(code).with_ext(header.to_ext())).await?;
        }
        Ok(())
    }

    /// Deletes a topic at every broker group of all clusters, and its route at every name server.
    ///
    /// Errors: the first that fails.
    pub async fn delete_topic(&self, topic: &str) -> Result<(), ClientError> {
        validate::topic(topic)?;
        let code = RequestCode::DeleteTopicInBroker;
        for broker in self.brokers(None).await? {
            let request = self.instance.request(code).with_ext(TopicRequest { topic }.to_ext());
            self.change(&broker, code, request).await?;
        }
        let code = RequestCode::DeleteTopicInNamesrv;
        let header = DeleteTopicInNamesrvRequest { topic, cluster_name: None };
        self.instance.ask_every_name_server(code, self.instance.request(code).with_ext(header.to_ext())).await
    }

    /// Creates a consumer group, or changes it, at every broker group of `cluster`, or of all clusters.
    ///
    /// Errors: as [`create_topic`](Self::create_topic).
    pub async fn create_group(&self, spec: &GroupSpec, cluster: Option<&str>) -> Result<(), ClientError> {
        validate::group(&spec.name)?;
        let config = SubscriptionGroupConfig {
            group_name: spec.name.clone(),
            retry_max_times: spec.retry_max_times,
            retry_queue_nums: spec.retry_queues,
            consume_enable: spec.consume_enable,
            consume_message_orderly: spec.ordered,
            ..SubscriptionGroupConfig::default()
        };
        let code = RequestCode::UpdateAndCreateSubscriptionGroup;
        for broker in self.brokers(cluster).await? {
            self.change(&broker, code, self.instance.request(code).with_body(config.encode())).await?;
        }
        Ok(())
    }

    /// Deletes a consumer group with its offsets, retry and dead-letter topics, at every broker group.
    ///
    /// Errors: the first that fails.
    pub async fn delete_group(&self, group: &str) -> Result<(), ClientError> {
        validate::group(group)?;
        let code = RequestCode::DeleteSubscriptionGroup;
        let header = DeleteSubscriptionGroupRequest { group_name: group, clean_offset: Some(true) };
        for broker in self.brokers(None).await? {
            self.change(&broker, code, self.instance.request(code).with_ext(header.to_ext())).await?;
        }
        for topic in [retry_topic(group), format!("{DLQ_PREFIX}{group}")] {
            self.delete_topic(&topic).await?;
        }
        Ok(())
    }

    /// Where a topic is, as a name server has it; nothing if there is no such topic.
    ///
    /// Errors: [`ClientError::NameServer`].
    pub async fn topic_route(&self, topic: &str) -> Result<Option<TopicRouteData>, ClientError> {
        self.instance.fetch_route(topic).await
    }

    /// The names of all topics that a name server has routes for.
    ///
    /// Errors: [`ClientError::NameServer`].
    pub async fn topics(&self) -> Result<Vec<String>, ClientError> {
        let code = RequestCode::GetAllTopicListFromNameServer;
        let answer = self.instance.ask_name_server(code, self.instance.request(code)).await?;
        if answer.code != response::SUCCESS {
            return Err(ClientError::refused(code, "the name server", &answer));
        }
        let list = TopicList::decode(answer.body.as_slice());
        Ok(list.map_err(|error| ClientError::answer(code, "the name server", error))?.topic_list)
    }

    /// All broker groups, their replicas' addresses, and the clusters that they are in.
    ///
    /// Errors: [`ClientError::NameServer`].
    pub async fn cluster_info(&self) -> Result<ClusterInfo, ClientError> {
        self.instance.fetch_cluster_info().await
    }

    /// The smallest and the next offset of each of a topic's queues.
    ///
    /// Errors: [`ClientError::TopicNotFound`], or a broker group's.
    pub async fn topic_stats(&self, topic: &str) -> Result<TopicStatsTable, ClientError> {
        let mut merged = TopicStatsTable::default();
        let code = RequestCode::GetTopicStatsInfo;
        for broker in &self.instance.route(topic).await?.brokers {
            let request = self.instance.request(code).with_ext(TopicRequest { topic }.to_ext());
            let body = self.instance.leader_success(broker, code, request).await?.body;
            let stats = TopicStatsTable::decode(body.as_slice())
                .map_err(|error| ClientError::answer(code, &broker.name, error))?;
            merged.offset_table.extend(stats.offset_table);
            merged.topic_put_tps += stats.topic_put_tps;
        }
        Ok(merged)
    }

    /// A consumer group's committed offsets, with the next offsets of the queues, for one topic or for all that
    /// it has offsets for.
    ///
    /// Errors: a broker group's.
    pub async fn consume_stats(&self, group: &str, topic: Option<&str>) -> Result<ConsumeStats, ClientError> {
        let mut merged = ConsumeStats::default();
        let code = RequestCode::GetConsumeStats;
        let header = ConsumeStatsRequest { consumer_group: group, topic, topic_list: None };
        for broker in self.brokers(None).await? {
            let request = self.instance.request(code).with_ext(header.to_ext());
            let body = self.instance.leader_success(&broker, code, request).await?.body;
            let stats = ConsumeStats::decode(body.as_slice())
                .map_err(|error| ClientError::answer(code, &broker.name, error))?;
            merged.offset_table.extend(stats.offset_table);
            merged.consume_tps += stats.consume_tps;
        }
        Ok(merged)
    }

    /// The messages of a topic that have this key, stored from `begin_ms` to `end_ms` (ms since the epoch), at
    /// most `max` of each broker group.
    ///
    /// Errors: [`ClientError::TopicNotFound`], or a broker group's.
    pub async fn query_by_key(
        &self,
        topic: &str,
        key: &str,
        max: u32,
        begin_ms: i64,
        end_ms: i64,
    ) -> Result<Vec<ReceivedMessage>, ClientError> {
        let is_match = |message: &ReceivedMessage| message.keys().any(|found| found == key);
        let header = query(topic, key, max, begin_ms, end_ms);
        self.query(topic, header.to_ext(), is_match).await
    }

    /// The messages of a topic to which a producer gave this id: one, or copies from tries whose outcome was
    /// unknown.
    ///
    /// Errors: as [`query_by_key`](Self::query_by_key).
    pub async fn query_by_msg_id(
        &self,
        topic: &str,
        msg_id: &str,
    ) -> Result<Vec<ReceivedMessage>, ClientError> {
        let is_match = |message: &ReceivedMessage| message.property(property::UNIQ_KEY) == Some(msg_id);
        let header = QueryMessageRequest { unique_key: Some(true), ..query(topic, msg_id, 32, 0, i64::MAX) };
        self.query(topic, header.to_ext(), is_match).await
    }

    /// The message that has this [`offset_msg_id`](crate::SendResult::offset_msg_id). Asks the broker whose
    /// address is in the id, and if it does not answer the other replicas of its group, should a route name it.
    ///
    /// Errors: [`ClientError::MessageId`], [`ClientError::NoAnswer`], [`ClientError::Refused`] if there is no
    /// message at that place.
    pub async fn message_by_id(&self, offset_msg_id: &str) -> Result<ReceivedMessage, ClientError> {
        let id: OffsetMsgId =
            offset_msg_id.parse().map_err(|_| ClientError::MessageId(offset_msg_id.to_owned()))?;
        let code = RequestCode::ViewMessageById;
        let header = ViewMessageRequest { topic: None, offset: id.physical_offset };
        let request = self.instance.request(code).with_ext(header.to_ext());
        let addr = id.store_host.to_string();
        let group = self
            .brokers(None)
            .await?
            .into_iter()
            .find(|broker| broker.replicas().iter().any(|replica| *replica.addr == *addr));
        let (body, broker) = match group {
            Some(broker) => {
                let body = self.instance.leader_success(&broker, code, request).await?.body.to_bytes();
                (body, broker.name.clone())
            }
            None => (self.instance.ask_addr(&addr, code, request).await?.body.to_bytes(), "".into()),
        };
        one_message(&body, &broker).map_err(|reason| ClientError::answer(code, &addr, reason))
    }

    async fn query(
        &self,
        topic: &str,
        ext: ExtFields,
        is_match: impl Fn(&ReceivedMessage) -> bool,
    ) -> Result<Vec<ReceivedMessage>, ClientError> {
        let code = RequestCode::QueryMessage;
        let route = self.instance.route(topic).await?;
        let mut found = Vec::new();
        for broker in &route.brokers {
            let request = self.instance.request(code).with_ext(ext.clone());
            let patience = self.instance.config.request_timeout;
            let answer = self.instance.ask_leader(broker, code, request, patience).await?;
            match answer.frame.code {
                response::SUCCESS => {
                    let messages = decode(&answer, &route.topic, &broker.name)?;
                    // The index knows hashes: another key's message can be among them.
                    found.extend(messages.into_iter().filter(&is_match));
                }
                response::QUERY_NOT_FOUND => {}
                _ => return Err(answer.refusal()),
            }
        }
        Ok(found)
    }

    /// A change at the group's leader.
    async fn change(&self, broker: &Broker, code: RequestCode, request: Frame) -> Result<(), ClientError> {
        self.instance.ask_leader(broker, code, request, CHANGE_TIMEOUT).await?.success().map(drop)
    }

    /// The broker groups of a cluster, or all.
    async fn brokers(&self, cluster: Option<&str>) -> Result<Vec<Arc<Broker>>, ClientError> {
        let info = self.instance.fetch_cluster_info().await?;
        let of_cluster = |name: &str| match cluster {
            Some(cluster) => info.cluster_addr_table.get(cluster).is_some_and(|names| names.contains(name)),
            None => true,
        };
        let named: BTreeMap<_, _> =
            info.broker_addr_table.iter().filter(|(name, _)| of_cluster(name.as_str())).collect();
        if named.is_empty() {
            let broker =
                cluster.map_or_else(|| "of any cluster".to_owned(), |name| format!("of cluster {name}"));
            return Err(ClientError::UnknownBroker { broker });
        }
        Ok(named
            .into_iter()
            .map(|(name, data)| self.instance.adopt_broker(name, &data.broker_addrs))
            .collect())
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

fn query<'a>(topic: &'a str, key: &'a str, max: u32, begin_ms: i64, end_ms: i64) -> QueryMessageRequest<'a> {
    QueryMessageRequest {
        topic,
        key,
        max_num: i32::try_from(max).unwrap_or(i32::MAX),
        begin_timestamp: begin_ms,
        end_timestamp: end_ms,
        unique_key: None,
    }
}

fn decode(answer: &Answer, topic: &Arc<str>, broker: &Arc<str>) -> Result<Vec<ReceivedMessage>, ClientError> {
    ReceivedMessage::decode_all(&answer.frame.body.to_bytes(), topic, broker)
        .map_err(|error| answer.malformed(error))
}

fn one_message(body: &Bytes, broker: &Arc<str>) -> Result<ReceivedMessage, String> {
    let topic = StoredMessage::parse(body).map_err(|error| error.to_string())?.topic;
    let messages =
        ReceivedMessage::decode_all(body, &topic.into(), broker).map_err(|error| error.to_string())?;
    messages.into_iter().next().ok_or_else(|| "it has no message".to_owned())
}
