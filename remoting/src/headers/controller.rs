//! What RocketMQ 5 asks its controller, and what Trireme is asked that has no counterpart there.

use super::header;

header! {
    /// Answer to `CONTROLLER_GET_METADATA_INFO` (1005).
    ControllerResponse<'a> {
        /// The cluster. RocketMQ's controller does not say it.
        cluster_name: Option<&'a str> = "clusterName",
        /// The controllers' own group.
        group: Option<&'a str> = "group",
        /// Their leader's name.
        controller_leader_id: Option<&'a str> = "controllerLeaderId",
        /// Where it is reached, `host:port`.
        controller_leader_address: Option<&'a str> = "controllerLeaderAddress",
        /// Whether it is the one that answers.
        is_leader: bool = "isLeader",
        /// All of them, `name-host:port`, separated by semicolons.
        peers: Option<&'a str> = "peers",
    }
}

header! {
    /// Request of `CONTROLLER_ELECT_MASTER` (1002).
    ElectMasterRequest<'a> {
        /// The cluster.
        cluster_name: Option<&'a str> = "clusterName",
        /// The broker group.
        broker_name: Option<&'a str> = "brokerName",
        /// Who shall be its master.
        broker_id: Option<i64> = "brokerId",
        /// Nobody else may.
        designate_elect: Option<bool> = "designateElect",
    }
}

header! {
    /// Answer to 1002. Its body is the group (`BrokerMemberGroup`).
    ElectMasterResponse<'a> {
        /// The master.
        master_broker_id: Option<i64> = "masterBrokerId",
        /// Where it is reached, `host:port`.
        master_address: Option<&'a str> = "masterAddress",
        /// The number of its leadership.
        master_epoch: Option<i32> = "masterEpoch",
        /// The number of its set of replicas.
        sync_state_set_epoch: Option<i32> = "syncStateSetEpoch",
    }
}

header! {
    /// Request of `TRIREME_CHANGE_REPLICAS` (20001): what shall be. Asked again until it is; without any change, who
    /// belongs to the group.
    ChangeReplicasRequest<'a> {
        /// The broker group.
        broker_name: Option<&'a str> = "brokerName",
        /// Who shall belong to it, and vote.
        add: Option<i64> = "addBrokerId",
        /// Where that is reached, by clients and by peers: `host:port/host:port`.
        add_addr: Option<&'a str> = "addReplica",
        /// Who shall not.
        remove: Option<i64> = "removeBrokerId",
    }
}

header! {
    /// Answer to 20001. Its body is the group (`GroupReplicas`).
    ChangeReplicasResponse {
        /// It is so, and committed.
        is_done: bool = "isDone",
        /// Bytes of the log that who is added has.
        learned_bytes: Option<i64> = "learnedBytes",
        /// Bytes of the log that the leader has.
        log_bytes: Option<i64> = "logBytes",
    }
}

header! {
    /// Request of `TRIREME_READ_LOG` (20002). The answer's body is the whole frame.
    ReadLogRequest<'a> {
        /// The broker group.
        broker_name: Option<&'a str> = "brokerName",
        /// Where the frame begins in the commit log.
        physical_offset: i64 = "physicalOffset",
    }
}
