//! What is left of administration.

use super::{SubscriptionData, bodies};

bodies! {
    /// Answer to `QUERY_CONSUME_QUEUE` (321).
    #[derive(Default, Eq)]
    pub struct ConsumeQueueResponse {
        /// What the group's filter was compiled to.
        pub filter_data: Option<String>,
        /// The queue's end, exclusive.
        pub max_queue_index: i64,
        /// The queue's smallest offset.
        pub min_queue_index: i64,
        /// The units.
        pub queue_data: Vec<ConsumeQueueUnit>,
        /// The group's subscription, if a group was asked for.
        pub subscription_data: Option<SubscriptionData>,
    }

    /// One unit of a consume queue.
    #[derive(Default, Eq)]
    pub struct ConsumeQueueUnit {
        /// Filter bits, if there are any.
        pub bit_map: Option<String>,
        /// Whether the group's filter lets it through.
        pub eval: bool,
        /// The extension unit as JSON, if there is one.
        pub extend_data_json: Option<String>,
        /// Why the filter could not be evaluated.
        pub msg: Option<String>,
        /// Position in the commit log.
        pub physic_offset: i64,
        /// Size in the commit log.
        pub physic_size: i32,
        /// The tag's code.
        pub tags_code: i64,
    }
}
