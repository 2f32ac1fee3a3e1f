//! Properties: `key \u{1} value \u{2}` repeated.
//!
//! Kept as their text: a broker reads two or three of a message's properties and passes the rest on as they
//! are. Readers take text without the last separator; writers always put it.

use super::{MessageError, PROPERTIES_MAX, too_long};
use crate::find::find;

/// Between a name and its value.
pub const NAME_VALUE_SEPARATOR: char = '\u{1}';

/// Behind a value.
pub const PROPERTY_SEPARATOR: char = '\u{2}';

/// The properties in their order; what has no name, no separator or no value is skipped, as Java does.
pub fn iter(text: &str) -> impl Iterator<Item = (&str, &str)> {
    Properties { rest: text }
}

struct Properties<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Properties<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let text = self.rest;
            let bytes = text.as_bytes();
            let name = find(bytes, NAME_VALUE_SEPARATOR as u8, PROPERTY_SEPARATOR as u8);
            let has_value = bytes.get(name) == Some(&(NAME_VALUE_SEPARATOR as u8));
            let value = if has_value { name + 1 } else { name };
            let end = value + find(&bytes[value..], PROPERTY_SEPARATOR as u8, PROPERTY_SEPARATOR as u8);
            self.rest = text.get(end + 1..).unwrap_or_default();
            if has_value && name > 0 && end > value {
                return Some((&text[..name], &text[value..end]));
            }
        }
        None
    }
}

/// The value of `name`; the last one, should it be there twice.
pub fn get<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    iter(text).filter(|(found, _)| *found == name).last().map(|(_, value)| value)
}

/// Appends a property without looking for an earlier one of the name.
///
/// What users give has to be checked with [`is_clean`] before. A value that was read may hold the separator of
/// names and values, since readers look for the first one only.
pub fn append(text: &mut String, name: &str, value: &str) {
    debug_assert!(is_clean(name) && !value.contains(PROPERTY_SEPARATOR), "a property holds a separator");
    if !text.is_empty() && !text.ends_with(PROPERTY_SEPARATOR) {
        text.push(PROPERTY_SEPARATOR);
    }
    text.push_str(name);
    text.push(NAME_VALUE_SEPARATOR);
    text.push_str(value);
    text.push(PROPERTY_SEPARATOR);
}

/// Sets a property, in place of earlier ones of the name.
pub fn set(text: &mut String, name: &str, value: &str) {
    remove(text, name);
    append(text, name, value);
}

/// Removes every property of the name; returns whether there was one.
pub fn remove(text: &mut String, name: &str) -> bool {
    if get(text, name).is_none() {
        return false;
    }
    let kept = iter(text).filter(|(found, _)| *found != name);
    *text = build(kept);
    true
}

/// The text of these properties.
pub fn build<'a>(properties: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (name, value) in properties {
        append(&mut text, name, value);
    }
    text
}

/// Whether a name or value can be stored: it has no separator in it.
pub fn is_clean(part: &str) -> bool {
    !part.contains([NAME_VALUE_SEPARATOR, PROPERTY_SEPARATOR])
}

/// Errors: the properties are longer than a message can hold.
pub fn check_len(text: &str) -> Result<(), MessageError> {
    too_long("properties", text.len(), PROPERTIES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_with_or_without_the_last_separator() {
        for text in ["UNIQ_KEY\u{1}0A\u{2}TAGS\u{1}TagA\u{2}", "UNIQ_KEY\u{1}0A\u{2}TAGS\u{1}TagA"] {
            assert_eq!(iter(text).collect::<Vec<_>>(), [("UNIQ_KEY", "0A"), ("TAGS", "TagA")]);
            assert_eq!(get(text, "TAGS"), Some("TagA"));
            assert_eq!(get(text, "KEYS"), None);
        }
    }

    #[test]
    fn what_is_no_property_is_skipped() {
        assert_eq!(iter("").count(), 0);
        assert_eq!(iter("\u{2}\u{2}no separator\u{2}\u{1}v\u{2}k\u{1}\u{2}").count(), 0);
        assert_eq!(iter("k\u{1}a\u{1}b\u{2}").collect::<Vec<_>>(), [("k", "a\u{1}b")]);
    }

    #[test]
    fn edits() {
        let mut text = build([("a", "1"), ("b", "2"), ("a", "3")]);
        assert_eq!(text, "a\u{1}1\u{2}b\u{1}2\u{2}a\u{1}3\u{2}");
        assert_eq!(get(&text, "a"), Some("3"));
        set(&mut text, "a", "4");
        assert_eq!(text, "b\u{1}2\u{2}a\u{1}4\u{2}");
        assert!(remove(&mut text, "b"));
        assert!(!remove(&mut text, "b"));
        assert_eq!(text, "a\u{1}4\u{2}");

        let mut odd = "a\u{1}x\u{1}y\u{2}b\u{1}1\u{2}".to_owned();
        assert!(remove(&mut odd, "b"));
        assert_eq!(odd, "a\u{1}x\u{1}y\u{2}");

        let mut open = "x\u{1}1".to_owned();
        append(&mut open, "y", "2");
        assert_eq!(open, "x\u{1}1\u{2}y\u{1}2\u{2}");
    }

    #[test]
    fn length_is_checked() {
        assert!(check_len(&"x".repeat(PROPERTIES_MAX)).is_ok());
        assert!(check_len(&"x".repeat(PROPERTIES_MAX + 1)).is_err());
    }
}
