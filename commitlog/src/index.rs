//! Where each entry of a sealed segment lies: an array in memory, or in the sidecar file beside the segment.
//!
//! The sidecar is derived. It is written once, some time after the segment is sealed and durable, and never synced:
//! when it is missing or does not fit, the array is rebuilt by walking the segment's headers.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::dir::LogDir;
use crate::frame::{ALIGN, FILLER, FrameError};
use crate::scan::SegmentReader;
use crate::segment::{Segment, sidecar_name};

const MAGIC: u32 = u32::from_le_bytes(*b"TRIX");
const VERSION: u8 = 1;
const HEADER_LEN: usize = 40;

/// Where one frame lies in its segment, in bytes from the segment's start.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Span {
    pub pos: u64,
    pub len: u64,
}

impl Span {
    pub fn end(self) -> u64 {
        self.pos + self.len
    }
}

/// The offsets of a sealed segment.
#[derive(Clone, Debug)]
pub(crate) struct SegmentIndex {
    offsets: Offsets,
    /// Where the filler lies, in units of [`ALIGN`]: the exclusive end of the last frame.
    end: u32,
}

/// One `u32` for each entry, in units of [`ALIGN`].
#[derive(Clone, Debug)]
enum Offsets {
    Memory(Arc<Vec<u32>>),
    /// Little-endian; a slice of the sidecar's map, so that the kernel keeps in memory what is used.
    Sidecar(Bytes),
}

impl SegmentIndex {
    /// The index of a segment that has just been sealed at `end_pos`.
    pub fn in_memory(offsets: Vec<u32>, end_pos: u64) -> SegmentIndex {
        SegmentIndex { offsets: Offsets::Memory(Arc::new(offsets)), end: pack(end_pos) }
    }

    /// Number of entries.
    pub fn len(&self) -> u64 {
        match &self.offsets {
            Offsets::Memory(offsets) => offsets.len() as u64,
            Offsets::Sidecar(bytes) => bytes.len() as u64 / 4,
        }
    }

    /// Where the filler lies.
    pub fn end_pos(&self) -> u64 {
        unpack(self.end)
    }

    /// Where the `nth` entry lies. Panics if there are fewer.
    pub fn span(&self, nth: u64) -> Span {
        let pos = unpack(self.get(nth));
        let end = if nth + 1 < self.len() { unpack(self.get(nth + 1)) } else { self.end_pos() };
        Span { pos, len: end - pos }
    }

    /// Which entry's frame holds the byte at `pos`; `None` from the filler on.
    pub fn nth_at(&self, pos: u64) -> Option<u64> {
        if self.end_pos() <= pos {
            return None;
        }
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if unpack(self.get(middle)) <= pos {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.checked_sub(1)
    }

    /// The offsets of the first `keep` entries, to go on appending behind them.
    pub fn to_vec(&self, keep: u64) -> Vec<u32> {
        (0..keep).map(|nth| self.get(nth)).collect()
    }

    fn get(&self, nth: u64) -> u32 {
        match &self.offsets {
            Offsets::Memory(offsets) => offsets[nth as usize],
            Offsets::Sidecar(bytes) => u32_at(bytes, nth as usize * 4),
        }
    }

    /// Writes the sidecar of `segment`, replacing an older one.
    pub fn write_sidecar(&self, dir: &dyn LogDir, segment: &Segment) -> io::Result<()> {
        let name = sidecar_name(segment.base);
        match dir.remove(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        dir.create(&name)?.write_at(0, &self.encode(segment))
    }

    fn encode(&self, segment: &Segment) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LEN];
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4] = VERSION;
        bytes[12..16].copy_from_slice(&self.end.to_le_bytes());
        bytes[16..24].copy_from_slice(&segment.base.to_le_bytes());
        bytes[24..32].copy_from_slice(&segment.first_index.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.len().to_le_bytes());
        for nth in 0..self.len() {
            bytes.extend_from_slice(&self.get(nth).to_le_bytes());
        }
        let crc = crc32c::crc32c(&bytes);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the sidecar of `segment`. `None` if it is missing, damaged, or of another segment: then it is to be
    /// rebuilt.
    pub fn read_sidecar(dir: &dyn LogDir, segment: &Segment, segment_bytes: u64) -> Option<SegmentIndex> {
        let (index, first_index) = Self::sidecar_at(dir, segment.base, segment_bytes)?;
        let is_its = (first_index, first_index + index.len()) == (segment.first_index, segment.next_index);
        is_its.then_some(index)
    }

