//! Header fields on their way into a frame, one by one.

use crate::ext::ExtFields;

/// Takes a header's fields in the order of the wire: a notation that writes them, or [`ExtFields`].
pub trait FieldSink {
    /// A field whose value is text.
    fn text(&mut self, name: &str, value: &str);
    /// A field whose value is an integer.
    fn number(&mut self, name: &str, value: i64);

    /// A field whose value is true or false, which is text on the wire.
    fn truth(&mut self, name: &str, value: bool) {
        self.text(name, if value { "true" } else { "false" });
    }
}

/// What has header fields: a typed header, or a frame's [`ExtFields`].
pub trait Header {
    /// Gives every field to `sink`, absent ones left out.
    fn write_fields(&self, sink: &mut impl FieldSink);

    /// The fields as a map.
    fn to_ext(&self) -> ExtFields {
        let mut ext = ExtFields::new();
        self.write_fields(&mut ext);
        ext
    }
}

impl Header for ExtFields {
    fn write_fields(&self, sink: &mut impl FieldSink) {
        self.iter().for_each(|(name, value)| sink.text(name, value));
    }
}

/// The decimal digits of an integer, without an allocation and without `fmt`.
pub(crate) struct Digits {
    bytes: [u8; 20],
    start: usize,
}

impl Digits {
    pub(crate) fn of(number: i64) -> Self {
        let mut digits = Self { bytes: [0; 20], start: 20 };
        let mut rest = number.unsigned_abs();
        loop {
            digits.push((rest % 10) as u8 + b'0');
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if number < 0 {
            digits.push(b'-');
        }
        digits
    }

    fn push(&mut self, byte: u8) {
        self.start -= 1;
        self.bytes[self.start] = byte;
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("digits are ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_what_display_writes() {
        for number in [0, 1, -1, 9, 10, -10, 99, 100, 1_234_567_890, i64::from(i32::MIN), i64::MAX, i64::MIN]
        {
            assert_eq!(Digits::of(number).as_str(), number.to_string());
        }
    }
}
