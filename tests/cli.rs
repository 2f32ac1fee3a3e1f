//! `trireme admin`, `send` and `consume` through the binary, and how `broker` and `namesrv` take their settings.

#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "each test binary has its own copy of this module, and uses a part of it")]
mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

use support::{Dev, trireme};

/// What a command printed, and how it ended.
struct Said {
    succeeded: bool,
    out: String,
    err: String,
}

impl Said {
    /// The cells of a table's rows, without its heading.
    fn rows(&self) -> Vec<Vec<&str>> {
        self.out.lines().skip(1).map(|line| line.split_whitespace().collect()).collect()
    }
}

fn said(output: Output) -> Said {
    Said {
        succeeded: output.status.success(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A command that is a client of the cluster.
fn client(namesrv: &str, args: &str) -> Command {
    let mut command = trireme();
    command.args(args.split(' ')).env("TRIREME_NAMESRV", namesrv).stdin(Stdio::null());
    command
}

/// Runs it to its end, which is a success.
#[track_caller]
fn run(namesrv: &str, args: &str) -> Said {
    let said = said(client(namesrv, args).output().unwrap());
    assert!(said.succeeded, "{args}: {}", said.err);
    said
}

/// Runs it to its end, which is a failure told on standard error.
#[track_caller]
fn fails(namesrv: &str, args: &str) -> String {
    let said = said(client(namesrv, args).output().unwrap());
    assert!(!said.succeeded, "{args}: {}", said.out);
    assert_eq!(said.out, "", "{args}");
    said.err
}

#[test]
fn a_development_cluster_stops_when_it_is_told() {
    Dev::start().stop();
}

#[test]
fn messages_are_sent_found_and_consumed() {
    let dev = Dev::start();
    let namesrv = dev.namesrv.as_str();
    let created = run(namesrv, "admin topic create ships --queues 2").out;
    assert_eq!(created, "created topic ships: 2 queues at broker-a\n");
    assert_eq!(run(namesrv, "admin topic list").out, "ships\n");
    assert!(run(namesrv, "admin topic list --all").out.contains("TBW102\n"));

    let sent =
        run(namesrv, "send --topic ships --tag new --key k1 --key k2 --property port=piraeus hello").out;
    let [queue, offset, msg_id, offset_id] = sent.trim_end().split('\t').collect::<Vec<_>>()[..] else {
        panic!("{sent}");
    };
    assert_eq!(offset, "0");

    // Each line a message, twice; empty ones are not messages.
    let mut lines = client(namesrv, "send --topic ships --count 2");
    let mut lines = lines.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    lines.stdin.take().unwrap().write_all(b"one\n\r\n\ntwo \\ \t\xff").unwrap();
    let sent = said(lines.wait_with_output().unwrap());
    assert_eq!((sent.succeeded, sent.out.lines().count()), (true, 4));

    for args in [
        format!("admin message --id {offset_id}"),
        format!("admin message --msg-id ships {msg_id}"),
        "admin message --key ships k2".to_owned(),
    ] {
        let found = run(namesrv, &args).out;
        for line in [
            format!("queue         {}", queue.strip_prefix("ships@").unwrap()),
            format!("message id    {msg_id}"),
            format!("offset id     {offset_id}"),
            "property      TAGS=new".to_owned(),
            "property      port=piraeus".to_owned(),
            "body          5 B: hello".to_owned(),
        ] {
            assert!(found.lines().any(|found| found == line), "no {line:?} in\n{found}");
        }
    }

    // What one run leaves, the next one takes.
    let consume = "consume --topic ships --group museum --from first --count";
    let first = run(namesrv, &format!("{consume} 2")).out;
    assert_eq!(first.lines().count(), 2);
    let waiting = run(namesrv, "admin offsets museum ships").out;
    assert!(waiting.ends_with("3 messages of ships wait for museum\n"), "{waiting}");
    let second = run(namesrv, &format!("{consume} 3")).out;
    let mut bodies: Vec<_> =
        first.lines().chain(second.lines()).map(|line| line.split('\t').next_back().unwrap()).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, ["hello", "one", "one", r"two \\ \t\xff", r"two \\ \t\xff"]);
    let hello = format!("{queue}\t0\tnew\tk1 k2\thello");
    assert!(first.lines().chain(second.lines()).any(|line| line == hello), "{first}{second}");
    let offsets = run(namesrv, "admin offsets museum ships");
    assert!(offsets.out.ends_with("0 messages of ships wait for museum\n"), "{}", offsets.out);

    // Only the wanted tags.
    let new =
        run(namesrv, "consume --topic ships --group shipyard --from first --tag old||new --count 1").out;
    assert_eq!(new, format!("{hello}\n"));

    assert_eq!(run(namesrv, "admin topic delete ships").out, "deleted topic ships\n");
    assert_eq!(fails(namesrv, "admin topic delete ships"), "trireme: topic ships does not exist\n");
}

#[test]
fn a_cluster_is_shown_and_set_up() {
    let dev = Dev::start();
    let namesrv = dev.namesrv.as_str();
    let cluster = run(namesrv, "admin cluster");
    let rows = cluster.rows();
    assert_eq!(rows.len(), 3, "{}", cluster.out);
    let leaders: Vec<_> = rows.iter().filter(|row| row[4] == "leader").collect();
    assert_eq!(leaders.len(), 1, "{}", cluster.out);
    let (leader, term) = (leaders[0][2], leaders[0][5]);
    for row in &rows {
        assert_eq!(
            (row[0], row[1], row[5], row[6]),
            ("DefaultCluster", "broker-a", term, leader),
            "{}",
            cluster.out
        );
    }

    run(namesrv, "admin topic create logs --queues 3 --perm r");
    let changed = run(namesrv, "admin topic create logs --queues 5 --perm rw --cluster DefaultCluster").out;
    assert_eq!(changed, "changed topic logs: 5 queues at broker-a\n");
    let route = run(namesrv, "admin topic route logs");
    assert_eq!(route.rows()[0][..4], ["broker-a", "5", "5", "rw"], "{}", route.out);
    assert_eq!(route.rows()[0][4], leaders[0][3], "{}", route.out);

    let created = run(namesrv, "admin group create readers --max-retries 3 --retry-queues 2").out;
    assert_eq!(created, "group readers is set up at broker-a\n");
    assert_eq!(run(namesrv, "admin group delete readers").out, "deleted group readers\n");

    // Whoever led: each in turn, and once who leads already.
    for to in ["1", "2", "2", "3"] {
        let told = run(namesrv, &format!("admin transfer broker-a --to {to}")).out;
        assert!(told.starts_with(&format!("replica {to} leads broker-a, at 127.0.0.1:")), "{told}");
    }

    let trimmed = run(namesrv, "admin trim broker-a --keep-bytes 1GiB --older-than-hours 1");
    assert_eq!(trimmed.rows().len(), 3, "{}", trimmed.out);
    for row in trimmed.rows() {
        assert_eq!(row[1..], ["0", "0", "0", "-"], "{}", trimmed.out);
    }

    for (args, expect) in [
        ("admin transfer broker-a --to 4", "brokerId must name a replica of broker-a: 1, 2, 3"),
        ("admin transfer broker-b --to 1", "no replica of broker group broker-b is registered"),
        ("admin trim broker-a", "--older-than-hours <HOURS>"),
        ("admin trim broker-b --keep-bytes 0", "no replica of broker group broker-b is registered"),
        ("admin trim broker-a --keep-bytes much", "allowed are 0 to"),
        ("admin topic route nothing", "topic nothing does not exist"),
        ("admin topic create a/b", "topic name \"a/b\" has a character outside"),
        ("admin topic create t --cluster other", "no route names broker group of cluster other"),
        ("admin topic create t --queues 0", "0 is not in 1..=16384"),
        ("admin offsets nobody logs", "group nobody has committed nothing in topic logs"),
        ("admin message --id 00", "message id \"00\" is not an offset message id"),
        ("admin message --key logs nothing", "there is no such message"),
        ("send --topic logs --key a,b --property UNIQ_KEY=1 x", "property UNIQ_KEY is reserved"),
        ("consume --topic logs --group g/h", "group name \"g/h\""),
    ] {
        let told = fails(namesrv, args);
        assert!(told.contains(expect), "{args}: {told}");
    }
}

#[test]
fn without_a_cluster_the_error_says_whom_it_asked() {
    let nowhere = "127.0.0.1:1";
    for args in ["admin cluster", "send --topic t x", "consume --topic t --group g"] {
        let told = fails(nowhere, args);
        assert!(told.contains("asked 127.0.0.1:1: connecting to 127.0.0.1:1: "), "{args}: {told}");
        // Every cause once.
        assert_eq!(told.matches("connecting to").count(), 1, "{args}: {told}");
    }
    let told = fails("nowhere", "admin cluster");
    assert!(told.contains("\"nowhere\", expected host:port"), "{told}");
}

/// A process that ends with the test.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server and waits for its first words on standard output.
fn start(command: &mut Command) -> (Started, String) {
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let out = process.stdout.take().unwrap();
    let process = Started(process);
    let mut first = String::new();
    BufReader::new(out).read_line(&mut first).unwrap();
    (process, first)
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A broker that RocketMQ's own properties describe, with what they leave open from the environment and flags.
#[test]
fn a_broker_starts_with_rocketmq_properties() {
    let dir = tempfile::tempdir().unwrap();
    let (_namesrv, said) = start(trireme().args(["namesrv", "--listen", "127.0.0.1:0"]));
    let namesrv = said.trim_end().strip_prefix("name server on ").unwrap().to_owned();
    let (port, ha_port) = (free_port(), free_port());
    let store = dir.path().join("store");
    let text = format!(
        "# As RocketMQ has it\nbrokerClusterName = C\nbrokerName=B\nbrokerIP1=127.0.0.1\nbindAddress=127.0.0.1\n\
         listenPort={port}\nhaListenPort={ha_port}\nstorePathRootDir={}\nmappedFileSizeCommitLog=1073741824\n\
         flushDiskType=ASYNC_FLUSH\nautoCreateTopicEnable=true\n",
        store.display()
    );
    let file = dir.path().join("broker.conf");
    std::fs::write(&file, text).unwrap();
    let mut broker = trireme();
    broker.args(["broker", "--segment-bytes", "8MiB", "--auto-create-topic=false", "--config"]).arg(&file);
    let (_broker, said) = start(broker.env("TRIREME_NAMESRV", &namesrv));
    assert_eq!(said, format!("replica 1 of B serves clients on 127.0.0.1:{port}\n"));
    let files = store.join("commitlog").read_dir().unwrap();
    let sizes: Vec<u64> = files.map(|file| file.unwrap().metadata().unwrap().len()).collect();
    assert!(sizes.contains(&(8 << 20)) && !sizes.contains(&(1 << 30)), "{sizes:?}");
    // It leads, but has to tell the name server first.
    let deadline = std::time::Instant::now() + support::PATIENCE;
    while !said_by(&namesrv).contains("leader") {
        assert!(std::time::Instant::now() < deadline, "no leader: {}", said_by(&namesrv));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(fails(&namesrv, "send --topic unknown x").contains("topic unknown does not exist"));
    run(&namesrv, "admin topic create known");
    run(&namesrv, "send --topic known x");
}

fn said_by(namesrv: &str) -> String {
    said(client(namesrv, "admin cluster").output().unwrap()).out
}

#[test]
fn a_server_with_wrong_settings_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broker.toml");
    std::fs::write(&file, "segment_bytes = 5\nstores = \"/s\"\n").unwrap();
    let output = trireme().args(["broker", "--node", "0", "--config"]).arg(&file).output().unwrap();
    let refused = said(output);
    assert!(!refused.succeeded);
    let path = file.display();
    assert_eq!(
        refused.err,
        format!(
            "trireme: {path}:2: there is no setting stores; did you mean store?\n  \
             segment_bytes is \"5\" ({path}:1): allowed are 64 KiB to 16 GiB in steps of 4 KiB\n  \
             node is \"0\" (flag --node): allowed are 1 to 1000000\n"
        )
    );
    let refused = said(trireme().args(["namesrv", "--max-topics", "0"]).output().unwrap());
    assert_eq!(
        (refused.succeeded, refused.err.as_str()),
        (false, "trireme: max_topics is \"0\" (flag --max-topics): allowed are 1 to 10000000\n")
    );
}

#[test]
fn the_effective_configuration_is_a_configuration_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = trireme();
    command.args(["broker", "--print-config", "--segment-bytes", "64MiB", "--replica"]);
    command.args(["1=127.0.0.1:1/127.0.0.1:2", "--store"]).arg(dir.path().join("store"));
    let printed = said(command.env("TRIREME_VIP_PORT", "true").output().unwrap());
    assert!(printed.succeeded, "{}", printed.err);
    assert!(printed.out.contains("\nsegment_bytes = \"64 MiB\" # flag --segment-bytes\n"), "{}", printed.out);
    let file = dir.path().join("printed.toml");
    std::fs::write(&file, &printed.out).unwrap();
    // Named by the environment this time.
    let mut again = trireme();
    let again = said(again.args(["broker", "--print-config"]).env("TRIREME_CONFIG", &file).output().unwrap());
    let line = printed.out.lines().position(|line| line.starts_with("vip_port")).unwrap() + 1;
    let vip_port = format!("\nvip_port = true # {}:{line}\n", file.display());
    assert!(again.out.contains(&vip_port), "no {vip_port:?} in {}", again.out);
    // Nothing was started.
    assert!(!dir.path().join("store").exists());
}

/// What a developer types at `trireme dev`: the leader stops in order or is killed, another one leads, it comes back.
#[test]
fn what_is_typed_is_done() {
    let mut dev = Dev::start();
    for (order, done, times) in [("s", "stopped, it led", 1), ("k", "killed, it led", 2)] {
        dev.told(order);
        dev.waits_until_it_says(done, 1);
        dev.waits_until_it_says(" leads, ", times);
        dev.waits_until_it_says("started again", times);
    }
    dev.told("what");
    dev.waits_until_it_says("or Ctrl-C to stop all", 2);
}
