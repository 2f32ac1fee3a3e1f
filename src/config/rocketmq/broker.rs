//! RocketMQ's properties of a broker that have no counterpart among the settings.
//!
//! Source: RocketMQ 4.9 and 5.3 `BrokerConfig`, `BrokerIdentity`, `MessageStoreConfig`, `NettyServerConfig`.

use crate::config::problem::Problem;
use crate::config::properties::{Properties, Property};

const WHEN: &str = "is ignored: segments go when they are due, one at a time, at any hour";
const FOR_ROOM: &str = "is ignored: disk_trim_bytes and disk_reserve_bytes say how much room stays free, and what is done for it";
const IN_USE: &str = "is ignored: a segment may go while it is read, its reader loses nothing";
const DELAYS: &str = "has no effect yet: the delay levels are RocketMQ's default ones";
const SQL: &str = "has no effect yet: consumers filter by tags";
const TRANSACTIONS: &str = "has no effect yet: there are no transactions";
const LEADER: &str = "is ignored: the replicas of a group elect their leader";
const STORE: &str = "is ignored: everything lies under storePathRootDir";
const FLUSH: &str = "is ignored: every message is on the disks of a majority before it is acknowledged, \
                     many with one sync";
const MEMORY: &str = "is ignored: files are read and written without such a pool";
const THREADS: &str = "is ignored: requests share the threads of the whole process";
const QUEUE_FILES: &str = "is ignored: ConsumeQueues and key index choose their own file sizes";
const ALWAYS: &str = "is ignored: it is always so";
const NAME_SERVERS: &str = "is ignored: name servers are named by namesrvAddr";
const PEERS: &str = "is ignored: replicas reach each other at their peer addresses";

/// Properties that are understood and do nothing, each with the reason.
pub const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("deleteWhen", WHEN),
    ("deleteCommitLogFilesInterval", WHEN),
    ("deleteConsumeQueueFilesInterval", WHEN),
    ("cleanResourceInterval", WHEN),
    ("diskMaxUsedSpaceRatio", FOR_ROOM),
    ("diskSpaceWarningLevelRatio", FOR_ROOM),
    ("diskSpaceCleanForciblyRatio", FOR_ROOM),
    ("cleanFileForciblyEnable", FOR_ROOM),
    ("destroyMapedFileIntervalForcibly", IN_USE),
    ("redeleteHangedFileInterval", IN_USE),
    ("messageDelayLevel", DELAYS),
    ("enablePropertyFilter", SQL),
    ("enableCalcFilterBitMap", SQL),
    ("transactionTimeOut", TRANSACTIONS),
    ("transactionCheckMax", TRANSACTIONS),
    ("transactionCheckInterval", TRANSACTIONS),
    ("rejectTransactionMessage", TRANSACTIONS),
    ("brokerId", LEADER),
    ("brokerRole", LEADER),
    ("preferredLeaderId", LEADER),
    ("enableControllerMode", LEADER),
    ("controllerAddr", LEADER),
    ("enableSlaveActingMaster", LEADER),
    ("storePathCommitLog", STORE),
    ("storePathDLedgerCommitLog", STORE),
    ("storePathConsumeQueue", STORE),
    ("storePathIndex", STORE),
    ("storeCheckpoint", STORE),
    ("abortFile", STORE),
    ("flushDiskType", FLUSH),
    ("flushIntervalCommitLog", FLUSH),
    ("flushCommitLogLeastPages", FLUSH),
    ("flushCommitLogThoroughInterval", FLUSH),
    ("flushCommitLogTimed", FLUSH),
    ("syncFlushTimeout", FLUSH),
    ("commitIntervalCommitLog", FLUSH),
    ("commitCommitLogLeastPages", FLUSH),
    ("commitCommitLogThoroughInterval", FLUSH),
    ("flushIntervalConsumeQueue", FLUSH),
    ("flushConsumeQueueLeastPages", FLUSH),
    ("flushConsumeQueueThoroughInterval", FLUSH),
    ("transientStorePoolEnable", MEMORY),
    ("transientStorePoolSize", MEMORY),
    ("warmMapedFileEnable", MEMORY),
    ("transferMsgByHeap", MEMORY),
    ("accessMessageInMemoryMaxRatio", MEMORY),
    ("sendMessageThreadPoolNums", THREADS),
    ("pullMessageThreadPoolNums", THREADS),
    ("queryMessageThreadPoolNums", THREADS),
    ("adminBrokerThreadPoolNums", THREADS),
    ("clientManageThreadPoolNums", THREADS),
    ("consumerManageThreadPoolNums", THREADS),
    ("sendThreadPoolQueueCapacity", THREADS),
    ("pullThreadPoolQueueCapacity", THREADS),
    ("useReentrantLockWhenPutMessage", THREADS),
    ("waitTimeMillsInSendQueue", THREADS),
    ("serverWorkerThreads", THREADS),
    ("serverSelectorThreads", THREADS),
    ("serverCallbackExecutorThreads", THREADS),
    ("mapedFileSizeConsumeQueue", QUEUE_FILES),
    ("mappedFileSizeConsumeQueue", QUEUE_FILES),
    ("maxHashSlotNum", QUEUE_FILES),
    ("maxIndexNum", QUEUE_FILES),
    ("messageIndexEnable", ALWAYS),
    ("longPollingEnable", ALWAYS),
    ("notifyConsumerIdsChangedEnable", ALWAYS),
    ("slaveReadEnable", ALWAYS),
    ("clusterTopicEnable", ALWAYS),
    ("brokerTopicEnable", ALWAYS),
    ("fetchNamesrvAddrByAddressServer", NAME_SERVERS),
    ("fetchNameSrvAddrByDnsLookup", NAME_SERVERS),
    ("rmqAddressServerDomain", NAME_SERVERS),
    ("rmqAddressServerSubGroup", NAME_SERVERS),
    ("brokerIP2", PEERS),
    ("haListenPort", PEERS),
    ("haMasterAddress", PEERS),
    ("rocketmqHome", STORE),
    ("dLegerGroup", "is ignored: a group's name is its brokerName"),
    ("aclEnable", "is refused if true: there is no access control yet"),
];

/// Takes properties out that ask for what is so anyway, or for what must not be ignored.
pub fn translate(properties: &mut Properties, problems: &mut Vec<Problem>) {
    if properties.get("flushDiskType").is_some_and(|how| how.value == "SYNC_FLUSH") {
        properties.take("flushDiskType");
    }
    // RocketMQ's own sample files name the directory that it has anyway.
    let root = properties.get("storePathRootDir").map(|root| format!("{}/commitlog", root.value));
    if properties.get("storePathCommitLog").is_some_and(|log| Some(&log.value) == root.as_ref()) {
        properties.take("storePathCommitLog");
    }
    // A broker that is open although its file says otherwise would be worse than one that does not start.
    if let Some(Property { value, origin, .. }) = properties.take("aclEnable")
        && value != "false"
    {
        let reason = "there is no access control yet: allowed is false".to_owned();
        problems.push(Problem::Value { key: "aclEnable", value, origin, reason });
    }
}
