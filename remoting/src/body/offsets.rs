//! Offsets in bulk.

use std::collections::BTreeMap;

use super::{DataVersion, MessageQueue, bodies};

bodies! {
    /// Answer to `GET_ALL_CONSUMER_OFFSET` (43).
    #[derive(Default, Eq)]
    pub struct ConsumerOffsetWrapper {
        /// Of this state.
        pub data_version: DataVersion,
        /// Offsets by `topic@group` and queue.
        pub offset_table: BTreeMap<String, BTreeMap<i32, i64>>,
    }

    /// Answer to `GET_ALL_DELAY_OFFSET` (45).
    #[derive(Default, Eq)]
    pub struct DelayOffsetWrapper {
        /// Offsets by delay level.
        pub offset_table: BTreeMap<i32, i64>,
    }

    /// Offsets by queue: push of 220, answer to 222.
    #[derive(Default, Eq)]
    pub struct ResetOffsetBody {
        /// The new offsets.
        pub offset_table: BTreeMap<MessageQueue, i64>,
    }

    /// Push of 220 to C++ clients, which cannot read objects as keys.
    #[derive(Default, Eq)]
    pub struct ResetOffsetBodyForCpp {
        /// The new offsets.
        pub offset_table: Vec<MessageQueueOffset>,
    }

    /// One queue's offset.
    #[derive(Default, Eq)]
    pub struct MessageQueueOffset {
        /// The broker group.
        pub broker_name: String,
        /// The offset.
        pub offset: i64,
        /// The queue.
        pub queue_id: i32,
        /// The topic.
        pub topic: String,
    }

    /// A client's answer to 221, and a broker's to 223.
    #[derive(Default, Eq)]
    pub struct ConsumerStatusBody {
        /// Offsets by client and queue.
        pub consumer_table: BTreeMap<String, BTreeMap<MessageQueue, i64>>,
        /// Offsets by queue.
        pub message_queue_table: BTreeMap<MessageQueue, i64>,
    }

    /// Answer to `QUERY_CORRECTION_OFFSET` (308).
    #[derive(Default, Eq)]
    pub struct CorrectionOffsets {
        /// Offsets by queue.
        pub correction_offsets: BTreeMap<i32, i64>,
    }
}
