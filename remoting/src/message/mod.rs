//! Stored messages: the bytes of a commit log, of a pull's answer, of a batch.
//!
//! ```text
//!   total | magic | crc | queueId | flag | queueOffset | physicalOffset | sysFlag | bornTimestamp
//!     4   |   4   |  4  |    4    |   4  |      8      |       8        |    4    |      8
//!   bornHost | storeTimestamp | storeHost | reconsumeTimes | preparedTransactionOffset
//!    8 or 20 |       8        |  8 or 20  |       4        |            8
//!   bodyLength body | topicLength topic | propertiesLength properties
//!       4       n   |   1 or 2      n   |        2             n
//! ```
//! All integers are big-endian. A host is its IP address and a 32-bit port. What broker, log and client agree
//! on is here; what a message means is not. Source: RocketMQ `MessageDecoder`, `MessageExtEncoder`.

pub mod batch;
pub mod hash;
pub mod id;
pub mod properties;
pub mod property;
pub mod sys_flag;

mod encode;
mod patch;
mod stored;

use thiserror::Error;

pub use batch::{BatchItem, BatchItems};
pub use encode::StoredMessageFields;
pub use hash::{body_crc, index_hash, java_string_hash_code, tags_code};
pub use id::{IdText, OffsetMsgId, UniqKeyGenerator};
pub use patch::{patch_physical_offset, patch_queue_offset, patch_store_timestamp, peek_store_timestamp};
pub use stored::{StoredMessage, StoredMessages};

/// Magic of a stored message whose topic length is one byte.
pub const MAGIC_V1: u32 = 0xDAA3_20A7;

/// Magic of a stored message whose topic length is two bytes: topics longer than [`TOPIC_V1_MAX`].
pub const MAGIC_V2: u32 = 0xDAA3_20AB;

/// Magic behind the last message of a RocketMQ segment file.
pub const MAGIC_BLANK: u32 = 0xCBD4_3194;

/// The longest topic, in bytes, of a V1 message. Go clients read every message as V1.
pub const TOPIC_V1_MAX: usize = i8::MAX as usize;

/// The longest topic in bytes.
pub const TOPIC_MAX: usize = i16::MAX as usize;

/// The longest properties in bytes.
pub const PROPERTIES_MAX: usize = i16::MAX as usize;

/// The largest message, whole: a bound for checking lengths, far above any broker's setting.
pub const MESSAGE_MAX: usize = 128 * 1024 * 1024;

/// Bytes of a V1 message with IPv4 hosts besides body, topic and properties.
const FIXED_BYTES: usize = 91;

/// An IPv6 address has so many bytes more than an IPv4 one.
const IPV6_EXTRA_BYTES: usize = 12;

const QUEUE_OFFSET_AT: usize = 20;
const PHYSICAL_OFFSET_AT: usize = 28;
const SYS_FLAG_AT: usize = 36;
const BORN_HOST_AT: usize = 48;

/// Why bytes are not a message, or fields cannot become one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MessageError {
    /// The bytes end inside the message.
    #[error("message needs {needed} bytes, {available} are there")]
    Truncated {
        /// Bytes needed to get any further.
        needed: usize,
        /// Bytes given.
        available: usize,
    },
    /// The magic is not that of a stored message.
    #[error("magic {0:#010x} is not a stored message's")]
    Magic(u32),
    /// A length is negative or reaches past the message's end.
    #[error("length {length} of {field} does not fit the message")]
    Length {
        /// Whose length.
        field: &'static str,
        /// Its value.
        length: i64,
    },
    /// The parts do not add up to the total size.
    #[error("total size is {total} bytes, the parts are {parts}")]
    Size {
        /// The message's own total.
        total: usize,
        /// Where its last part ends.
        parts: usize,
    },
    /// Text is not UTF-8.
    #[error("{0} is not utf-8")]
    Text(&'static str),
    /// The body's CRC is not the stored one.
    #[error("body crc is {actual:#010x}, stored {stored:#010x}")]
    BodyCrc {
        /// As stored.
        stored: u32,
        /// As computed.
        actual: u32,
    },
    /// A part is too long to be encoded.
    #[error("{field} has {bytes} bytes, at most {max} fit")]
    TooLong {
        /// Which part.
        field: &'static str,
        /// Its size.
        bytes: usize,
        /// The most that fits.
        max: usize,
    },
    /// An id is not hex digits of the right number.
    #[error("message id {0:?} is not 32 or 56 hex digits")]
    Id(String),
}

/// A cursor whose every step is checked.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], MessageError> {
        let taken = self.bytes[self.at..].get(..len).ok_or(MessageError::Truncated {
            needed: self.at.saturating_add(len),
            available: self.bytes.len(),
        })?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MessageError> {
        let taken = self.take(N)?;
        Ok(*taken.first_chunk().expect("taken in this length"))
    }

    fn i32(&mut self) -> Result<i32, MessageError> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, MessageError> {
        self.array().map(i64::from_be_bytes)
    }

    /// A part behind its own length of `N` bytes, signed unless it is a single byte.
    fn part<const N: usize>(&mut self, field: &'static str) -> Result<&'a [u8], MessageError> {
        let prefix = self.array::<N>()?;
        let length = match prefix.as_slice() {
            [one] => i64::from(*one),
            [a, b] => i64::from(i16::from_be_bytes([*a, *b])),
            [a, b, c, d] => i64::from(i32::from_be_bytes([*a, *b, *c, *d])),
            _ => unreachable!("lengths have one, two or four bytes"),
        };
        let len = usize::try_from(length).map_err(|_| MessageError::Length { field, length })?;
        self.take(len).map_err(|_| MessageError::Length { field, length })
    }
}

fn utf8<'a>(bytes: &'a [u8], field: &'static str) -> Result<&'a str, MessageError> {
    std::str::from_utf8(bytes).map_err(|_| MessageError::Text(field))
}

fn too_long(field: &'static str, bytes: usize, max: usize) -> Result<(), MessageError> {
    if bytes <= max { Ok(()) } else { Err(MessageError::TooLong { field, bytes, max }) }
}

#[cfg(test)]
mod tests;
