//! Clients as administrators see them.

use std::collections::BTreeMap;

use super::{ConsumeFromWhere, ConsumeType, MessageModel, MessageQueue, SubscriptionData, bodies};

bodies! {
    /// One client of a group.
    #[derive(Default, Eq)]
    pub struct ClientConnection {
        /// Its address.
        pub client_addr: String,
        /// Its id.
        pub client_id: String,
        /// The name of its language.
        pub language: String,
        /// The ordinal of its version.
        pub version: i32,
    }

    /// Answer to `GET_CONSUMER_CONNECTION_LIST` (203).
    #[derive(Default, Eq)]
    pub struct ConsumerConnection {
        /// The members.
        pub connection_set: Vec<ClientConnection>,
        /// Where the group started.
        pub consume_from_where: ConsumeFromWhere,
        /// How it gets its messages.
        pub consume_type: ConsumeType,
        /// Who gets a message.
        pub message_model: MessageModel,
        /// Subscriptions by topic.
        pub subscription_table: BTreeMap<String, SubscriptionData>,
    }

    /// Answer to `GET_PRODUCER_CONNECTION_LIST` (204).
    #[derive(Default, Eq)]
    pub struct ProducerConnection {
        /// The members.
        pub connection_set: Vec<ClientConnection>,
    }

    /// Answer to `GET_ALL_PRODUCER_INFO` (328).
    #[derive(Default, Eq)]
    pub struct ProducerTableInfo {
        /// The members of each group.
        pub data: BTreeMap<String, Vec<ProducerInfo>>,
    }

    /// One producer.
    #[derive(Default, Eq)]
    pub struct ProducerInfo {
        /// Its id.
        pub client_id: String,
        /// The name of its language.
        pub language: String,
        /// When it was last heard of, in ms since the epoch.
        pub last_update_timestamp: i64,
        /// Its address.
        #[serde(rename = "remoteIP")]
        pub remote_ip: String,
        /// The ordinal of its version.
        pub version: i32,
    }

    /// A consumer's answer to `GET_CONSUMER_RUNNING_INFO` (307); brokers relay its bytes.
    #[derive(Default)]
    pub struct ConsumerRunningInfo {
        /// A thread dump, if it was asked for.
        pub jstack: Option<String>,
        /// Queues that it pops.
        pub mq_pop_table: BTreeMap<MessageQueue, serde_json::Value>,
        /// Queues that it pulls.
        pub mq_table: BTreeMap<MessageQueue, ProcessQueueInfo>,
        /// `PROP_*`.
        pub properties: BTreeMap<String, String>,
        /// Rates by topic.
        pub status_table: BTreeMap<String, ConsumeStatus>,
        /// Its subscriptions.
        pub subscription_set: Vec<SubscriptionData>,
    }

    /// What a consumer holds of one queue.
    #[derive(Default, Eq)]
    pub struct ProcessQueueInfo {
        /// The largest cached offset.
        pub cached_msg_max_offset: i64,
        /// The smallest cached offset.
        pub cached_msg_min_offset: i64,
        /// Messages in the cache.
        pub cached_msg_count: i32,
        /// Their size.
        #[serde(rename = "cachedMsgSizeInMiB")]
        pub cached_msg_size_in_mib: i32,
        /// The next offset to commit.
        pub commit_offset: i64,
        /// Whether the queue was taken away.
        pub droped: bool,
        /// When it was last consumed from, in ms since the epoch.
        pub last_consume_timestamp: i64,
        /// When its lock was last renewed, in ms since the epoch.
        pub last_lock_timestamp: i64,
        /// When it was last pulled from, in ms since the epoch.
        pub last_pull_timestamp: i64,
        /// Whether it is locked.
        pub locked: bool,
        /// The largest offset in an ordered transaction.
        pub transaction_msg_max_offset: i64,
        /// The smallest offset in an ordered transaction.
        pub transaction_msg_min_offset: i64,
        /// Messages in an ordered transaction.
        pub transaction_msg_count: i32,
        /// How often unlocking was tried.
        pub try_unlock_times: i64,
    }

    /// A consumer's rates for one topic.
    #[derive(Default)]
    pub struct ConsumeStatus {
        /// Failures in the last hour.
        pub consume_failed_msgs: i64,
        /// Failures per second.
        #[serde(rename = "consumeFailedTPS")]
        pub consume_failed_tps: f64,
        /// Successes per second.
        #[serde(rename = "consumeOKTPS")]
        pub consume_ok_tps: f64,
        /// Mean time of the listener, in ms.
        #[serde(rename = "consumeRT")]
        pub consume_rt: f64,
        /// Mean time of a pull, in ms.
        #[serde(rename = "pullRT")]
        pub pull_rt: f64,
        /// Messages pulled per second.
        #[serde(rename = "pullTPS")]
        pub pull_tps: f64,
    }

    /// A consumer's answer to `CONSUME_MESSAGE_DIRECTLY` (309); brokers relay its bytes.
    #[derive(Default, Eq)]
    pub struct ConsumeMessageDirectlyResult {
        /// Whether the listener commits by itself.
        pub auto_commit: bool,
        /// `CR_SUCCESS`, `CR_LATER`, `CR_ROLLBACK`, `CR_COMMIT`, `CR_THROW_EXCEPTION` or `CR_RETURN_NULL`.
        pub consume_result: String,
        /// Whether it consumes in order.
        pub order: bool,
        /// What it threw.
        pub remark: Option<String>,
        /// How long it took, in ms.
        pub spent_time_mills: i64,
    }
}
