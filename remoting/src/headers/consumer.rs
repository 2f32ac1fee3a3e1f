//! Groups and their members: codes 34, 35, 36, 38.

use super::header;

header! {
    /// Answer to `HEART_BEAT` (34).
    HeartbeatResponse {
        /// The broker understands fingerprints and heartbeats without subscriptions.
        supports_v2: Option<bool> = "IS_SUPPORT_HEART_BEAT_V2",
        /// The stored fingerprint differs: the client has to send the full form.
        subscription_changed: Option<bool> = "IS_SUB_CHANGE",
    }
}

header! {
    /// Request of `UNREGISTER_CLIENT` (35).
    UnregisterClientRequest<'a> {
        /// The client.
        client_id: &'a str = "clientID",
        /// The producer group that it leaves.
        producer_group: Option<&'a str> = "producerGroup",
        /// The consumer group that it leaves.
        consumer_group: Option<&'a str> = "consumerGroup",
    }
}

header! {
    /// Request of 38, 203, and of the push 40.
    ConsumerGroupRequest<'a> {
        /// The consumer group.
        consumer_group: &'a str = "consumerGroup",
    }
}

header! {
    /// Request of `GET_PRODUCER_CONNECTION_LIST` (204).
    ProducerGroupRequest<'a> {
        /// The producer group.
        producer_group: &'a str = "producerGroup",
    }
}

header! {
    /// Request of `CONSUMER_SEND_MSG_BACK` (36).
    ConsumerSendMsgBackRequest<'a> {
        /// The message's physical offset.
        offset: i64 = "offset",
        /// The consumer group.
        group: &'a str = "group",
        /// 0 lets the broker choose, negative goes to the dead-letter topic at once.
        delay_level: i32 = "delayLevel",
        /// The id that the consumer saw.
        origin_msg_id: Option<&'a str> = "originMsgId",
        /// The topic that the consumer saw.
        origin_topic: Option<&'a str> = "originTopic",
        /// Unit mode of multi-site deployments.
        unit_mode: Option<bool> = "unitMode",
        /// After how many failures the message goes to the dead-letter topic.
        max_reconsume_times: Option<i32> = "maxReconsumeTimes",
    }
}
