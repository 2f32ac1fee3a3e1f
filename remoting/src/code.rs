//! Request codes: what a peer asks for.
//!
//! One closed enum, so that a match over it tells at compile time which code a router forgot.

use std::fmt;

use thiserror::Error;

macro_rules! request_codes {
    ($($variant:ident = $code:literal, $name:literal;)*) => {
        /// A request code that this crate has a name for.
        ///
        /// The list is that of RocketMQ 4.9 and 5.x clients, tools, name servers and brokers. Codes of the
        /// controller, of the broker container and of RocksDB tools are left out: nothing here answers them. Those that
        /// begin with `TRIREME` are ours.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i32)]
        pub enum RequestCode {
            $(#[doc = concat!("`", $name, "` (", $code, ").")] $variant = $code,)*
        }

        impl RequestCode {
            /// Every named code, ascending within its family.
            pub const ALL: &'static [RequestCode] = &[$(RequestCode::$variant,)*];

            /// RocketMQ's own name of the code, e.g. `SEND_MESSAGE_V2`.
            pub const fn name(self) -> &'static str {
                match self { $(RequestCode::$variant => $name,)* }
            }
        }

        impl TryFrom<i32> for RequestCode {
            type Error = UnknownRequestCode;

            fn try_from(code: i32) -> Result<Self, UnknownRequestCode> {
                match code {
                    $($code => Ok(RequestCode::$variant),)*
                    _ => Err(UnknownRequestCode(code)),
                }
            }
        }
    };
}

