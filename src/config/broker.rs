//! The settings of `trireme broker`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use trireme_broker::config::{BrokerConfig, NEWEST_VERSION, OLDEST_VERSION};
use trireme_commitlog::Options;
use trireme_raft::config::Timing;

use super::kind::{Kind, host_and_port, sized};
use super::load::{Effective, Layer};
use super::problem::{Problem, Warning};
use super::properties::Properties;
use super::rocketmq;
use super::setting::{Configured, Counterpart, Initial, Scope, Setting};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What a segment holds besides its largest message: what is gathered into the same entry.
const SEGMENT_SPARE_BYTES: u64 = MIB;
/// A frame of 16 MiB, less its header and the message's properties.
const MAX_MESSAGE_BYTES: u64 = 15 * MIB;
/// Heartbeats that may be missed before a leader is thought dead.
const HEARTBEATS_PER_ELECTION: u32 = 3;

impl Configured for BrokerConfig {
    const COMMAND: &'static str = "broker";
    const VARIABLE_PREFIX: &'static str = "TRIREME_";
    const OTHER_VARIABLES: &'static [&'static str] = &["TRIREME_CONFIG", "TRIREME_LOG", "TRIREME_NAMESRV_"];
    const WITHOUT_EFFECT: &'static [(&'static str, &'static str)] = rocketmq::broker::WITHOUT_EFFECT;

    const SETTINGS: &'static [Setting<Self>] = &[
        Setting {
            key: "cluster",
            kind: Kind::Name,
            default: Initial::Text("DefaultCluster"),
            scope: Scope::Group,
            effect: "The cluster that the group belongs to.",
            rocketmq: Counterpart::Same(&["brokerClusterName"]),
            set: |config, value| config.cluster = value.name(),
        },
        Setting {
            key: "group",
            kind: Kind::Name,
            default: Initial::Text("broker-a"),
            scope: Scope::Group,
            effect: "The broker group: the replicas that share one log. Clients see it as the broker's name.",
            rocketmq: Counterpart::Same(&["brokerName"]),
            set: |config, value| config.group = value.name(),
        },
        Setting {
            key: "node",
            kind: Kind::Number { min: 1, max: 1_000_000 },
            default: Initial::Derived("the only replica, in a group of one"),
            scope: Scope::Process,
            effect: "This replica's number in its group. It stays with its store for good: a replica that lost \
                     its store comes back under a new number.",
            rocketmq: Counterpart::Through(&["dLegerSelfId"]),
            set: |config, value| config.node = value.number(),
        },
        Setting {
            key: "replica",
            kind: Kind::Replicas,
            default: Initial::Required(
                "1=10.0.0.1:10911/10.0.0.1:10916;2=10.0.0.2:10911/10.0.0.2:10916;3=10.0.0.3:10911/10.0.0.3:10916",
            ),
            scope: Scope::Process,
            effect: "The replicas of the group, this one included, and where clients and where peers reach each. \
                     Clients' addresses go into message ids, so they are IP addresses. The flag may be repeated.",
            rocketmq: Counterpart::Through(&[
                "brokerIP1",
                "listenPort",
                "haListenPort",
                "enableDLegerCommitLog",
                "dLegerPeers",
            ]),
            set: |config, value| config.replicas = value.replicas(),
        },
        Setting {
            key: "join",
            kind: Kind::Switch,
            default: Initial::Text("false"),
            scope: Scope::Process,
            effect: "The replica is new, and waits until a group that exists takes it in (`trireme admin replica`): it \
                     makes none. `replica` must tell of itself, and may of others.",
            rocketmq: Counterpart::None,
            set: |config, value| config.joins = value.switch(),
        },
        Setting {
            key: "listen",
            kind: Kind::Listen { any_port: false },
            default: Initial::Derived("this replica's address for clients"),
            scope: Scope::Process,
            effect: "Where clients are served, if that differs from the address that they are told.",
            rocketmq: Counterpart::Through(&["bindAddress", "listenPort"]),
            set: |config, value| config.listen = value.listen(),
        },
        Setting {
            key: "peer_listen",
            kind: Kind::Listen { any_port: false },
            default: Initial::Derived("this replica's address for peers, or all addresses if that is a name"),
            scope: Scope::Process,
            effect: "Where peers are served, if that differs from the address that they are told.",
            rocketmq: Counterpart::None,
            set: |config, value| config.peer_listen = value.listen(),
        },
        Setting {
            key: "vip_port",
            kind: Kind::Switch,
            default: Initial::Text("false"),
            scope: Scope::Process,
            effect: "Also serves clients two ports below `listen`. RocketMQ's dashboard and clients with \
                     `vipChannelEnabled` connect there.",
            rocketmq: Counterpart::None,
            set: |config, value| config.vip_port = value.switch(),
        },
        Setting {
            key: "namesrv",
            kind: Kind::Hosts,
            default: Initial::Text("127.0.0.1:9876"),
            scope: Scope::Process,
            effect: "The name servers. The replica registers with every one of them.",
            rocketmq: Counterpart::Same(&["namesrvAddr"]),
            set: |config, value| config.namesrv = value.hosts(),
        },
        Setting {
            key: "store",
            kind: Kind::Path,
            default: Initial::Required("/var/lib/trireme"),
            scope: Scope::Process,
            effect: "The directory that holds everything this replica knows. It is made if it is missing; no two \
                     replicas may share one.",
            rocketmq: Counterpart::Same(&["storePathRootDir"]),
            set: |config, value| config.store = value.path(),
        },
        Setting {
            key: "segment_bytes",
            kind: Kind::Bytes {
                min: Options::MIN_SEGMENT_BYTES,
                max: Options::MAX_SEGMENT_BYTES,
                multiple_of: Options::SEGMENT_GRANULE,
            },
            default: Initial::Text("1 GiB"),
            scope: Scope::Group,
            effect: "Size of one file of the commit log, reserved on the disk when it is begun. At least 1 MiB \
                     more than `max_message_bytes`. A store keeps the size that it was made with.",
            rocketmq: Counterpart::Same(&["mapedFileSizeCommitLog", "mappedFileSizeCommitLog"]),
            set: |config, value| config.segment_bytes = value.number(),
        },
        Setting {
            key: "log_cache_bytes",
            kind: Kind::Bytes { min: 64 * MIB, max: 16 * 1024 * GIB, multiple_of: 1 },
            default: Initial::Text("1 GiB"),
            scope: Scope::Process,
            effect: "Memory that the commit log's files take in the page cache, about. What was written or read \
                     last is served from it. It is most of what a replica needs; other programs can count on the rest.",
            rocketmq: Counterpart::None,
            set: |config, value| config.log_cache_bytes = value.number(),
        },
        Setting {
            key: "format_version",
            kind: Kind::Number { min: OLDEST_VERSION as u64, max: NEWEST_VERSION as u64 },
            default: Initial::Text("3"),
            scope: Scope::Process,
            effect: "The newest version of its formats that the replica's group may write. Lower than the default, it \
                     lets the release before be started again after an upgrade, and costs what is newer. A group goes \
                     up when no replica of it holds it back, and never down.",
            rocketmq: Counterpart::None,
            set: |config, value| config.format_version = value.small(),
        },
        Setting {
            key: "retention_hours",
            kind: Kind::Number { min: 1, max: 24 * 365 * 100 },
            default: Initial::Text("72"),
            scope: Scope::Process,
            effect: "Messages are kept for so long, unless `retention_bytes` or `disk_trim_bytes` lets them go before. \
                     They go in whole segments. Set it and the next alike on all replicas.",
            rocketmq: Counterpart::Same(&["fileReservedTime"]),
            set: |config, value| config.retention = Duration::from_secs(60 * 60 * value.number()),
        },
        Setting {
            key: "retention_bytes",
            kind: Kind::Bytes { min: 0, max: 1024 * 1024 * GIB, multiple_of: 1 },
            default: Initial::Text("0"),
            scope: Scope::Process,
            effect: "So much of the commit log is kept; what is older goes, however young. 0: all that is young enough.",
            rocketmq: Counterpart::None,
            set: |config, value| config.retention_bytes = Some(value.number()).filter(|bytes| *bytes > 0),
        },
        Setting {
            key: "disk_trim_bytes",
            kind: Kind::Bytes { min: 0, max: 1024 * GIB, multiple_of: 1 },
            default: Initial::Derived("`disk_reserve_bytes` and two segments"),
            scope: Scope::Process,
            effect: "With less room than this left on the store's disk, the oldest segments go, however young. 0: they \
                     never go for room, and messages are refused once `disk_reserve_bytes` is reached.",
            rocketmq: Counterpart::None,
            set: |config, value| config.disk_trim_bytes = value.number(),
        },
        Setting {
            key: "disk_reserve_bytes",
            kind: Kind::Bytes { min: 0, max: 1024 * GIB, multiple_of: 1 },
            default: Initial::Text("256 MiB"),
            scope: Scope::Process,
            effect: "Room that stays free on the store's disk. With less left, messages are refused and what is \
                     stored is served on.",
            rocketmq: Counterpart::None,
            set: |config, value| config.disk_reserve_bytes = value.number(),
        },
        Setting {
            key: "scrub_bytes_per_second",
            kind: Kind::Bytes { min: 0, max: 1024 * GIB, multiple_of: 1 },
            default: Initial::Text("8 MiB"),
            scope: Scope::Process,
            effect: "So much of the commit log is looked at in a second, in the background, for damage, which is mended \
                     from other replicas' copies. 0: only what somebody reads.",
            rocketmq: Counterpart::None,
            set: |config, value| config.scrub_bytes_per_second = value.number(),
        },
        Setting {
            key: "heartbeat_ms",
            kind: Kind::Millis { min: 10, max: 10_000 },
            default: Initial::Text("50"),
            scope: Scope::Process,
            effect: "How often a leader shows that it is alive. Set the three times alike on all replicas.",
            rocketmq: Counterpart::None,
            set: |config, value| config.timing.heartbeat = Duration::from_millis(value.number()),
        },
        Setting {
            key: "election_min_ms",
            kind: Kind::Millis { min: 50, max: 60_000 },
            default: Initial::Text("200"),
            scope: Scope::Process,
            effect: "Lower bound of the random part of the silence after which a follower stands for election. At \
                     least three times `heartbeat_ms`. The whole silence is `election_max_ms` and this part.",
            rocketmq: Counterpart::None,
            set: |config, value| config.timing.election_min = Duration::from_millis(value.number()),
        },
        Setting {
            key: "election_max_ms",
            kind: Kind::Millis { min: 51, max: 120_000 },
            default: Initial::Text("400"),
            scope: Scope::Process,
            effect: "Upper bound of that random part, and the leader's lease. More than `election_min_ms`. The \
                     default replaces a dead leader in about 0.7 s, and lets a busy one be silent for 0.35 s.",
            rocketmq: Counterpart::None,
            set: |config, value| config.timing.election_max = Duration::from_millis(value.number()),
        },
        Setting {
            key: "auto_create_topic",
            kind: Kind::Switch,
            default: Initial::Text("true"),
            scope: Scope::Process,
            effect: "The first message to an unknown topic creates it.",
            rocketmq: Counterpart::Same(&["autoCreateTopicEnable"]),
            set: |config, value| config.auto_create_topic = value.switch(),
        },
        Setting {
            key: "auto_create_group",
            kind: Kind::Switch,
            default: Initial::Text("true"),
            scope: Scope::Process,
            effect: "The first consumer of an unknown consumer group creates it.",
            rocketmq: Counterpart::Same(&["autoCreateSubscriptionGroup"]),
            set: |config, value| config.auto_create_group = value.switch(),
        },
        Setting {
            key: "default_topic_queues",
            kind: Kind::Number { min: 1, max: 16_384 },
            default: Initial::Text("8"),
            scope: Scope::Process,
            effect: "The most queues that a topic gets which a first message creates. The producer may ask for \
                     fewer.",
            rocketmq: Counterpart::Same(&["defaultTopicQueueNums"]),
            set: |config, value| config.default_topic_queues = value.small(),
        },
        Setting {
            key: "max_message_bytes",
            kind: Kind::Bytes { min: 1 << 10, max: MAX_MESSAGE_BYTES, multiple_of: 1 },
            default: Initial::Text("4 MiB"),
            scope: Scope::Process,
            effect: "The largest body of a message, or of a whole batch. Set it alike on all replicas.",
            rocketmq: Counterpart::Same(&["maxMessageSize"]),
            set: |config, value| config.max_message_bytes = value.length(),
        },
        Setting {
            key: "permission",
            kind: Kind::OneOf(&[2, 4, 6]),
            default: Initial::Text("6"),
            scope: Scope::Process,
            effect: "What clients may do at this replica: 2 send, 4 receive, 6 both.",
            rocketmq: Counterpart::Same(&["brokerPermission"]),
            set: |config, value| config.permission = value.small(),
        },
    ];

    fn blank() -> Self {
        let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        Self {
            cluster: String::new(),
            group: String::new(),
            node: 1,
            replicas: Default::default(),
            listen: nowhere,
            peer_listen: nowhere,
            store: PathBuf::new(),
            namesrv: Vec::new(),
            segment_bytes: 0,
            log_cache_bytes: 0,
            format_version: NEWEST_VERSION,
            timing: Default::default(),
            auto_create_topic: false,
            auto_create_group: false,
            default_topic_queues: 0,
            max_message_bytes: 0,
            permission: 0,
            vip_port: false,
            joins: false,
            retention: Duration::ZERO,
            retention_bytes: None,
            disk_trim_bytes: 0,
            disk_reserve_bytes: 0,
            scrub_bytes_per_second: 0,
        }
    }

    fn translate(
        properties: &mut Properties,
        layer: &mut Layer,
        problems: &mut Vec<Problem>,
        warnings: &mut Vec<Warning>,
    ) {
        rocketmq::broker::translate(properties, problems);
        rocketmq::addresses::translate(properties, layer, warnings);
    }

    fn finish(&mut self, found: &Effective<Self>, problems: &mut Vec<Problem>, warnings: &mut Vec<Warning>) {
        let checks =
            [addresses(self, found, warnings), sizes(self, found), times(self, found), room(self, found)];
        problems.extend(checks.into_iter().filter_map(Result::err));
        replica_count(self, found, warnings);
    }
}

