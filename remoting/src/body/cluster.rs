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
