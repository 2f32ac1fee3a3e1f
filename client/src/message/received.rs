//! A message that came from a broker.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tracing::warn;
use trireme_remoting::message::{
    MessageError, OffsetMsgId, StoredMessage, StoredMessages, properties, property, sys_flag,
};

use super::MessageQueue;
use crate::compression;

/// A message as it was stored. Clones are cheap: body and properties are slices of the broker's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedMessage {
    /// Where it lies. The topic is the one that it was sent to, also when it came back through a retry topic.
    pub queue: MessageQueue,
    /// Its ordinal in that queue, or in the retry topic's queue that it came through.
    pub queue_offset: i64,
    /// Its position in the broker's commit log, in bytes.
    pub physical_offset: i64,
    /// When the producer made it, in ms since the epoch, by the producer's clock.
    pub born_timestamp: i64,
    /// The producer.
    pub born_host: SocketAddr,
    /// When the broker stored it, in ms since the epoch.
    pub store_timestamp: i64,
    /// The broker.
    pub store_host: SocketAddr,
    /// How often consuming it has failed.
    pub reconsume_times: i32,
    /// The producer's own flag.
    pub flag: i32,
    /// Bits of [`sys_flag`]. `COMPRESSED` is set only if the body could not be unpacked, see [`body`](Self::body).
    pub sys_flag: i32,
    /// The body; still packed if this client does not know how, which `sys_flag` then says.
    pub body: Bytes,
    /// In wire form, known to be UTF-8.
    properties: Bytes,
}

impl ReceivedMessage {
    /// The topic that it was sent to.
    pub fn topic(&self) -> &str {
        &self.queue.topic
    }

    /// The id that its producer gave it, or the broker's if there is none.
    pub fn msg_id(&self) -> String {
        self.property(property::UNIQ_KEY).map_or_else(|| self.offset_msg_id(), str::to_owned)
    }

    /// The broker's id: where it lies.
    pub fn offset_msg_id(&self) -> String {
        OffsetMsgId { store_host: self.store_host, physical_offset: self.physical_offset }.to_string()
    }

    /// Its tag.
    pub fn tag(&self) -> Option<&str> {
        self.property(property::TAGS)
    }

    /// Its keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.property(property::KEYS).unwrap_or_default().split(' ').filter(|key| !key.is_empty())
    }

    /// The value of a property.
    pub fn property(&self, name: &str) -> Option<&str> {
        properties::get(self.properties_text(), name)
    }

    /// All properties, in their stored order.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        properties::iter(self.properties_text())
    }

    pub(crate) fn properties_text(&self) -> &str {
        std::str::from_utf8(&self.properties).expect("checked when the message was decoded")
    }

    /// The messages that lie back to back in `chunk`, with the topic and broker group that they were asked for.
    ///
    /// Errors: the bytes are not whole messages.
    pub(crate) fn decode_all(
        chunk: &Bytes,
        topic: &Arc<str>,
        broker: &Arc<str>,
    ) -> Result<Vec<Self>, MessageError> {
        StoredMessages::new(chunk).map(|stored| Ok(Self::decode(chunk, &stored?, topic, broker))).collect()
    }

    fn decode(chunk: &Bytes, stored: &StoredMessage<'_>, topic: &Arc<str>, broker: &Arc<str>) -> Self {
        let topic = if stored.topic == &**topic { topic.clone() } else { stored.topic.into() };
        let (body, sys_flag) = body(chunk, stored);
        Self {
            queue: MessageQueue { topic, broker_name: broker.clone(), queue_id: stored.queue_id },
            queue_offset: stored.queue_offset,
            physical_offset: stored.physical_offset,
            born_timestamp: stored.born_timestamp,
            born_host: stored.born_host,
            store_timestamp: stored.store_timestamp,
            store_host: stored.store_host,
            reconsume_times: stored.reconsume_times,
            flag: stored.flag,
            sys_flag,
            body,
            properties: chunk.slice_ref(stored.properties.as_bytes()),
        }
    }

    /// The message with one failure more.
    pub(crate) fn failed_once_more(&self) -> Self {
        let mut message = self.clone();
        message.reconsume_times = message.reconsume_times.saturating_add(1);
        message
    }

    /// Gives a message of the retry topic the topic that it was first sent to.
    pub(crate) fn restore_topic(&mut self) {
        if let Some(topic) = self.property(property::RETRY_TOPIC) {
            self.queue.topic = topic.into();
        }
    }
}

