//! Frames to bytes.

use bytes::BytesMut;

use super::{Frame, FrameError, PREFIX_BYTES, SerializeType, binary, json};

/// What three bytes can say of a header's length.
const HEADER_LENGTH_MAX: usize = (1 << 24) - 1;

impl Frame {
    /// Appends everything but the body to `out`: the lengths, which count the body, and the header.
    ///
    /// The body's [parts](super::Body::parts) have to follow it on the wire. On an error `out` is as before.
    /// Errors: the frame would exceed `max_frame` bytes, or its header cannot be written.
    pub fn encode_header(&self, out: &mut BytesMut, max_frame: usize) -> Result<(), FrameError> {
        let start = out.len();
        let written = self.append_header(out, max_frame);
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    fn append_header(&self, out: &mut BytesMut, max_frame: usize) -> Result<(), FrameError> {
        let start = out.len();
        out.extend_from_slice(&[0; PREFIX_BYTES]);
        match self.serialize {
            SerializeType::Json => json::encode(self, out),
            SerializeType::RocketMq => binary::encode(self, out)?,
        }
        let header = out.len() - start - PREFIX_BYTES;
        if header > HEADER_LENGTH_MAX {
            return Err(FrameError::HeaderTooLarge { bytes: header, max: HEADER_LENGTH_MAX });
        }
        let bytes = PREFIX_BYTES + header + self.body.len();
        let length = match i32::try_from(bytes - 4) {
            Ok(length) if bytes <= max_frame => length,
            _ => return Err(FrameError::TooLarge { bytes: bytes as u64, max: max_frame }),
        };
        let prefix = &mut out[start..start + PREFIX_BYTES];
        prefix[..4].copy_from_slice(&length.to_be_bytes());
        prefix[4..].copy_from_slice(&(header as u32).to_be_bytes());
        prefix[4] = self.serialize as u8;
        Ok(())
    }
}
