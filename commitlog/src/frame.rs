//! The frame: one checksummed log entry, as `FORMAT.md` draws it. Pure: bytes in, fields out.

use std::fmt;

/// Bytes of a frame before its payload.
pub const HEADER_LEN: usize = 40;
/// Frames begin at multiples of this.
pub const ALIGN: u64 = 8;
/// The kind of the frame that closes a segment. Reserved for the log.
pub const FILLER: u8 = 0;
/// Format version that this release writes and reads.
pub const VERSION: u8 = 1;
/// First field of every frame: the bytes `TRMF`.
pub const MAGIC: u32 = u32::from_le_bytes(*b"TRMF");

const CRC_AT: usize = 12;

const _: () = assert!((HEADER_LEN as u64).is_multiple_of(ALIGN), "a payload must begin aligned");

/// Names one entry: the term of the leader that wrote it, and its place in the log.
///
/// Ordered by term, then index, as Raft compares logs.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug, Hash)]
pub struct LogId {
    /// Leadership epoch.
    pub term: u64,
    /// Ordinal in the log, from 0, without gaps.
    pub index: u64,
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.term, self.index)
    }
}

/// Why bytes are not a frame.
#[derive(Copy, Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FrameError {
    /// The bytes end before the frame does.
    #[error("{have} bytes where {need} are needed")]
    Truncated {
        /// Bytes there are.
        have: u64,
        /// Bytes the header, or the whole frame, takes.
        need: u64,
    },
    /// More bytes than the one frame.
    #[error("{extra} bytes after the frame")]
    Trailing {
        /// How many.
        extra: u64,
    },
    /// It does not begin like a frame.
    #[error("magic {found:#010x} is not a frame's")]
    Magic {
        /// What the first four bytes are.
        found: u32,
    },
    /// A version that this release does not read.
    #[error("frame version {found} is not {VERSION}")]
    Version {
        /// Its version.
        found: u8,
    },
    /// A reserved field is not zero.
    #[error("reserved field is {found:#06x}")]
    Reserved {
        /// What it is.
        found: u16,
    },
    /// The header names another position than where it lies.
    #[error("frame says physical offset {found}, it lies at {expected}")]
    Position {
        /// Where it lies.
        expected: u64,
        /// What its header says.
        found: u64,
    },
    /// The frame would leave no room for a filler before its segment ends.
    #[error("length {length} reaches past its segment")]
    Length {
        /// Payload length in the header.
        length: u32,
    },
    /// An entry that does not follow the one before it.
    #[error("frame holds entry {found}, {expected} comes next")]
    Index {
        /// The index that comes next.
        expected: u64,
        /// The index in the header.
        found: u64,
    },
    /// An entry of an older term than the one before it.
    #[error("frame holds term {found}, the entry before it {last}")]
    Term {
        /// The term of the entry before it.
        last: u64,
        /// The term in the header.
        found: u64,
    },
    /// A filler where an entry must be.
    #[error("a filler is not an entry")]
    Filler,
    /// Header and payload do not add up to the checksum.
    #[error("checksum {stored:#010x} in the header, {computed:#010x} computed")]
    Checksum {
        /// What the header says.
        stored: u32,
        /// What the bytes give.
        computed: u32,
    },
    /// The bytes between payload and the next frame are not zero.
    #[error("padding is not zero")]
    Padding,
}

/// The fixed part of a frame.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Header {
    /// What the payload is; [`FILLER`] or the caller's own.
    pub kind: u8,
    /// Bytes of payload, without padding.
    pub length: u32,
    /// CRC-32C over the header with this field zero, then the payload.
    pub crc: u32,
    /// The entry; in a filler, the entry before it.
    pub id: LogId,
    /// Where the frame's first byte lies.
    pub physical_offset: u64,
}

/// A whole, sound frame in memory.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct FrameView<'a> {
    /// Its header.
    pub header: Header,
    /// Its payload, without padding.
    pub payload: &'a [u8],
}

/// Length in bytes of a frame with `length` bytes of payload: header, payload and padding.
pub const fn frame_len(length: u64) -> u64 {
    (HEADER_LEN as u64 + length).next_multiple_of(ALIGN)
}

/// Decodes the frame at the start of `bytes`, which may go on behind it.
///
/// Checks every field that can be checked without context, the checksum, and that the padding is zero; the caller
/// checks `id` and `physical_offset` against what it expects there. Allocates nothing and never panics.
pub fn decode(bytes: &[u8]) -> Result<FrameView<'_>, FrameError> {
    let header = Header::parse(bytes)?;
    let need = header.frame_len();
    if (bytes.len() as u64) < need {
        return Err(FrameError::Truncated { have: bytes.len() as u64, need });
    }
    let end = HEADER_LEN + header.length as usize;
    let payload = &bytes[HEADER_LEN..end];
    header.check_sum(crc32c::crc32c_append(header.own_crc(), payload))?;
    // `need` is at most `bytes.len()`, so it fits in `usize`.
    if bytes[end..need as usize].iter().any(|&byte| byte != 0) {
        return Err(FrameError::Padding);
    }
    Ok(FrameView { header, payload })
}

