//! Names of message properties.

macro_rules! properties {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* #[doc = concat!("`", $text, "`")] pub const $name: &str = $text;)*
    };
}

properties! {
    /// What the message can be found by; several are separated by spaces.
    KEYS = "KEYS";
    /// What consumers filter by.
    TAGS = "TAGS";
    /// Whether the send waits for the store.
    WAIT_STORE_MSG_OK = "WAIT";
    /// The delay level, 1 to 18.
    DELAY_TIME_LEVEL = "DELAY";
    /// Messages of one sharding key stay in order.
    SHARDING_KEY = "__SHARDINGKEY";
    /// The id that the producer gave.
    UNIQ_KEY = "UNIQ_KEY";
    /// The producer's namespace.
    INSTANCE_ID = "INSTANCE_ID";
    /// The buyer, of multi-site deployments.
    BUYER_ID = "BUYER_ID";
    /// Of tracing.
    TRACE_CONTEXT = "TRACE_CONTEXT";
    /// The original topic of a message in a retry topic.
    RETRY_TOPIC = "RETRY_TOPIC";
    /// The topic that a parked message belongs to.
    REAL_TOPIC = "REAL_TOPIC";
    /// The queue that a parked message belongs to.
    REAL_QUEUE_ID = "REAL_QID";
    /// The id of the message that a retry is a copy of.
    ORIGIN_MESSAGE_ID = "ORIGIN_MESSAGE_ID";
    /// How often a consumer has failed on it.
    RECONSUME_TIME = "RECONSUME_TIME";
    /// After how many failures it goes to the dead-letter topic.
    MAX_RECONSUME_TIMES = "MAX_RECONSUME_TIMES";
    /// The topic that a dead letter comes from.
    DLQ_ORIGIN_TOPIC = "DLQ_ORIGIN_TOPIC";
    /// The message that a dead letter is a copy of.
    DLQ_ORIGIN_MESSAGE_ID = "DLQ_ORIGIN_MESSAGE_ID";
    /// When consumption began; set by the consumer.
    CONSUME_START_TIME = "CONSUME_START_TIME";
    /// `true` on a half message.
    TRANSACTION_PREPARED = "TRAN_MSG";
    /// The producer group of a transaction.
    PRODUCER_GROUP = "PGROUP";
    /// The transaction's id.
    TRANSACTION_ID = "__transactionId__";
    /// How often a half message was checked.
    TRANSACTION_CHECK_TIMES = "TRANSACTION_CHECK_TIMES";
    /// How long a half message is not checked, in seconds.
    CHECK_IMMUNITY_TIME_IN_SECONDS = "CHECK_IMMUNITY_TIME_IN_SECONDS";
    /// The queue offset of the half message's first copy.
    TRANSACTION_PREPARED_QUEUE_OFFSET = "TRAN_PREPARED_QUEUE_OFFSET";
    /// The queue's start; set by the consumer.
    MIN_OFFSET = "MIN_OFFSET";
    /// The queue's end; set by the consumer.
    MAX_OFFSET = "MAX_OFFSET";
    /// Pairs a reply with its request.
    CORRELATION_ID = "CORRELATION_ID";
    /// The client that waits for a reply.
    REPLY_TO_CLIENT = "REPLY_TO_CLIENT";
    /// How long the requester waits, in ms.
    TTL = "TTL";
    /// When a reply reached the broker, in ms since the epoch.
    ARRIVE_TIME = "ARRIVE_TIME";
    /// When a reply was pushed, in ms since the epoch.
    PUSH_REPLY_TIME = "PUSH_REPLY_TIME";
    /// `reply` on a reply.
    MESSAGE_TYPE = "MSG_TYPE";
    /// The cluster that stored the message.
    CLUSTER = "CLUSTER";
    /// The receipt handle of a popped message.
    POP_CK = "POP_CK";
    /// The offset that a receipt handle is for.
    POP_CK_OFFSET = "POP_CK_OFFSET";
    /// When the message was first popped, in ms since the epoch.
    FIRST_POP_TIME = "1ST_POP_TIME";
    /// Deliver after so many seconds.
    TIMER_DELAY_SEC = "TIMER_DELAY_SEC";
    /// Deliver after so many milliseconds.
    TIMER_DELAY_MS = "TIMER_DELAY_MS";
    /// Deliver at this time, in ms since the epoch.
    TIMER_DELIVER_MS = "TIMER_DELIVER_MS";
    /// The time that a parked message is due, in ms since the epoch.
    TIMER_OUT_MS = "TIMER_OUT_MS";
    /// When it was parked, in ms since the epoch.
    TIMER_ENQUEUE_MS = "TIMER_ENQUEUE_MS";
    /// When it was taken out again, in ms since the epoch.
    TIMER_DEQUEUE_MS = "TIMER_DEQUEUE_MS";
    /// How often it was parked again.
    TIMER_ROLL_TIMES = "TIMER_ROLL_TIMES";
    /// The UNIQ_KEY of the parked message that this one cancels.
    TIMER_DEL_UNIQKEY = "TIMER_DEL_UNIQKEY";
    /// The level of a delay kept in the timer.
    TIMER_DELAY_LEVEL = "TIMER_DELAY_LEVEL";
    /// Messages in a batch that is stored as one.
    INNER_NUM = "INNER_NUM";
    /// The first queue offset of such a batch.
    INNER_BASE = "INNER_BASE";
    /// The light queues that the message is in too.
    INNER_MULTI_DISPATCH = "INNER_MULTI_DISPATCH";
    /// Its offsets there.
    INNER_MULTI_QUEUE_OFFSET = "INNER_MULTI_QUEUE_OFFSET";
    /// The broker's region.
    MSG_REGION = "MSG_REGION";
    /// Whether the broker lets traces through.
    TRACE_ON = "TRACE_ON";
    /// The batch's own UNIQ_KEY.
    EXTEND_UNIQ_INFO = "EXTEND_UNIQ_INFO";
    /// Of message transfer between sites.
    TRANSFER_FLAG = "TRANSFER_FLAG";
    /// Of message transfer between sites.
    CORRECTION_FLAG = "CORRECTION_FLAG";
    /// Of message transfer between sites.
    MQ2_FLAG = "MQ2_FLAG";
    /// Of duplicate detection.
    DUP_INFO = "DUP_INFO";
    /// Of redirected requests.
    REDIRECT = "REDIRECT";
    /// The queue that a message is forwarded to.
    FORWARD_QUEUE_ID = "PROPERTY_FORWARD_QUEUE_ID";
    /// Where the message was born, where the broker saw only a proxy.
    BORN_HOST = "__BORNHOST";
    /// When the message was born, in ms since the epoch.
    BORN_TIMESTAMP = "BORN_TIMESTAMP";
    /// The CRC of the whole message; kept last.
    CRC32 = "__CRC32#";
}

/// Properties with this prefix are not stored.
pub const TRANSIENT_PREFIX: &str = "__RMQ.TRANSIENT.";

/// Topics with this prefix are light queues of [`INNER_MULTI_DISPATCH`].
pub const LMQ_PREFIX: &str = "%LMQ%";
