//! Reading stored messages.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    BORN_HOST_AT, Input, MAGIC_V1, MAGIC_V2, MESSAGE_MAX, MessageError, PHYSICAL_OFFSET_AT, QUEUE_OFFSET_AT,
    SYS_FLAG_AT, body_crc, properties, sys_flag, utf8,
};

/// A checked view of one stored message; nothing is copied.
///
/// Every length and all text was checked when it was parsed. The body's CRC was not: ask
/// [`verify_body`](Self::verify_body).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StoredMessage<'a> {
    /// The message's bytes, all of them and no more.
    pub bytes: &'a [u8],
    /// CRC-32 of the body without its top bit, as stored.
    pub body_crc: u32,
    /// The queue.
    pub queue_id: i32,
    /// The user's own flag.
    pub flag: i32,
    /// Ordinal in its queue.
    pub queue_offset: i64,
    /// Position in the commit log.
    pub physical_offset: i64,
    /// Bits of [`sys_flag`].
    pub sys_flag: i32,
    /// When the client made it, in ms since the epoch.
    pub born_timestamp: i64,
    /// The client.
    pub born_host: SocketAddr,
    /// When the broker stored it, in ms since the epoch.
    pub store_timestamp: i64,
    /// The broker.
    pub store_host: SocketAddr,
    /// How often a consumer has failed on it.
    pub reconsume_times: i32,
    /// The physical offset of the half message that it was committed from.
    pub prepared_transaction_offset: i64,
    /// The body, compressed if [`sys_flag::COMPRESSED`] is set.
    pub body: &'a [u8],
    /// The topic.
    pub topic: &'a str,
    /// Text of the properties, see [`properties`].
    pub properties: &'a str,
}

impl<'a> StoredMessage<'a> {
    /// Reads the message at the start of `bytes`, which may go on behind it.
    ///
    /// Errors: the bytes are too few, or are not one whole consistent message.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let total = Self::size(bytes)?;
        let available = bytes.len();
        let bytes = bytes.get(..total).ok_or(MessageError::Truncated { needed: total, available })?;
        let mut input = Input::new(bytes);
        input.take(4)?;
        let magic = u32::from_be_bytes(input.array()?);
        if magic != MAGIC_V1 && magic != MAGIC_V2 {
            return Err(MessageError::Magic(magic));
        }
        let body_crc = u32::from_be_bytes(input.array()?);
        let queue_id = input.i32()?;
        let flag = input.i32()?;
        debug_assert_eq!(input.at, QUEUE_OFFSET_AT);
        let queue_offset = input.i64()?;
        debug_assert_eq!(input.at, PHYSICAL_OFFSET_AT);
        let physical_offset = input.i64()?;
        debug_assert_eq!(input.at, SYS_FLAG_AT);
        let sys_flag = input.i32()?;
        let born_timestamp = input.i64()?;
        debug_assert_eq!(input.at, BORN_HOST_AT);
        let born_host = input.host(sys_flag & sys_flag::BORN_HOST_V6 != 0)?;
        let store_timestamp = input.i64()?;
        let store_host = input.host(sys_flag & sys_flag::STORE_HOST_V6 != 0)?;
        let reconsume_times = input.i32()?;
        let prepared_transaction_offset = input.i64()?;
        let body = input.part::<4>("body")?;
        let topic = if magic == MAGIC_V1 { input.part::<1>("topic")? } else { input.part::<2>("topic")? };
        let properties = input.part::<2>("properties")?;
        if input.at != total {
            return Err(MessageError::Size { total, parts: input.at });
        }
        Ok(Self {
            bytes,
            body_crc,
            queue_id,
            flag,
            queue_offset,
            physical_offset,
            sys_flag,
            born_timestamp,
            born_host,
            store_timestamp,
            store_host,
            reconsume_times,
            prepared_transaction_offset,
            body,
            topic: utf8(topic, "topic")?,
            properties: utf8(properties, "properties")?,
        })
    }

    /// The total size that the first four bytes claim, checked to be possible; the rest may not be there.
    pub fn size(bytes: &[u8]) -> Result<usize, MessageError> {
        let size = Input::new(bytes).i32()?;
        match usize::try_from(size) {
            Ok(total) if (super::FIXED_BYTES..=MESSAGE_MAX).contains(&total) => Ok(total),
            _ => Err(MessageError::Length { field: "message", length: i64::from(size) }),
        }
    }

    /// The value of a property.
    pub fn property(&self, name: &str) -> Option<&'a str> {
        properties::get(self.properties, name)
    }

    /// Errors: the body is not the one that was stored.
    pub fn verify_body(&self) -> Result<(), MessageError> {
        let actual = body_crc(self.body);
        if actual == self.body_crc {
            Ok(())
        } else {
            Err(MessageError::BodyCrc { stored: self.body_crc, actual })
        }
    }
}

impl Input<'_> {
    /// A host; its port has four bytes of which a real one fills two.
    fn host(&mut self, v6: bool) -> Result<SocketAddr, MessageError> {
        let ip = if v6 {
            IpAddr::V6(Ipv6Addr::from(self.array::<16>()?))
        } else {
            IpAddr::V4(Ipv4Addr::from(self.array::<4>()?))
        };
        let port = self.i32()?;
        let port = u16::try_from(port)
            .map_err(|_| MessageError::Length { field: "port", length: i64::from(port) })?;
        Ok(SocketAddr::new(ip, port))
    }
}

/// Messages that lie back to back, as in the answer to a pull.
///
/// Ends after the last one, or after the first error: nothing behind it can be found.
#[derive(Debug, Clone)]
pub struct StoredMessages<'a> {
    rest: &'a [u8],
}

impl<'a> StoredMessages<'a> {
    /// Iterates over `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for StoredMessages<'a> {
    type Item = Result<StoredMessage<'a>, MessageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let message = StoredMessage::parse(self.rest);
        self.rest = match &message {
            Ok(message) => &self.rest[message.bytes.len()..],
            Err(_) => &[],
        };
        Some(message)
    }
}
