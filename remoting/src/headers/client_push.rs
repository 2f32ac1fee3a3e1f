//! What the broker asks of its clients: codes 39, 220, 221, 307, 309, 326.

use super::header;

header! {
    /// Push of `CHECK_TRANSACTION_STATE` (39); the body is the half message.
    CheckTransactionStateRequest<'a> {
        /// The half message's queue offset.
        tran_state_table_offset: i64 = "tranStateTableOffset",
        /// The half message's physical offset.
        commit_log_offset: i64 = "commitLogOffset",
        /// The client's own id of the message.
        msg_id: Option<&'a str> = "msgId",
        /// UNIQ_KEY.
        transaction_id: Option<&'a str> = "transactionId",
        /// The half message's offsetMsgId.
        offset_msg_id: Option<&'a str> = "offsetMsgId",
        /// The real topic.
        topic: Option<&'a str> = "topic",
        /// The broker group that the answer has to go to (5.x).
        broker_name: Option<&'a str> = "bname",
    }
}

header! {
    /// Push of `RESET_CONSUMER_CLIENT_OFFSET` (220).
    ResetOffsetPush<'a> {
        /// The topic.
        topic: &'a str = "topic",
        /// The consumer group.
        group: &'a str = "group",
        /// The time to go back to, in ms since the epoch.
        timestamp: i64 = "timestamp",
        /// Whether offsets may also move forward.
        is_force: bool = "isForce",
    }
}

header! {
    /// Push of 221, and request of `INVOKE_BROKER_TO_GET_CONSUMER_STATUS` (223).
    ConsumerStatusRequest<'a> {
        /// The topic.
        topic: &'a str = "topic",
        /// The consumer group.
        group: &'a str = "group",
        /// Only this client.
        client_addr: Option<&'a str> = "clientAddr",
    }
}

header! {
    /// `GET_CONSUMER_RUNNING_INFO` (307), asked of the broker and passed on to the client.
    ConsumerRunningInfoRequest<'a> {
        /// The consumer group.
        consumer_group: &'a str = "consumerGroup",
        /// The member.
        client_id: &'a str = "clientId",
        /// Whether to add a thread dump.
        jstack_enable: Option<bool> = "jstackEnable",
    }
}

header! {
    /// `CONSUME_MESSAGE_DIRECTLY` (309), asked of the broker and passed on to the client.
    ConsumeMessageDirectlyRequest<'a> {
        /// The consumer group.
        consumer_group: &'a str = "consumerGroup",
        /// The member.
        client_id: Option<&'a str> = "clientId",
        /// The message's offsetMsgId.
        msg_id: Option<&'a str> = "msgId",
        /// The broker group.
        broker_name: Option<&'a str> = "brokerName",
        /// The topic (5.x).
        topic: Option<&'a str> = "topic",
        /// The topic's flags (5.x).
        topic_sys_flag: Option<i32> = "topicSysFlag",
        /// The group's flags (5.x).
        group_sys_flag: Option<i32> = "groupSysFlag",
    }
}

header! {
    /// Push of `PUSH_REPLY_MESSAGE_TO_CLIENT` (326); the body is the reply's.
    ReplyMessagePush<'a> {
        /// The replier's group.
        producer_group: &'a str = "producerGroup",
        /// The reply topic.
        topic: &'a str = "topic",
        /// `TBW102`.
        default_topic: &'a str = "defaultTopic",
        /// As in a send.
        default_topic_queue_nums: i32 = "defaultTopicQueueNums",
        /// The queue of the reply topic.
        queue_id: i32 = "queueId",
        /// Bits of [`crate::message::sys_flag`].
        sys_flag: i32 = "sysFlag",
        /// In ms since the epoch.
        born_timestamp: i64 = "bornTimestamp",
        /// The user's own flag.
        flag: i32 = "flag",
        /// The reply's properties.
        properties: Option<&'a str> = "properties",
        /// As in a send.
        reconsume_times: Option<i32> = "reconsumeTimes",
        /// As in a send.
        unit_mode: Option<bool> = "unitMode",
        /// The replier, `ip:port`.
        born_host: &'a str = "bornHost",
        /// The broker, `ip:port`.
        store_host: &'a str = "storeHost",
        /// In ms since the epoch.
        store_timestamp: i64 = "storeTimestamp",
    }
}
