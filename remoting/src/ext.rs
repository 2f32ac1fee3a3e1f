//! Extension fields: the string-to-string map of a frame's header.

use std::fmt::{self, Write as _};
use std::ops::Range;

use thiserror::Error;

use crate::fields::{Digits, FieldSink};

/// The most fields a received header may carry.
pub const MAX_FIELDS: usize = 256;

/// Ordered extension fields of a frame.
///
/// All text lies in one string and the fields are spans of it, so decoding a header costs two allocations and one copy
/// whatever the number of fields, and never keeps the connection's read buffer alive. Look-up is a linear
/// scan: a header has some fifteen fields. Keys are unique; setting one again replaces its value.
#[derive(Clone, Default)]
pub struct ExtFields {
    text: String,
    fields: Vec<Field>,
    /// A bit for each key that was ever set, shared by keys that look alike: a key whose bit is clear is new.
    marks: u64,
}

/// One field: where its key and its value lie in the text.
#[derive(Clone, Copy)]
struct Field {
    key: Span,
    value: Span,
}

#[derive(Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

/// Where the fields of a header lie that is being read, in its text.
pub(crate) struct Spans(Vec<Field>);

impl Spans {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(16))
    }

    /// Both lie at the bounds of characters.
    pub(crate) fn push(&mut self, key: Range<usize>, value: Range<usize>) {
        self.0.push(Field { key: span(key), value: span(value) });
    }

    /// How many there are, also of the same key.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether one of the keys lies over this byte.
    pub(crate) fn is_in_key(&self, at: usize) -> bool {
        self.0.iter().any(|field| (field.key.start as usize..field.key.end as usize).contains(&at))
    }
}

impl ExtFields {
    /// No fields.
    pub const fn new() -> Self {
        Self { text: String::new(), fields: Vec::new(), marks: 0 }
    }

    /// No fields, with room for `fields` of `text_bytes` together.
    pub(crate) fn with_capacity(fields: usize, text_bytes: usize) -> Self {
        Self { text: String::with_capacity(text_bytes), fields: Vec::with_capacity(fields), marks: 0 }
    }

    /// The fields that lie in `text` so. Of those with the same key the last one counts, in the place of the first.
    pub(crate) fn over(text: String, spans: Spans) -> Self {
        let mut ext = Self { text, fields: spans.0, marks: 0 };
        for at in 0..ext.fields.len() {
            let mark = mark(ext.slice(ext.fields[at].key));
            if ext.marks & mark != 0 {
                return ext.without_duplicates();
            }
            ext.marks |= mark;
        }
        ext
    }

    /// Rare: two keys that look alike, or are the same.
    #[cold]
    fn without_duplicates(mut self) -> Self {
        self.marks = 0;
        for field in std::mem::take(&mut self.fields) {
            match self.known(self.slice(field.key)) {
                Some(at) => self.fields[at].value = field.value,
                None => {
                    self.marks |= mark(self.slice(field.key));
                    self.fields.push(field);
                }
            }
        }
        self
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// Whether `key` is present.
    pub fn contains(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// A mandatory field, parsed.
    pub fn required<'a, T: ExtValue<'a>>(&'a self, field: &'static str) -> Result<T, FieldError> {
        match self.get(field) {
            Some(text) => parse(field, text),
            None => Err(FieldError::Missing { field }),
        }
    }

    /// A field that may be absent; an error if it is there and does not parse.
    pub fn optional<'a, T: ExtValue<'a>>(&'a self, field: &'static str) -> Result<Option<T>, FieldError> {
        self.get(field).map(|text| parse(field, text)).transpose()
    }

    /// Sets `key` to the text of `value`, in place of an earlier value.
    ///
    /// Booleans and numbers print as Java does: `true`, decimal.
    pub fn set(&mut self, key: &str, value: impl fmt::Display) {
        self.set_with(key, |text| write!(text, "{value}").expect("writing to a string cannot fail"));
    }

    /// Sets `key` to what `write` appends to the text.
    pub(crate) fn set_with(&mut self, key: &str, write: impl FnOnce(&mut String)) {
        match self.known(key) {
            Some(at) => {
                let start = self.text.len();
                write(&mut self.text);
                self.fields[at].value = self.span_from(start);
            }
            None => {
                self.marks |= mark(key);
                let start = self.text.len();
                self.text.push_str(key);
                let key = self.span_from(start);
                let start = self.text.len();
                write(&mut self.text);
                let value = self.span_from(start);
                self.fields.push(Field { key, value });
            }
        }
    }

    /// Removes `key`; returns whether it was present.
    pub fn remove(&mut self, key: &str) -> bool {
        match self.position(key) {
            Some(at) => {
                self.fields.remove(at);
                true
            }
            None => false,
        }
    }

    /// All fields in the order in which they were first set.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.fields.iter().map(|field| (self.slice(field.key), self.slice(field.value)))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Where a key is that was set before.
    fn known(&self, key: &str) -> Option<usize> {
        if self.marks & mark(key) == 0 { None } else { self.position(key) }
    }

    fn position(&self, key: &str) -> Option<usize> {
        self.iter().position(|(name, _)| name == key)
    }

    fn slice(&self, span: Span) -> &str {
        &self.text[span.start as usize..span.end as usize]
    }

    fn span_from(&self, start: usize) -> Span {
        span(start..self.text.len())
    }
}

fn span(range: Range<usize>) -> Span {
    let at = |n: usize| u32::try_from(n).expect("extension fields stay far below 4 GiB of text");
    Span { start: at(range.start), end: at(range.end) }
}

/// The one-letter keys of a send, and the most frequent of the longer ones, differ in this.
fn mark(key: &str) -> u64 {
    let bytes = key.as_bytes();
    let end = |byte: Option<&u8>| u32::from(*byte.unwrap_or(&0));
    1 << ((2 * end(bytes.first()) + 11 * end(bytes.last()) + bytes.len() as u32) % 64)
}

impl FieldSink for ExtFields {
    fn text(&mut self, name: &str, value: &str) {
        self.set_with(name, |text| text.push_str(value));
    }

    fn number(&mut self, name: &str, value: i64) {
        self.text(name, Digits::of(value).as_str());
    }
}

impl fmt::Debug for ExtFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Equal when the same keys have the same values, in any order: order carries no meaning on the wire.
impl PartialEq for ExtFields {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(key, value)| other.get(key) == Some(value))
    }
}

