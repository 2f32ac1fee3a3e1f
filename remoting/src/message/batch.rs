//! The body of a batch send: messages without topic, hosts or offsets.
//!
//! ```text
//!   total | magic | crc | flag | bodyLength body | propertiesLength properties
//!     4   |   4   |  4  |  4   |     4       n   |        2             n
//! ```
//! Magic and CRC are zero in what clients send, and not looked at. Source: `MessageDecoder.encodeMessage`.

use bytes::BufMut;

use super::{Input, MESSAGE_MAX, MessageError, PROPERTIES_MAX, too_long, utf8};

/// Bytes of an item besides body and properties.
const FIXED_BYTES: usize = 22;

/// One message of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchItem<'a> {
    /// The user's own flag.
    pub flag: i32,
    /// The body.
    pub body: &'a [u8],
    /// Text of the properties, see [`properties`](super::properties).
    pub properties: &'a str,
}

impl BatchItem<'_> {
    /// Appends the item. Errors: body or properties are too long; nothing is written then.
    pub fn encode_into(&self, out: &mut impl BufMut) -> Result<(), MessageError> {
        too_long("properties", self.properties.len(), PROPERTIES_MAX)?;
        too_long("body", self.body.len(), MESSAGE_MAX)?;
        out.put_u32((FIXED_BYTES + self.body.len() + self.properties.len()) as u32);
        out.put_u32(0);
        out.put_u32(0);
        out.put_i32(self.flag);
        out.put_u32(self.body.len() as u32);
        out.put_slice(self.body);
        out.put_u16(self.properties.len() as u16);
        out.put_slice(self.properties.as_bytes());
        Ok(())
    }
}

/// The messages of a batch body; ends after the last one, or after the first error.
#[derive(Debug, Clone)]
pub struct BatchItems<'a> {
    rest: &'a [u8],
}

impl<'a> BatchItems<'a> {
    /// Iterates over a batch body.
    pub fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }
}

impl<'a> Iterator for BatchItems<'a> {
    type Item = Result<BatchItem<'a>, MessageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let item = parse(self.rest);
        self.rest = match &item {
            Ok((_, total)) => &self.rest[*total..],
            Err(_) => &[],
        };
        Some(item.map(|(item, _)| item))
    }
}

fn parse(bytes: &[u8]) -> Result<(BatchItem<'_>, usize), MessageError> {
    let size = Input::new(bytes).i32()?;
    let total = match usize::try_from(size) {
        Ok(total) if (FIXED_BYTES..=MESSAGE_MAX).contains(&total) => total,
        _ => return Err(MessageError::Length { field: "batch item", length: i64::from(size) }),
    };
    let available = bytes.len();
    let bytes = bytes.get(..total).ok_or(MessageError::Truncated { needed: total, available })?;
    let mut input = Input::new(bytes);
    input.take(12)?;
    let flag = input.i32()?;
    let body = input.part::<4>("body")?;
    let properties = utf8(input.part::<2>("properties")?, "properties")?;
    if input.at != total {
        return Err(MessageError::Size { total, parts: input.at });
    }
    Ok((BatchItem { flag, body, properties }, total))
}
