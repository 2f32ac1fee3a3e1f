//! Writing stored messages.

use std::net::{IpAddr, SocketAddr};

use bytes::BufMut;

use super::{
    FIXED_BYTES, IPV6_EXTRA_BYTES, MAGIC_V1, MAGIC_V2, MESSAGE_MAX, MessageError, PROPERTIES_MAX, TOPIC_MAX,
    TOPIC_V1_MAX, sys_flag, too_long,
};

/// All of a message, ready to be written in one pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredMessageFields<'a> {
    /// [`body_crc`](super::body_crc) of the body.
    pub body_crc: u32,
    /// The queue.
    pub queue_id: i32,
    /// The user's own flag.
    pub flag: i32,
    /// Ordinal in its queue; may be [patched](super::patch_queue_offset) later.
    pub queue_offset: i64,
    /// Position in the commit log; may be [patched](super::patch_physical_offset) later.
    pub physical_offset: i64,
    /// Bits of [`sys_flag`]; those for IPv6 hosts are set from the hosts.
    pub sys_flag: i32,
    /// When the client made it, in ms since the epoch.
    pub born_timestamp: i64,
    /// The client.
    pub born_host: SocketAddr,
    /// When the broker stored it, in ms since the epoch; may be [patched](super::patch_store_timestamp) later.
    pub store_timestamp: i64,
    /// The broker. Ids are made of it, so it has to be the same on every replica.
    pub store_host: SocketAddr,
    /// How often a consumer has failed on it.
    pub reconsume_times: i32,
    /// The physical offset of the half message that it was committed from; 0 for none.
    pub prepared_transaction_offset: i64,
    /// The body, compressed or not.
    pub body: &'a [u8],
    /// The topic.
    pub topic: &'a str,
    /// Text of the properties.
    pub properties: &'a str,
}

impl StoredMessageFields<'_> {
    /// The size in bytes that [`encode_into`](Self::encode_into) will append.
    ///
    /// Errors: a part, or the whole, is too long.
    pub fn encoded_len(&self) -> Result<usize, MessageError> {
        too_long("topic", self.topic.len(), TOPIC_MAX)?;
        too_long("properties", self.properties.len(), PROPERTIES_MAX)?;
        too_long("body", self.body.len(), MESSAGE_MAX)?;
        let host = |host: SocketAddr| if host.is_ipv6() { IPV6_EXTRA_BYTES } else { 0 };
        let total = FIXED_BYTES
            + usize::from(self.is_v2())
            + host(self.born_host)
            + host(self.store_host)
            + self.body.len()
            + self.topic.len()
            + self.properties.len();
        too_long("message", total, MESSAGE_MAX)?;
        Ok(total)
    }

    /// Appends the message: V1, or V2 if the topic needs it. Returns its size.
    ///
    /// Errors: as [`encoded_len`](Self::encoded_len), before anything is written.
    /// Panics if `out` is of fixed size and too small.
    pub fn encode_into(&self, out: &mut impl BufMut) -> Result<usize, MessageError> {
        let total = self.encoded_len()?;
        let host_flag = |host: SocketAddr, bit| if host.is_ipv6() { bit } else { 0 };
        out.put_u32(total as u32);
        out.put_u32(if self.is_v2() { MAGIC_V2 } else { MAGIC_V1 });
        out.put_u32(self.body_crc);
        out.put_i32(self.queue_id);
        out.put_i32(self.flag);
        out.put_i64(self.queue_offset);
        out.put_i64(self.physical_offset);
        out.put_i32(
            self.sys_flag & !(sys_flag::BORN_HOST_V6 | sys_flag::STORE_HOST_V6)
                | host_flag(self.born_host, sys_flag::BORN_HOST_V6)
                | host_flag(self.store_host, sys_flag::STORE_HOST_V6),
        );
        out.put_i64(self.born_timestamp);
        put_host(out, self.born_host);
        out.put_i64(self.store_timestamp);
        put_host(out, self.store_host);
        out.put_i32(self.reconsume_times);
        out.put_i64(self.prepared_transaction_offset);
        out.put_u32(self.body.len() as u32);
        out.put_slice(self.body);
        if self.is_v2() {
            out.put_u16(self.topic.len() as u16);
        } else {
            out.put_u8(self.topic.len() as u8);
        }
        out.put_slice(self.topic.as_bytes());
        out.put_u16(self.properties.len() as u16);
        out.put_slice(self.properties.as_bytes());
        Ok(total)
    }

    fn is_v2(&self) -> bool {
        self.topic.len() > TOPIC_V1_MAX
    }
}

impl<'a> From<super::StoredMessage<'a>> for StoredMessageFields<'a> {
    fn from(message: super::StoredMessage<'a>) -> Self {
        Self {
            body_crc: message.body_crc,
            queue_id: message.queue_id,
            flag: message.flag,
            queue_offset: message.queue_offset,
            physical_offset: message.physical_offset,
            sys_flag: message.sys_flag,
            born_timestamp: message.born_timestamp,
            born_host: message.born_host,
            store_timestamp: message.store_timestamp,
            store_host: message.store_host,
            reconsume_times: message.reconsume_times,
            prepared_transaction_offset: message.prepared_transaction_offset,
            body: message.body,
            topic: message.topic,
            properties: message.properties,
        }
    }
}

pub(super) fn put_host(out: &mut impl BufMut, host: SocketAddr) {
    match host.ip() {
        IpAddr::V4(ip) => out.put_slice(&ip.octets()),
        IpAddr::V6(ip) => out.put_slice(&ip.octets()),
    }
    out.put_u32(u32::from(host.port()));
}
