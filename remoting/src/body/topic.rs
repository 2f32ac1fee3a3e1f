//! Topics as brokers keep them.

use std::collections::BTreeMap;

use super::{bodies, wire_enum};

wire_enum! {
    /// How many tags a message of the topic may have.
    TopicFilterType {
        /// One.
        SingleTag = "SINGLE_TAG",
        /// Several.
        MultiTag = "MULTI_TAG",
    }
}

bodies! {
    /// One topic.
    #[derive(Eq)]
    pub struct TopicConfig {
        /// E.g. `message.type` (5.x).
        pub attributes: BTreeMap<String, String>,
        /// Whether it is a topic of ordered messages.
        pub order: bool,
        /// Bits `PERM_*`.
        pub perm: i32,
        /// Queues that consumers see.
        pub read_queue_nums: i32,
        /// How many tags a message may have.
        pub topic_filter_type: TopicFilterType,
        /// The name.
        pub topic_name: String,
        /// Flags.
        pub topic_sys_flag: i32,
        /// Queues that producers see.
        pub write_queue_nums: i32,
    }

    /// Which of two states of a broker's configuration is newer: compared by `state_version`, then `counter`.
    #[derive(Default, Eq, PartialOrd, Ord, Copy)]
    pub struct DataVersion {
        /// Counts changes.
        pub counter: i64,
        /// The leadership epoch: a deposed leader's state is older whatever its counter.
        pub state_version: i64,
        /// When it last changed, in ms since the epoch.
        pub timestamp: i64,
    }

    /// All topics of a broker: answer to `GET_ALL_TOPIC_CONFIG` (21), and part of a registration.
    #[derive(Default, Eq)]
    pub struct TopicConfigSerializeWrapper {
        /// Of this state.
        pub data_version: DataVersion,
        /// Of the static topics' state (5.x).
        pub mapping_data_version: Option<DataVersion>,
        /// Topics by name.
        pub topic_config_table: BTreeMap<String, TopicConfig>,
        /// Static topics, whose JSON is passed on as it is (5.x).
        pub topic_queue_mapping_detail_map: BTreeMap<String, serde_json::Value>,
        /// Static topics, whose JSON is passed on as it is (5.x).
        pub topic_queue_mapping_info_map: BTreeMap<String, serde_json::Value>,
    }

    /// Request of `UPDATE_AND_CREATE_TOPIC_LIST` (18).
    #[derive(Default, Eq)]
    pub struct TopicConfigList {
        /// The topics.
        pub topic_config_list: Vec<TopicConfig>,
    }
}

/// What Java takes for members that are absent.
impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            attributes: BTreeMap::new(),
            order: false,
            perm: super::PERM_READ | super::PERM_WRITE,
            read_queue_nums: 16,
            topic_filter_type: TopicFilterType::SingleTag,
            topic_name: String::new(),
            topic_sys_flag: 0,
            write_queue_nums: 16,
        }
    }
}
