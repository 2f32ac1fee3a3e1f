//! Java's properties syntax, as RocketMQ's configuration files are written.
//!
//! Lines of `key=value`, `key: value` or `key value`; `#` and `!` begin comments; a backslash at the end continues
//! a line, and `\t \n \r \f \uXXXX` are escapes, elsewhere a backslash stands for the character behind it. Files
//! are UTF-8 here, of which Java's Latin-1 without escapes shares the ASCII part.
//!
//! Source: `java.util.Properties#load`.

use std::path::{Path, PathBuf};

use super::origin::Origin;
use super::problem::{Problem, Warning};

/// What Java calls white space between and before words.
const BLANKS: [char; 3] = [' ', '\t', '\u{c}'];

/// One property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Its name.
    pub key: String,
    /// Its value, without white space around it.
    pub value: String,
    /// Where it begins.
    pub origin: Origin,
}

/// The properties of a file, in their order; each name once.
#[derive(Debug)]
pub struct Properties {
    entries: Vec<Property>,
}

impl Properties {
    /// Reads the text of the file `path`. As in Java the last of several values counts; the others are warned of.
    ///
    /// Errors: [`Problem::Syntax`].
    pub fn parse(path: &Path, text: &str, warnings: &mut Vec<Warning>) -> Result<Self, Problem> {
        let mut entries: Vec<Property> = Vec::new();
        for (line, logical) in logical_lines(text) {
            let origin = Origin::File { path: PathBuf::from(path), line };
            let (key, value) = split(&logical);
            let unescape = |text: &str| {
                unescape(text).map_err(|reason| Problem::Syntax { origin: origin.clone(), reason })
            };
            let (key, value) = (unescape(key)?, unescape(value)?.trim().to_owned());
            if let Some(at) = entries.iter().position(|entry| entry.key == key) {
                let earlier = entries.remove(at);
                let reason = format!("is replaced by the value in line {line}");
                warnings.push(Warning::new(earlier.key, earlier.origin, reason));
            }
            entries.push(Property { key, value, origin });
        }
        Ok(Self { entries })
    }

    /// A property that was not taken.
    pub fn get(&self, key: &str) -> Option<&Property> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Takes a property out.
    pub fn take(&mut self, key: &str) -> Option<Property> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at))
    }

    /// Takes the properties out that are so.
    pub fn take_if(&mut self, is_so: impl FnMut(&mut Property) -> bool) -> Vec<Property> {
        self.entries.extract_if(.., is_so).collect()
    }

    /// Those that were not taken.
    pub fn into_rest(self) -> Vec<Property> {
        self.entries
    }
}

/// Lines that are neither empty nor comments, continued ones joined, each with the number of its first.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut lines = text.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let mut logical = line.trim_start_matches(BLANKS).to_owned();
        if logical.is_empty() || logical.starts_with(['#', '!']) {
            continue;
        }
        while is_continued(&logical) {
            logical.pop();
            let Some((next, _)) = lines.next() else { break };
            logical.push_str(next.trim_start_matches(BLANKS));
        }
        found.push((number, logical));
    }
    found
}

/// Whether a line ends with a backslash that is not itself escaped.
fn is_continued(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Key and value, still escaped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && (BLANKS.contains(&c) || c == '=' || c == ':');
        escaped = c == '\\' && !escaped;
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start_matches(BLANKS);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, value.trim_start_matches(BLANKS))
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let is_hex = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                let code = u32::from_str_radix(&digits, 16).ok().filter(|_| is_hex);
                out.push(code.and_then(char::from_u32).ok_or(format!("\\u{digits} is not a character"))?);
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[(&str, &str, usize)]) {
        let path = Path::new("x.conf");
        let properties = Properties::parse(path, text, &mut Vec::new()).unwrap();
        let found: Vec<_> = properties
            .entries
            .iter()
            .map(|entry| {
                let Origin::File { line, .. } = entry.origin else { panic!("{:?}", entry.origin) };
                (entry.key.as_str(), entry.value.as_str(), line)
            })
            .collect();
        assert_eq!(found, expect, "{text:?}");
    }

    #[test]
    fn separators_and_comments() {
        check("", &[]);
        check("# a=b\n! c=d\n   \n\t# e=f\n", &[]);
        check(
            "a=b\nc = d\ne:f\ng : h\ni j\n",
            &[("a", "b", 1), ("c", "d", 2), ("e", "f", 3), ("g", "h", 4), ("i", "j", 5)],
        );
        check("\r\n  a =  b c  \r\n", &[("a", "b c", 2)]);
        check("a", &[("a", "", 1)]);
        check("a=", &[("a", "", 1)]);
        check("a==b", &[("a", "=b", 1)]);
        check("a = # not a comment", &[("a", "# not a comment", 1)]);
        check("replica=1=127.0.0.1:1/a:2", &[("replica", "1=127.0.0.1:1/a:2", 1)]);
    }

    #[test]
    fn continued_lines() {
        check("a=b;\\\n   c;\\\r\n\td\ne=f", &[("a", "b;c;d", 1), ("e", "f", 4)]);
        check("a=b\\\\\nc=d", &[("a", "b\\", 1), ("c", "d", 2)]);
        check("a=b\\", &[("a", "b", 1)]);
        check("# a \\\nb=c", &[("b", "c", 2)]);
    }

    #[test]
    fn escapes() {
        check(r"a\=b\:c\ d=e\=\:f", &[("a=b:c d", "e=:f", 1)]);
        check(r"path=C\:\\store\ttab", &[("path", "C:\\store\ttab", 1)]);
        check(r"a=\u00e4\q", &[("a", "\u{e4}q", 1)]);
        for text in [r"a=\u00g0", r"a=\u12", r"a=\ud800", r"a=\u+123"] {
            let refused = Properties::parse(Path::new("x.conf"), text, &mut Vec::new()).unwrap_err();
            assert!(refused.to_string().starts_with("x.conf:1: \\u"), "{refused}");
        }
    }

    #[test]
    fn the_last_of_equals_counts() {
        let mut warnings = Vec::new();
        let mut properties = Properties::parse(Path::new("x.conf"), "a=1\nb=2\na=3", &mut warnings).unwrap();
        assert_eq!(properties.take("a").unwrap().value, "3");
        assert_eq!(properties.take("a"), None);
        assert_eq!(warnings.len(), 1);
        assert_eq!(warnings[0].to_string(), "a (x.conf:1): is replaced by the value in line 3");
        assert_eq!(properties.into_rest().len(), 1);
    }
}
