//! Typed headers: what a frame's extension fields mean for each code.
//!
//! Every struct reads itself from [`ExtFields`] with `from_ext` and writes itself with
//! `to_ext`. Text is borrowed from the frame; nothing is allocated for a field. Members are named in our way,
//! the wire name stands beside each. An `Option` is a field that may be absent; the others are mandatory and
//! their absence is an error, also where upstream only logs it.

mod admin;
mod client_push;
mod consumer;
mod controller;
mod message;
mod namesrv;
mod offset;
mod pull;
mod send;

use crate::ext::{ExtValue, FieldError, parse};
use crate::fields::FieldSink;

pub use admin::*;
pub use client_push::*;
pub use consumer::*;
pub use controller::*;
pub use message::*;
pub use namesrv::*;
pub use offset::*;
pub use pull::*;
pub use send::{SendHeader, SendHeaderV2, SendResponse};

/// Declares a header struct with its wire names, and both directions of its codec.
///
/// Reading is one pass over the fields with a match on their names; unknown fields are skipped, since hooks
/// and signatures add their own. The default of a header has no text, zeros, and no optional field.
macro_rules! header {
    (
        $(#[$doc:meta])*
        $name:ident $(<$life:lifetime>)? {
            $($(#[$field_doc:meta])* $field:ident: $type:ty = $wire:literal,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct $name $(<$life>)? {
            $($(#[$field_doc])* #[doc = concat!("(wire: `", $wire, "`)")] pub $field: $type,)*
        }

        impl $(<$life>)? $name $(<$life>)? {
            /// Reads the header. Errors: a mandatory field is missing, or one does not parse.
            pub fn from_ext(ext: & $($life)? crate::ExtFields) -> Result<Self, crate::FieldError> {
                $(let mut $field = None;)*
                for (key, value) in ext.iter() {
                    match key {
                        $($wire => $field = Some(value),)*
                        _ => {}
                    }
                }
                Ok(Self { $($field: crate::headers::HeaderField::read($wire, $field)?,)* })
            }

            /// Writes the header's fields, absent ones left out.
            pub fn to_ext(&self) -> crate::ExtFields {
                crate::Header::to_ext(self)
            }
        }

        impl $(<$life>)? crate::Header for $name $(<$life>)? {
            fn write_fields(&self, sink: &mut impl crate::FieldSink) {
                let _ = &sink;
                $(crate::headers::HeaderField::write(&self.$field, $wire, sink);)*
            }
        }
    };
}
pub(crate) use header;

/// A member of a header struct: a value, or an `Option` of one.
pub(crate) trait HeaderField<'a>: Sized {
    fn read(field: &'static str, text: Option<&'a str>) -> Result<Self, FieldError>;
    fn write(&self, field: &'static str, sink: &mut impl FieldSink);
}

/// What a field's text is written from.
pub(crate) trait WriteValue {
    fn write_value(&self, field: &'static str, sink: &mut impl FieldSink);
}

macro_rules! mandatory_field {
    ($type:ty) => {
        impl<'a> HeaderField<'a> for $type {
            fn read(field: &'static str, text: Option<&'a str>) -> Result<Self, FieldError> {
                text.map_or(Err(FieldError::Missing { field }), |text| parse(field, text))
            }

            fn write(&self, field: &'static str, sink: &mut impl FieldSink) {
                self.write_value(field, sink);
            }
        }
    };
}
macro_rules! mandatory {
    ($($type:ty => |$sink:ident, $field:ident, $value:ident| $write:expr,)*) => {$(
        impl WriteValue for $type {
            fn write_value(&self, $field: &'static str, $sink: &mut impl FieldSink) {
                let $value = self;
                $write
            }
        }

        mandatory_field!($type);
    )*};
}

mandatory! {
    i32 => |sink, field, value| sink.number(field, i64::from(*value)),
    i64 => |sink, field, value| sink.number(field, *value),
    bool => |sink, field, value| sink.truth(field, *value),
}
mandatory_field!(&'a str);

impl WriteValue for &str {
    fn write_value(&self, field: &'static str, sink: &mut impl FieldSink) {
        sink.text(field, self);
    }
}

impl<'a, T: ExtValue<'a> + WriteValue> HeaderField<'a> for Option<T> {
    fn read(field: &'static str, text: Option<&'a str>) -> Result<Self, FieldError> {
        text.map(|text| parse(field, text)).transpose()
    }

    fn write(&self, field: &'static str, sink: &mut impl FieldSink) {
        if let Some(value) = self {
            value.write_value(field, sink);
        }
    }
}

#[cfg(test)]
mod tests;
