//! Every source of settings as a user gives them: which one decides, what is refused, what is warned of.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args as _, FromArgMatches as _};
use trireme_broker::config::BrokerConfig;
use trireme_namesrv::NameServerOptions;

use super::Flags;
use super::load::{Effective, Layer, Sources, effective};
use super::problem::Warning;
use super::setting::{Configured, Initial, Setting};

/// What a user wrote where.
#[derive(Default)]
struct Given<'a> {
    /// Name and text of the file.
    file: Option<(&'a str, &'a str)>,
    variables: &'a [(&'a str, &'a str)],
    flags: &'a [&'a str],
}

fn file<'a>(name: &'a str, text: &'a str) -> Given<'a> {
    Given { file: Some((name, text)), ..Given::default() }
}

fn load<T: Configured>(given: &Given<'_>) -> Result<Effective<T>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = given.file.map(|(name, text)| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    });
    let variables = given.variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let sources = Sources { file: path, variables: variables.collect(), flags: flags::<T>(given) };
    effective(sources).map_err(|problems| without(&folder, &problems))
}

fn flags<T: Configured>(given: &Given<'_>) -> Layer {
    let command = Flags::<T>::augment_args(clap::Command::new("test"));
    let arguments = ["test"].iter().chain(given.flags);
    let matches = command.try_get_matches_from(arguments).unwrap();
    Flags::<T>::from_arg_matches(&matches).unwrap().layer
}

/// The text without the folder's name, which differs from run to run.
fn without(folder: &tempfile::TempDir, text: &impl ToString) -> String {
    text.to_string().replace(&format!("{}/", folder.path().display()), "")
}

/// The value of a setting as TOML, with its origin's file shortened to its name.
fn shown(found: &Effective<BrokerConfig>, key: &str) -> String {
    let Some(chosen) = found.get(key) else { return "nothing".to_owned() };
    let kind = Setting::<BrokerConfig>::find(key).unwrap().kind;
    let origin = chosen.given.origin.to_string();
    let origin = origin.rsplit('/').next().unwrap_or(&origin);
    format!("{} ({origin})", kind.show(&chosen.value))
}

fn warnings(found: &[Warning]) -> Vec<String> {
    let short = |text: String| match text.split_once("(/") {
        Some((key, rest)) => {
            let (path, rest) = rest.split_once(')').unwrap();
            format!("{key}({}){rest}", path.rsplit('/').next().unwrap())
        }
        None => text,
    };
    found.iter().map(|warning| short(warning.to_string())).collect()
}

#[test]
fn the_strongest_source_decides() {
    let toml = Some(("b.toml", "node = 2\nsegment_bytes = \"64 MiB\"\nauto_create_topic = false\n"));
    let conf = Some(("b.conf", "mappedFileSizeCommitLog=67108864\nautoCreateTopicEnable: false\n"));
    let variable = &[("TRIREME_SEGMENT_BYTES", "128MiB"), ("TRIREME_AUTO_CREATE_TOPIC", "")];
    let flag = &["--segment-bytes", "256MiB", "--auto-create-topic"];
    for (given, key, expect) in [
        (Given::default(), "segment_bytes", "\"1 GiB\" (default)"),
        (Given::default(), "node", "nothing"),
        (Given { file: toml, ..Given::default() }, "segment_bytes", "\"64 MiB\" (b.toml:2)"),
        (Given { file: conf, ..Given::default() }, "segment_bytes", "\"64 MiB\" (b.conf:1)"),
        (
            Given { file: toml, variables: variable, ..Given::default() },
            "segment_bytes",
            "\"128 MiB\" (variable TRIREME_SEGMENT_BYTES)",
        ),
        (
            Given { file: conf, variables: variable, flags: flag },
            "segment_bytes",
            "\"256 MiB\" (flag --segment-bytes)",
        ),
        (Given { file: toml, variables: variable, flags: flag }, "node", "2 (b.toml:1)"),
        // An empty variable is as good as none.
        (
            Given { file: conf, variables: variable, ..Given::default() },
            "auto_create_topic",
            "false (b.conf:2)",
        ),
        (
            Given { file: conf, variables: variable, flags: flag },
            "auto_create_topic",
            "true (flag --auto-create-topic)",
        ),
    ] {
        let found = load::<BrokerConfig>(&given).unwrap();
        assert_eq!(shown(&found, key), expect);
        assert_eq!(found.warnings, []);
    }
}

