//! Offsets of queues and consumers: codes 14, 15, 29 to 32.

use super::header;

header! {
    /// Request of `QUERY_CONSUMER_OFFSET` (14).
    QueryConsumerOffsetRequest<'a> {
        /// The consumer group.
        consumer_group: &'a str = "consumerGroup",
        /// The topic.
        topic: &'a str = "topic",
        /// The queue.
        queue_id: i32 = "queueId",
        /// Whether a young queue without a stored offset answers 0; true when absent.
        set_zero_if_not_found: Option<bool> = "setZeroIfNotFound",
    }
}

header! {
    /// Request of `UPDATE_CONSUMER_OFFSET` (15).
    UpdateConsumerOffsetRequest<'a> {
        /// The consumer group.
        consumer_group: &'a str = "consumerGroup",
        /// The topic.
        topic: &'a str = "topic",
        /// The queue.
        queue_id: i32 = "queueId",
        /// The next queue offset to consume.
        commit_offset: i64 = "commitOffset",
    }
}

header! {
    /// Request of `GET_MAX_OFFSET` (30).
    GetMaxOffsetRequest<'a> {
        /// The topic.
        topic: &'a str = "topic",
        /// The queue.
        queue_id: i32 = "queueId",
        /// Whether only committed messages count; true when absent.
        committed: Option<bool> = "committed",
    }
}

header! {
    /// Request of `GET_MIN_OFFSET` (31) and `GET_EARLIEST_MSG_STORETIME` (32).
    QueueRequest<'a> {
        /// The topic.
        topic: &'a str = "topic",
        /// The queue.
        queue_id: i32 = "queueId",
    }
}

header! {
    /// Request of `SEARCH_OFFSET_BY_TIMESTAMP` (29).
    SearchOffsetRequest<'a> {
        /// The topic.
        topic: &'a str = "topic",
        /// The queue.
        queue_id: i32 = "queueId",
        /// The store time searched for, in ms since the epoch.
        timestamp: i64 = "timestamp",
        /// `LOWER` (also when absent) or `UPPER`: which of several messages of that time (5.x).
        boundary_type: Option<&'a str> = "boundaryType",
    }
}

header! {
    /// Answer of 14, 29, 30 and 31.
    OffsetResponse {
        /// The offset asked for.
        offset: i64 = "offset",
    }
}

header! {
    /// Answer of `GET_EARLIEST_MSG_STORETIME` (32).
    TimestampResponse {
        /// In ms since the epoch; -1 when there is no message.
        timestamp: i64 = "timestamp",
    }
}