/// Finds the own replica and fills in where it listens. Errors: the first that is wrong.
fn addresses(
    config: &mut BrokerConfig,
    found: &Effective<BrokerConfig>,
    warnings: &mut Vec<Warning>,
) -> Result<(), Problem> {
    let nodes = config.replicas.keys().map(u64::to_string).collect::<Vec<_>>().join(", ");
    if found.get("node").is_none() {
        match config.replicas.keys().collect::<Vec<_>>()[..] {
            [node] => config.node = *node,
            _ => {
                let reason = format!("node must be set to this replica's number, one of {nodes}");
                return Err(found.refuse("replica", reason));
            }
        }
    }
    let Some(own) = config.replicas.get(&config.node) else {
        return Err(found.refuse("node", format!("replica has only {nodes} ({})", found.origin("replica"))));
    };
    if found.get("listen").is_none() {
        config.listen = own.broker;
    }
    if found.get("peer_listen").is_none() {
        let port = host_and_port(&own.peer).map_or(0, |(_, port)| port);
        config.peer_listen =
            own.peer.parse().unwrap_or_else(|_| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port));
    }
    if config.listen.port() != own.broker.port() {
        let told = own.broker;
        let reason = format!("differs from {told}, which clients are told: something must forward that port");
        warnings.push(Warning::new("listen", found.origin("listen"), reason));
    }
    ports(config, found)
}

