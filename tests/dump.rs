//! `trireme dump` on stores that real replicas wrote: running, stopped, and damaged.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use support::{Dev, dump};
use trireme_client::{Client, ClientConfig, Message, ProducerConfig, SendResult, TopicSpec};

const TOPIC: &str = "cargo";
const MESSAGES: usize = 40;

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of_type<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == kind).collect()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// Sends messages of some size, so that the log rolls over; the last ones are small.
async fn load(dev: &Dev) -> Vec<SendResult> {
    let client = Client::new(ClientConfig::new(&dev.namesrv)).unwrap();
    client.admin().create_topic(&TopicSpec { write_queues: 2, ..TopicSpec::new(TOPIC) }, None).await.unwrap();
    let producer = client.producer(ProducerConfig::new("dockers")).unwrap();
    let mut stored = Vec::new();
    for nth in 0..MESSAGES {
        let body = vec![b'a' + (nth % 26) as u8; if nth < 12 { 1 << 20 } else { 100 + nth }];
        let message = Message::new(TOPIC, body).with_tag("bulk").with_keys([format!("k{nth}")]);
        stored.push(producer.send(message).await.unwrap());
    }
    producer.shutdown().await;
    client.shutdown();
    stored
}

/// Every file below a directory with its content.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                found.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    found
}

fn copy(store: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for (path, bytes) in contents(store) {
        let to = copy.path().join(path.strip_prefix(store).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, bytes).unwrap();
    }
    copy
}

fn change(path: &Path, at: usize, with: impl FnOnce(&mut u8)) {
    let mut bytes = fs::read(path).unwrap();
    with(&mut bytes[at]);
    fs::write(path, bytes).unwrap();
}

/// One cluster for everything: it is the costly part.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_shown_as_it_is() {
    let mut dev = Dev::start();
    let acknowledged = load(&dev).await;
    a_running_store(&dev, &acknowledged);
    dev.stop();
    a_stopped_store(&dev, &acknowledged);
    let store = dev.store(1);
    damage_in_the_log(&store);
    damage_in_the_mark(&store);
    damage_in_derived_files(&store);
    damage_in_the_hard_state(&store);
    garbage(&store);
}

/// Beside running replicas: every acknowledged message is in a majority of the logs, at its place.
fn a_running_store(dev: &Dev, acknowledged: &[SendResult]) {
    let mut places = BTreeMap::new();
    for node in 1..=3 {
        let output = dump(&dev.store(node), &["--messages", "--topic", TOPIC, "--json"]);
        let lines = lines(&output);
        assert!(of_type(&lines, "store")[0]["in_use_by"].is_u64(), "a running store is said to be in use");
        assert_eq!(code(&output), 0, "{lines:?}");
        for message in of_type(&lines, "message") {
            let place = format!("{}/{}", message["queue"], message["queue_offset"]);
            let id = message["unique_key"].as_str().unwrap().to_owned();
            *places.entry((place, id)).or_insert(0) += 1;
        }
    }
    for sent in acknowledged {
        let place = format!("{}/{}", sent.queue.queue_id, sent.queue_offset);
        let replicas = places.get(&(place.clone(), sent.msg_id.clone())).copied().unwrap_or(0);
        assert!(replicas >= 2, "message {} at {place} is on {replicas} replicas", sent.msg_id);
    }
}