#[test]
fn lists_in_every_notation() {
    let replicas = r#"["1=10.0.0.1:1/a:2", "2=10.0.0.2:1/b:2"]"#;
    let toml = format!("replica = {replicas}\nnamesrv = \"n1:9876;n2:9876\"\n");
    let flags =
        &["--replica", "1=10.0.0.1:1/a:2", "--replica", "2=10.0.0.2:1/b:2", "--namesrv=n1:9876,n2:9876"];
    for given in [
        file("b.toml", &toml),
        file("b.conf", "replica=1=10.0.0.1:1/a:2;\\\n  2=10.0.0.2:1/b:2\nnamesrvAddr=n1:9876;n2:9876"),
        Given { flags, ..Given::default() },
        Given {
            variables: &[
                ("TRIREME_REPLICA", "1=10.0.0.1:1/a:2;2=10.0.0.2:1/b:2"),
                ("TRIREME_NAMESRV", "n1:9876; n2:9876"),
            ],
            ..Given::default()
        },
    ] {
        let found = load::<BrokerConfig>(&given).unwrap();
        assert!(shown(&found, "replica").starts_with(replicas), "{}", shown(&found, "replica"));
        assert!(shown(&found, "namesrv").starts_with(r#"["n1:9876", "n2:9876"]"#));
    }
}

#[test]
fn wrong_values_are_refused_in_every_source() {
    let range = "allowed are 64 KiB to 16 GiB in steps of 4 KiB";
    for (given, expect) in [
        (file("b.toml", "segment_bytes = 1000"), format!(r#"segment_bytes is "1000" (b.toml:1): {range}"#)),
        (file("b.toml", "\nsegment_bytes = 1.5"), format!(r#"segment_bytes is "1.5" (b.toml:2): {range}"#)),
        (
            file("b.toml", "segment_bytes = -65536"),
            format!(r#"segment_bytes is "-65536" (b.toml:1): {range}"#),
        ),
        (
            file("b.toml", "segment_bytes = [65536]"),
            format!(r#"segment_bytes is "[65536]" (b.toml:1): {range}"#),
        ),
        (
            file("b.conf", "mapedFileSizeCommitLog=1k"),
            format!(r#"mapedFileSizeCommitLog is "1k" (b.conf:1): {range}"#),
        ),
        (
            Given { variables: &[("TRIREME_SEGMENT_BYTES", "1G")], ..Given::default() },
            format!(r#"segment_bytes is "1G" (variable TRIREME_SEGMENT_BYTES): {range}"#),
        ),
        (
            Given { flags: &["--segment-bytes=1G"], ..Given::default() },
            format!(r#"segment_bytes is "1G" (flag --segment-bytes): {range}"#),
        ),
        (
            file("b.toml", "cluster = 7"),
            "cluster is \"7\" (b.toml:1): allowed are 1 to 120 of the characters a-z A-Z 0-9 . _ - % |"
                .to_owned(),
        ),
        (file("b.toml", "vip_port = 1"), "vip_port is \"1\" (b.toml:1): expected true or false".to_owned()),
        (
            file("b.toml", "namesrv = [\"a:1\", 2]"),
            "namesrv is \"[\\\"a:1\\\", 2]\" (b.toml:1): expected HOST:PORT, several separated by semicolons"
                .to_owned(),
        ),
        // Also what a stronger source replaces, and everything at once.
        (
            Given {
                file: Some(("b.toml", "permission = 7\nheartbeat_ms = 5\n")),
                variables: &[("TRIREME_PERMISSION", "6")],
                flags: &["--heartbeat-ms", "9"],
            },
            "heartbeat_ms is \"5\" (b.toml:2): allowed are 10 to 10000 ms\n  \
             permission is \"7\" (b.toml:1): allowed are 2, 4, 6\n  \
             heartbeat_ms is \"9\" (flag --heartbeat-ms): allowed are 10 to 10000 ms"
                .to_owned(),
        ),
    ] {
        assert_eq!(load::<BrokerConfig>(&given).err(), Some(expect));
    }
}

#[test]
fn files_that_are_not_configurations() {
    let large = "#".repeat((1 << 20) + 1);
    for (name, text, expect) in [
        (
            "b.toml",
            "segment_byte = 1",
            "b.toml:1: there is no setting segment_byte; did you mean segment_bytes?",
        ),
        ("b.toml", "\n\nbrokerName = 'x'", "b.toml:3: there is no setting brokerName; did you mean group?"),
        ("b.toml", "[broker]\nnode = 1", "b.toml:1: there is no setting broker"),
        ("b.toml", "node = 1\nnode = 2", "b.toml:2: duplicate key"),
        ("b.toml", "node = 1\nstore = /data", "b.toml:2: "),
        ("b.conf", "a=\\u12", "b.conf:1: \\u12 is not a character"),
        ("b.yaml", "", "configuration file b.yaml: its name must end with .toml, .conf or .properties"),
        ("b.toml", &large, "configuration file b.toml has 1048577 bytes, at most 1048576 are allowed"),
    ] {
        let refused = load::<BrokerConfig>(&file(name, text)).err().unwrap();
        assert!(refused.starts_with(expect), "{refused}");
    }
    let sources =
        Sources { file: Some("/nonexistent/b.toml".into()), variables: BTreeMap::new(), flags: Layer::new() };
    let refused = effective::<BrokerConfig>(sources).err().unwrap().to_string();
    assert!(refused.starts_with("configuration file /nonexistent/b.toml: No such file"), "{refused}");
}

#[test]
fn variables_that_are_no_settings() {
    let variables = &[
        ("TRIREME_SEGMENT_BYTE", "1"),
        ("TRIREME_ZZZ", "1"),
        ("TRIREME_LOG", "debug"),
        ("TRIREME_CONFIG", "x.toml"),
        ("TRIREME_NAMESRV_LISTEN", "127.0.0.1:1"),
        ("HOME", "/"),
        ("segment_bytes", "1"),
    ];
    let given = Given { variables, ..Given::default() };
    assert_eq!(
        warnings(&load::<BrokerConfig>(&given).unwrap().warnings),
        [
            "TRIREME_SEGMENT_BYTE (variable TRIREME_SEGMENT_BYTE): is not a setting of trireme broker; did you mean \
         TRIREME_SEGMENT_BYTES?",
            "TRIREME_ZZZ (variable TRIREME_ZZZ): is not a setting of trireme broker",
        ]
    );
    let (options, _) = load::<NameServerOptions>(&given).unwrap().config().unwrap();
    assert_eq!(options.listen, "127.0.0.1:1".parse().unwrap());
}

/// One of three files, as RocketMQ's own samples for DLedger are written.
const DLEDGER: &str = "\
# One replica of a DLedger group.
brokerClusterName = RaftCluster
brokerName=RaftNode00
listenPort=30911
namesrvAddr=10.0.0.9:9876
storePathRootDir=/data/rmqstore/node00
storePathCommitLog=/data/rmqstore/node00/commitlog
enableDLegerCommitLog=true
dLegerGroup=RaftNode00
dLegerPeers=n0-10.0.0.1:40911;n1-10.0.0.2:40911;n2-10.0.0.3:40911
## must be unique
dLegerSelfId=n1
sendMessageThreadPoolNums=16
";

#[test]
fn a_dledger_broker_becomes_a_replica() {
    let found = load::<BrokerConfig>(&file("broker-n1.conf", DLEDGER)).unwrap();
    assert_eq!(
        warnings(&found.warnings),
        [
            "sendMessageThreadPoolNums (broker-n1.conf:13): is ignored: requests share the threads of the whole process"
        ]
    );
    let (config, more) = found.config().unwrap();
    assert_eq!(more, []);
    assert_eq!(
        (config.cluster.as_str(), config.group.as_str(), config.node),
        ("RaftCluster", "RaftNode00", 2)
    );
    assert_eq!(config.store, PathBuf::from("/data/rmqstore/node00"));
    assert_eq!(config.namesrv, ["10.0.0.9:9876"]);
    assert_eq!(
        shown(&found, "replica"),
        r#"["1=10.0.0.1:30911/10.0.0.1:40911", "2=10.0.0.2:30911/10.0.0.2:40911", "3=10.0.0.3:30911/10.0.0.3:40911"] (broker-n1.conf:10)"#
    );
    assert_eq!(config.listen.to_string(), "0.0.0.0:30911");
    assert_eq!(config.peer_listen.to_string(), "10.0.0.2:40911");
}

#[test]
fn addresses_in_rocketmq_properties() {
    let dledger = "enableDLegerCommitLog=true\ndLegerSelfId=n0\n";
    let in_full =
        "give every replica, with --replica or a line replica=NODE=CLIENT_IP:PORT/PEER_HOST:PORT;...";
    for (text, expect) in [
        // The address that clients are told of this replica alone.
        (
            format!("{dledger}brokerIP1=192.0.2.1\ndLegerPeers=n0-10.0.0.1:1;n1-10.0.0.2:2"),
            r#"["1=192.0.2.1:10911/10.0.0.1:1", "2=10.0.0.2:10911/10.0.0.2:2"] (b.conf:4)"#.to_owned(),
        ),
        (
            format!("{dledger}dLegerPeers=n0-[::1]:1\nlistenPort=2"),
            r#"["1=[::1]:2/[::1]:1"] (b.conf:3)"#.to_owned(),
        ),
        // A line of our own says what DLedger's cannot.
        (
            format!("{dledger}dLegerPeers=n0-127.0.0.1:1;n1-127.0.0.1:2\nreplica=1=127.0.0.1:3/127.0.0.1:1"),
            r#"["1=127.0.0.1:3/127.0.0.1:1"] (b.conf:4)"#.to_owned(),
        ),
        // A broker without replicas.
        ("brokerIP1=10.0.0.1".to_owned(), r#"["1=10.0.0.1:10911/10.0.0.1:10912"] (b.conf:1)"#.to_owned()),
        (
            "brokerIP1=10.0.0.1\nlistenPort=1\nhaListenPort=7".to_owned(),
            r#"["1=10.0.0.1:1/10.0.0.1:7"] (b.conf:1)"#.to_owned(),
        ),
        // What cannot be understood.
        (
            format!("{dledger}dLegerPeers=n0-127.0.0.1:1;n1-127.0.0.1:2"),
            format!(
                "dLegerPeers is \"n0-127.0.0.1:1;n1-127.0.0.1:2\" (b.conf:3): several replicas are on 127.0.0.1, \
                 and where each serves clients is missing: {in_full}"
            ),
        ),
        (
            format!("{dledger}dLegerPeers=n0-mq1:1"),
            format!(
                "dLegerPeers is \"n0-mq1:1\" (b.conf:3): clients are told IP addresses, and mq1 is a name: {in_full}"
            ),
        ),
        (
            format!("{dledger}dLegerPeers=m0-10.0.0.1:1"),
            r#"dLegerPeers is "m0-10.0.0.1:1" (b.conf:3): "m0-10.0.0.1:1" is not nK-HOST:PORT"#.to_owned(),
        ),
        (
            "enableDLegerCommitLog=true\ndLegerSelfId=one\ndLegerPeers=n0-10.0.0.1:1".to_owned(),
            r#"dLegerSelfId is "one" (b.conf:2): expected nK, K from 0"#.to_owned(),
        ),
        (
            dledger.to_owned(),
            r#"enableDLegerCommitLog is "true" (b.conf:1): dLegerPeers is missing"#.to_owned(),
        ),
        (
            "listenPort=10911".to_owned(),
            format!(
                "listenPort is \"10911\" (b.conf:1): this is where to listen; which address clients are told is \
                 missing: add brokerIP1, or {in_full}"
            ),
        ),
        (
            "listenPort=109111".to_owned(),
            r#"listenPort is "109111" (b.conf:1): allowed are 1 to 65535"#.to_owned(),
        ),
        (
            "bindAddress=eth0\nbrokerIP1=10.0.0.1".to_owned(),
            r#"bindAddress is "eth0:10911" (b.conf:1): expected IP:PORT, the port from 1 to 65535"#
                .to_owned(),
        ),
        (
            "aclEnable=true".to_owned(),
            r#"aclEnable is "true" (b.conf:1): there is no access control yet: allowed is false"#.to_owned(),
        ),
    ] {
        let found = load::<BrokerConfig>(&file("b.conf", &text));
        assert_eq!(found.map_or_else(|refused| refused, |found| shown(&found, "replica")), expect, "{text}");
    }
}

#[test]
fn a_stronger_source_says_what_properties_leave_open() {
    let given = Given {
        file: Some(("b.conf", "listenPort=10911\nstorePathRootDir=/s\n")),
        flags: &["--replica", "1=10.0.0.1:10911/10.0.0.1:10916"],
        ..Given::default()
    };
    let (config, _) = load::<BrokerConfig>(&given).unwrap().config().unwrap();
    assert_eq!(config.listen.to_string(), "0.0.0.0:10911");
    assert_eq!(config.peer_listen.to_string(), "10.0.0.1:10916");
}

#[test]
fn no_property_is_dropped_in_silence() {
    let text = "\
brokerId=0
brokerRole=SYNC_MASTER
flushDiskType=ASYNC_FLUSH
fileReservedTime=72
deleteWhen=04
storePathCommitLog=/other/commitlog
storePathRootDir=/s
autoCreateTopicEnabled=true
defaultTopicQueueNums=4
dLegerPeers=n0-10.0.0.1:1
namesrvAddr=
mapedFileSizeCommitLog=1073741824
mappedFileSizeCommitLog=67108864
zzz=1
";
    let found = load::<BrokerConfig>(&file("b.conf", text)).unwrap();
    assert_eq!(shown(&found, "default_topic_queues"), "4 (b.conf:9)");
    assert_eq!(shown(&found, "segment_bytes"), "\"64 MiB\" (b.conf:13)");
    assert_eq!(shown(&found, "namesrv"), "[\"127.0.0.1:9876\"] (default)");
    assert_eq!(shown(&found, "retention_hours"), "72 (b.conf:4)");
    let leader = "is ignored: the replicas of a group elect their leader";
    let when = "is ignored: segments go when they are due, one at a time, at any hour";
    assert_eq!(warnings(&found.warnings), [
        "namesrvAddr (b.conf:11): is ignored, its value is empty".to_owned(),
        "dLegerPeers (b.conf:10): is ignored, since enableDLegerCommitLog is not true: give the replicas with \
         --replica"
            .to_owned(),
        "mapedFileSizeCommitLog (b.conf:12): is replaced by mappedFileSizeCommitLog".to_owned(),
        format!("deleteWhen (b.conf:5): {when}"),
        format!("brokerId (b.conf:1): {leader}"),
        format!("brokerRole (b.conf:2): {leader}"),
        "storePathCommitLog (b.conf:6): is ignored: everything lies under storePathRootDir".to_owned(),
        "flushDiskType (b.conf:3): is ignored: every message is on the disks of a majority before it is \
         acknowledged, many with one sync"
            .to_owned(),
        "autoCreateTopicEnabled (b.conf:8): is ignored, there is no such setting here; did you mean \
         autoCreateTopicEnable?"
            .to_owned(),
        "zzz (b.conf:14): is ignored, there is no such setting here".to_owned(),
    ]);
}

#[test]
fn a_name_server_takes_its_properties() {
    let text = "listenPort=19876\nkvConfigPath=/data/kv.json\norderMessageEnable=true\n\
                scanNotActiveBrokerInterval=1000\nrocketmqHome=/opt\n";
    let found = load::<NameServerOptions>(&file("namesrv.conf", text)).unwrap();
    assert_eq!(found.warnings.len(), 1);
    let (options, _) = found.config().unwrap();
    let expect = NameServerOptions {
        listen: "0.0.0.0:19876".parse().unwrap(),
        kv_path: Some("/data/kv.json".into()),
        order_message_enable: true,
        scan_every: std::time::Duration::from_secs(1),
        ..NameServerOptions::default()
    };
    assert_eq!(options, expect);
}

/// What `--print-config` prints is a configuration file that means the same.
#[test]
fn printed_configurations_are_read_again() {
    let given = Given { file: Some(("broker-n1.conf", DLEDGER)), flags: &["--vip-port"], ..Given::default() };
    let found = load::<BrokerConfig>(&given).unwrap();
    let printed = found.to_toml();
    assert!(printed.contains("\nvip_port = true # flag --vip-port\n"), "{printed}");
    let again = load::<BrokerConfig>(&file("b.toml", &printed)).unwrap();
    for setting in BrokerConfig::SETTINGS {
        let value =
            |found: &Effective<BrokerConfig>| found.get(setting.key).map(|chosen| chosen.value.clone());
        assert_eq!(value(&again), value(&found), "{}", setting.key);
    }
}

/// The tables hold what the code that reads them takes for granted.
#[test]
fn the_tables_are_sound() {
    fn check<T: Configured>() -> Vec<String> {
        let mut config = T::blank();
        for setting in T::SETTINGS {
            let text = match setting.default {
                Initial::Text(text) | Initial::Required(text) => text,
                Initial::Derived(_) => match setting.kind {
                    super::kind::Kind::Path => "/data",
                    super::kind::Kind::Listen { .. } => "127.0.0.1:1",
                    _ => "1",
                },
            };
            let value = setting.kind.read(text).unwrap_or_else(|reason| panic!("{}: {reason}", setting.key));
            // Panics if the setter is for another kind.
            (setting.set)(&mut config, value);
        }
        let names = T::SETTINGS.iter().flat_map(|setting| setting.rocketmq.names().iter().copied());
        let ignored = T::WITHOUT_EFFECT.iter().map(|(name, _)| *name);
        let mut same: Vec<_> = names.chain(ignored).collect();
        same.sort_unstable();
        // `listenPort` decides two settings, and `haListenPort` is ignored in a group of several.
        same.retain(|name| !matches!(*name, "listenPort" | "haListenPort"));
        let count = same.len();
        same.dedup();
        assert_eq!(same.len(), count, "a property stands twice");
        T::SETTINGS.iter().map(Setting::variable).collect()
    }
    let broker = check::<BrokerConfig>();
    let name_server = check::<NameServerOptions>();
    // One environment may serve both.
    assert!(broker.iter().all(|variable| !name_server.contains(variable)));
    assert!(broker.iter().all(|variable| !variable.starts_with(NameServerOptions::VARIABLE_PREFIX)));
}
