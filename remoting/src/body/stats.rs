//! Progress and rates.

use std::collections::BTreeMap;

use super::{MessageQueue, bodies};

bodies! {
    /// Answer to `GET_TOPIC_STATS_INFO` (202).
    #[derive(Default)]
    pub struct TopicStatsTable {
        /// By queue.
        pub offset_table: BTreeMap<MessageQueue, TopicOffset>,
        /// Messages put per second.
        pub topic_put_tps: f64,
    }

    /// One queue's extent.
    #[derive(Default, Eq)]
    pub struct TopicOffset {
        /// When its last message was stored, in ms since the epoch; 0 without one.
        pub last_update_timestamp: i64,
        /// Its end, exclusive.
        pub max_offset: i64,
        /// Its smallest offset.
        pub min_offset: i64,
    }

    /// Answer to `GET_CONSUME_STATS` (208).
    #[derive(Default)]
    pub struct ConsumeStats {
        /// Messages consumed per second.
        pub consume_tps: f64,
        /// By queue.
        pub offset_table: BTreeMap<MessageQueue, ConsumeOffset>,
    }

    /// How far a group is in one queue.
    #[derive(Default, Eq)]
    pub struct ConsumeOffset {
        /// The queue's end, exclusive.
        pub broker_offset: i64,
        /// The group's committed offset.
        pub consumer_offset: i64,
        /// When the last consumed message was stored, in ms since the epoch.
        pub last_timestamp: i64,
        /// How far the group has pulled (5.x).
        pub pull_offset: i64,
    }

    /// Answer to `GET_BROKER_CONSUME_STATS` (317).
    #[derive(Default)]
    pub struct BrokerConsumeStats {
        /// The broker.
        pub broker_addr: String,
        /// By group, each in a map of its own.
        pub consume_stats_list: Vec<BTreeMap<String, Vec<ConsumeStats>>>,
        /// How far all groups are behind, in messages.
        pub total_diff: i64,
        /// What was pulled and is not yet committed, in messages.
        pub total_inflight_diff: i64,
    }

    /// Answer to `VIEW_BROKER_STATS_DATA` (315).
    #[derive(Default)]
    pub struct BrokerStatsData {
        /// Over the last day.
        pub stats_day: BrokerStatsItem,
        /// Over the last hour.
        pub stats_hour: BrokerStatsItem,
        /// Over the last minute.
        pub stats_minute: BrokerStatsItem,
    }

    /// One statistic over one span.
    #[derive(Default)]
    pub struct BrokerStatsItem {
        /// Mean per event.
        pub avgpt: f64,
        /// In all.
        pub sum: i64,
        /// Per second.
        pub tps: f64,
    }

    /// Answer to `QUERY_CONSUME_TIME_SPAN` (303).
    #[derive(Default, Eq)]
    pub struct ConsumeTimeSpans {
        /// By queue.
        pub consume_time_span_set: Vec<QueueTimeSpan>,
    }

    /// The times of one queue's messages, in ms since the epoch.
    #[derive(Default, Eq)]
    pub struct QueueTimeSpan {
        /// Of the last consumed message.
        pub consume_time_stamp: i64,
        /// How far the group is behind, in ms.
        pub delay_time: i64,
        /// Of the last message.
        pub max_time_stamp: i64,
        /// The queue.
        pub message_queue: MessageQueue,
        /// Of the first message.
        pub min_time_stamp: i64,
    }
}
