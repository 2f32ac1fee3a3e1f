//! Reading a segment without trusting it: with `read_at`, where a failing disk is an error and not a signal, and in
//! bounded pieces, whatever lengths the bytes claim.

use std::io;
use std::sync::Arc;

use crate::dir::SegmentIo;
use crate::frame::{ALIGN, FrameError, HEADER_LEN, Header, MAGIC};

/// What is read at once to walk headers: several small frames, or one header of a large one, per read.
const WINDOW: usize = 16 << 10;
/// What is read at once to check payloads and to search.
const CHUNK: usize = 256 << 10;
/// The unit that a disk writes as a whole or not at all.
pub(crate) const SECTOR: u64 = 512;

const _: () = assert!((CHUNK as u64).is_multiple_of(SECTOR) && WINDOW > HEADER_LEN);

/// A cursorless reader of one segment. Positions are bytes from the segment's start; what lies behind a file that is
/// too short reads as zero, since that is how it looks once the file has its length back.
#[derive(Debug)]
pub(crate) struct SegmentReader {
    io: Arc<dyn SegmentIo>,
    /// First physical offset of the segment.
    base: u64,
    segment_bytes: u64,
    window: Vec<u8>,
    window_at: u64,
    chunk: Vec<u8>,
}

impl SegmentReader {
    pub fn new(io: Arc<dyn SegmentIo>, base: u64, segment_bytes: u64) -> SegmentReader {
        SegmentReader { io, base, segment_bytes, window: Vec::new(), window_at: 0, chunk: Vec::new() }
    }

    /// The header at `pos`, checked for its place: it names its own physical offset, and its frame leaves room for a
    /// filler behind it (a filler needs none).
    pub fn header(&mut self, pos: u64) -> io::Result<Result<Header, FrameError>> {
        if self.segment_bytes < pos + HEADER_LEN as u64 {
            return Ok(Err(FrameError::Truncated {
                have: self.segment_bytes.saturating_sub(pos),
                need: HEADER_LEN as u64,
            }));
        }
        let end = pos + HEADER_LEN as u64;
        if pos < self.window_at || self.window_at + (self.window.len() as u64) < end {
            let len = (self.segment_bytes - pos).min(WINDOW as u64) as usize;
            self.window.resize(len, 0);
            self.window_at = pos;
            read_or_zero(&*self.io, pos, &mut self.window)?;
        }
        let at = (pos - self.window_at) as usize;
        Ok(self.judge_header(pos, &self.window[at..at + HEADER_LEN]))
    }

    /// Like [`SegmentReader::frame`], but reads nothing around it.
    pub fn peek(&mut self, pos: u64) -> io::Result<Result<Header, FrameError>> {
        let mut bytes = [0; HEADER_LEN];
        read_or_zero(&*self.io, pos, &mut bytes)?;
        match self.judge_header(pos, &bytes) {
            Ok(header) => self.judge_payload(pos, header),
            Err(error) => Ok(Err(error)),
        }
    }

    fn judge_header(&self, pos: u64, bytes: &[u8]) -> Result<Header, FrameError> {
        let header = Header::parse(bytes)?;
        let here = self.base + pos;
        if header.physical_offset != here {
            return Err(FrameError::Position { expected: here, found: header.physical_offset });
        }
        let room = self.segment_bytes - pos;
        let fits = header.frame_len() + HEADER_LEN as u64 <= room;
        if fits || (header.kind == crate::frame::FILLER && header.length == 0) {
            Ok(header)
        } else {
            Err(FrameError::Length { length: header.length })
        }
    }

    /// The frame at `pos`, wholly checked: place, checksum and padding.
    pub fn frame(&mut self, pos: u64) -> io::Result<Result<Header, FrameError>> {
        match self.header(pos)? {
            Ok(header) => self.judge_payload(pos, header),
            Err(error) => Ok(Err(error)),
        }
    }

    fn judge_payload(&mut self, pos: u64, header: Header) -> io::Result<Result<Header, FrameError>> {
        let payload = pos + HEADER_LEN as u64;
        let payload_end = payload + u64::from(header.length);
        let mut crc = header.own_crc();
        self.for_chunks(payload, payload_end, |_, bytes| {
            crc = crc32c::crc32c_append(crc, bytes);
            true
        })?;
        if let Err(error) = header.check_sum(crc) {
            return Ok(Err(error));
        }
        let mut padded = true;
        self.for_chunks(payload_end, pos + header.frame_len(), |_, bytes| {
            padded = all_zero(bytes);
            padded
        })?;
        Ok(if padded { Ok(header) } else { Err(FrameError::Padding) })
    }

