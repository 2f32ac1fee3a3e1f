//! Queues, and locks on them.

use std::collections::BTreeSet;

use super::bodies;

bodies! {
    /// One queue of one topic at one broker group. As a key of a map it is written as an object.
    #[derive(Default, Eq, PartialOrd, Ord, Hash)]
    pub struct MessageQueue {
        /// The broker group.
        pub broker_name: String,
        /// The queue.
        pub queue_id: i32,
        /// The topic.
        pub topic: String,
    }

    /// Request of `LOCK_BATCH_MQ` (41) and `UNLOCK_BATCH_MQ` (42).
    #[derive(Default, Eq)]
    pub struct LockBatchBody {
        /// The member that wants, or gives back, the locks.
        pub client_id: String,
        /// The group.
        pub consumer_group: String,
        /// The queues.
        pub mq_set: BTreeSet<MessageQueue>,
        /// Whether other replicas are not to be asked.
        pub only_this_broker: bool,
    }

    /// Answer to `LOCK_BATCH_MQ` (41).
    #[derive(Default, Eq)]
    pub struct LockBatchResponse {
        /// The queues that the member holds now.
        #[serde(rename = "lockOKMQSet")]
        pub lock_ok_mq_set: BTreeSet<MessageQueue>,
    }
}