/// All parts, in words and as JSON; and not a byte is changed.
fn a_stopped_store(dev: &Dev, acknowledged: &[SendResult]) {
    let store = dev.store(1);
    let before = contents(&store);
    let output = dump(&store, &["--json"]);
    let overview = lines(&output);
    assert_eq!(code(&output), 0, "{overview:?}");
    assert!(of_type(&overview, "store")[0]["in_use_by"].is_null());
    let segments = of_type(&overview, "segment");
    assert!(segments.len() >= 2 && segments[0]["is"] == "sealed", "{segments:?}");
    let hard = of_type(&overview, "hard")[0];
    assert_eq!((hard["group"].as_str(), hard["node"].as_u64()), (Some("broker-a"), Some(1)));
    assert_eq!(hard["members"]["members"].as_object().unwrap().len(), 3);
    assert!(hard["vote"]["term"].as_u64().unwrap() > 0);
    let queues = of_type(&overview, "queue");
    let next: u64 = queues
        .iter()
        .filter(|queue| queue["topic"] == TOPIC)
        .map(|queue| queue["next"].as_u64().unwrap())
        .sum();
    assert_eq!(next, acknowledged.len() as u64, "an orderly stop writes all units: {queues:?}");
    let checkpoints = of_type(&overview, "checkpoint");
    assert_eq!(checkpoints[0]["physical_offset"], 8_388_608);

    // A single message, by its place.
    let last = acknowledged.last().unwrap();
    let (queue, offset) = (last.queue.queue_id.to_string(), last.queue_offset.to_string());
    let place = ["--topic", TOPIC, "--queue", &queue, "--offset", &offset];
    let found = lines(&dump(&store, &[&place[..], &["--json"]].concat()));
    let found = of_type(&found, "message");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0]["tags"].as_str(), found[0]["keys"].as_str()), (Some("bulk"), Some("k39")));
    assert_eq!(found[0]["unique_key"].as_str(), Some(&*last.msg_id));
    let units = lines(&dump(&store, &[&place[..], &["--queues", "--json"]].concat()));
    assert_eq!(of_type(&units, "unit")[0]["physical_offset"], found[0]["physical_offset"]);

    // The range of entries, and words.
    let frames = lines(&dump(&store, &["--frames", "3..5", "--json"]));
    let indexes: Vec<_> =
        of_type(&frames, "frame").iter().map(|frame| frame["log_id"]["index"].clone()).collect();
    assert_eq!(indexes, [3, 4]);
    let words = String::from_utf8(dump(&store, &["--frames"]).stdout).unwrap();
    assert!(words.contains("put topic cargo with 8 read and 2 write queues"), "{words}");
    assert!(words.contains("a new leader's first entry") && words.contains("tags bulk, keys k39"), "{words}");
    assert_eq!(contents(&store), before, "a dump changes nothing");
    assert_eq!(code(&dump(&store.join("nowhere"), &[])), 2);
}

/// A flipped byte in a frame: named with its range, and what is behind is not taken for the log.
fn damage_in_the_log(store: &Path) {
    let sound = lines(&dump(store, &["--frames", "--json"]));
    let frames = of_type(&sound, "frame");
    let victim = frames.iter().position(|frame| frame["messages"] == 1).unwrap();
    let number = |value: &Value| value.as_u64().unwrap();
    let (from, bytes) = (number(&frames[victim]["physical_offset"]), number(&frames[victim]["bytes"]));
    let damaged = copy(store);
    let segment = damaged.path().join("commitlog").join(format!("{:020}.log", 0));
    change(&segment, (from + bytes / 2) as usize, |byte| *byte ^= 1);

    let output = dump(damaged.path(), &["--frames", "--json"]);
    let shown = lines(&output);
    assert_eq!(code(&output), 1);
    let damage = of_type(&shown, "damage");
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert_eq!(damage[0]["range"], serde_json::json!([from, from + bytes]));
    assert_eq!(of_type(&shown, "frame").len(), victim, "what is behind damage is not the log");
    let all = lines(&dump(damaged.path(), &["--frames", "--follow-damage", "--json"]));
    assert_eq!(of_type(&all, "frame").len(), frames.len() - 1);
    let segments = lines(&dump(damaged.path(), &["--segments", "--json"]));
    assert_eq!(of_type(&segments, "segment")[0]["damaged_bytes"], bytes);

    // Zeros where synced entries were, and a segment that is gone.
    fs::write(&segment, vec![0; 8_388_608]).unwrap();
    let shown = lines(&dump(damaged.path(), &["--segments", "--json"]));
    assert_eq!(of_type(&shown, "damage")[0]["range"], serde_json::json!([0, 8_388_608]));
    fs::remove_file(&segment).unwrap();
    let output = dump(damaged.path(), &["--segments", "--json"]);
    assert_eq!(of_type(&lines(&output), "damage")[0]["range"], serde_json::json!([0, 8_388_608]));
    assert_eq!(code(&output), 1);
}

