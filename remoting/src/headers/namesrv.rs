//! The name server's requests.

use super::header;

header! {
    /// Request of `GET_ROUTEINFO_BY_TOPIC` (105).
    RouteInfoRequest<'a> {
        /// The topic.
        topic: &'a str = "topic",
        /// Whether integer keys have to be quoted; we always do.
        accept_standard_json_only: Option<bool> = "acceptStandardJsonOnly",
    }
}

header! {
    /// Request of `REGISTER_BROKER` (103).
    RegisterBrokerRequest<'a> {
        /// The broker group.
        broker_name: &'a str = "brokerName",
        /// Where clients reach it.
        broker_addr: &'a str = "brokerAddr",
        /// The cluster.
        cluster_name: &'a str = "clusterName",
        /// Where its slaves reach it.
        ha_server_addr: &'a str = "haServerAddr",
        /// 0 is the master.
        broker_id: i64 = "brokerId",
        /// After which silence it counts as gone, in ms (5.x).
        heartbeat_timeout_millis: Option<i64> = "heartbeatTimeoutMillis",
        /// Whether the smallest id may act as master (5.x; absent: an older broker).
        enable_acting_master: Option<bool> = "enableActingMaster",
        /// Whether the body is the compressed form.
        compressed: Option<bool> = "compressed",
        /// CRC-32 of the body without its top bit; 0 is not to be checked.
        body_crc32: Option<i32> = "bodyCrc32",
    }
}

header! {
    /// Answer to `REGISTER_BROKER` (103).
    RegisterBrokerResponse<'a> {
        /// Where to replicate from; absent for a master.
        ha_server_addr: Option<&'a str> = "haServerAddr",
        /// The master's address.
        master_addr: Option<&'a str> = "masterAddr",
    }
}

header! {
    /// Request of `UNREGISTER_BROKER` (104).
    UnregisterBrokerRequest<'a> {
        /// The broker group.
        broker_name: &'a str = "brokerName",
        /// Its address.
        broker_addr: &'a str = "brokerAddr",
        /// The cluster.
        cluster_name: &'a str = "clusterName",
        /// Its id.
        broker_id: i64 = "brokerId",
    }
}

header! {
    /// Request of `QUERY_DATA_VERSION` (322); the body is the broker's data version.
    QueryDataVersionRequest<'a> {
        /// The broker group.
        broker_name: &'a str = "brokerName",
        /// Its address.
        broker_addr: &'a str = "brokerAddr",
        /// The cluster.
        cluster_name: &'a str = "clusterName",
        /// Its id.
        broker_id: i64 = "brokerId",
    }
}

header! {
    /// Answer to `QUERY_DATA_VERSION` (322).
    QueryDataVersionResponse {
        /// Whether the broker has to register again.
        changed: bool = "changed",
    }
}

header! {
    /// Request of `GET_TOPICS_BY_CLUSTER` (224).
    ClusterRequest<'a> {
        /// The cluster.
        cluster: &'a str = "cluster",
    }
}

header! {
    /// Request of `GET_KV_CONFIG` (101) and `DELETE_KV_CONFIG` (102).
    KvConfigRequest<'a> {
        /// E.g. `ORDER_TOPIC_CONFIG`.
        namespace: &'a str = "namespace",
        /// E.g. the topic.
        key: &'a str = "key",
    }
}

header! {
    /// Request of `PUT_KV_CONFIG` (100).
    PutKvConfigRequest<'a> {
        /// E.g. `ORDER_TOPIC_CONFIG`.
        namespace: &'a str = "namespace",
        /// E.g. the topic.
        key: &'a str = "key",
        /// The value.
        value: &'a str = "value",
    }
}

header! {
    /// Answer to `GET_KV_CONFIG` (101).
    KvConfigResponse<'a> {
        /// The value.
        value: Option<&'a str> = "value",
    }
}

header! {
    /// Request of `GET_KVLIST_BY_NAMESPACE` (219).
    NamespaceRequest<'a> {
        /// E.g. `ORDER_TOPIC_CONFIG`.
        namespace: &'a str = "namespace",
    }
}

header! {
    /// Request of `WIPE_WRITE_PERM_OF_BROKER` (205) and `ADD_WRITE_PERM_OF_BROKER` (327).
    BrokerNameRequest<'a> {
        /// The broker group.
        broker_name: &'a str = "brokerName",
    }
}

header! {
    /// Answer to `WIPE_WRITE_PERM_OF_BROKER` (205).
    WipeWritePermResponse {
        /// How many topics changed.
        wipe_topic_count: i32 = "wipeTopicCount",
    }
}

header! {
    /// Answer to `ADD_WRITE_PERM_OF_BROKER` (327).
    AddWritePermResponse {
        /// How many topics changed.
        add_topic_count: i32 = "addTopicCount",
    }
}

header! {
    /// Request of `DELETE_TOPIC_IN_NAMESRV` (216).
    DeleteTopicInNamesrvRequest<'a> {
        /// The topic.
        topic: &'a str = "topic",
        /// Only from this cluster's brokers.
        cluster_name: Option<&'a str> = "clusterName",
    }
}

header! {
    /// Request of `GET_BROKER_MEMBER_GROUP` (901).
    BrokerMemberGroupRequest<'a> {
        /// The cluster.
        cluster_name: &'a str = "clusterName",
        /// The broker group.
        broker_name: &'a str = "brokerName",
    }
}

header! {
    /// Request of `BROKER_HEARTBEAT` (904).
    BrokerHeartbeatRequest<'a> {
        /// The cluster.
        cluster_name: &'a str = "clusterName",
        /// Its address.
        broker_addr: &'a str = "brokerAddr",
        /// The broker group.
        broker_name: &'a str = "brokerName",
        /// Its id.
        broker_id: Option<i64> = "brokerId",
        /// Its leadership epoch.
        epoch: Option<i32> = "epoch",
        /// The end of its log.
        max_offset: Option<i64> = "maxOffset",
        /// How far its log is confirmed.
        confirm_offset: Option<i64> = "confirmOffset",
        /// After which silence it counts as gone, in ms; spelled so on the wire.
        heartbeat_timeout_millis: Option<i64> = "heartbeatTimeoutMills",
        /// Smaller is elected first.
        election_priority: Option<i32> = "electionPriority",
    }
}
