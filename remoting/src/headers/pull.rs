//! Pulling messages: codes 11 and 361.

use super::header;

/// The client wants `commit_offset` stored.
pub const PULL_COMMIT_OFFSET: i32 = 1;
/// The broker may hold the request until messages arrive.
pub const PULL_SUSPEND: i32 = 2;
/// `subscription` is set.
pub const PULL_SUBSCRIPTION: i32 = 4;
/// Filtering by a class on a filter server; nobody uses it any more.
pub const PULL_CLASS_FILTER: i32 = 8;
/// A lite-pull consumer asks.
pub const PULL_LITE: i32 = 16;

header! {
    /// Request of `PULL_MESSAGE` (11) and `LITE_PULL_MESSAGE` (361).
    PullRequest<'a> {
        /// The consumer group.
        consumer_group: &'a str = "consumerGroup",
        /// The topic.
        topic: &'a str = "topic",
        /// The queue.
        queue_id: i32 = "queueId",
        /// The first queue offset wanted.
        queue_offset: i64 = "queueOffset",
        /// At most so many messages.
        max_msg_nums: i32 = "maxMsgNums",
        /// Bits `PULL_*`.
        sys_flag: i32 = "sysFlag",
        /// The consumer's progress, with [`PULL_COMMIT_OFFSET`].
        commit_offset: i64 = "commitOffset",
        /// How long the request may be held, in ms, with [`PULL_SUSPEND`].
        suspend_timeout_millis: i64 = "suspendTimeoutMillis",
        /// The filter expression, with [`PULL_SUBSCRIPTION`].
        subscription: Option<&'a str> = "subscription",
        /// The version of the subscription, as the heartbeat told it.
        sub_version: i64 = "subVersion",
        /// `TAG` (also when absent) or `SQL92`.
        expression_type: Option<&'a str> = "expressionType",
        /// At most so many bytes (5.x).
        max_msg_bytes: Option<i32> = "maxMsgBytes",
        /// -1 for an SDK (5.x).
        request_source: Option<i32> = "requestSource",
        /// The client behind a proxy (5.x); spelled so on the wire.
        proxy_forward_client_id: Option<&'a str> = "proxyFrowardClientId",
    }
}

header! {
    /// Answer to a pull; mandatory with codes 0, 19, 20 and 21.
    PullResponse {
        /// Where to pull from next time: 0 is the master.
        suggest_which_broker_id: i64 = "suggestWhichBrokerId",
        /// The queue offset to ask for next.
        next_begin_offset: i64 = "nextBeginOffset",
        /// The queue's smallest offset.
        min_offset: i64 = "minOffset",
        /// The queue's end, exclusive.
        max_offset: i64 = "maxOffset",
        /// For static topics (5.x).
        offset_delta: Option<i64> = "offsetDelta",
        /// The topic's flags (5.x).
        topic_sys_flag: Option<i32> = "topicSysFlag",
        /// The group's flags (5.x).
        group_sys_flag: Option<i32> = "groupSysFlag",
        /// With code 16: 1 broker, 2 group, 3 topic, 4 broadcast, 5 subscription.
        forbidden_type: Option<i32> = "forbiddenType",
    }
}
