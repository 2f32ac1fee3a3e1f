//! Bodies through the lenient reader and the writer that knows object keys.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(default)]
struct Queue {
    name: String,
    id: i32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Default)]
#[serde(default)]
struct Everything {
    text: String,
    int: i32,
    long: i64,
    unsigned: u64,
    float: f64,
    yes: bool,
    some: Option<String>,
    list: Vec<i32>,
    by_int: BTreeMap<i64, String>,
    by_queue: BTreeMap<Queue, i64>,
    nested: Vec<Queue>,
}

fn full() -> Everything {
    Everything {
        text: "a\"\\\n\u{1}é中😀".into(),
        int: -1,
        long: i64::MIN,
        unsigned: u64::MAX,
        float: 0.5,
        yes: true,
        some: Some("s".into()),
        list: vec![1, 2],
        by_int: [(0, "zero".into()), (-1, "minus".into())].into(),
        by_queue: [(Queue { name: "q".into(), id: 3 }, 5), (Queue { name: "\"".into(), id: 4 }, 6)].into(),
        nested: vec![Queue::default()],
    }
}

#[test]
fn what_is_written() {
    assert_eq!(
        to_string(&full()).unwrap(),
        concat!(
            r#"{"text":"a\"\\\n\u0001é中😀","int":-1,"long":-9223372036854775808,"unsigned":18446744073709551615,"#,
            r#""float":0.5,"yes":true,"some":"s","list":[1,2],"by_int":{"-1":"minus","0":"zero"},"#,
            r#""by_queue":{{"name":"\"","id":4}:6,{"name":"q","id":3}:5},"nested":[{"name":"","id":0}]}"#
        )
    );
}

#[test]
fn nulls_are_left_out_wherever_they_stand() {
    #[derive(Serialize)]
    struct Nulls {
        a: Option<i32>,
        b: i32,
        c: Option<i32>,
        d: BTreeMap<&'static str, Option<i32>>,
        e: f64,
    }
    let nulls =
        Nulls { a: None, b: 1, c: None, d: [("x", None), ("y", Some(2)), ("z", None)].into(), e: f64::NAN };
    assert_eq!(to_string(&nulls).unwrap(), r#"{"b":1,"d":{"y":2}}"#);
    let only = Nulls { d: [("x", None)].into(), ..nulls };
    assert_eq!(to_string(&only).unwrap(), r#"{"b":1,"d":{}}"#);
}

#[test]
fn what_has_no_form_is_an_error() {
    #[derive(Serialize)]
    enum WithData {
        One(i32),
    }
    assert!(matches!(to_string(&WithData::One(1)), Err(JsonError::Shape(_))));
}

#[test]
fn what_was_written_is_read() {
    let written = to_bytes(&full()).unwrap();
    assert_eq!(from_slice::<Everything>(&written), Ok(full()));
}

#[test]
fn kinds_stand_for_each_other_and_nulls_for_nothing() {
    let text = r#"{"text":7,"int":"-1","long":3.0,"unsigned":"4","float":"0.5","yes":"TRUE","some":null,
        "list":[null,"1",2],"by_int":{0:true},"by_queue":{{"id":"3", "name":9}:"5",{"name":"n","new":null}:6},
        "nested":null,"unknown":{"deep":[{}]}} "#;
    let expect = Everything {
        text: "7".into(),
        int: -1,
        long: 3,
        unsigned: 4,
        float: 0.5,
        yes: true,
        some: None,
        list: vec![1, 2],
        by_int: [(0, "true".into())].into(),
        by_queue: [(Queue { name: "9".into(), id: 3 }, 5), (Queue { name: "n".into(), id: 0 }, 6)].into(),
        nested: vec![],
    };
    assert_eq!(from_slice::<Everything>(text.as_bytes()), Ok(expect));
    assert_eq!(from_slice::<Everything>(b"null"), Ok(Everything::default()));
}

#[test]
fn the_key_as_quoted_json_is_read_too() {
    let text = r#"{"by_queue":{"{\"name\":\"q\",\"id\":3}":5}}"#;
    let read: Everything = from_slice(text.as_bytes()).unwrap();
    assert_eq!(read.by_queue, [(Queue { name: "q".into(), id: 3 }, 5)].into());
}

#[test]
fn wrong_shapes_are_errors_in_words() {
    for (text, expect) in [
        (r#"{"int":"x"}"#, "expected an integer, found text"),
        (r#"{"int":1.5}"#, "expected an integer, found a number"),
        (r#"{"int":3000000000}"#, "invalid value: integer `3000000000`, expected i32"),
        (r#"{"text":[]}"#, "expected text, found an array"),
        (r#"{"list":{}}"#, "expected an array, found an object"),
        (r#"{"by_int":{"x":"y"}}"#, "expected an integer, found text"),
        (r#"{"nested":[3]}"#, "expected an object, found a number"),
        (r#"[]"#, "expected an object, found an array"),
    ] {
        let error = from_slice::<Everything>(text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expect, "{text}");
    }
}
