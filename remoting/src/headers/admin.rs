//! Administration of a broker: topics, groups, configuration, statistics.

use super::header;

header! {
    /// Request of `UPDATE_AND_CREATE_TOPIC` (17).
    CreateTopicRequest<'a> {
        /// The topic.
        topic: &'a str = "topic",
        /// `TBW102`.
        default_topic: &'a str = "defaultTopic",
        /// Queues that consumers see.
        read_queue_nums: i32 = "readQueueNums",
        /// Queues that producers see.
        write_queue_nums: i32 = "writeQueueNums",
        /// 1 inherit, 2 write, 4 read.
        perm: i32 = "perm",
        /// `SINGLE_TAG` or `MULTI_TAG`.
        topic_filter_type: &'a str = "topicFilterType",
        /// The topic's flags.
        topic_sys_flag: Option<i32> = "topicSysFlag",
        /// Whether it is a topic of ordered messages.
        order: bool = "order",
        /// `+key=value,-key` (5.x).
        attributes: Option<&'a str> = "attributes",
        /// Whether checks may be skipped (5.x).
        force: Option<bool> = "force",
    }
}

header! {
    /// A request whose one field is the topic: 105, 202, 215, 300, 351.
    TopicRequest<'a> {
        /// The topic.
        topic: &'a str = "topic",
    }
}

header! {
    /// A request whose one field is the group: 343, 352.
    GroupRequest<'a> {
        /// The consumer group.
        group: &'a str = "group",
    }
}

header! {
    /// A request about a group's use of a topic: 303, 345.
    TopicGroupRequest<'a> {
        /// The topic.
        topic: &'a str = "topic",
        /// The consumer group.
        group: &'a str = "group",
    }
}

header! {
    /// Request of 21 and 201: pages of configuration (5.3 and later).
    ///
    /// A broker that answers without a total makes the client stop after the first page.
    ConfigPageRequest<'a> {
        /// Where the page of topics starts.
        topic_seq: Option<i32> = "topicSeq",
        /// At most so many topics.
        max_topic_num: Option<i32> = "maxTopicNum",
        /// Where the page of groups starts.
        group_seq: Option<i32> = "groupSeq",
        /// At most so many groups.
        max_group_num: Option<i32> = "maxGroupNum",
        /// The data version that the client has, as JSON text.
        data_version: Option<&'a str> = "dataVersion",
    }
}

header! {
    /// Request of `DELETE_SUBSCRIPTIONGROUP` (207).
    DeleteSubscriptionGroupRequest<'a> {
        /// The group.
        group_name: &'a str = "groupName",
        /// Whether its offsets go too.
        clean_offset: Option<bool> = "cleanOffset",
    }
}

header! {
    /// Request of `GET_CONSUME_STATS` (208).
    ConsumeStatsRequest<'a> {
        /// The group.
        consumer_group: &'a str = "consumerGroup",
        /// Only this topic.
        topic: Option<&'a str> = "topic",
        /// Only these topics, joined with `;` (5.x).
        topic_list: Option<&'a str> = "topicList",
    }
}

header! {
    /// Request of `INVOKE_BROKER_TO_RESET_OFFSET` (222).
    ResetOffsetRequest<'a> {
        /// The topic.
        topic: &'a str = "topic",
        /// The group.
        group: &'a str = "group",
        /// The time to go back to, in ms since the epoch; -1 is the end.
        timestamp: i64 = "timestamp",
        /// Whether offsets may also move forward.
        is_force: bool = "isForce",
        /// Only this queue; -1 is all (5.x).
        queue_id: Option<i32> = "queueId",
        /// This offset in place of a time (5.x).
        offset: Option<i64> = "offset",
    }
}

header! {
    /// Request of `CLONE_GROUP_OFFSET` (314).
    CloneGroupOffsetRequest<'a> {
        /// Take offsets from.
        src_group: &'a str = "srcGroup",
        /// Give them to.
        dest_group: &'a str = "destGroup",
        /// Only this topic.
        topic: Option<&'a str> = "topic",
        /// Whether the source has to be offline.
        offline: Option<bool> = "offline",
    }
}

header! {
    /// Request of `QUERY_CORRECTION_OFFSET` (308).
    QueryCorrectionOffsetRequest<'a> {
        /// Leave these groups out, joined with `,`.
        filter_groups: Option<&'a str> = "filterGroups",
        /// The group to compare with.
        compare_group: &'a str = "compareGroup",
        /// The topic.
        topic: &'a str = "topic",
    }
}

header! {
    /// Request of `VIEW_BROKER_STATS_DATA` (315).
    ViewBrokerStatsRequest<'a> {
        /// E.g. `TOPIC_PUT_NUMS`.
        stats_name: &'a str = "statsName",
        /// E.g. the topic.
        stats_key: &'a str = "statsKey",
    }
}

header! {
    /// Request of `GET_BROKER_CONSUME_STATS` (317).
    BrokerConsumeStatsRequest {
        /// Only groups that consume in order.
        is_order: bool = "isOrder",
    }
}

header! {
    /// Request of `QUERY_CONSUME_QUEUE` (321).
    QueryConsumeQueueRequest<'a> {
        /// The topic.
        topic: &'a str = "topic",
        /// The queue.
        queue_id: i32 = "queueId",
        /// The first queue offset.
        index: i64 = "index",
        /// At most so many units.
        count: i32 = "count",
        /// Evaluate this group's filter.
        consumer_group: Option<&'a str> = "consumerGroup",
    }
}

header! {
    /// Request of `UPDATE_AND_GET_GROUP_FORBIDDEN` (353).
    GroupForbiddenRequest<'a> {
        /// The group.
        group: &'a str = "group",
        /// The topic.
        topic: &'a str = "topic",
        /// Whether it may read; absent only asks.
        readable: Option<bool> = "readable",
    }
}

header! {
    /// Answer to `GET_BROKER_CONFIG` (26).
    BrokerConfigResponse<'a> {
        /// JSON of the configuration's data version.
        version: &'a str = "version",
    }
}

header! {
    /// Request of `CLEAN_EXPIRED_CONSUMEQUEUE` (306) and `DELETE_EXPIRED_COMMITLOG` (329).
    ///
    /// RocketMQ's have no fields and mean what the broker's settings let go. The fields are Trireme's: all goes that one
    /// of them lets go, as far as whole segments do.
    TrimRequest {
        /// Messages that were stored before, in ms since the epoch.
        before_timestamp: Option<i64> = "beforeTimestamp",
        /// All but the last so many bytes of the log.
        keep_bytes: Option<i64> = "keepBytes",
    }
}

header! {
    /// Trireme's answer to 306 and 329. RocketMQ's has no fields.
    TrimResponse {
        /// Where the log started before.
        started_at: i64 = "startedAt",
        /// Where it starts now.
        starts_at: i64 = "startsAt",
        /// Where the delayed message lies that keeps what else was asked for; absent if none does.
        held_by: Option<i64> = "heldBy",
    }
}