impl Eq for ExtFields {}

impl<K: AsRef<str>, V: fmt::Display> FromIterator<(K, V)> for ExtFields {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(fields: I) -> Self {
        let mut ext = ExtFields::new();
        for (key, value) in fields {
            ext.set(key.as_ref(), value);
        }
        ext
    }
}

/// A field that is missing or does not parse.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FieldError {
    /// A mandatory field is absent.
    #[error("header field {field} is missing")]
    Missing {
        /// Its wire name.
        field: &'static str,
    },
    /// The text is not what the field needs.
    #[error("header field {field} is {value:?}, expected {expected}")]
    Invalid {
        /// Its wire name.
        field: &'static str,
        /// What was received, cut to 64 characters.
        value: String,
        /// What it should have been.
        expected: &'static str,
    },
}

/// A type that a field's text can be read as.
pub trait ExtValue<'a>: Sized {
    /// What the text should be, for the error.
    const EXPECTED: &'static str;

    /// Reads the text.
    fn parse(text: &'a str) -> Option<Self>;
}

pub(crate) fn parse<'a, T: ExtValue<'a>>(field: &'static str, text: &'a str) -> Result<T, FieldError> {
    T::parse(text).ok_or_else(|| FieldError::Invalid {
        field,
        value: text.chars().take(64).collect(),
        expected: T::EXPECTED,
    })
}

macro_rules! from_str_values {
    ($($type:ty: $expected:literal,)*) => {$(
        impl ExtValue<'_> for $type {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        }
    )*};
}

from_str_values! {
    i32: "a 32-bit integer",
    i64: "a 64-bit integer",
    u32: "a non-negative 32-bit integer",
    u64: "a non-negative 64-bit integer",
}

/// As Java's `Boolean.parseBoolean`: `true` in any case is true, all else is false.
impl ExtValue<'_> for bool {
    const EXPECTED: &'static str = "true or false";

    fn parse(text: &str) -> Option<Self> {
        Some(text.eq_ignore_ascii_case("true"))
    }
}

impl<'a> ExtValue<'a> for &'a str {
    const EXPECTED: &'static str = "text";

    fn parse(text: &'a str) -> Option<Self> {
        Some(text)
    }
}

impl ExtValue<'_> for String {
    const EXPECTED: &'static str = "text";

    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_a_key_again_replaces_its_value_in_place() {
        let mut ext = ExtFields::new();
        ext.set("topic", "A");
        ext.set("queueId", 3);
        ext.set("topic", "a longer one");
        assert_eq!(ext.iter().collect::<Vec<_>>(), [("topic", "a longer one"), ("queueId", "3")]);
        assert!(ext.remove("topic"));
        assert!(!ext.remove("topic"));
        assert_eq!(ext.len(), 1);
    }

    #[test]
    fn typed_getters_tell_absent_from_wrong() {
        let ext: ExtFields = [("n", "12"), ("bad", "1x"), ("yes", "TRUE"), ("no", "1")].into_iter().collect();
        assert_eq!(ext.required::<i32>("n"), Ok(12));
        assert_eq!(ext.required::<&str>("n"), Ok("12"));
        assert_eq!(ext.required::<bool>("yes"), Ok(true));
        assert_eq!(ext.required::<bool>("no"), Ok(false));
        assert_eq!(ext.optional::<i64>("gone"), Ok(None));
        assert_eq!(ext.required::<i64>("gone"), Err(FieldError::Missing { field: "gone" }));
        assert_eq!(
            ext.optional::<i32>("bad").map_err(|error| error.to_string()),
            Err("header field bad is \"1x\", expected a 32-bit integer".to_owned())
        );
    }

    #[test]
    fn equality_ignores_order() {
        let one: ExtFields = [("a", 1), ("b", 2)].into_iter().collect();
        let two: ExtFields = [("b", 2), ("a", 1)].into_iter().collect();
        let three: ExtFields = [("b", 2), ("a", 2)].into_iter().collect();
        assert_eq!(one, two);
        assert_ne!(one, three);
    }
}
