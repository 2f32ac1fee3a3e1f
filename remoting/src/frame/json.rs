//! The JSON header.
//!
//! Read by hand and not through serde: it is on the path of every message, most of its text goes straight
//! into [`ExtFields`], and C++ clients put numbers and booleans where strings belong.

use super::{Body, Frame, FrameError, Head, SerializeType};
use crate::ext::{ExtFields, MAX_FIELDS, Spans};
use crate::fields::{Digits, FieldSink, Header};
use crate::json::{JsonError, Lexer, MAX_DEPTH, write_escaped};
use crate::version::Language;

/// Members in the alphabetical order of upstream's serializer.
///
/// `serializeTypeCurrentRPC`, which Java writes too, is left out: every reader takes the notation from the
/// prefix.
pub(super) fn encode(head: &Head<'_>, header: &impl Header, out: &mut Vec<u8>) {
    put_number(out, b"{\"code\":", head.code);
    let mut fields = Fields { out, before: b'{' };
    header.write_fields(&mut fields);
    if fields.before == b',' {
        out.push(b'}');
    }
    put_number(out, b",\"flag\":", head.flag);
    out.extend_from_slice(b",\"language\":\"");
    out.extend_from_slice(head.language.name().as_bytes());
    put_number(out, b"\",\"opaque\":", head.opaque);
    if let Some(remark) = head.remark {
        out.extend_from_slice(b",\"remark\":");
        write_escaped(out, remark);
    }
    put_number(out, b",\"version\":", head.version);
    out.push(b'}');
}

fn put_number(out: &mut Vec<u8>, label: &[u8], number: i32) {
    out.extend_from_slice(label);
    out.extend_from_slice(Digits::of(number.into()).as_bytes());
}

/// The member `extFields`, if there is a field at all.
struct Fields<'a> {
    out: &'a mut Vec<u8>,
    /// What comes before the next field.
    before: u8,
}

impl Fields<'_> {
    fn name(&mut self, name: &str) {
        if self.before == b'{' {
            self.out.extend_from_slice(b",\"extFields\":");
        }
        self.out.push(self.before);
        self.before = b',';
        write_escaped(self.out, name);
        self.out.push(b':');
    }
}

impl FieldSink for Fields<'_> {
    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        write_escaped(self.out, value);
    }

    fn number(&mut self, name: &str, value: i64) {
        self.name(name);
        self.out.push(b'"');
        self.out.extend_from_slice(Digits::of(value).as_bytes());
        self.out.push(b'"');
    }
}

/// Reads a header of any member order; unknown members are skipped, a null counts as absent.
pub(super) fn decode(header: &[u8]) -> Result<Frame, FrameError> {
    let mut lexer = Lexer::new(header)?;
    let (mut code, mut has_fields) = (None, false);
    let mut frame = Frame {
        code: 0,
        language: Language::Other,
        version: 0,
        opaque: 0,
        flag: 0,
        remark: None,
        ext: ExtFields::new(),
        body: Body::Empty,
        serialize: SerializeType::Json,
    };
    members(&mut lexer, |lexer, name| {
        match name {
            "code" => code = number(lexer, "code")?,
            "version" => frame.version = number(lexer, "version")?.unwrap_or(0),
            "opaque" => frame.opaque = number(lexer, "opaque")?.unwrap_or(0),
            "flag" => frame.flag = number(lexer, "flag")?.unwrap_or(0),
            "language" => frame.language = language(lexer)?,
            "remark" => frame.remark = text(lexer)?,
            // Each costs a copy of the whole header.
            "extFields" if has_fields => return Err(lexer.expected("one extFields").into()),
            "extFields" => {
                has_fields = true;
                frame.ext = ext_fields(lexer)?;
            }
            _ => lexer.skip_value(MAX_DEPTH)?,
        }
        Ok(())
    })?;
    lexer.end()?;
    frame.code = code.ok_or(FrameError::JsonField("code"))?;
    Ok(frame)
}

/// Calls `member` with the name of each member of the object that comes next; it has to consume the value.
fn members(
    lexer: &mut Lexer<'_>,
    mut member: impl FnMut(&mut Lexer<'_>, &str) -> Result<(), FrameError>,
) -> Result<(), FrameError> {
    elements(lexer, |lexer| {
        let name = lexer.string()?;
        lexer.expect(b':', "':'")?;
        member(lexer, &name)
    })
}

/// Calls `element` at each member of the object that comes next; it has to consume name and value.
fn elements(
    lexer: &mut Lexer<'_>,
    mut element: impl FnMut(&mut Lexer<'_>) -> Result<(), FrameError>,
) -> Result<(), FrameError> {
    lexer.expect(b'{', "'{'")?;
    let mut first = true;
    while !lexer.eat(b'}') {
        if !first {
            lexer.expect(b',', "',' or '}'")?;
        }
        first = false;
        element(lexer)?;
    }
    Ok(())
}

/// An integer, also in quotes; `None` for null.
fn number(lexer: &mut Lexer<'_>, field: &'static str) -> Result<Option<i32>, FrameError> {
    if let Some(number) = lexer.plain_integer() {
        return Ok(Some(number));
    }
    let parsed = match lexer.peek() {
        Some(b'"') => lexer.string()?.parse(),
        _ => match lexer.scalar()? {
            "null" => return Ok(None),
            scalar => scalar.parse(),
        },
    };
    parsed.map(Some).map_err(|_| FrameError::JsonField(field))
}

/// The enum's name, or its ordinal as fastjson accepts it.
fn language(lexer: &mut Lexer<'_>) -> Result<Language, JsonError> {
    match lexer.peek() {
        Some(b'"') => Ok(Language::from_name(&lexer.string()?)),
        _ => Ok(lexer.scalar()?.parse().map_or(Language::Other, Language::from_code)),
    }
}

fn text(lexer: &mut Lexer<'_>) -> Result<Option<String>, JsonError> {
    match lexer.peek() {
        Some(b'"') => Ok(Some(lexer.string()?.into_owned())),
        _ => Ok(Some(lexer.scalar()?).filter(|scalar| *scalar != "null").map(str::to_owned)),
    }
}

/// String, number and boolean values become their text; null ones count as absent, as in Java's signatures.
///
/// The fields lie in a copy of the whole header, those with escapes behind it.
fn ext_fields(lexer: &mut Lexer<'_>) -> Result<ExtFields, FrameError> {
    if lexer.peek() != Some(b'{') {
        return match lexer.scalar()? {
            "null" => Ok(ExtFields::new()),
            _ => Err(lexer.expected("an object").into()),
        };
    }
    // Twice as long, so that one value with escapes has its place: the message's properties.
    let mut text = String::with_capacity(2 * lexer.text().len());
    text.push_str(lexer.text());
    let mut spans = Spans::new();
    elements(lexer, |lexer| {
        let key = lexer.string_in(&mut text)?;
        lexer.expect(b':', "':'")?;
        let value = match lexer.peek() {
            Some(b'"') => lexer.string_in(&mut text)?,
            _ => match lexer.scalar()? {
                "null" => return Ok(()),
                scalar => lexer.at() - scalar.len()..lexer.at(),
            },
        };
        if spans.len() == MAX_FIELDS {
            return Err(FrameError::TooManyFields);
        }
        spans.push(key, value);
        Ok(())
    })?;
    Ok(ExtFields::over(text, spans))
}
