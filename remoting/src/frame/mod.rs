//! One frame: a header in one of two notations, and a body of raw bytes.
//!
//! ```text
//!   0         4          5            8                8 + header
//!   | length  | notation | header len | header         | body ...
//!   |  i32    |   u8     |   u24      | JSON or binary |
//! ```
//! `length` counts what follows it. Source: RocketMQ `RemotingCommand`, `NettyDecoder`.

mod binary;
mod decode;
mod encode;
mod json;

use bytes::Bytes;
use thiserror::Error;

use crate::code::RequestCode;
use crate::ext::{ExtFields, MAX_FIELDS};
use crate::json::JsonError;
use crate::version::{self, Language};

pub use decode::FrameDecoder;
pub(crate) use encode::Head;

/// The largest frame by default, length field included: RocketMQ's `com.rocketmq.remoting.frameMaxLength`.
pub const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;

/// The largest header that is read by default. Properties, the largest field, have at most 32767 bytes.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;

/// Length field, notation and header length.
const PREFIX_BYTES: usize = 8;

/// Bit 0 of `flag`: the frame answers the request with the same opaque.
pub(crate) const RESPONSE: i32 = 1;

/// Bit 1 of `flag`: the frame is a request that must not be answered.
const ONEWAY: i32 = 2;

/// In which notation a header is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SerializeType {
    /// A JSON object (0). What every client writes unless told otherwise.
    Json = 0,
    /// Fixed binary fields (1).
    RocketMq = 1,
}

/// A request or a response.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Request code, or response code when [`is_response`](Self::is_response).
    pub code: i32,
    /// The sender's language.
    pub language: Language,
    /// The ordinal of the sender's version, see [`version`].
    pub version: i32,
    /// Pairs a response with its request, on one connection and in one direction.
    pub opaque: i32,
    /// Bit set; use [`is_response`](Self::is_response) and [`is_oneway`](Self::is_oneway).
    pub flag: i32,
    /// Text for people: why a request was refused.
    pub remark: Option<String>,
    /// The request's or response's own header fields.
    pub ext: ExtFields,
    /// Payload.
    pub body: Body,
    /// The notation of the header.
    pub serialize: SerializeType,
}

impl Frame {
    /// A request of ours: JSON header, opaque 0 until a connection assigns one.
    pub fn request(code: RequestCode) -> Self {
        Self::new(code.code(), 0)
    }

    /// A response of ours; the [`Responder`](crate::Responder) fills in opaque and notation.
    pub fn response(code: i32) -> Self {
        Self::new(code, RESPONSE)
    }

    fn new(code: i32, flag: i32) -> Self {
        Self {
            code,
            language: Language::Java,
            version: version::OURS,
            opaque: 0,
            flag,
            remark: None,
            ext: ExtFields::new(),
            body: Body::Empty,
            serialize: SerializeType::Json,
        }
    }

    /// With this remark.
    pub fn with_remark(mut self, remark: impl Into<String>) -> Self {
        self.remark = Some(remark.into());
        self
    }

    /// With these extension fields, in place of those it had.
    pub fn with_ext(mut self, ext: ExtFields) -> Self {
        self.ext = ext;
        self
    }

    /// With this body.
    pub fn with_body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// Whether this answers a request.
    pub fn is_response(&self) -> bool {
        self.flag & RESPONSE != 0
    }

    /// Whether this is a request that must not be answered.
    pub fn is_oneway(&self) -> bool {
        self.flag & ONEWAY != 0
    }

    /// Marks a request as one that must not be answered.
    pub fn set_oneway(&mut self) {
        self.flag |= ONEWAY;
    }

    pub(crate) fn set_request(&mut self, opaque: i32) {
        self.opaque = opaque;
        self.flag &= !(RESPONSE | ONEWAY);
    }

    pub(crate) fn set_response(&mut self) {
        self.flag = (self.flag | RESPONSE) & !ONEWAY;
    }

    /// The request code, if it has a name here.
    pub fn request_code(&self) -> Result<RequestCode, crate::code::UnknownRequestCode> {
        RequestCode::try_from(self.code)
    }

