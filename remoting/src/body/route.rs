//! Routes: which brokers have a topic, and where they are.

use std::collections::{BTreeMap, BTreeSet};

use super::bodies;

/// Bit of `perm`: consumers may read.
pub const PERM_READ: i32 = 4;
/// Bit of `perm`: producers may write.
pub const PERM_WRITE: i32 = 2;
/// Bit of `perm`: topics are created in the image of this one.
pub const PERM_INHERIT: i32 = 1;

bodies! {
    /// Answer to `GET_ROUTEINFO_BY_TOPIC` (105).
    #[derive(Default, Eq)]
    pub struct TopicRouteData {
        /// The broker groups that have the topic.
        pub broker_datas: Vec<BrokerData>,
        /// Filter servers by broker address; nobody has any.
        pub filter_server_table: BTreeMap<String, Vec<String>>,
        /// `brokerName:queues;...` for ordered topics.
        pub order_topic_conf: Option<String>,
        /// The queues of each group.
        pub queue_datas: Vec<QueueData>,
    }

    /// A broker group and its replicas.
    #[derive(Default, Eq)]
    pub struct BrokerData {
        /// Addresses by broker id; 0 is the master.
        pub broker_addrs: BTreeMap<i64, String>,
        /// The group.
        pub broker_name: String,
        /// The cluster.
        pub cluster: String,
        /// Whether the smallest id may act as master.
        pub enable_acting_master: bool,
        /// The zone (5.x).
        pub zone_name: Option<String>,
    }

    /// A topic's queues at one broker group.
    #[derive(Default, Eq)]
    pub struct QueueData {
        /// The group.
        pub broker_name: String,
        /// Bits `PERM_*`.
        pub perm: i32,
        /// Queues that consumers see.
        pub read_queue_nums: i32,
        /// The topic's flags.
        pub topic_sys_flag: i32,
        /// Queues that producers see.
        pub write_queue_nums: i32,
    }

    /// Answer to `GET_BROKER_CLUSTER_INFO` (106).
    #[derive(Default, Eq)]
    pub struct ClusterInfo {
        /// Broker groups by name.
        pub broker_addr_table: BTreeMap<String, BrokerData>,
        /// Names of broker groups by cluster.
        pub cluster_addr_table: BTreeMap<String, BTreeSet<String>>,
    }

    /// Names of topics: answer to 206, 224, 304, 305, 311 to 313, 343.
    #[derive(Default, Eq)]
    pub struct TopicList {
        /// A broker's address, in the answers that have one.
        pub broker_addr: Option<String>,
        /// The topics.
        pub topic_list: Vec<String>,
    }
}
