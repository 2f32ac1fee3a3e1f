//! The entry of one key of one message, and the hash that names the key.

use trireme_remoting::message::{properties, property};

/// One key of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// [`key_hash`]. First, because the derived order is the order in runs: by hash, then by log position.
    pub hash: u64,
    pub physical_offset: u64,
    pub store_time_ms: i64,
}

/// Length of an encoded entry.
pub(super) const ENTRY_BYTES: usize = 24;

impl Entry {
    /// Hash 8, physical offset 8, store time 8, big-endian.
    pub fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&self.hash.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.physical_offset.to_be_bytes());
        bytes[16..].copy_from_slice(&self.store_time_ms.to_be_bytes());
        bytes
    }

    pub fn from_bytes(bytes: &[u8; ENTRY_BYTES]) -> Entry {
        let (words, _) = bytes.as_chunks::<8>();
        Entry {
            hash: u64::from_be_bytes(words[0]),
            physical_offset: u64::from_be_bytes(words[1]),
            store_time_ms: i64::from_be_bytes(words[2]),
        }
    }
}

/// The hash under which a topic's key is indexed: FNV-1a, 64 bits, over the UTF-8 bytes of `topic#key`.
///
/// Part of the format, so it is spelt out here and will not change. RocketMQ hashes the same text to 31
/// bits. FNV can be made to collide on purpose; that gains nobody more than using one key for many messages,
/// since every candidate is compared with the real key.
pub fn key_hash(topic: &str, key: &str) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    [topic.as_bytes(), b"#", key.as_bytes()]
        .into_iter()
        .flatten()
        .fold(OFFSET_BASIS, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

/// What a message is found by: its client's id and its keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageKeys<'a> {
    /// `UNIQ_KEY`.
    pub unique: Option<&'a str>,
    /// `KEYS`, separated by blanks.
    pub keys: &'a str,
}

impl<'a> MessageKeys<'a> {
    /// Those of a message with these properties. Of a repeated property the last counts.
    pub fn of(text: &'a str) -> Self {
        let mut found = Self::default();
        for (name, value) in properties::iter(text) {
            match name {
                property::UNIQ_KEY => found.unique = Some(value),
                property::KEYS => found.keys = value,
                _ => {}
            }
        }
        found
    }

    /// [`key_hash`] of each.
    pub fn hashes(self, topic: &str) -> impl Iterator<Item = u64> {
        let keys = self.keys.split(' ').filter(|key| !key.is_empty());
        self.unique.into_iter().chain(keys).map(move |key| key_hash(topic, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes on disk outlive the program. Values from another implementation of FNV-1a.
    #[test]
    fn hash_is_stable() {
        assert_eq!(key_hash("", ""), 0xaf63_9e4c_8601_8332);
        assert_eq!(key_hash("TopicTest", "KEY1"), 0xda7d_693f_2b06_dbb3);
        assert_ne!(key_hash("a", "b"), key_hash("b", "a"));
    }

    /// Golden bytes of an entry, both ways.
    #[test]
    fn entry_has_golden_bytes() {
        let entry = Entry { hash: 0x0102_0304_0506_0708, physical_offset: 9, store_time_ms: -1 };
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 9, 255, 255, 255, 255, 255, 255, 255, 255];
        assert_eq!(entry.to_bytes(), bytes);
        assert_eq!(Entry::from_bytes(&bytes), entry);
    }
}