    /// Which entry is the first of the segment at `base`, as its sidecar says.
    pub fn first_in_sidecar(dir: &dyn LogDir, base: u64, segment_bytes: u64) -> Option<u64> {
        Self::sidecar_at(dir, base, segment_bytes).map(|(_, first_index)| first_index)
    }

    /// The sidecar of the segment at `base`, if it is whole, and the index of its first entry.
    fn sidecar_at(dir: &dyn LogDir, base: u64, segment_bytes: u64) -> Option<(SegmentIndex, u64)> {
        let file = dir.open(&sidecar_name(base)).ok()?;
        let len = file.len().ok()?;
        let count = len.checked_sub(HEADER_LEN as u64)? / 4;
        file.load(0, len).ok()?;
        let bytes = file.slice(0, len).ok()?;
        file.release();
        let sum = crc32c::crc32c(&bytes[..8]);
        let sum = crc32c::crc32c_append(sum, &[0; 4]);
        let sum = crc32c::crc32c_append(sum, &bytes[12..]);
        let sound = len == HEADER_LEN as u64 + count * 4
            && bytes[0..4] == MAGIC.to_le_bytes()
            && bytes[4] == VERSION
            && bytes[8..12] == sum.to_le_bytes()
            && bytes[16..24] == base.to_le_bytes()
            && bytes[32..40] == count.to_le_bytes();
        let first_index = u64::from_le_bytes(*bytes[24..].first_chunk()?);
        let index =
            SegmentIndex { offsets: Offsets::Sidecar(bytes.slice(HEADER_LEN..)), end: u32_at(&bytes, 12) };
        let fits = index.rises_within(segment_bytes) && first_index.checked_add(count).is_some();
        (sound && fits).then_some((index, first_index))
    }

    /// Whether the offsets begin at 0 and rise to an end inside the segment, as `span` relies on. The checksum says
    /// that they are what was written; this says that what was written makes sense.
    fn rises_within(&self, segment_bytes: u64) -> bool {
        let mut previous = None;
        for nth in 0..self.len() {
            let offset = self.get(nth);
            let in_order = match previous {
                None => offset == 0,
                Some(previous) => previous < offset,
            };
            if !in_order {
                return false;
            }
            previous = Some(offset);
        }
        previous.is_some_and(|last| last < self.end) && self.end_pos() < segment_bytes
    }

    /// Rebuilds the index by walking the segment's headers up to its last entry. The inner error says where the walk
    /// failed and why.
    pub fn rebuild(
        segment: &Segment,
        segment_bytes: u64,
    ) -> io::Result<Result<SegmentIndex, (u64, FrameError)>> {
        let mut reader = SegmentReader::new(Arc::clone(&segment.io), segment.base, segment_bytes);
        let mut offsets = Vec::new();
        let mut pos = 0;
        for expected in segment.first_index..segment.next_index {
            let header = match reader.header(pos)? {
                Ok(header) => header,
                Err(error) => return Ok(Err((pos, error))),
            };
            if header.kind == FILLER {
                return Ok(Err((pos, FrameError::Filler)));
            }
            if header.id.index != expected {
                return Ok(Err((pos, FrameError::Index { expected, found: header.id.index })));
            }
            offsets.push(pack(pos));
            pos += header.frame_len();
        }
        Ok(Ok(SegmentIndex::in_memory(offsets, pos)))
    }
}

/// A position as the index keeps it. Positions are multiples of [`ALIGN`] below `8 << 32`, which the largest allowed
/// segment guarantees.
pub(crate) fn pack(pos: u64) -> u32 {
    u32::try_from(pos / ALIGN).expect("segments are small enough for u32 offsets in units of 8")
}

/// The pair of [`pack`].
pub(crate) fn unpack(offset: u32) -> u64 {
    u64::from(offset) * ALIGN
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