/// The ports that the replica itself listens at must differ.
fn ports(config: &BrokerConfig, found: &Effective<BrokerConfig>) -> Result<(), Problem> {
    let (clients, peers) = (config.listen, config.peer_listen);
    let everywhere = clients.ip().is_unspecified() || peers.ip().is_unspecified();
    let shares_address = everywhere || clients.ip() == peers.ip();
    if shares_address && clients.port() == peers.port() {
        let key = if found.get("peer_listen").is_some() { "peer_listen" } else { "replica" };
        return Err(
            found.refuse(key, format!("peers and clients would be served on the same port, at {clients}"))
        );
    }
    if !config.vip_port {
        return Ok(());
    }
    match clients.port().checked_sub(2) {
        None | Some(0) => {
            Err(found.refuse("vip_port", format!("there is no port two below the one of {clients}")))
        }
        Some(vip) if shares_address && vip == peers.port() => {
            Err(found
                .refuse("vip_port", format!("port {vip}, two below clients' port, is the one for peers")))
        }
        Some(_) => Ok(()),
    }
}

/// Fills in when segments go for room.
fn room(config: &mut BrokerConfig, found: &Effective<BrokerConfig>) -> Result<(), Problem> {
    if found.get("disk_trim_bytes").is_none() {
        config.disk_trim_bytes = config.disk_reserve_bytes + 2 * config.segment_bytes;
        return Ok(());
    }
    if config.disk_trim_bytes == 0 || config.disk_reserve_bytes < config.disk_trim_bytes {
        return Ok(());
    }
    let reserve = sized(config.disk_reserve_bytes);
    let reason = format!(
        "must be 0, or more than disk_reserve_bytes, which is {reserve} ({}): messages would be refused before room \
         is made for them",
        found.origin("disk_reserve_bytes")
    );
    Err(found.refuse("disk_trim_bytes", reason))
}

