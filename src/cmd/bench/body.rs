//! Bodies that can be checked where they arrive.
//!
//! ```text
//!   magic | crc | run | producer | length | sequence | sent | fill
//!     4   |  4  |  8  |    4     |   4    |    8     |  8   |  n      little-endian
//! ```
//! The checksum covers all behind it. `sent` is in microseconds since the run began: producers and consumers are one
//! process, so no clocks need to agree. The fill is random, so that nothing can be gained by packing it.

use bytes::{BufMut, Bytes, BytesMut};
use trireme_remoting::message::body_crc;

const MAGIC: u32 = u32::from_le_bytes(*b"TRBN");
const CRC_END: usize = 8;
/// The smallest body.
pub const MIN_BYTES: usize = 40;

/// What a body says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body {
    /// The run of the benchmark.
    pub run: u64,
    pub producer: u32,
    /// From 0, without gaps, for each producer.
    pub sequence: u64,
    /// When it was sent, or should have been.
    pub sent_us: u64,
}

/// Why bytes are not a body of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Somebody else's message.
    Foreign,
    /// Not as it was sent.
    Damaged,
}

/// Makes bodies of one size.
pub struct Maker {
    fill: Vec<u8>,
}

impl Maker {
    /// `size` is at least [`MIN_BYTES`].
    pub fn new(size: usize) -> Self {
        let mut fill = vec![0; size.saturating_sub(MIN_BYTES)];
        rand::Rng::fill(&mut rand::rng(), fill.as_mut_slice());
        Self { fill }
    }

    pub fn make(&self, body: Body) -> Bytes {
        let length = MIN_BYTES + self.fill.len();
        let mut bytes = BytesMut::with_capacity(length);
        bytes.put_u32_le(MAGIC);
        bytes.put_u32_le(0);
        bytes.put_u64_le(body.run);
        bytes.put_u32_le(body.producer);
        bytes.put_u32_le(u32::try_from(length).expect("the size of bodies is bounded by the arguments"));
        bytes.put_u64_le(body.sequence);
        bytes.put_u64_le(body.sent_us);
        bytes.put_slice(&self.fill);
        let crc = body_crc(&bytes[CRC_END..]);
        bytes[4..CRC_END].copy_from_slice(&crc.to_le_bytes());
        bytes.freeze()
    }
}

/// Reads a body and checks every byte of it.
pub fn read(bytes: &[u8]) -> Result<Body, Wrong> {
    let Some(head) = bytes.first_chunk::<MIN_BYTES>() else { return Err(Wrong::Foreign) };
    let u32_at = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
    if u32_at(0) != MAGIC {
        return Err(Wrong::Foreign);
    }
    if u32_at(4) != body_crc(&bytes[CRC_END..]) || usize::try_from(u32_at(20)) != Ok(bytes.len()) {
        return Err(Wrong::Damaged);
    }
    Ok(Body { run: u64_at(8), producer: u32_at(16), sequence: u64_at(24), sent_us: u64_at(32) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const BODY: Body = Body { run: 7 << 40, producer: 3, sequence: 1 << 33, sent_us: 99 };

    #[test]
    fn any_changed_cut_or_added_byte_is_seen() {
        for size in [MIN_BYTES, 41, 1000] {
            let bytes = Maker::new(size).make(BODY);
            assert_eq!(bytes.len(), size);
            assert_eq!(read(&bytes), Ok(BODY));
            for at in 0..size {
                let mut changed = bytes.to_vec();
                changed[at] ^= 0x10;
                assert!(read(&changed).is_err(), "byte {at} of {size}");
                assert!(read(&bytes[..at]).is_err(), "cut at {at} of {size}");
            }
            assert_eq!(read(&[&bytes[..], &[0]].concat()), Err(Wrong::Damaged));
        }
        assert_eq!(read(b"somebody else's message, long enough to be one of ours"), Err(Wrong::Foreign));
    }
}
