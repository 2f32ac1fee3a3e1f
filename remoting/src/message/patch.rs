//! Stamping an encoded message with what only its place in the log decides.
//!
//! A message is encoded when its request is handled and becomes final when it is appended: these put the last
//! three fields in place without another pass. None of them is under the body's CRC.

use super::{
    BORN_HOST_AT, FIXED_BYTES, IPV6_EXTRA_BYTES, PHYSICAL_OFFSET_AT, QUEUE_OFFSET_AT, SYS_FLAG_AT, sys_flag,
};

/// Sets the position in the commit log. Panics if `message` is shorter than any message is.
pub fn patch_physical_offset(message: &mut [u8], physical_offset: i64) {
    put(message, PHYSICAL_OFFSET_AT, physical_offset);
}

/// Sets the ordinal in the queue. Panics if `message` is shorter than any message is.
pub fn patch_queue_offset(message: &mut [u8], queue_offset: i64) {
    put(message, QUEUE_OFFSET_AT, queue_offset);
}

/// Sets the store time, in ms since the epoch. Panics if `message` is shorter than any message is.
pub fn patch_store_timestamp(message: &mut [u8], store_timestamp: i64) {
    put(message, store_timestamp_at(message), store_timestamp);
}

/// The store time of a message that nothing else is wanted of, in ms since the epoch. `None` if `message` is shorter than
/// any message is.
pub fn peek_store_timestamp(message: &[u8]) -> Option<i64> {
    if message.len() < FIXED_BYTES {
        return None;
    }
    let bytes = message.get(store_timestamp_at(message)..)?.first_chunk()?;
    Some(i64::from_be_bytes(*bytes))
}

fn store_timestamp_at(message: &[u8]) -> usize {
    let born_v6 = message[SYS_FLAG_AT + 3] & sys_flag::BORN_HOST_V6 as u8 != 0;
    BORN_HOST_AT + 8 + if born_v6 { IPV6_EXTRA_BYTES } else { 0 }
}

fn put(message: &mut [u8], at: usize, value: i64) {
    assert!(message.len() >= FIXED_BYTES, "a stored message has at least {FIXED_BYTES} bytes");
    message[at..at + 8].copy_from_slice(&value.to_be_bytes());
}