    /// Whether some whole sector's part of `from..to` is all zero: a write of that range may have been lost there.
    pub fn has_zero_sector(&mut self, from: u64, to: u64) -> io::Result<bool> {
        let mut found = false;
        self.for_chunks(from, to, |at, bytes| {
            let mut rest = bytes;
            let mut at = at;
            while !rest.is_empty() && !found {
                let in_sector = (SECTOR - at % SECTOR).min(rest.len() as u64);
                let (part, behind) = rest.split_at(in_sector as usize);
                found = all_zero(part);
                rest = behind;
                at += in_sector;
            }
            !found
        })?;
        Ok(found)
    }

    /// Whether `from..to` is all zero.
    pub fn is_zero(&mut self, from: u64, to: u64) -> io::Result<bool> {
        let mut zero = true;
        self.for_chunks(from, to, |_, bytes| {
            zero = all_zero(bytes);
            zero
        })?;
        Ok(zero)
    }

    /// Searches for anything from `from` to the segment's end: the first byte that is not zero, and the first sound
    /// frame. Skips what was never written.
    pub fn search(&mut self, from: u64) -> io::Result<Found> {
        let mut found = Found { nonzero: None, frame: None };
        let mut pos = from.next_multiple_of(ALIGN);
        while pos < self.segment_bytes && found.frame.is_none() {
            let Some(data) = self.io.next_data(pos)? else { break };
            // Data may begin inside a word of which an earlier byte is a hole.
            pos = pos.max(data / ALIGN * ALIGN);
            if self.segment_bytes <= pos {
                break;
            }
            let end = (pos / CHUNK as u64 * CHUNK as u64 + CHUNK as u64).min(self.segment_bytes);
            let mut candidates = Vec::new();
            self.for_chunks(pos, end, |at, bytes| {
                if all_zero(bytes) {
                    return true;
                }
                for (n, word) in bytes.chunks(ALIGN as usize).enumerate() {
                    if word.iter().all(|&byte| byte == 0) {
                        continue;
                    }
                    let at = at + n as u64 * ALIGN;
                    found.nonzero.get_or_insert(at);
                    if word.starts_with(&MAGIC.to_le_bytes()) {
                        candidates.push(at);
                    }
                }
                true
            })?;
            for candidate in candidates {
                if self.frame(candidate)?.is_ok() {
                    found.frame = Some(candidate);
                    break;
                }
            }
            pos = end;
        }
        Ok(found)
    }

    /// Calls `visit` with each piece of `from..to` and where it lies, until it answers `false`. Pieces end at
    /// multiples of [`CHUNK`], so no sector is split between two that was not split by `from` or `to`.
    fn for_chunks(
        &mut self,
        from: u64,
        to: u64,
        mut visit: impl FnMut(u64, &[u8]) -> bool,
    ) -> io::Result<()> {
        let mut pos = from;
        while pos < to {
            let end = (pos / CHUNK as u64 * CHUNK as u64 + CHUNK as u64).min(to);
            self.chunk.resize((end - pos) as usize, 0);
            read_or_zero(&*self.io, pos, &mut self.chunk)?;
            if !visit(pos, &self.chunk) {
                return Ok(());
            }
            pos = end;
        }
        Ok(())
    }
}

/// What a search met.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Found {
    /// Position of the first word that is not zero.
    pub nonzero: Option<u64>,
    /// Position of the first sound frame.
    pub frame: Option<u64>,
}

/// Whether all bytes are zero, looking at many at once: preallocated segments hold a lot of them.
fn all_zero(bytes: &[u8]) -> bool {
    bytes.chunks(256).all(|chunk| chunk.iter().fold(0, |bits, byte| bits | byte) == 0)
}

fn read_or_zero(io: &dyn SegmentIo, pos: u64, buf: &mut [u8]) -> io::Result<()> {
    let read = io.read_at(pos, buf)?;
    buf[read..].fill(0);
    Ok(())
}
