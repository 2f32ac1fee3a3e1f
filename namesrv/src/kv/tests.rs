#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::mpsc;

use super::*;

fn put(namespace: &str, key: &str, value: &str) -> Change {
    let (namespace, key, value) = (namespace.to_owned(), key.to_owned(), value.to_owned());
    Change::Put { namespace, key, value }
}

fn delete(namespace: &str, key: &str) -> Change {
    Change::Delete { namespace: namespace.to_owned(), key: key.to_owned() }
}

/// Makes a change and waits for it.
fn make(kv: &KvConfig, change: Change) -> Result<(), KvError> {
    let (done, outcome) = mpsc::channel();
    kv.change(change, move |result| done.send(result).unwrap());
    outcome.recv().unwrap()
}

fn open(path: &Path) -> KvConfig {
    KvConfig::open(Some(path.to_owned())).unwrap()
}

#[test]
fn what_was_answered_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kvConfig.json");
    let kv = open(&path);
    make(&kv, put(ORDER_TOPIC_CONFIG, "T", "broker-a:4")).unwrap();
    make(&kv, put(ORDER_TOPIC_CONFIG, "U", "broker-b:4")).unwrap();
    make(&kv, put("other", "k", "{\"quoted\": \"ü\"}")).unwrap();
    make(&kv, delete(ORDER_TOPIC_CONFIG, "U")).unwrap();
    drop(kv);

    let kv = open(&path);
    assert_eq!(kv.get(ORDER_TOPIC_CONFIG, "T").as_deref(), Some("broker-a:4"));
    assert_eq!(kv.get(ORDER_TOPIC_CONFIG, "U"), None);
    assert_eq!(kv.get("other", "k").as_deref(), Some("{\"quoted\": \"ü\"}"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left behind");
}

#[test]
fn rocketmqs_own_file_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kvConfig.json");
    std::fs::write(&path, "{\n\t\"configTable\":{\n\t\t\"N\":{\"K\":\"V\"\n\t\t},\n\t\t\"E\":{}\n\t}\n}")
        .unwrap();
    let kv = open(&path);
    assert_eq!(kv.get("N", "K").as_deref(), Some("V"));
    assert_eq!(kv.namespace("E"), None);
}

#[test]
fn a_malformed_file_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kvConfig.json");
    std::fs::write(&path, "{\"configTable\":[").unwrap();
    let refusal = KvConfig::open(Some(path.clone())).unwrap_err();
    assert!(matches!(refusal, KvError::Malformed { .. }));
    assert!(refusal.to_string().contains(path.to_str().unwrap()), "{refusal}");
    assert_eq!(std::fs::read(&path).unwrap(), b"{\"configTable\":[");
}

#[test]
fn a_change_that_cannot_be_written_is_refused_and_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let kv = open(&folder.path().join("gone").join("kvConfig.json"));
    assert!(matches!(make(&kv, put("N", "K", "V")), Err(KvError::Write { .. })));
    assert_eq!(kv.get("N", "K"), None);
}

#[test]
fn a_namespace_without_values_is_gone() {
    let kv = KvConfig::open(None).unwrap();
    make(&kv, put("N", "K", "V")).unwrap();
    assert_eq!(kv.namespace("N").unwrap(), BTreeMap::from([("K".to_owned(), "V".to_owned())]));
    make(&kv, delete("N", "K")).unwrap();
    make(&kv, delete("N", "K")).unwrap();
    assert_eq!(kv.namespace("N"), None);
}

#[test]
fn bounds_are_kept() {
    let kv = KvConfig::open(None).unwrap();
    let long = |n: usize| "x".repeat(n);
    make(&kv, put(&long(127), &long(255), &long(32 * 1024))).unwrap();
    for bad in [
        put("", "k", "v"),
        put("n", "", "v"),
        put("n", "k", ""),
        put("n\n", "k", "v"),
        put(&long(128), "k", "v"),
        put("n", &long(256), "v"),
        put("n", "k", &long(32 * 1024 + 1)),
        delete("", "k"),
    ] {
        assert!(matches!(make(&kv, bad.clone()), Err(KvError::Bad { .. })), "{bad:?}");
    }
    let full = (0..256).find_map(|n| make(&kv, put("n", &n.to_string(), &long(32 * 1024))).err());
    assert!(matches!(full, Some(KvError::Full { .. })), "8 MiB are 256 values of 32 KiB at most");
    assert_eq!(kv.get("n", "0").map(|value| value.len()), Some(32 * 1024), "what was there stays");
}