fn replica_count(config: &BrokerConfig, found: &Effective<BrokerConfig>, warnings: &mut Vec<Warning>) {
    if config.joins {
        return;
    }
    let count = config.replicas.len();
    let reason = match count {
        1 => "a group of one replica loses everything with its disk, and is away with its machine".to_owned(),
        _ if count.is_multiple_of(2) => {
            format!("{count} replicas survive the loss of no more than {} do", count - 1)
        }
        _ => return,
    };
    warnings.push(Warning::new("replica", found.origin("replica"), reason));
}

fn sizes(config: &BrokerConfig, found: &Effective<BrokerConfig>) -> Result<(), Problem> {
    let needed = config.max_message_bytes as u64 + SEGMENT_SPARE_BYTES;
    if config.segment_bytes >= needed {
        return Ok(());
    }
    let reason = format!(
        "must be at least {}: 1 MiB more than max_message_bytes, which is {} ({})",
        sized(needed),
        sized(needed - SEGMENT_SPARE_BYTES),
        found.origin("max_message_bytes")
    );
    Err(found.refuse("segment_bytes", reason))
}

fn times(config: &BrokerConfig, found: &Effective<BrokerConfig>) -> Result<(), Problem> {
    let Timing { heartbeat, election_min, election_max } = config.timing;
    if election_min < heartbeat * HEARTBEATS_PER_ELECTION {
        let reason = format!(
            "must be at least {HEARTBEATS_PER_ELECTION} times heartbeat_ms, which is {} ({})",
            heartbeat.as_millis(),
            found.origin("heartbeat_ms")
        );
        return Err(found.refuse("election_min_ms", reason));
    }
    if election_max <= election_min {
        let reason = format!(
            "must be more than election_min_ms, which is {} ({})",
            election_min.as_millis(),
            found.origin("election_min_ms")
        );
        return Err(found.refuse("election_max_ms", reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::load::{Sources, effective};
    use crate::config::origin::{Given, Origin};
    use crate::config::problem::Problems;

    const THREE: &str = "1=10.0.0.1:10911/10.0.0.1:10916;2=10.0.0.2:10911/10.0.0.2:10916;\
                         3=10.0.0.3:10911/c.example:10916";

    /// The configuration from flags, with what was warned of.
    fn flags(flags: &[(&str, &str)]) -> Result<(BrokerConfig, Vec<Warning>), Problems> {
        let mut layer = Layer::new();
        for (key, text) in [("store", "s")].iter().chain(flags) {
            let setting = Setting::<BrokerConfig>::find(key).unwrap();
            layer.insert(setting.key, Given::new(setting.key, *text, Origin::Flag(setting.flag())));
        }
        let sources = Sources { file: None, variables: Default::default(), flags: layer };
        effective::<BrokerConfig>(sources)?.config()
    }

    #[test]
    fn the_defaults_are_those_of_the_parts() {
        let (config, warnings) = flags(&[("replica", THREE), ("node", "2")]).unwrap();
        assert_eq!(warnings, []);
        assert_eq!(config.timing, Timing::default());
        assert_eq!(config.format_version, NEWEST_VERSION);
        assert_eq!(config.segment_bytes, Options::default().segment_bytes);
        assert_eq!(config.namesrv, ["127.0.0.1:9876"]);
        assert_eq!(config.broker_addr(), "10.0.0.2:10911".parse().unwrap());
        assert!(config.auto_create_topic && config.auto_create_group && !config.vip_port);
    }

    #[test]
    fn where_a_replica_listens() {
        for (settings, clients, peers) in [
            (&[("node", "1")][..], "10.0.0.1:10911", "10.0.0.1:10916"),
            (&[("node", "3")], "10.0.0.3:10911", "0.0.0.0:10916"),
            (&[("node", "1"), ("listen", "[::]:10911")], "[::]:10911", "10.0.0.1:10916"),
            (&[("node", "1"), ("peer_listen", "0.0.0.0:1")], "10.0.0.1:10911", "0.0.0.0:1"),
            (&[("replica", "7=10.0.0.7:1/10.0.0.7:2")], "10.0.0.7:1", "10.0.0.7:2"),
        ] {
            let settings = [&[("replica", THREE)], settings].concat();
            let (config, _) = flags(&settings).unwrap();
            assert_eq!(config.listen.to_string(), clients, "{settings:?}");
            assert_eq!(config.peer_listen.to_string(), peers, "{settings:?}");
        }
    }

    #[test]
    fn settings_at_odds() {
        let node = ("node", "1");
        for (settings, expect) in [
            (&[][..], format!("replica is {THREE:?} (flag --replica): node must be set to this replica's number, one of 1, 2, 3")),
            (&[("node", "4")], "node is \"4\" (flag --node): replica has only 1, 2, 3 (flag --replica)".to_owned()),
            (&[node, ("peer_listen", "0.0.0.0:10911")], "peer_listen is \"0.0.0.0:10911\" (flag --peer-listen): peers and clients would be served on the same port, at 10.0.0.1:10911".to_owned()),
            (&[node, ("vip_port", "true"), ("listen", "10.0.0.1:2")], "vip_port is \"true\" (flag --vip-port): there is no port two below the one of 10.0.0.1:2".to_owned()),
            (&[node, ("vip_port", "true"), ("peer_listen", "10.0.0.1:10909")], "vip_port is \"true\" (flag --vip-port): port 10909, two below clients' port, is the one for peers".to_owned()),
            (&[node, ("segment_bytes", "5238784")], "segment_bytes is \"5238784\" (flag --segment-bytes): must be at least 5 MiB: 1 MiB more than max_message_bytes, which is 4 MiB (default)".to_owned()),
            (&[node, ("heartbeat_ms", "100")], "election_min_ms is \"200\" (default): must be at least 3 times heartbeat_ms, which is 100 (flag --heartbeat-ms)".to_owned()),
            (&[node, ("election_max_ms", "200")], "election_max_ms is \"200\" (flag --election-max-ms): must be more than election_min_ms, which is 200 (default)".to_owned()),
        ] {
            let refused = flags(&[&[("replica", THREE)], settings].concat()).unwrap_err();
            assert_eq!(refused.to_string(), expect);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let refused = flags(&[]).unwrap_err().to_string();
        assert!(
            refused.starts_with("replica is not set: give --replica or the variable TRIREME_REPLICA, or "),
            "{refused}"
        );
    }

    #[test]
    fn doubtful_settings() {
        let two = "1=10.0.0.1:1/10.0.0.1:2;2=10.0.0.2:1/10.0.0.2:2";
        for (settings, expect) in [
            (
                &[("replica", "1=10.0.0.1:1/10.0.0.1:2")][..],
                "replica (flag --replica): a group of one replica loses everything with its disk, and is away with its machine",
            ),
            (
                &[("replica", two), ("node", "1")],
                "replica (flag --replica): 2 replicas survive the loss of no more than 1 do",
            ),
            (
                &[("replica", THREE), ("node", "1"), ("listen", "0.0.0.0:80")],
                "listen (flag --listen): differs from 10.0.0.1:10911, which clients are told: something must forward that port",
            ),
        ] {
            let (_, warnings) = flags(settings).unwrap();
            let warnings: Vec<_> = warnings.iter().map(Warning::to_string).collect();
            assert_eq!(warnings, [expect]);
        }
    }
}