/// The body, unpacked if it can be, and the flags to go with it.
fn body(chunk: &Bytes, stored: &StoredMessage<'_>) -> (Bytes, i32) {
    if stored.sys_flag & sys_flag::COMPRESSED == 0 {
        return (chunk.slice_ref(stored.body), stored.sys_flag);
    }
    match compression::inflate(stored.body, stored.sys_flag) {
        Ok(body) => (body, stored.sys_flag & !sys_flag::COMPRESSED),
        Err(reason) => {
            warn!(
                topic = stored.topic,
                queue_id = stored.queue_id,
                queue_offset = stored.queue_offset,
                reason,
                "body not unpacked"
            );
            (chunk.slice_ref(stored.body), stored.sys_flag)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use trireme_remoting::message::{StoredMessageFields, body_crc};

    use super::*;

    fn stored(queue_offset: i64, body: &[u8], sys_flag: i32, properties: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let fields = StoredMessageFields {
            body_crc: body_crc(body),
            queue_id: 3,
            flag: 7,
            queue_offset,
            physical_offset: 4096,
            sys_flag,
            born_timestamp: 1,
            born_host: "10.0.0.9:51000".parse().unwrap(),
            store_timestamp: 2,
            store_host: "10.0.0.1:10911".parse().unwrap(),
            reconsume_times: 1,
            prepared_transaction_offset: 0,
            body,
            topic: "%RETRY%g",
            properties,
        };
        fields.encode_into(&mut out).unwrap();
        out
    }

    #[test]
    fn decoded_without_copies_and_unpacked() {
        let text = b"oar ".repeat(100);
        let packed = compression::deflate(&text).unwrap();
        let properties = "UNIQ_KEY\u{1}0A\u{2}TAGS\u{1}A\u{2}KEYS\u{1}k1 k2\u{2}RETRY_TOPIC\u{1}T\u{2}";
        let mut bytes = stored(7, b"plain", 0, properties);
        bytes.extend(stored(8, &packed, sys_flag::COMPRESSED, ""));
        bytes.extend(stored(9, b"lz4?", sys_flag::COMPRESSED | 1 << 8, ""));
        let chunk = Bytes::from(bytes);
        let (topic, broker) = ("%RETRY%g".into(), "b".into());
        let mut messages = ReceivedMessage::decode_all(&chunk, &topic, &broker).unwrap();
        assert_eq!(messages.len(), 3);
        assert_eq!(messages[1].body, text);
        assert_eq!(messages[1].sys_flag, 0);
        assert_eq!(messages[1].msg_id(), "0A00000100002A9F0000000000001000");
        assert_eq!(messages[2].body, "lz4?");
        assert_ne!(messages[2].sys_flag & sys_flag::COMPRESSED, 0);

        let first = &mut messages[0];
        assert!(chunk.as_ptr_range().contains(&first.body.as_ptr()));
        assert_eq!(first.queue, MessageQueue::new("%RETRY%g", "b", 3));
        first.restore_topic();
        assert_eq!((first.topic(), first.msg_id().as_str(), first.tag()), ("T", "0A", Some("A")));
        assert_eq!(first.keys().collect::<Vec<_>>(), ["k1", "k2"]);
        assert_eq!(first.queue_offset, 7);

        assert!(ReceivedMessage::decode_all(&chunk.slice(..chunk.len() - 1), &topic, &broker).is_err());
    }
}
