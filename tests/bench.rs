//! `trireme bench` through the binary, against a cluster of the binary: short, but all of its parts.

#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use support::{Dev, trireme};

fn bench(dev: &Dev, args: &[&str]) -> (bool, Vec<Value>) {
    let mut command = trireme();
    command.args(["bench", "--namesrv", &dev.namesrv, "--json", "--seconds", "1", "--warmup", "0"]);
    let output = command.args(args).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.success(), text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[test]
fn what_is_sent_is_measured_received_and_checked() {
    let dev = Dev::start();
    // As much as there is room for, two consumers.
    let (fine, lines) =
        bench(&dev, &["--producers", "2", "--in-flight", "8", "--consumers", "2", "--size", "300"]);
    let summary = lines.last().unwrap();
    assert!(fine && summary["type"] == "summary", "{summary}");
    let received = &summary["received"];
    assert!(summary["send"]["messages"].as_u64().unwrap() > 0, "{summary}");
    assert!(summary["send"]["latency"]["p99_us"].as_u64().unwrap() > 0, "{summary}");
    assert!(received["messages"].as_u64() >= summary["send"]["messages"].as_u64(), "{summary}");
    assert_eq!((&received["lost"], &received["damaged"]), (&0.into(), &0.into()), "{summary}");
    assert!(lines.iter().any(|line| line["type"] == "second"));

    // At a rate, in batches, with JSON headers, into a topic that stays.
    let keep = ["--topic", "kept", "--queues", "2", "--producers", "1"];
    let (fine, lines) = bench(
        &dev,
        &[&keep[..], &["--rate", "200", "--batch", "5", "--json-headers", "--connections", "2"]].concat(),
    );
    let summary = lines.last().unwrap();
    assert!(fine, "{summary}");
    assert_eq!((&summary["queues"], &summary["received"]), (&2.into(), &Value::Null));
    let sent = summary["send"]["messages"].as_u64().unwrap();
    assert!((5..=200).contains(&sent), "{summary}");

    // Reading it back.
    let (fine, lines) = bench(&dev, &["--topic", "kept", "--producers", "0", "--consumers", "1"]);
    let summary = lines.last().unwrap();
    assert!(fine, "{summary}");
    assert!(summary["received"]["messages"].as_u64().unwrap() >= sent, "{summary}");
    assert_eq!(summary["received"]["foreign"], 0);
}

#[test]
fn what_cannot_be_run_is_said() {
    let refused = |args: &[&str]| {
        let output = trireme().arg("bench").args(args).output().unwrap();
        assert!(!output.status.success(), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&["--namesrv", "127.0.0.1:1"]).contains("no name server answers"));
    assert!(refused(&["--producers", "0"]).contains("neither producers nor consumers"));
    assert!(refused(&["--producers", "0", "--consumers", "1"]).contains("--topic must say what to read"));
    assert!(refused(&["--size", "8"]).contains("40"));
}
