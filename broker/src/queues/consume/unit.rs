//! The unit, its queue, and the record that holds it on disk.

use std::fmt;

/// A queue: numeric ids, so that no name chosen by a client reaches the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId {
    /// The topic's number; never given to another topic.
    pub topic_id: u32,
    /// The queue's number in its topic.
    pub queue_id: u32,
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic_id, self.queue_id)
    }
}

/// Where one message lies, and the hash its tag filter needs. RocketMQ's ConsumeQueue unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The message's first byte in the commit log.
    pub physical_offset: u64,
    /// The stored message's length (bytes); never 0.
    pub size: u32,
    /// Java `hashCode` of the tags, sign-extended; a delivery time (ms) in the delay topic.
    pub tags_code: i64,
}

/// Length of an encoded unit.
pub const UNIT_BYTES: usize = 20;

/// Length of a unit with its checksum, the stride of a chunk file.
pub(super) const RECORD_BYTES: usize = UNIT_BYTES + 4;

impl Unit {
    /// RocketMQ's layout: physical offset 8, size 4, tags code 8, big-endian.
    pub fn to_bytes(self) -> [u8; UNIT_BYTES] {
        let mut bytes = [0; UNIT_BYTES];
        bytes[..8].copy_from_slice(&self.physical_offset.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.size.to_be_bytes());
        bytes[12..].copy_from_slice(&self.tags_code.to_be_bytes());
        bytes
    }

    /// The inverse of [`Unit::to_bytes`].
    pub fn from_bytes(bytes: &[u8; UNIT_BYTES]) -> Unit {
        let [o0, o1, o2, o3, o4, o5, o6, o7, s0, s1, s2, s3, tags @ ..] = *bytes;
        Unit {
            physical_offset: u64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7]),
            size: u32::from_be_bytes([s0, s1, s2, s3]),
            tags_code: i64::from_be_bytes(tags),
        }
    }
}

/// The start value of a queue's checksums. It binds a record to its queue, as the queue offset binds it to
/// its place: a block that the disk put elsewhere, or served stale from another file, does not pass.
pub(super) fn checksum_seed(q: QueueId) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&q.topic_id.to_be_bytes()), &q.queue_id.to_be_bytes())
}

/// The record of `unit` at `queue_offset` of the queue that `seed` belongs to.
pub(super) fn encode_record(seed: u32, queue_offset: u64, unit: Unit) -> [u8; RECORD_BYTES] {
    let bytes = unit.to_bytes();
    let mut record = [0; RECORD_BYTES];
    record[..UNIT_BYTES].copy_from_slice(&bytes);
    record[UNIT_BYTES..].copy_from_slice(&checksum(seed, queue_offset, &bytes).to_be_bytes());
    record
}

/// The unit of a record, or `None` if these are not the bytes that were written for this place.
pub(super) fn decode_record(seed: u32, queue_offset: u64, record: &[u8; RECORD_BYTES]) -> Option<Unit> {
    let (bytes, stored) = record.split_first_chunk::<UNIT_BYTES>()?;
    let unit = Unit::from_bytes(bytes);
    // No message is empty, so a hole in a sparse file fails even where its checksum happens to be 0.
    let sound = unit.size > 0 && stored == checksum(seed, queue_offset, bytes).to_be_bytes();
    sound.then_some(unit)
}

fn checksum(seed: u32, queue_offset: u64, unit: &[u8; UNIT_BYTES]) -> u32 {
    let mut covered = [0; 8 + UNIT_BYTES];
    covered[..8].copy_from_slice(&queue_offset.to_be_bytes());
    covered[8..].copy_from_slice(unit);
    crc32c::crc32c_append(seed, &covered)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: QueueId = QueueId { topic_id: 7, queue_id: 3 };
    const UNIT: Unit = Unit { physical_offset: 0x0102_0304_0506_0708, size: 0x090a_0b0c, tags_code: -2 };

    /// The bytes on disk are a promise: the first 20 are RocketMQ's.
    #[test]
    fn record_has_golden_bytes() {
        let record = encode_record(checksum_seed(QUEUE), 42, UNIT);
        let hex: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "0102030405060708090a0b0cfffffffffffffffea52d78fd");
        assert_eq!(decode_record(checksum_seed(QUEUE), 42, &record), Some(UNIT));
    }

    /// Any single flipped bit, another place or another queue makes a record unreadable.
    #[test]
    fn record_is_bound_to_its_bits_place_and_queue() {
        let seed = checksum_seed(QUEUE);
        let record = encode_record(seed, 42, UNIT);
        for bit in 0..RECORD_BYTES * 8 {
            let mut flipped = record;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_record(seed, 42, &flipped), None, "bit {bit}");
        }
        assert_eq!(decode_record(seed, 43, &record), None);
        assert_eq!(decode_record(checksum_seed(QueueId { topic_id: 3, queue_id: 7 }), 42, &record), None);
        assert_eq!(decode_record(seed, 42, &[0; RECORD_BYTES]), None);
        // The one place of this queue below 2^32 where a hole has the right checksum.
        assert_eq!(checksum(seed, 3_690_721_181, &[0; UNIT_BYTES]), 0);
        assert_eq!(decode_record(seed, 3_690_721_181, &[0; RECORD_BYTES]), None);
    }
}
