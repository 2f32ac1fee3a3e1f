//! From leniently read values to typed bodies.
//!
//! Fastjson coerces: a number where text belongs, text where a number belongs, null for anything. This
//! deserializer does the same, so that the body structs need no attribute per field for it.

use std::fmt::Display;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde_json::Value;

use super::lexer::JsonError;
use super::parse::parse;

/// Reads a body.
///
/// Null members count as absent, numbers and text stand for each other, unknown members are skipped, a key
/// may be an object. Errors: the text is not JSON even so, or lacks what `T` cannot do without.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    from_value(parse(bytes)?)
}

/// As [`from_slice`], from a value that was parsed before.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, JsonError> {
    T::deserialize(Lenient(value))
}

impl de::Error for JsonError {
    fn custom<T: Display>(message: T) -> Self {
        JsonError::Shape(message.to_string())
    }
}

struct Lenient(Value);

impl IntoDeserializer<'_, JsonError> for Lenient {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl Lenient {
    fn wrong<T>(&self, expected: &str) -> Result<T, JsonError> {
        let found = match &self.0 {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "text",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        Err(JsonError::Shape(format!("expected {expected}, found {found}")))
    }

    fn visit_integer<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        let signed = match &self.0 {
            Value::Number(number) => match number.as_u64() {
                Some(unsigned) if number.as_i64().is_none() => return visitor.visit_u64(unsigned),
                _ => number.as_i64().or_else(|| number.as_f64().and_then(whole)),
            },
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match signed {
            Some(signed) => visitor.visit_i64(signed),
            None => self.wrong("an integer"),
        }
    }

    fn visit_float<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        let float = match &self.0 {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match float {
            Some(float) => visitor.visit_f64(float),
            None => self.wrong("a number"),
        }
    }

    fn visit_text<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.0 {
            Value::String(text) => visitor.visit_string(text),
            Value::Number(number) => visitor.visit_string(number.to_string()),
            Value::Bool(bool) => visitor.visit_string(bool.to_string()),
            _ => self.wrong("text"),
        }
    }
}

/// The integer that a float is, if it is one that an i64 holds.
fn whole(float: f64) -> Option<i64> {
    let integer = float as i64;
    (integer as f64 == float).then_some(integer)
}

macro_rules! forward {
    ($target:ident: $($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
            self.$target(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Lenient {
    type Error = JsonError;

    forward!(visit_integer: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64);
    forward!(visit_float: deserialize_f32 deserialize_f64);
    forward!(visit_text: deserialize_char deserialize_str deserialize_string deserialize_identifier);
    forward!(deserialize_seq: deserialize_bytes deserialize_byte_buf);

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(bool) => visitor.visit_bool(bool),
            Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(signed), ..) => visitor.visit_i64(signed),
                (_, Some(unsigned), _) => visitor.visit_u64(unsigned),
                (.., float) => visitor.visit_f64(float.unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_string(text),
            Value::Array(_) => self.deserialize_seq(visitor),
            Value::Object(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match &self.0 {
            Value::Bool(bool) => visitor.visit_bool(*bool),
            Value::String(text) => visitor.visit_bool(text.eq_ignore_ascii_case("true")),
            Value::Number(number) => visitor.visit_bool(number.as_i64() != Some(0)),
            _ => self.wrong("a boolean"),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            _ => self.wrong("null"),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.0 {
            Value::Null => visitor.visit_seq(SeqDeserializer::new(std::iter::empty::<Lenient>())),
            Value::Array(elements) => {
                let elements = elements.into_iter().filter(|element| !element.is_null()).map(Lenient);
                visitor.visit_seq(SeqDeserializer::new(elements))
            }
            _ => self.wrong("an array"),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, JsonError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.0 {
            Value::Null => visitor.visit_map(MapDeserializer::new(std::iter::empty::<(Key, Lenient)>())),
            Value::Object(members) => {
                let members = members.into_iter().filter(|(_, value)| !value.is_null());
                visitor
                    .visit_map(MapDeserializer::new(members.map(|(key, value)| (Key(key), Lenient(value)))))
            }
            _ => self.wrong("an object"),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        match self.0 {
            Value::String(name) => visitor.visit_enum(name.into_deserializer()),
            _ => self.wrong("a name"),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        visitor.visit_unit()
    }
}

/// An object's key: text, or the text of a number or of an object.
struct Key(String);

impl IntoDeserializer<'_, JsonError> for Key {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Key {
    type Error = JsonError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        visitor.visit_string(self.0)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        Lenient(parse(self.0.as_bytes())?).deserialize_struct(name, fields, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        visitor.visit_newtype_struct(self)
    }

    forward!(visit_integer: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64);

    serde::forward_to_deserialize_any! {
        bool f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple tuple_struct map enum
        identifier ignored_any
    }
}

impl Key {
    fn visit_integer<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        Lenient(Value::String(self.0)).visit_integer(visitor)
    }
}
