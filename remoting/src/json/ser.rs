//! The writer: compact JSON in which a key may be a whole object.

use std::fmt::Display;
use std::io::Write as _;

use bytes::Bytes;
use serde::ser::{self, Serialize};

use super::lexer::{JsonError, write_escaped};

/// Writes `value` as compact JSON.
///
/// Integer keys are quoted; a key that is a struct (`MessageQueue`) is written as an object, the form that
/// fastjson writes and reads although it is not JSON. Null members are left out.
/// Errors: [`JsonError::Shape`] for what JSON has no form for here (enum variants with data).
pub fn to_bytes<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, JsonError> {
    let mut writer = Writer { out: Vec::new() };
    value.serialize(&mut writer)?;
    Ok(writer.out.into())
}

/// As [`to_bytes`], as text.
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String, JsonError> {
    let mut writer = Writer { out: Vec::new() };
    value.serialize(&mut writer)?;
    Ok(String::from_utf8(writer.out).expect("only whole strings and ascii are written"))
}

impl ser::Error for JsonError {
    fn custom<T: Display>(message: T) -> Self {
        JsonError::Shape(message.to_string())
    }
}

struct Writer {
    out: Vec<u8>,
}

impl Writer {
    fn display(&mut self, value: impl Display) -> Result<(), JsonError> {
        write!(self.out, "{value}").map_err(|error| JsonError::Shape(error.to_string()))
    }

    fn float(&mut self, value: f64) -> Result<(), JsonError> {
        // `Debug` keeps the `.0` of whole numbers; JSON has no word for what is not finite.
        if value.is_finite() {
            write!(self.out, "{value:?}").map_err(|error| JsonError::Shape(error.to_string()))
        } else {
            self.null()
        }
    }

    fn null(&mut self) -> Result<(), JsonError> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn array(&mut self) -> Result<Members<'_>, JsonError> {
        self.out.push(b'[');
        Ok(Members { writer: self, empty: true, close: b']', member_at: 0 })
    }

    fn object(&mut self) -> Result<Members<'_>, JsonError> {
        self.out.push(b'{');
        Ok(Members { writer: self, empty: true, close: b'}', member_at: 0 })
    }
}

fn unsupported<T>(what: &str) -> Result<T, JsonError> {
    Err(JsonError::Shape(format!("{what} has no json form")))
}

impl<'a> ser::Serializer for &'a mut Writer {
    type Ok = ();
    type Error = JsonError;
    type SerializeSeq = Members<'a>;
    type SerializeTuple = Members<'a>;
    type SerializeTupleStruct = Members<'a>;
    type SerializeTupleVariant = ser::Impossible<(), JsonError>;
    type SerializeMap = Members<'a>;
    type SerializeStruct = Members<'a>;
    type SerializeStructVariant = ser::Impossible<(), JsonError>;

    fn serialize_bool(self, value: bool) -> Result<(), JsonError> {
        self.display(value)
    }

    fn serialize_i8(self, value: i8) -> Result<(), JsonError> {
        self.display(value)
    }

    fn serialize_i16(self, value: i16) -> Result<(), JsonError> {
        self.display(value)
    }

    fn serialize_i32(self, value: i32) -> Result<(), JsonError> {
        self.display(value)
    }

    fn serialize_i64(self, value: i64) -> Result<(), JsonError> {
        self.display(value)
    }

    fn serialize_u8(self, value: u8) -> Result<(), JsonError> {
        self.display(value)
    }

    fn serialize_u16(self, value: u16) -> Result<(), JsonError> {
        self.display(value)
    }

    fn serialize_u32(self, value: u32) -> Result<(), JsonError> {
        self.display(value)
    }

    fn serialize_u64(self, value: u64) -> Result<(), JsonError> {
        self.display(value)
    }

    fn serialize_f32(self, value: f32) -> Result<(), JsonError> {
        self.float(f64::from(value))
    }

    fn serialize_f64(self, value: f64) -> Result<(), JsonError> {
        self.float(value)
    }

    fn serialize_char(self, value: char) -> Result<(), JsonError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), JsonError> {
        write_escaped(&mut self.out, value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), JsonError> {
        value.serialize(self)
    }

    fn serialize_none(self) -> Result<(), JsonError> {
        self.null()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), JsonError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), JsonError> {
        self.null()
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), JsonError> {
        self.null()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), JsonError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), JsonError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<(), JsonError> {
        unsupported("an enum variant with data")
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Members<'a>, JsonError> {
        self.array()
    }

    fn serialize_tuple(self, _len: usize) -> Result<Members<'a>, JsonError> {
        self.array()
    }

    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Members<'a>, JsonError> {
        self.array()
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleVariant, JsonError> {
        unsupported("an enum variant with data")
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Members<'a>, JsonError> {
        self.object()
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Members<'a>, JsonError> {
        self.object()
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeStructVariant, JsonError> {
        unsupported("an enum variant with data")
    }
}

/// An array or object that is being written.
struct Members<'a> {
    writer: &'a mut Writer,
    empty: bool,
    close: u8,
    /// Where the member that is being written starts, with its comma.
    member_at: usize,
}

impl Members<'_> {
    fn start_member(&mut self) {
        self.member_at = self.writer.out.len();
        if !self.empty {
            self.writer.out.push(b',');
        }
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JsonError> {
        self.start_member();
        self.empty = false;
        value.serialize(&mut *self.writer)
    }

    fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), JsonError> {
        self.start_member();
        let start = self.writer.out.len();
        key.serialize(&mut *self.writer)?;
        // A key is a string, an object in the object-key form, or a scalar that wants quotes.
        if !matches!(self.writer.out.get(start), Some(b'"' | b'{')) {
            self.writer.out.insert(start, b'"');
            self.writer.out.push(b'"');
        }
        self.writer.out.push(b':');
        Ok(())
    }

    /// Writes the member's value, or takes the whole member back if that is null.
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JsonError> {
        let start = self.writer.out.len();
        value.serialize(&mut *self.writer)?;
        if &self.writer.out[start..] == b"null" {
            self.writer.out.truncate(self.member_at);
        } else {
            self.empty = false;
        }
        Ok(())
    }

    fn finish(self) -> Result<(), JsonError> {
        self.writer.out.push(self.close);
        Ok(())
    }
}

impl ser::SerializeSeq for Members<'_> {
    type Ok = ();
    type Error = JsonError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JsonError> {
        self.element(value)
    }

    fn end(self) -> Result<(), JsonError> {
        self.finish()
    }
}

impl ser::SerializeTuple for Members<'_> {
    type Ok = ();
    type Error = JsonError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JsonError> {
        self.element(value)
    }

    fn end(self) -> Result<(), JsonError> {
        self.finish()
    }
}

impl ser::SerializeTupleStruct for Members<'_> {
    type Ok = ();
    type Error = JsonError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JsonError> {
        self.element(value)
    }

    fn end(self) -> Result<(), JsonError> {
        self.finish()
    }
}

impl ser::SerializeMap for Members<'_> {
    type Ok = ();
    type Error = JsonError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), JsonError> {
        self.key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JsonError> {
        self.value(value)
    }

    fn end(self) -> Result<(), JsonError> {
        self.finish()
    }
}

impl ser::SerializeStruct for Members<'_> {
    type Ok = ();
    type Error = JsonError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), JsonError> {
        self.key(key)?;
        self.value(value)
    }

    fn end(self) -> Result<(), JsonError> {
        self.finish()
    }
}