/// One slot of the mark is the other's spare; without both, nobody knows what was durable.
fn damage_in_the_mark(store: &Path) {
    let damaged = copy(store);
    let mark = damaged.path().join("commitlog/mark");
    change(&mark, 20, |byte| *byte ^= 1);
    let output = dump(damaged.path(), &["--segments", "--json"]);
    assert_eq!((code(&output), of_type(&lines(&output), "note").len()), (0, 1));
    change(&mark, 4096 + 20, |byte| *byte ^= 1);
    let output = dump(damaged.path(), &["--segments", "--json"]);
    let shown = lines(&output);
    assert_eq!((code(&output), &of_type(&shown, "damage")[0]["part"]), (1, &"mark".into()));
    assert!(of_type(&shown, "segment").len() >= 2, "the segments are shown all the same");
}

fn damage_in_derived_files(store: &Path) {
    let damaged = copy(store);
    let queues = lines(&dump(store, &["--queues", "--topic", TOPIC, "--json"]));
    let topic = of_type(&queues, "queue")[0]["topic_id"].to_string();
    let chunk = damaged.path().join("consumequeue").join(topic).join(format!("0.{:020}", 0));
    change(&chunk, 24 * 5 + 3, |byte| *byte ^= 1);
    let output = dump(damaged.path(), &["--queues", "--json"]);
    let shown = lines(&output);
    assert_eq!(code(&output), 1);
    assert_eq!(of_type(&shown, "damage")[0]["range"], serde_json::json!([5, 6]));
    // Too short: as many units as are missing.
    fs::write(&chunk, &fs::read(&chunk).unwrap()[..24 * 10 + 7]).unwrap();
    let shown = lines(&dump(damaged.path(), &["--queues", "--json"]));
    let ranges: Vec<_> = of_type(&shown, "damage").iter().map(|damage| damage["range"][0].clone()).collect();
    assert_eq!(ranges, [5, 10]);

    let checkpoint = damaged.path().join("checkpoints").join(format!("{:020}.checkpoint", 8_388_608));
    change(&checkpoint, 60, |byte| *byte ^= 1);
    let output = dump(damaged.path(), &["--checkpoints", "--json"]);
    assert_eq!(code(&output), 1);
    assert_eq!(of_type(&lines(&output), "damage")[0]["part"], "checkpoint");
}

fn damage_in_the_hard_state(store: &Path) {
    let damaged = copy(store);
    fs::write(damaged.path().join("hardstate/db"), vec![0xa5; 10_000]).unwrap();
    let output = dump(damaged.path(), &["--json"]);
    let shown = lines(&output);
    assert_eq!(code(&output), 1);
    assert_eq!(of_type(&shown, "damage")[0]["part"], "hard_state");
    assert!(of_type(&shown, "segment").len() >= 2, "the rest is shown all the same");
    assert!(of_type(&shown, "queue").len() >= 2, "also the queues, whose names nobody knows now");
    fs::remove_dir_all(damaged.path().join("hardstate")).unwrap();
    let output = dump(damaged.path(), &["--json"]);
    assert!(!of_type(&lines(&output), "note").is_empty(), "what is not there is not damage but said");
}

/// Whatever the bytes are: an answer, never a panic.
fn garbage(store: &Path) {
    let seed = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    let work = copy(store);
    let files: Vec<_> = contents(work.path()).into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect();
    for round in 0..60 {
        let (path, sound) = &files[random.random_range(0..files.len())];
        let mut bytes = sound.clone();
        // The beginning of a preallocated segment is where something is.
        let at = random.random_range(0..bytes.len().min(20_000));
        match random.random_range(0..4) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes.truncate(at),
            2 => bytes[at..].iter_mut().take(64).for_each(|byte| *byte = random.random()),
            _ => bytes[at..].iter_mut().take(600).for_each(|byte| *byte = 0),
        }
        fs::write(path, bytes).unwrap();
        for args in [&["--json"][..], &["--frames", "--hard", "--queues", "--follow-damage"]] {
            let output = dump(work.path(), args);
            let said = String::from_utf8_lossy(&output.stderr);
            let context = format!("seed {seed}, round {round}, {} at {at}: {said}", path.display());
            assert!(matches!(output.status.code(), Some(0 | 1)), "{context}");
            assert!(!said.contains("panicked"), "{context}");
        }
        fs::write(path, sound).unwrap();
    }
}
