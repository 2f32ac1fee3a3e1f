//! Consumer groups as brokers keep them.

use std::collections::{BTreeMap, BTreeSet};

use super::{DataVersion, SubscriptionData, bodies};

bodies! {
    /// One group: request of `UPDATE_AND_CREATE_SUBSCRIPTIONGROUP` (200), answer to 352.
    #[derive(Eq)]
    pub struct SubscriptionGroupConfig {
        /// Of 5.x.
        pub attributes: BTreeMap<String, String>,
        /// The broker that the group reads from.
        pub broker_id: i64,
        /// Whether it may broadcast.
        pub consume_broadcast_enable: bool,
        /// Whether it may consume at all.
        pub consume_enable: bool,
        /// Whether it may start at the smallest offset.
        pub consume_from_min_enable: bool,
        /// Whether it consumes in order.
        pub consume_message_orderly: bool,
        /// After how long a message counts as not consumed, in minutes.
        pub consume_timeout_minute: i32,
        /// The name.
        pub group_name: String,
        /// How retries are spaced (5.x); passed on as it is.
        pub group_retry_policy: serde_json::Value,
        /// Flags.
        pub group_sys_flag: i32,
        /// Whether members are told when membership changes.
        pub notify_consumer_ids_changed_enable: bool,
        /// After how many failures a message goes to the dead-letter topic.
        pub retry_max_times: i32,
        /// Queues of the retry topic.
        pub retry_queue_nums: i32,
        /// Fixed subscriptions (5.x); passed on as they are.
        pub subscription_data_set: Option<Vec<serde_json::Value>>,
        /// The broker that a slow group is sent to.
        pub which_broker_when_consume_slowly: i64,
    }

    /// All groups of a broker: answer to `GET_ALL_SUBSCRIPTIONGROUP_CONFIG` (201).
    #[derive(Default, Eq)]
    pub struct SubscriptionGroupWrapper {
        /// Of this state.
        pub data_version: DataVersion,
        /// What groups must not read, by group and topic.
        pub forbidden_table: BTreeMap<String, BTreeMap<String, i32>>,
        /// Groups by name.
        pub subscription_group_table: BTreeMap<String, SubscriptionGroupConfig>,
    }

    /// Request of `UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST` (225).
    #[derive(Default, Eq)]
    pub struct SubscriptionGroupList {
        /// The groups.
        pub group_config_list: Vec<SubscriptionGroupConfig>,
    }

    /// Answer to `GET_CONSUMER_LIST_BY_GROUP` (38).
    #[derive(Default, Eq)]
    pub struct ConsumerIdList {
        /// The members' client ids.
        pub consumer_id_list: Vec<String>,
    }

    /// Answer to `QUERY_TOPIC_CONSUME_BY_WHO` (300).
    #[derive(Default, Eq)]
    pub struct GroupList {
        /// The groups.
        pub group_list: BTreeSet<String>,
    }

    /// Answer to `QUERY_SUBSCRIPTION_BY_CONSUMER` (345).
    #[derive(Default, Eq)]
    pub struct QuerySubscriptionResponse {
        /// The group.
        pub group: String,
        /// Its subscription, if it has one.
        pub subscription_data: Option<SubscriptionData>,
        /// The topic.
        pub topic: String,
    }

    /// Answer to `UPDATE_AND_GET_GROUP_FORBIDDEN` (353).
    #[derive(Default, Eq)]
    pub struct GroupForbidden {
        /// The group.
        pub group: String,
        /// Whether it may read the topic.
        pub readable: bool,
        /// The topic.
        pub topic: String,
    }
}

impl Default for SubscriptionGroupConfig {
    fn default() -> Self {
        Self {
            attributes: BTreeMap::new(),
            broker_id: 0,
            consume_broadcast_enable: true,
            consume_enable: true,
            consume_from_min_enable: true,
            consume_message_orderly: false,
            consume_timeout_minute: 15,
            group_name: String::new(),
            group_retry_policy: serde_json::json!({ "type": "CUSTOMIZED" }),
            group_sys_flag: 0,
            notify_consumer_ids_changed_enable: true,
            retry_max_times: 16,
            retry_queue_nums: 1,
            subscription_data_set: None,
            which_broker_when_consume_slowly: 1,
        }
    }
}