request_codes! {
    SendMessage = 10, "SEND_MESSAGE";
    PullMessage = 11, "PULL_MESSAGE";
    QueryMessage = 12, "QUERY_MESSAGE";
    QueryConsumerOffset = 14, "QUERY_CONSUMER_OFFSET";
    UpdateConsumerOffset = 15, "UPDATE_CONSUMER_OFFSET";
    UpdateAndCreateTopic = 17, "UPDATE_AND_CREATE_TOPIC";
    UpdateAndCreateTopicList = 18, "UPDATE_AND_CREATE_TOPIC_LIST";
    GetAllTopicConfig = 21, "GET_ALL_TOPIC_CONFIG";
    UpdateBrokerConfig = 25, "UPDATE_BROKER_CONFIG";
    GetBrokerConfig = 26, "GET_BROKER_CONFIG";
    GetBrokerRuntimeInfo = 28, "GET_BROKER_RUNTIME_INFO";
    SearchOffsetByTimestamp = 29, "SEARCH_OFFSET_BY_TIMESTAMP";
    GetMaxOffset = 30, "GET_MAX_OFFSET";
    GetMinOffset = 31, "GET_MIN_OFFSET";
    GetEarliestMsgStoreTime = 32, "GET_EARLIEST_MSG_STORETIME";
    ViewMessageById = 33, "VIEW_MESSAGE_BY_ID";
    HeartBeat = 34, "HEART_BEAT";
    UnregisterClient = 35, "UNREGISTER_CLIENT";
    ConsumerSendMsgBack = 36, "CONSUMER_SEND_MSG_BACK";
    EndTransaction = 37, "END_TRANSACTION";
    GetConsumerListByGroup = 38, "GET_CONSUMER_LIST_BY_GROUP";
    CheckTransactionState = 39, "CHECK_TRANSACTION_STATE";
    NotifyConsumerIdsChanged = 40, "NOTIFY_CONSUMER_IDS_CHANGED";
    LockBatchMq = 41, "LOCK_BATCH_MQ";
    UnlockBatchMq = 42, "UNLOCK_BATCH_MQ";
    GetAllConsumerOffset = 43, "GET_ALL_CONSUMER_OFFSET";
    GetAllDelayOffset = 45, "GET_ALL_DELAY_OFFSET";
    CheckClientConfig = 46, "CHECK_CLIENT_CONFIG";
    UpdateAndCreateAclConfig = 50, "UPDATE_AND_CREATE_ACL_CONFIG";
    DeleteAclConfig = 51, "DELETE_ACL_CONFIG";
    GetBrokerClusterAclInfo = 52, "GET_BROKER_CLUSTER_ACL_INFO";
    UpdateGlobalWhiteAddrsConfig = 53, "UPDATE_GLOBAL_WHITE_ADDRS_CONFIG";
    GetTimerCheckPoint = 60, "GET_TIMER_CHECK_POINT";
    GetTimerMetrics = 61, "GET_TIMER_METRICS";
    PutKvConfig = 100, "PUT_KV_CONFIG";
    GetKvConfig = 101, "GET_KV_CONFIG";
    DeleteKvConfig = 102, "DELETE_KV_CONFIG";
    RegisterBroker = 103, "REGISTER_BROKER";
    UnregisterBroker = 104, "UNREGISTER_BROKER";
    GetRouteInfoByTopic = 105, "GET_ROUTEINFO_BY_TOPIC";
    GetBrokerClusterInfo = 106, "GET_BROKER_CLUSTER_INFO";
    UpdateAndCreateSubscriptionGroup = 200, "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP";
    GetAllSubscriptionGroupConfig = 201, "GET_ALL_SUBSCRIPTIONGROUP_CONFIG";
    GetTopicStatsInfo = 202, "GET_TOPIC_STATS_INFO";
    GetConsumerConnectionList = 203, "GET_CONSUMER_CONNECTION_LIST";
    GetProducerConnectionList = 204, "GET_PRODUCER_CONNECTION_LIST";
    WipeWritePermOfBroker = 205, "WIPE_WRITE_PERM_OF_BROKER";
    GetAllTopicListFromNameServer = 206, "GET_ALL_TOPIC_LIST_FROM_NAMESERVER";
    DeleteSubscriptionGroup = 207, "DELETE_SUBSCRIPTIONGROUP";
    GetConsumeStats = 208, "GET_CONSUME_STATS";
    DeleteTopicInBroker = 215, "DELETE_TOPIC_IN_BROKER";
    DeleteTopicInNamesrv = 216, "DELETE_TOPIC_IN_NAMESRV";
    RegisterTopicInNamesrv = 217, "REGISTER_TOPIC_IN_NAMESRV";
    GetKvListByNamespace = 219, "GET_KVLIST_BY_NAMESPACE";
    ResetConsumerClientOffset = 220, "RESET_CONSUMER_CLIENT_OFFSET";
    GetConsumerStatusFromClient = 221, "GET_CONSUMER_STATUS_FROM_CLIENT";
    InvokeBrokerToResetOffset = 222, "INVOKE_BROKER_TO_RESET_OFFSET";
    InvokeBrokerToGetConsumerStatus = 223, "INVOKE_BROKER_TO_GET_CONSUMER_STATUS";
    GetTopicsByCluster = 224, "GET_TOPICS_BY_CLUSTER";
    UpdateAndCreateSubscriptionGroupList = 225, "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST";
    QueryTopicConsumeByWho = 300, "QUERY_TOPIC_CONSUME_BY_WHO";
    QueryConsumeTimeSpan = 303, "QUERY_CONSUME_TIME_SPAN";
    GetSystemTopicListFromNs = 304, "GET_SYSTEM_TOPIC_LIST_FROM_NS";
    GetSystemTopicListFromBroker = 305, "GET_SYSTEM_TOPIC_LIST_FROM_BROKER";
    CleanExpiredConsumeQueue = 306, "CLEAN_EXPIRED_CONSUMEQUEUE";
    GetConsumerRunningInfo = 307, "GET_CONSUMER_RUNNING_INFO";
    QueryCorrectionOffset = 308, "QUERY_CORRECTION_OFFSET";
    ConsumeMessageDirectly = 309, "CONSUME_MESSAGE_DIRECTLY";
    SendMessageV2 = 310, "SEND_MESSAGE_V2";
    GetUnitTopicList = 311, "GET_UNIT_TOPIC_LIST";
    GetHasUnitSubTopicList = 312, "GET_HAS_UNIT_SUB_TOPIC_LIST";
    GetHasUnitSubUnunitTopicList = 313, "GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST";
    CloneGroupOffset = 314, "CLONE_GROUP_OFFSET";
    ViewBrokerStatsData = 315, "VIEW_BROKER_STATS_DATA";
    CleanUnusedTopic = 316, "CLEAN_UNUSED_TOPIC";
    GetBrokerConsumeStats = 317, "GET_BROKER_CONSUME_STATS";
    UpdateNamesrvConfig = 318, "UPDATE_NAMESRV_CONFIG";
    GetNamesrvConfig = 319, "GET_NAMESRV_CONFIG";
    SendBatchMessage = 320, "SEND_BATCH_MESSAGE";
    QueryConsumeQueue = 321, "QUERY_CONSUME_QUEUE";
    QueryDataVersion = 322, "QUERY_DATA_VERSION";
    ResumeCheckHalfMessage = 323, "RESUME_CHECK_HALF_MESSAGE";
    SendReplyMessage = 324, "SEND_REPLY_MESSAGE";
    SendReplyMessageV2 = 325, "SEND_REPLY_MESSAGE_V2";
    PushReplyMessageToClient = 326, "PUSH_REPLY_MESSAGE_TO_CLIENT";
    AddWritePermOfBroker = 327, "ADD_WRITE_PERM_OF_BROKER";
    GetAllProducerInfo = 328, "GET_ALL_PRODUCER_INFO";
    DeleteExpiredCommitLog = 329, "DELETE_EXPIRED_COMMITLOG";
    QueryTopicsByConsumer = 343, "QUERY_TOPICS_BY_CONSUMER";
    QuerySubscriptionByConsumer = 345, "QUERY_SUBSCRIPTION_BY_CONSUMER";
    GetTopicConfig = 351, "GET_TOPIC_CONFIG";
    GetSubscriptionGroupConfig = 352, "GET_SUBSCRIPTIONGROUP_CONFIG";
    UpdateAndGetGroupForbidden = 353, "UPDATE_AND_GET_GROUP_FORBIDDEN";
    LitePullMessage = 361, "LITE_PULL_MESSAGE";
    RecallMessage = 370, "RECALL_MESSAGE";
    QueryAssignment = 400, "QUERY_ASSIGNMENT";
    SetMessageRequestMode = 401, "SET_MESSAGE_REQUEST_MODE";
    GetAllMessageRequestMode = 402, "GET_ALL_MESSAGE_REQUEST_MODE";
    GetBrokerMemberGroup = 901, "GET_BROKER_MEMBER_GROUP";
    BrokerHeartbeat = 904, "BROKER_HEARTBEAT";
    NotifyMinBrokerIdChange = 905, "NOTIFY_MIN_BROKER_ID_CHANGE";
    GetBrokerHaStatus = 907, "GET_BROKER_HA_STATUS";
    ControllerElectMaster = 1002, "CONTROLLER_ELECT_MASTER";
    ControllerGetMetadataInfo = 1005, "CONTROLLER_GET_METADATA_INFO";
    AuthCreateUser = 3001, "AUTH_CREATE_USER";
    AuthUpdateUser = 3002, "AUTH_UPDATE_USER";
    AuthDeleteUser = 3003, "AUTH_DELETE_USER";
    AuthGetUser = 3004, "AUTH_GET_USER";
    AuthListUser = 3005, "AUTH_LIST_USER";
    AuthCreateAcl = 3006, "AUTH_CREATE_ACL";
    AuthUpdateAcl = 3007, "AUTH_UPDATE_ACL";
    AuthDeleteAcl = 3008, "AUTH_DELETE_ACL";
    AuthGetAcl = 3009, "AUTH_GET_ACL";
    AuthListAcl = 3010, "AUTH_LIST_ACL";
    ChangeReplicas = 20001, "TRIREME_CHANGE_REPLICAS";
    ReadLog = 20002, "TRIREME_READ_LOG";
    PopMessage = 200050, "POP_MESSAGE";
    AckMessage = 200051, "ACK_MESSAGE";
    PeekMessage = 200052, "PEEK_MESSAGE";
    ChangeMessageInvisibleTime = 200053, "CHANGE_MESSAGE_INVISIBLETIME";
    Notification = 200054, "NOTIFICATION";
    PollingInfo = 200055, "POLLING_INFO";
    PopRollback = 200056, "POP_ROLLBACK";
    BatchAckMessage = 200151, "BATCH_ACK_MESSAGE";
}

