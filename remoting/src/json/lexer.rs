//! The tokens of JSON, over text already known to be UTF-8.

use std::borrow::Cow;
use std::ops::Range;

use thiserror::Error;

use super::parse::MAX_DEPTH;
use crate::find::find;

/// Why a text is not JSON, even leniently read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JsonError {
    /// The bytes are not UTF-8.
    #[error("not utf-8 at byte {at}")]
    Utf8 {
        /// The first wrong byte.
        at: usize,
    },
    /// Something else was needed here.
    #[error("expected {expected} at byte {at}")]
    Expected {
        /// What was needed.
        expected: &'static str,
        /// Where.
        at: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels at byte {at}")]
    TooDeep {
        /// Where the level too many opens.
        at: usize,
    },
    /// More values than [`super::MAX_VALUES`].
    #[error("more than {max} values", max = super::MAX_VALUES)]
    TooManyValues,
    /// The text is JSON, but not what the target type needs.
    #[error("{0}")]
    Shape(String),
}

/// A cursor over JSON text.
pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, JsonError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self { text, at: 0 }),
            Err(error) => Err(JsonError::Utf8 { at: error.valid_up_to() }),
        }
    }

    /// All of it.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The next byte after white space, not consumed.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                _ => return Some(*byte),
            }
        }
        None
    }

    /// Consumes `byte` if it comes next.
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
        }
        found
    }

    pub(crate) fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), JsonError> {
        if self.eat(byte) { Ok(()) } else { Err(self.expected(expected)) }
    }

    pub(crate) fn expected(&self, expected: &'static str) -> JsonError {
        JsonError::Expected { expected, at: self.at }
    }

    /// Only white space is left.
    pub(crate) fn end(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.expected("the end of the text")),
        }
    }

    /// A string; borrowed when nothing in it is escaped.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.expect(b'"', "a string")?;
        let plain = self.plain_run();
        if self.eat_exact(b'"') {
            return Ok(Cow::Borrowed(plain));
        }
        let mut out = plain.to_owned();
        self.string_tail(&mut out)?;
        Ok(Cow::Owned(out))
    }

    /// Where a string lies in `copy`, which begins with all of this text: there, or at its end if it has escapes.
    pub(crate) fn string_in(&mut self, copy: &mut String) -> Result<Range<usize>, JsonError> {
        self.expect(b'"', "a string")?;
        let (start, bytes) = (self.at, self.text.as_bytes());
        self.at += find(&bytes[start..], b'"', b'\\');
        let end = self.at;
        if self.eat_exact(b'"') {
            return Ok(start..end);
        }
        let unescaped = copy.len();
        copy.push_str(&self.text[start..end]);
        self.string_tail(copy)?;
        Ok(unescaped..copy.len())
    }

    /// The text of a number, `true`, `false` or `null`, as it stands.
    pub(crate) fn scalar(&mut self) -> Result<&'a str, JsonError> {
        self.peek();
        let start = self.at;
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'0'..=b'9' | b'+' | b'-' | b'.' | b'a'..=b'z' | b'A'..=b'Z' => self.at += 1,
                _ => break,
            }
        }
        let scalar = &self.text[start..self.at];
        let known = matches!(scalar, "true" | "false" | "null");
        if known || (is_number_start(scalar) && scalar.parse::<f64>().is_ok()) {
            Ok(scalar)
        } else {
            self.at = start;
            Err(self.expected("a value"))
        }
    }

    /// Steps over one value of any kind, at most `depth` levels deep.
    pub(crate) fn skip_value(&mut self, depth: usize) -> Result<(), JsonError> {
        let Some(byte) = self.peek() else { return Err(self.expected("a value")) };
        let close = match byte {
            b'"' => {
                self.at += 1;
                return self.skip_string_tail();
            }
            b'{' => b'}',
            b'[' => b']',
            _ => return self.scalar().map(drop),
        };
        let depth = depth.checked_sub(1).ok_or(JsonError::TooDeep { at: self.at })?;
        self.at += 1;
        if self.eat(close) {
            return Ok(());
        }
        loop {
            self.skip_value(depth)?;
            if close == b'}' {
                self.expect(b':', "':'")?;
                self.skip_value(depth)?;
            }
            if self.eat(close) {
                return Ok(());
            }
            self.expect(b',', "',' or the closing bracket")?;
        }
    }

    fn eat_exact(&mut self, byte: u8) -> bool {
        let found = self.text.as_bytes().get(self.at) == Some(&byte);
        if found {
            self.at += 1;
        }
        found
    }

    /// The text up to the next quote or backslash, or to the end.
    fn plain_run(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let len = find(rest.as_bytes(), b'"', b'\\');
        self.at += len;
        &rest[..len]
    }

    /// An integer that is written plainly, consumed; `None`, and nothing consumed, for whatever else comes next.
    pub(crate) fn plain_integer(&mut self) -> Option<i32> {
        let first = self.peek()?;
        let bytes = &self.text.as_bytes()[self.at..];
        let negative = first == b'-';
        let mut at = usize::from(negative);
        let mut value = 0i64;
        while let Some(digit) = bytes.get(at).filter(|byte| byte.is_ascii_digit()) {
            value = value * 10 + i64::from(digit - b'0');
            at += 1;
            if at > 11 {
                return None;
            }
        }
        let ends = matches!(bytes.get(at), Some(b',' | b'}' | b' ') | None);
        if at == usize::from(negative) || !ends {
            return None;
        }
        let value = i32::try_from(if negative { -value } else { value }).ok()?;
        self.at += at;
        Some(value)
    }

    fn string_tail(&mut self, out: &mut String) -> Result<(), JsonError> {
        loop {
            out.push_str(self.plain_run());
            if self.eat_exact(b'"') {
                return Ok(());
            }
            out.push(self.escape()?);
        }
    }

    fn skip_string_tail(&mut self) -> Result<(), JsonError> {
        loop {
            self.plain_run();
            if self.eat_exact(b'"') {
                return Ok(());
            }
            self.escape()?;
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        if !self.eat_exact(b'\\') {
            return Err(self.expected("the end of the string"));
        }
        let Some(byte) = self.text.as_bytes().get(self.at) else {
            return Err(self.expected("an escape"));
        };
        let char = match byte {
            b'"' | b'\\' | b'/' | b'\'' => char::from(*byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode_escape();
            }
            _ => return Err(self.expected("an escape")),
        };
        self.at += 1;
        Ok(char)
    }

    /// The four digits of `\u` and, for a surrogate, the pair's other half. A half without its other half is
    /// not a character; it reads as U+FFFD, as Java would print it.
    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let unit = self.hex4()?;
        if !(0xd800..0xdc00).contains(&unit) {
            return Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let back = self.at;
        if self.text[self.at..].starts_with("\\u") {
            self.at += 2;
            let low = self.hex4()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let digits = self.text.as_bytes()[self.at..].first_chunk::<4>();
        let value = digits.and_then(|digits| {
            digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
        });
        let value = value.ok_or_else(|| self.expected("four hex digits"))?;
        self.at += 4;
        Ok(value)
    }
}

/// Keeps out what Rust reads as a float and JSON does not know: `inf`, `nan`.
fn is_number_start(scalar: &str) -> bool {
    scalar.trim_start_matches('-').starts_with(|first: char| first.is_ascii_digit())
}

/// What follows the backslash of a byte that must be escaped; 0 for one that need not be.
const ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        escapes[control] = b'u';
        control += 1;
    }
    escapes[b'\n' as usize] = b'n';
    escapes[b'\r' as usize] = b'r';
    escapes[b'\t' as usize] = b't';
    escapes[b'"' as usize] = b'"';
    escapes[b'\\' as usize] = b'\\';
    escapes
};

/// Appends `text` as a JSON string, with quotes.
///
/// Escapes what must be (quote, backslash, controls); the rest stays raw UTF-8.
pub(crate) fn write_escaped(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escape = ESCAPES[usize::from(*byte)];
        if escape == 0 {
            continue;
        }
        out.extend_from_slice(&bytes[from..at]);
        out.extend_from_slice(&[b'\\', escape]);
        if escape == b'u' {
            out.extend_from_slice(&[b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        from = at + 1;
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_integer_is_read_or_left_alone() {
        for (text, value, left) in [
            ("12,", Some(12), 2),
            (" -7}", Some(-7), 3),
            ("2147483647 ", Some(i32::MAX), 10),
            ("-2147483648", Some(i32::MIN), 11),
            ("2147483648", None, 0),
            ("99999999999999999999", None, 0),
            ("1.5", None, 0),
            ("1e3", None, 0),
            ("-", None, 0),
            ("\"1\"", None, 0),
            ("null", None, 0),
        ] {
            let mut lexer = Lexer::new(text.as_bytes()).expect("text");
            assert_eq!((lexer.plain_integer(), lexer.at()), (value, left), "{text}");
        }
    }
}
