//! One pass over a message's properties for everything that decides its way.

use trireme_remoting::message::{properties, property};

use crate::queues::keys::MessageKeys;

/// What a message's properties say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen<'a> {
    /// The tag that pulls filter by.
    pub tags: Option<&'a str>,
    /// The client's own id.
    pub uniq_key: Option<&'a str>,
    /// Keys that it is found by, separated by blanks.
    pub keys: &'a str,
    /// Delay level, 1 to 18; 0 for none.
    pub delay_level: i32,
    /// A consumer's own limit of retries.
    pub max_reconsume_times: Option<i32>,
    /// A property that asks for delivery at an arbitrary time.
    pub timer: Option<&'a str>,
    /// The first half of a transaction.
    pub transaction: bool,
    /// A receipt handle of an earlier delivery; not stored again.
    pub pop_check: bool,
    /// Topic and queue that a delayed message goes to.
    pub real_topic: Option<&'a str>,
    /// See `real_topic`.
    pub real_queue: Option<i32>,
    /// The topic that a retried message was first sent to.
    pub retry_topic: Option<&'a str>,
    /// The id that a retried message first had.
    pub origin_message_id: Option<&'a str>,
}

impl<'a> Seen<'a> {
    /// What the message is found by.
    pub fn message_keys(&self) -> MessageKeys<'a> {
        MessageKeys { unique: self.uniq_key, keys: self.keys }
    }
}

/// Reads properties; of a repeated one the last counts.
pub fn scan(text: &str) -> Seen<'_> {
    let mut seen = Seen::default();
    for (name, value) in properties::iter(text) {
        match name {
            property::TAGS => seen.tags = Some(value),
            property::UNIQ_KEY => seen.uniq_key = Some(value),
            property::KEYS => seen.keys = value,
            property::DELAY_TIME_LEVEL => seen.delay_level = value.parse().unwrap_or(0),
            property::MAX_RECONSUME_TIMES => seen.max_reconsume_times = value.parse().ok(),
            property::TIMER_DELAY_SEC | property::TIMER_DELAY_MS | property::TIMER_DELIVER_MS => {
                seen.timer = Some(name);
            }
            property::TRANSACTION_PREPARED => seen.transaction = value.eq_ignore_ascii_case("true"),
            property::POP_CK => seen.pop_check = true,
            property::REAL_TOPIC => seen.real_topic = Some(value),
            property::REAL_QUEUE_ID => seen.real_queue = value.parse().ok(),
            property::RETRY_TOPIC => seen.retry_topic = Some(value),
            property::ORIGIN_MESSAGE_ID => seen.origin_message_id = Some(value),
            _ => {}
        }
    }
    seen
}