impl RequestCode {
    /// The number on the wire.
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// Undoes the truncation of a request code to the 16 bits that the ROCKETMQ header has for it.
    ///
    /// Codes above 32767 (the POP family) arrive as their low 16 bits; none of those collides with another
    /// named code, which a test holds. An unnamed number is returned as it is, sign-extended.
    pub fn widen(wire: i16) -> i32 {
        let low = i32::from(wire as u16);
        WIDE.iter().copied().find(|code| code & 0xffff == low).unwrap_or(i32::from(wire))
    }

    const fn is_wide(self) -> bool {
        self.code() > i16::MAX as i32
    }
}

/// The codes that do not fit 16 bits: every binary header is looked at for them.
const WIDE: [i32; wide_codes()] = {
    let (mut wide, mut count, mut at) = ([0; wide_codes()], 0, 0);
    while at < RequestCode::ALL.len() {
        if RequestCode::ALL[at].is_wide() {
            wide[count] = RequestCode::ALL[at].code();
            count += 1;
        }
        at += 1;
    }
    wide
};

const fn wide_codes() -> usize {
    let (mut count, mut at) = (0, 0);
    while at < RequestCode::ALL.len() {
        if RequestCode::ALL[at].is_wide() {
            count += 1;
        }
        at += 1;
    }
    count
}

impl fmt::Display for RequestCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.code())
    }
}

/// A request code that has no name here; the answer to it is `REQUEST_CODE_NOT_SUPPORTED`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("request code {0} is not supported")]
pub struct UnknownRequestCode(pub i32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_its_number() {
        for code in RequestCode::ALL {
            assert_eq!(RequestCode::try_from(code.code()), Ok(*code));
        }
        assert_eq!(RequestCode::try_from(13), Err(UnknownRequestCode(13)));
    }

    #[test]
    fn binary_headers_truncate_codes_and_every_one_maps_back() {
        assert_eq!(RequestCode::PopMessage.code() as i16, 3442);
        for code in RequestCode::ALL {
            assert_eq!(RequestCode::widen(code.code() as i16), code.code(), "{code}");
        }
        assert_eq!(RequestCode::widen(-3), -3);
    }
}
