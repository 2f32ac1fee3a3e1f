//! Frames to bytes.

use super::{Frame, FrameError, PREFIX_BYTES, SerializeType, binary, json};
use crate::fields::Header;
use crate::version::Language;

/// What three bytes can say of a header's length.
const HEADER_LENGTH_MAX: usize = (1 << 24) - 1;

/// A frame without its fields and its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) code: i32,
    pub(crate) language: Language,
    pub(crate) version: i32,
    pub(crate) opaque: i32,
    pub(crate) flag: i32,
    pub(crate) remark: Option<&'a str>,
    pub(crate) serialize: SerializeType,
}

impl Head<'_> {
    /// Appends the lengths, which count a body of `body` bytes, and the header with the fields of `header`.
    ///
    /// The body has to follow on the wire. On an error `out` is as before. Errors: the frame would exceed
    /// `max_frame` bytes, or its header cannot be written.
    pub(crate) fn encode(
        &self,
        header: &impl Header,
        body: usize,
        out: &mut Vec<u8>,
        max_frame: usize,
    ) -> Result<(), FrameError> {
        let start = out.len();
        out.extend_from_slice(&[0; PREFIX_BYTES]);
        let notation = match self.serialize {
            SerializeType::Json => {
                json::encode(self, header, out);
                Ok(())
            }
            SerializeType::RocketMq => binary::encode(self, header, out),
        };
        let header = out.len() - start - PREFIX_BYTES;
        match notation.and_then(|()| prefix(self.serialize, header, body, max_frame)) {
            Ok(prefix) => out[start..start + PREFIX_BYTES].copy_from_slice(&prefix),
            Err(error) => {
                out.truncate(start);
                return Err(error);
            }
        }
        Ok(())
    }
}

/// What stands before a header of `header` bytes.
fn prefix(
    serialize: SerializeType,
    header: usize,
    body: usize,
    max_frame: usize,
) -> Result<[u8; PREFIX_BYTES], FrameError> {
    if header > HEADER_LENGTH_MAX {
        return Err(FrameError::HeaderTooLarge { bytes: header, max: HEADER_LENGTH_MAX });
    }
    let bytes = PREFIX_BYTES + header + body;
    let length = match i32::try_from(bytes - 4) {
        Ok(length) if bytes <= max_frame => length,
        _ => return Err(FrameError::TooLarge { bytes: bytes as u64, max: max_frame }),
    };
    let mut prefix = [0; PREFIX_BYTES];
    prefix[..4].copy_from_slice(&length.to_be_bytes());
    prefix[4..].copy_from_slice(&(header as u32).to_be_bytes());
    prefix[4] = serialize as u8;
    Ok(prefix)
}

impl Frame {
    /// Appends everything but the body to `out`: the lengths, which count the body, and the header.
    ///
    /// The body's [parts](super::Body::parts) have to follow it on the wire. On an error `out` is as before.
    /// Errors: the frame would exceed `max_frame` bytes, or its header cannot be written.
    pub fn encode_header(&self, out: &mut Vec<u8>, max_frame: usize) -> Result<(), FrameError> {
        self.encode_header_with(&self.ext, out, max_frame)
    }

    /// As [`encode_header`](Self::encode_header), with the fields of `header` in place of the frame's own.
    pub fn encode_header_with(
        &self,
        header: &impl Header,
        out: &mut Vec<u8>,
        max_frame: usize,
    ) -> Result<(), FrameError> {
        let head = Head {
            code: self.code,
            language: self.language,
            version: self.version,
            opaque: self.opaque,
            flag: self.flag,
            remark: self.remark.as_deref(),
            serialize: self.serialize,
        };
        head.encode(header, self.body.len(), out, max_frame)
    }
}
