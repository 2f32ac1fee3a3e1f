//! Lenient text to `serde_json::Value`.

use serde_json::{Map, Number, Value};

use super::lexer::{JsonError, Lexer};

/// How deep objects and arrays may nest.
pub const MAX_DEPTH: usize = 16;

/// How many values one text may hold: keeps a body of 16 MiB from growing into a gigabyte of nodes.
pub const MAX_VALUES: usize = 1 << 20;

/// Reads one JSON value.
///
/// Beyond the standard it takes object keys that are bare numbers (kept as their text) or whole objects (kept
/// as their compact JSON text, members sorted), raw control characters in strings, and repeated members (the
/// last one counts).
/// Errors: the first byte that no reading allows, [`MAX_DEPTH`], [`MAX_VALUES`].
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    let mut parser = Parser { lexer: Lexer::new(bytes)?, values: 0 };
    let value = parser.value(MAX_DEPTH)?;
    parser.lexer.end()?;
    Ok(value)
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    values: usize,
}

impl Parser<'_> {
    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(JsonError::TooManyValues);
        }
        match self.lexer.peek() {
            Some(b'"') => Ok(Value::String(self.lexer.string()?.into_owned())),
            Some(b'{') => self.object(self.deeper(depth)?).map(Value::Object),
            Some(b'[') => self.array(self.deeper(depth)?).map(Value::Array),
            _ => self.lexer.scalar().map(scalar),
        }
    }

    fn deeper(&self, depth: usize) -> Result<usize, JsonError> {
        depth.checked_sub(1).ok_or(JsonError::TooDeep { at: self.lexer.at() })
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Value>, JsonError> {
        self.lexer.expect(b'[', "'['")?;
        let mut array = Vec::new();
        while !self.lexer.eat(b']') {
            if !array.is_empty() {
                self.lexer.expect(b',', "',' or ']'")?;
            }
            array.push(self.value(depth)?);
        }
        Ok(array)
    }

    fn object(&mut self, depth: usize) -> Result<Map<String, Value>, JsonError> {
        self.lexer.expect(b'{', "'{'")?;
        let mut object = Map::new();
        let mut first = true;
        while !self.lexer.eat(b'}') {
            if !first {
                self.lexer.expect(b',', "',' or '}'")?;
            }
            first = false;
            let key = self.key(depth)?;
            self.lexer.expect(b':', "':'")?;
            let value = self.value(depth)?;
            object.insert(key, value);
        }
        Ok(object)
    }

    fn key(&mut self, depth: usize) -> Result<String, JsonError> {
        match self.lexer.peek() {
            Some(b'"') => Ok(self.lexer.string()?.into_owned()),
            Some(b'{') => Ok(self.value(depth)?.to_string()),
            _ => Ok(self.lexer.scalar()?.to_owned()),
        }
    }
}

fn scalar(text: &str) -> Value {
    match text {
        "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        number => match (number.parse::<i64>(), number.parse::<u64>()) {
            (Ok(signed), _) => Value::Number(signed.into()),
            (_, Ok(unsigned)) => Value::Number(unsigned.into()),
            // A number too large for a float reads as infinite and has no JSON form: null.
            _ => number.parse().ok().and_then(Number::from_f64).map_or(Value::Null, Value::Number),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Value) {
        assert_eq!(parse(text.as_bytes()), Ok(expect));
    }

    #[test]
    fn what_real_peers_write() {
        check(r#"{0:"10.0.0.1:10911",1:"b"}"#, json!({"0": "10.0.0.1:10911", "1": "b"}));
        check(
            r#"{"offsetTable":{{"topic":"T", "queueId":3,"brokerName":"b-a"}:5}}"#,
            json!({"offsetTable": {r#"{"brokerName":"b-a","queueId":3,"topic":"T"}"#: 5}}),
        );
        check("{\"a\":1,\"a\":2, \"n\":null}\r\n", json!({"a": 2, "n": null}));
        check(r#""a\u0001b\ud83d\ude00\ud800x\/""#, json!("a\u{1}b😀\u{fffd}x/"));
        check(
            "[-1,1.5,9223372036854775807,18446744073709551615,1e3]",
            json!([-1, 1.5, 9223372036854775807i64, 18446744073709551615u64, 1000.0]),
        );
        check(" [ ] ", json!([]));
    }

    #[test]
    fn what_is_refused() {
        for text in [
            "",
            "{",
            "[1",
            "[1,]",
            "{\"a\"}",
            "{\"a\":}",
            "tru",
            "nan",
            "inf",
            "1 2",
            "\"\\x\"",
            "\"\\u12\"",
            "\"open",
            "{,}",
            "+",
            "-",
            "[1 2]",
            "{'a':1}",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert_eq!(parse(b"\"\xff\""), Err(JsonError::Utf8 { at: 1 }));
    }

    #[test]
    fn depth_has_a_bound() {
        let nested = |depth| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(parse(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(parse(&nested(MAX_DEPTH + 1)), Err(JsonError::TooDeep { at: MAX_DEPTH }));
        assert!(parse(&vec![b'{'; 1 << 20]).is_err());
    }

    #[test]
    fn the_number_of_values_has_a_bound() {
        let mut text = b"[0".to_vec();
        text.extend(b",0".repeat(MAX_VALUES));
        text.push(b']');
        assert_eq!(parse(&text), Err(JsonError::TooManyValues));
    }
}
