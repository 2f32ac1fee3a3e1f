//! Bytes to frames, as they arrive.

use bytes::{Buf, BytesMut};

use super::{
    Body, Frame, FrameError, MAX_FRAME_BYTES, MAX_HEADER_BYTES, PREFIX_BYTES, SerializeType, binary, json,
};

/// The first byte of a TLS record that carries a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// Takes frames off the front of a buffer that reads accumulate in.
///
/// Keeps no state between calls: what has been read of an unfinished frame stays in the buffer.
#[derive(Debug, Clone, Copy)]
pub struct FrameDecoder {
    /// The largest frame in bytes, length field included.
    pub max_frame: usize,
    /// The largest header in bytes.
    pub max_header: usize,
}

impl Default for FrameDecoder {
    fn default() -> Self {
        Self { max_frame: MAX_FRAME_BYTES, max_header: MAX_HEADER_BYTES }
    }
}

/// What the first eight bytes say.
struct Prefix {
    serialize: SerializeType,
    header: usize,
    body: usize,
}

impl FrameDecoder {
    /// The next whole frame, removed from `buffer`; `None` while it is not all there.
    ///
    /// Every length is checked against the limits as soon as it can be read, before the bytes that it
    /// promises arrive. The body shares the buffer's memory; the header's text is copied out, so that a
    /// request without a body holds none of it.
    /// Errors: the stream cannot be read any further; close it.
    pub fn decode(&self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some(prefix) = self.prefix(buffer)? else { return Ok(None) };
        if buffer.len() < PREFIX_BYTES + prefix.header + prefix.body {
            return Ok(None);
        }
        let header = &buffer[PREFIX_BYTES..PREFIX_BYTES + prefix.header];
        let mut frame = match prefix.serialize {
            SerializeType::Json => json::decode(header)?,
            SerializeType::RocketMq => binary::decode(header)?,
        };
        buffer.advance(PREFIX_BYTES + prefix.header);
        if prefix.body > 0 {
            frame.body = Body::One(buffer.split_to(prefix.body).freeze());
        }
        Ok(Some(frame))
    }

    /// How many bytes are missing before [`decode`](Self::decode) can get further: those of the prefix or of
    /// the frame. Zero when a whole frame, or an error, is there.
    pub fn missing(&self, buffer: &BytesMut) -> usize {
        match self.prefix(buffer) {
            Ok(Some(prefix)) => (PREFIX_BYTES + prefix.header + prefix.body).saturating_sub(buffer.len()),
            Ok(None) => PREFIX_BYTES - buffer.len(),
            Err(_) => 0,
        }
    }

    fn prefix(&self, buffer: &BytesMut) -> Result<Option<Prefix>, FrameError> {
        let Some(length) = buffer.first_chunk::<4>() else {
            // A peer that says less than four bytes and waits is a port probe or a TLS client.
            return Ok(None);
        };
        let signed = i32::from_be_bytes(*length);
        if signed < 4 {
            return Err(FrameError::TooShort(signed));
        }
        let frame = signed as usize;
        if frame + 4 > self.max_frame {
            return Err(match length[0] {
                TLS_HANDSHAKE => FrameError::Tls,
                _ => FrameError::TooLarge { bytes: frame as u64 + 4, max: self.max_frame },
            });
        }
        let Some(prefix) = buffer.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
        let serialize = match prefix[4] {
            0 => SerializeType::Json,
            1 => SerializeType::RocketMq,
            other => return Err(FrameError::SerializeType(other)),
        };
        let header = u32::from_be_bytes([0, prefix[5], prefix[6], prefix[7]]) as usize;
        if header + 4 > frame {
            return Err(FrameError::HeaderOverrun { header, frame });
        }
        if header > self.max_header {
            return Err(FrameError::HeaderTooLarge { bytes: header, max: self.max_header });
        }
        Ok(Some(Prefix { serialize, header, body: frame - 4 - header }))
    }
}
