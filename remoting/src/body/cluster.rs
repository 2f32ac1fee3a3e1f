//! Tables of text, and who belongs to a broker group.

use std::collections::BTreeMap;

use super::bodies;

bodies! {
    /// Names and values: answer to 28, 219, and to a registration.
    #[derive(Default, Eq)]
    pub struct KvTable {
        /// Values by name.
        pub table: BTreeMap<String, String>,
    }

    /// Answer to `GET_BROKER_MEMBER_GROUP` (901).
    #[derive(Default, Eq)]
    pub struct BrokerMemberGroupResponse {
        /// The group.
        pub broker_member_group: Option<BrokerMemberGroup>,
    }

    /// Trireme's: answer to 20001.
    #[derive(Default, Eq)]
    pub struct GroupReplicas {
        /// All, by id.
        pub replicas: Vec<GroupReplica>,
    }

    /// Trireme's: a replica that belongs to a group.
    #[derive(Default, Eq)]
    pub struct GroupReplica {
        /// Where clients reach it.
        pub addr: String,
        /// Its number.
        pub broker_id: u64,
        /// Where peers reach it.
        pub peer_addr: String,
        /// `leader`, `voter` or `learner`.
        pub role: String,
    }

    /// A broker group's replicas.
    #[derive(Default, Eq)]
    pub struct BrokerMemberGroup {
        /// Addresses by broker id.
        pub broker_addrs: BTreeMap<i64, String>,
        /// The group.
        pub broker_name: String,
        /// The cluster.
        pub cluster: String,
    }
}