impl Header {
    /// Reads the fields of a header at the start of `bytes`. Checks magic, version and reserved field, not the checksum.
    pub fn parse(bytes: &[u8]) -> Result<Header, FrameError> {
        let Some(bytes) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(FrameError::Truncated { have: bytes.len() as u64, need: HEADER_LEN as u64 });
        };
        let magic = u32_at(bytes, 0);
        if magic != MAGIC {
            return Err(FrameError::Magic { found: magic });
        }
        if bytes[4] != VERSION {
            return Err(FrameError::Version { found: bytes[4] });
        }
        let reserved = u16::from_le_bytes([bytes[6], bytes[7]]);
        if reserved != 0 {
            return Err(FrameError::Reserved { found: reserved });
        }
        Ok(Header {
            kind: bytes[5],
            length: u32_at(bytes, 8),
            crc: u32_at(bytes, CRC_AT),
            id: LogId { term: u64_at(bytes, 16), index: u64_at(bytes, 24) },
            physical_offset: u64_at(bytes, 32),
        })
    }

    /// The header as bytes, the pair of [`Header::parse`].
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4] = VERSION;
        bytes[5] = self.kind;
        bytes[8..12].copy_from_slice(&self.length.to_le_bytes());
        bytes[CRC_AT..16].copy_from_slice(&self.crc.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.id.term.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.id.index.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.physical_offset.to_le_bytes());
        bytes
    }

    /// Length in bytes of the whole frame: header, payload and padding.
    pub fn frame_len(&self) -> u64 {
        frame_len(u64::from(self.length))
    }

    /// CRC-32C of the header alone, its checksum field taken as zero: the seed for the payload's.
    pub(crate) fn own_crc(&self) -> u32 {
        crc32c::crc32c(&Header { crc: 0, ..*self }.encode())
    }

    /// Compares the checksum computed over header and payload with the stored one.
    pub(crate) fn check_sum(&self, computed: u32) -> Result<(), FrameError> {
        if computed == self.crc { Ok(()) } else { Err(FrameError::Checksum { stored: self.crc, computed }) }
    }
}

/// The frame that closes a segment at `physical_offset`, behind the entry `last`.
///
/// It is a header alone: what is between it and the segment's end was never written. It names the entry before it,
/// not the one that did not fit, so that its bytes follow from the log before it and are equal on every replica.
pub(crate) fn filler(last: LogId, physical_offset: u64) -> [u8; HEADER_LEN] {
    let mut header = Header { kind: FILLER, length: 0, crc: 0, id: last, physical_offset };
    header.crc = header.own_crc();
    header.encode()
}

/// A frame under construction: a buffer whose first [`HEADER_LEN`] bytes wait for the header.
///
/// The producer encodes its payload straight behind them, and the same memory is written to the segment: there is no
/// copy in between.
#[derive(Debug)]
pub struct FrameBuf {
    kind: u8,
    bytes: Vec<u8>,
}

impl FrameBuf {
    /// An empty frame. Panics if `kind` is [`FILLER`], which is the log's own.
    pub fn new(kind: u8) -> FrameBuf {
        FrameBuf::with_capacity(kind, 0)
    }

    /// An empty frame with room for `payload_bytes` of payload. Panics if `kind` is [`FILLER`].
    pub fn with_capacity(kind: u8, payload_bytes: usize) -> FrameBuf {
        assert!(kind != FILLER, "frame kind {FILLER} is reserved for fillers");
        let mut bytes = Vec::with_capacity(HEADER_LEN + payload_bytes + ALIGN as usize);
        bytes.resize(HEADER_LEN, 0);
        FrameBuf { kind, bytes }
    }

    /// What the payload is.
    pub fn kind(&self) -> u8 {
        self.kind
    }

    /// The buffer to append payload to; as a `Vec` it is a `BufMut` and an `io::Write`.
    ///
    /// Its first [`HEADER_LEN`] bytes are the header's room: a position in it is a position in the payload plus
    /// [`HEADER_LEN`]. They must stay; what is in them does not matter.
    pub fn writer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends to the payload.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The payload so far.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[HEADER_LEN..]
    }

    /// The payload so far, to patch in place.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[HEADER_LEN..]
    }

    /// Bytes of payload so far.
    pub fn len(&self) -> usize {
        self.bytes.len() - HEADER_LEN
    }

    /// Whether there is no payload yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the frame takes in the log: header, payload and padding.
    pub fn frame_len(&self) -> u64 {
        frame_len(self.len() as u64)
    }

    /// Makes the frame final: pads it, and writes the header with its checksum. Returns the whole frame.
    ///
    /// Panics if the payload is 4 GiB or more; the log refuses frames larger than a segment before it comes here.
    pub fn finish(&mut self, id: LogId, physical_offset: u64) -> &[u8] {
        let length = u32::try_from(self.len()).expect("the log checks the length against the segment size");
        let mut header = Header { kind: self.kind, length, crc: 0, id, physical_offset };
        header.crc = crc32c::crc32c_append(header.own_crc(), self.payload());
        self.bytes[..HEADER_LEN].copy_from_slice(&header.encode());
        self.bytes.resize(header.frame_len() as usize, 0);
        &self.bytes
    }
}

fn u32_at(bytes: &[u8; HEADER_LEN], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8; HEADER_LEN], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