    /// The frame's bytes, contiguous.
    ///
    /// For tests and tools: a connection writes the header and the body's parts without joining them.
    /// Errors: [`FrameError::TooLarge`], [`FrameError::HeaderTooLarge`], [`FrameError::KeyTooLong`].
    pub fn to_bytes(&self) -> Result<Bytes, FrameError> {
        let mut out = Vec::new();
        self.encode_header(&mut out, MAX_FRAME_BYTES)?;
        self.body.parts().for_each(|part| out.extend_from_slice(part));
        Ok(out.into())
    }
}

/// A frame's payload.
#[derive(Debug, Clone, Default)]
pub enum Body {
    /// No bytes.
    #[default]
    Empty,
    /// One run of bytes; every received body that is not empty.
    One(Bytes),
    /// Several runs that are sent behind each other without being joined: the answer to a pull is made of
    /// slices of the commit log.
    Many(Vec<Bytes>),
}

impl Body {
    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.parts().map(Bytes::len).sum()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.parts().all(Bytes::is_empty)
    }

    /// The runs, in order.
    pub fn parts(&self) -> impl Iterator<Item = &Bytes> {
        match self {
            Body::Empty => [].iter(),
            Body::One(part) => std::slice::from_ref(part).iter(),
            Body::Many(parts) => parts.iter(),
        }
    }

    /// The bytes of a body of at most one run, as every received one is.
    ///
    /// Panics on `Many` with more than one run: join those with [`to_bytes`](Self::to_bytes).
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Body::Empty => &[],
            Body::One(part) => part,
            Body::Many(parts) => match parts.as_slice() {
                [] => &[],
                [part] => part,
                _ => panic!("a body of several runs has no single slice"),
            },
        }
    }

    /// The bytes as one run; copies only when there are several.
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Body::Empty => Bytes::new(),
            Body::One(part) => part.clone(),
            Body::Many(parts) => match parts.as_slice() {
                [part] => part.clone(),
                parts => parts.concat().into(),
            },
        }
    }
}

/// Equal when the bytes are, however they are split into runs.
impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        self.to_bytes() == other.to_bytes()
    }
}

impl Eq for Body {}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Body::Empty } else { Body::One(bytes) }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<Vec<Bytes>> for Body {
    fn from(parts: Vec<Bytes>) -> Self {
        Body::Many(parts)
    }
}

/// Why bytes are not a frame, or a frame cannot be bytes. A connection that reads such bytes is closed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The peer opened with a TLS handshake.
    #[error("peer speaks tls, this port is plain")]
    Tls,
    /// The frame is larger than the limit; found before anything is allocated for it.
    #[error("frame of {bytes} bytes exceeds the limit of {max}")]
    TooLarge {
        /// Its size with the length field.
        bytes: u64,
        /// The limit.
        max: usize,
    },
    /// The length field leaves no room for the header's own length.
    #[error("frame length {0} is below 4")]
    TooShort(i32),
    /// The header reaches past the frame's end.
    #[error("header of {header} bytes in a frame of {frame} bytes")]
    HeaderOverrun {
        /// The claimed header length.
        header: usize,
        /// The frame's bytes after the length field.
        frame: usize,
    },
    /// The header is larger than the limit.
    #[error("header of {bytes} bytes exceeds the limit of {max}")]
    HeaderTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The notation byte is neither JSON nor ROCKETMQ.
    #[error("header notation {0} is unknown")]
    SerializeType(u8),
    /// The header is not the JSON that it should be.
    #[error("json header: {0}")]
    Json(#[from] JsonError),
    /// A JSON header lacks a field, or the field has the wrong kind.
    #[error("json header: field {0} is missing or not a number")]
    JsonField(&'static str),
    /// A binary header ends inside this field.
    #[error("binary header ends inside its {0}")]
    BinaryOverrun(&'static str),
    /// Text in a binary header is not UTF-8.
    #[error("binary header: {0} is not utf-8")]
    BinaryText(&'static str),
    /// More extension fields than [`MAX_FIELDS`].
    #[error("more than {MAX_FIELDS} header fields")]
    TooManyFields,
    /// A field's name does not fit the 15 bits that a binary header has for its length.
    #[error("header field name of {0} bytes does not fit a binary header")]
    KeyTooLong(usize),
}

#[cfg(test)]
mod tests;
