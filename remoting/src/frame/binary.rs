//! The ROCKETMQ header: 21 fixed bytes, then remark and extension fields with their lengths.
//!
//! Source: RocketMQ `RocketMQSerializable`.

use bytes::BufMut;

use super::{Body, Frame, FrameError, Head, RESPONSE, SerializeType};
use crate::code::RequestCode;
use crate::ext::{ExtFields, MAX_FIELDS, Spans};
use crate::fields::{Digits, FieldSink, Header};
use crate::version::Language;

pub(super) fn encode(head: &Head<'_>, header: &impl Header, out: &mut Vec<u8>) -> Result<(), FrameError> {
    out.put_i16(head.code as i16);
    out.put_u8(head.language.code());
    out.put_i16(head.version as i16);
    out.put_i32(head.opaque);
    out.put_i32(head.flag);
    put_text(out, head.remark.unwrap_or("").as_bytes());
    let length_at = out.len();
    out.put_u32(0);
    let mut fields = Fields { out, too_long: None };
    header.write_fields(&mut fields);
    if let Some(bytes) = fields.too_long {
        return Err(FrameError::KeyTooLong(bytes));
    }
    // A header too long for these casts is refused by the caller, which knows its whole length.
    let length = (out.len() - length_at - 4) as u32;
    out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.put_u32(text.len() as u32);
    out.extend_from_slice(text);
}

struct Fields<'a> {
    out: &'a mut Vec<u8>,
    /// The length of a name that the notation cannot hold.
    too_long: Option<usize>,
}

impl Fields<'_> {
    fn field(&mut self, name: &str, value: &[u8]) {
        let Ok(name_len) = i16::try_from(name.len()) else {
            self.too_long = Some(name.len());
            return;
        };
        self.out.put_i16(name_len);
        self.out.extend_from_slice(name.as_bytes());
        put_text(self.out, value);
    }
}

impl FieldSink for Fields<'_> {
    fn text(&mut self, name: &str, value: &str) {
        self.field(name, value.as_bytes());
    }

    fn number(&mut self, name: &str, value: i64) {
        self.field(name, Digits::of(value).as_bytes());
    }
}

pub(super) fn decode(header: &[u8]) -> Result<Frame, FrameError> {
    let mut input = Input(header);
    let code = i16::from_be_bytes(input.array("code")?);
    let language = Language::from_code(input.array::<1>("language")?[0]);
    let version = i32::from(i16::from_be_bytes(input.array("version")?));
    let opaque = i32::from_be_bytes(input.array("opaque")?);
    let flag = i32::from_be_bytes(input.array("flag")?);
    let remark_len = input.length32("remark")?;
    let remark = input.text(remark_len, "remark")?;
    let ext_len = input.length32("fields")?;
    let ext = decode_ext(Input(input.take(ext_len, "fields")?))?;
    Ok(Frame {
        code: if flag & RESPONSE == 0 { RequestCode::widen(code) } else { i32::from(code) },
        language,
        version,
        opaque,
        flag,
        remark: (!remark.is_empty()).then(|| remark.to_owned()),
        ext,
        body: Body::Empty,
        serialize: SerializeType::RocketMq,
    })
}

/// Text is copied and checked once, all of it: the lengths between are made zeros, which are characters, so that no other
/// one goes on from one field to the next.
fn decode_ext(mut input: Input<'_>) -> Result<ExtFields, FrameError> {
    if input.0.is_empty() {
        return Ok(ExtFields::new());
    }
    let mut text = input.0.to_vec();
    let mut spans = Spans::new();
    while !input.0.is_empty() {
        if spans.len() == MAX_FIELDS {
            return Err(FrameError::TooManyFields);
        }
        let start = text.len() - input.0.len();
        let key_len = input.length16("field name")?;
        input.take(key_len, "field name")?;
        let key = start + 2..start + 2 + key_len;
        let value_len = input.length32("field value")?;
        input.take(value_len, "field value")?;
        let value = key.end + 4..key.end + 4 + value_len;
        text[start..key.start].fill(0);
        text[key.end..value.start].fill(0);
        spans.push(key, value);
    }
    match String::from_utf8(text) {
        Ok(text) => Ok(ExtFields::over(text, spans)),
        Err(error) => {
            let in_key = spans.is_in_key(error.utf8_error().valid_up_to());
            Err(FrameError::BinaryText(if in_key { "field name" } else { "field value" }))
        }
    }
}

/// What is left of a header. Lengths are signed on the wire; a negative one reads as an overrun.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], FrameError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(FrameError::BinaryOverrun(field))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], FrameError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(FrameError::BinaryOverrun(field))?;
        self.0 = rest;
        Ok(*array)
    }

    fn length16(&mut self, field: &'static str) -> Result<usize, FrameError> {
        let length = i16::from_be_bytes(self.array(field)?);
        usize::try_from(length).map_err(|_| FrameError::BinaryOverrun(field))
    }

    fn length32(&mut self, field: &'static str) -> Result<usize, FrameError> {
        let length = i32::from_be_bytes(self.array(field)?);
        usize::try_from(length).map_err(|_| FrameError::BinaryOverrun(field))
    }

    fn text(&mut self, len: usize, field: &'static str) -> Result<&'a str, FrameError> {
        std::str::from_utf8(self.take(len, field)?).map_err(|_| FrameError::BinaryText(field))
    }
}
