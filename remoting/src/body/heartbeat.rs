//! What clients tell of themselves.

use std::collections::BTreeSet;

use super::{bodies, wire_enum};

wire_enum! {
    /// How a consumer gets its messages.
    ConsumeType {
        /// It pulls when it likes.
        Actively = "CONSUME_ACTIVELY",
        /// The library pulls and calls a listener.
        Passively = "CONSUME_PASSIVELY",
        /// It pops.
        Pop = "CONSUME_POP",
    }
}

wire_enum! {
    /// Who of a group gets a message.
    MessageModel {
        /// Everyone.
        Broadcasting = "BROADCASTING",
        /// One.
        Clustering = "CLUSTERING",
    }
}

wire_enum! {
    /// Where a new group starts.
    ConsumeFromWhere {
        /// At the end.
        LastOffset = "CONSUME_FROM_LAST_OFFSET",
        /// At the end, or at the start on the first boot; no longer used.
        LastOffsetAndFromMinWhenBootFirst = "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
        /// At the smallest offset; no longer used.
        MinOffset = "CONSUME_FROM_MIN_OFFSET",
        /// At the largest offset; no longer used.
        MaxOffset = "CONSUME_FROM_MAX_OFFSET",
        /// At the start.
        FirstOffset = "CONSUME_FROM_FIRST_OFFSET",
        /// At a time.
        Timestamp = "CONSUME_FROM_TIMESTAMP",
    }
}

bodies! {
    /// Request of `HEART_BEAT` (34).
    #[derive(Default, Eq)]
    pub struct HeartbeatData {
        /// The client: `ip@instance[@unit]`.
        #[serde(rename = "clientID")]
        pub client_id: String,
        /// The groups that it consumes in.
        pub consumer_data_set: Vec<ConsumerData>,
        /// Hash of the subscriptions; 0 from clients that do not use it.
        pub heartbeat_fingerprint: i32,
        /// The groups that it produces in.
        pub producer_data_set: Vec<ProducerData>,
        /// The subscriptions are those of the last full heartbeat, and left out here.
        pub without_sub: bool,
    }

    /// A group that a client produces in.
    #[derive(Default, Eq)]
    pub struct ProducerData {
        /// The group.
        pub group_name: String,
    }

    /// A group that a client consumes in.
    #[derive(Default, Eq)]
    pub struct ConsumerData {
        /// Where a new group starts.
        pub consume_from_where: ConsumeFromWhere,
        /// How it gets its messages.
        pub consume_type: ConsumeType,
        /// The group.
        pub group_name: String,
        /// Who of the group gets a message.
        pub message_model: MessageModel,
        /// What it subscribes to.
        pub subscription_data_set: Vec<SubscriptionData>,
        /// Unit mode of multi-site deployments.
        pub unit_mode: bool,
    }

    /// A subscription to a topic.
    #[derive(Eq)]
    pub struct SubscriptionData {
        /// Filtering by a class; nobody uses it any more.
        pub class_filter_mode: bool,
        /// Hash codes of the tags; none means all.
        pub code_set: BTreeSet<i32>,
        /// `TAG` or `SQL92`.
        pub expression_type: String,
        /// The expression: `*`, `a || b`, or SQL.
        pub sub_string: String,
        /// The larger is the newer.
        pub sub_version: i64,
        /// The tags; none means all.
        pub tags_set: BTreeSet<String>,
        /// The topic.
        pub topic: String,
    }

    /// Request of `CHECK_CLIENT_CONFIG` (46).
    #[derive(Default, Eq)]
    pub struct CheckClientRequestBody {
        /// The client.
        pub client_id: String,
        /// The group.
        pub group: String,
        /// The client's namespace.
        pub namespace: Option<String>,
        /// The subscription whose expression is to be checked.
        pub subscription_data: SubscriptionData,
    }
}

impl SubscriptionData {
    /// `TAG`.
    pub const TAG: &'static str = "TAG";

    /// `SQL92`.
    pub const SQL92: &'static str = "SQL92";

    /// Whether messages are filtered by their tag.
    pub fn is_tag(&self) -> bool {
        self.expression_type.is_empty() || self.expression_type == Self::TAG
    }
}

impl Default for SubscriptionData {
    fn default() -> Self {
        Self {
            class_filter_mode: false,
            code_set: BTreeSet::new(),
            expression_type: Self::TAG.to_owned(),
            sub_string: String::new(),
            sub_version: 0,
            tags_set: BTreeSet::new(),
            topic: String::new(),
        }
    }
}
