//! Finding single messages, transactions, recalls: codes 12, 33, 37, 39, 323, 370.

use super::header;

/// The raw extension field of `QUERY_MESSAGE` that asks for a UNIQ_KEY in place of a user's key.
pub const UNIQUE_KEY_QUERY: &str = "_UNIQUE_KEY_QUERY";

header! {
    /// Request of `QUERY_MESSAGE` (12).
    QueryMessageRequest<'a> {
        /// The topic.
        topic: &'a str = "topic",
        /// One of the message's KEYS, or its UNIQ_KEY.
        key: &'a str = "key",
        /// At most so many messages.
        max_num: i32 = "maxNum",
        /// Stored at or after, in ms since the epoch.
        begin_timestamp: i64 = "beginTimestamp",
        /// Stored at or before, in ms since the epoch.
        end_timestamp: i64 = "endTimestamp",
        /// Whether `key` is a UNIQ_KEY.
        unique_key: Option<bool> = "_UNIQUE_KEY_QUERY",
    }
}

header! {
    /// Answer to `QUERY_MESSAGE` (12).
    QueryMessageResponse {
        /// When the index was last written, in ms since the epoch.
        index_last_update_timestamp: i64 = "indexLastUpdateTimestamp",
        /// The physical offset that it reaches to.
        index_last_update_phyoffset: i64 = "indexLastUpdatePhyoffset",
    }
}

header! {
    /// Request of `VIEW_MESSAGE_BY_ID` (33).
    ViewMessageRequest<'a> {
        /// The topic (5.x).
        topic: Option<&'a str> = "topic",
        /// The message's physical offset.
        offset: i64 = "offset",
    }
}

header! {
    /// Request of `END_TRANSACTION` (37).
    EndTransactionRequest<'a> {
        /// The topic (5.x).
        topic: Option<&'a str> = "topic",
        /// The producer group; has to be the half message's.
        producer_group: &'a str = "producerGroup",
        /// The half message's queue offset.
        tran_state_table_offset: i64 = "tranStateTableOffset",
        /// The half message's physical offset.
        commit_log_offset: i64 = "commitLogOffset",
        /// 0 unknown, 8 commit, 12 rollback.
        commit_or_rollback: i32 = "commitOrRollback",
        /// Whether this answers a check.
        from_transaction_check: Option<bool> = "fromTransactionCheck",
        /// The half message's id.
        msg_id: &'a str = "msgId",
        /// Its UNIQ_KEY.
        transaction_id: Option<&'a str> = "transactionId",
    }
}

header! {
    /// Request of `RESUME_CHECK_HALF_MESSAGE` (323).
    ResumeCheckHalfMessageRequest<'a> {
        /// The topic.
        topic: Option<&'a str> = "topic",
        /// The half message's id.
        msg_id: &'a str = "msgId",
    }
}

header! {
    /// Request of `RECALL_MESSAGE` (370).
    RecallMessageRequest<'a> {
        /// The producer group.
        producer_group: Option<&'a str> = "producerGroup",
        /// The topic.
        topic: &'a str = "topic",
        /// What the send answered with.
        recall_handle: &'a str = "recallHandle",
    }
}

header! {
    /// Answer to `RECALL_MESSAGE` (370).
    RecallMessageResponse<'a> {
        /// The recalled message.
        msg_id: &'a str = "msgId",
    }
}
