//! A message to be sent.

use std::sync::Arc;

use bytes::Bytes;
use trireme_remoting::message::{properties, property};

use crate::error::ClientError;
use crate::validate;

/// The largest body by default: RocketMQ's `maxMessageSize`.
pub(crate) const BODY_MAX: usize = 4 << 20;

/// Properties that brokers and clients set themselves; a user's value for one would break something.
const RESERVED: &[&str] = &[
    property::UNIQ_KEY,
    property::WAIT_STORE_MSG_OK,
    property::RETRY_TOPIC,
    property::REAL_TOPIC,
    property::REAL_QUEUE_ID,
    property::TRANSACTION_PREPARED,
    property::PRODUCER_GROUP,
    property::MIN_OFFSET,
    property::MAX_OFFSET,
    property::ORIGIN_MESSAGE_ID,
    property::RECONSUME_TIME,
    property::MAX_RECONSUME_TIMES,
    property::MSG_REGION,
    property::TRACE_ON,
    property::CLUSTER,
];

/// A message to be sent: a topic, a body of bytes, and properties.
///
/// What is wrong with it (an empty property, a reserved name) is told by the send, before anything goes out.
///
/// ```
/// use trireme_client::Message;
///
/// let order = Message::new("orders", "17 oars")
///     .with_tag("created")
///     .with_keys(["order-17"])
///     .with_property("shop", "piraeus");
/// assert_eq!(order.property("shop"), Some("piraeus"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub(crate) topic: Arc<str>,
    pub(crate) body: Bytes,
    pub(crate) flag: i32,
    /// In wire form, so that a send copies text and builds no map.
    pub(crate) properties: String,
    /// The first thing found wrong with it.
    fault: Option<String>,
}

impl Message {
    /// A message without properties. A body of `&'static str`, `Vec<u8>`, `String` or `Bytes` is not copied.
    pub fn new(topic: impl Into<Arc<str>>, body: impl Into<Bytes>) -> Self {
        Self { topic: topic.into(), body: body.into(), flag: 0, properties: String::new(), fault: None }
    }

    /// The tag that consumers can filter by.
    pub fn with_tag(self, tag: &str) -> Self {
        self.set(property::TAGS, tag)
    }

    /// What the message can be found by, see [`Admin::query_by_key`](crate::Admin::query_by_key). A key has no
    /// space in it.
    pub fn with_keys<K: AsRef<str>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        let mut joined = String::new();
        for key in keys {
            let key = key.as_ref();
            if key.is_empty() || key.contains(' ') {
                self.fault.get_or_insert_with(|| format!("key {key:?} is empty or has a space"));
            }
            if !joined.is_empty() {
                joined.push(' ');
            }
            joined.push_str(key);
        }
        self.set(property::KEYS, &joined)
    }

    /// Delivers the message later: after the time that the broker has for this level, 1 (1 s) to 18 (2 h) by
    /// default.
    pub fn with_delay_level(self, level: u8) -> Self {
        self.set(property::DELAY_TIME_LEVEL, &level.to_string())
    }

    /// Messages of one sharding key go to one queue, see [`Producer::send_sharded`](crate::Producer::send_sharded).
    pub fn with_sharding_key(self, key: &str) -> Self {
        self.set(property::SHARDING_KEY, key)
    }

    /// A property of the user's own.
    pub fn with_property(mut self, name: &str, value: &str) -> Self {
        if RESERVED.contains(&name) {
            self.fault.get_or_insert_with(|| format!("property {name} is reserved"));
            return self;
        }
        self.set(name, value)
    }

    /// An opaque number that is stored with the message.
    pub fn with_flag(mut self, flag: i32) -> Self {
        self.flag = flag;
        self
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The value of a property.
    pub fn property(&self, name: &str) -> Option<&str> {
        properties::get(&self.properties, name)
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        if name.is_empty() || value.is_empty() {
            self.fault.get_or_insert_with(|| format!("property {name:?} has no name or no value"));
        } else if !properties::is_clean(name) || !properties::is_clean(value) {
            self.fault
                .get_or_insert_with(|| format!("property {name:?} has a control character 1 or 2 in it"));
        } else if self.properties.is_empty() {
            properties::append(&mut self.properties, name, value);
        } else {
            properties::set(&mut self.properties, name, value);
        }
        self
    }

    /// Errors: the topic is no name to write to, a property is not one, or the body is larger than `body_max`.
    pub(crate) fn validate(&self, body_max: usize) -> Result<(), ClientError> {
        validate::writable_topic(&self.topic)?;
        let refuse = |reason: String| Err(ClientError::Message { topic: self.topic.to_string(), reason });
        if let Some(fault) = &self.fault {
            refuse(fault.clone())
        } else if self.body.is_empty() {
            refuse("the body is empty".to_owned())
        } else if self.body.len() > body_max {
            refuse(format!("the body has {} bytes, at most {body_max} are allowed", self.body.len()))
        } else {
            Ok(())
        }
    }

    /// A message with properties that were already checked, by us or by the broker that stored them.
    pub(crate) fn with_raw_properties(
        topic: impl Into<Arc<str>>,
        body: Bytes,
        flag: i32,
        properties: String,
    ) -> Self {
        Self { topic: topic.into(), body, flag, properties, fault: None }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn properties_are_in_wire_form() {
        let message = Message::new("T", "body").with_tag("A").with_keys(["k1", "k2"]).with_delay_level(3);
        assert_eq!(message.properties, "TAGS\u{1}A\u{2}KEYS\u{1}k1 k2\u{2}DELAY\u{1}3\u{2}");
        let message = message.with_tag("B");
        assert_eq!(message.property("TAGS"), Some("B"));
        assert!(message.validate(BODY_MAX).is_ok());
    }

    #[test]
    fn what_cannot_be_sent() {
        let body = || Message::new("T", "body");
        for (message, reason) in [
            (Message::new("../../x", "body"), "outside"),
            (Message::new("", "body"), "is empty"),
            (Message::new("SCHEDULE_TOPIC_XXXX", "body"), "reserved"),
            (Message::new("T", ""), "body is empty"),
            (Message::new("T", vec![0; 9]), "9 bytes, at most 8"),
            (body().with_property("UNIQ_KEY", "x"), "UNIQ_KEY is reserved"),
            (body().with_property("a", ""), "no value"),
            (body().with_property("", "a"), "no name"),
            (body().with_property("a", "b\u{2}c"), "control character"),
            (body().with_keys(["a b"]), "space"),
            (body().with_keys([] as [&str; 0]), "no value"),
        ] {
            let error = message.validate(8).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
