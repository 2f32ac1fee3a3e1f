//! The settings of `trireme namesrv`.

use std::time::Duration;

use trireme_namesrv::NameServerOptions;

use super::kind::Kind;
use super::load::{Effective, Layer};
use super::problem::{Problem, Warning};
use super::properties::Properties;
use super::rocketmq;
use super::setting::{Configured, Counterpart, Initial, Scope, Setting};

impl Configured for NameServerOptions {
    const COMMAND: &'static str = "namesrv";
    const VARIABLE_PREFIX: &'static str = "TRIREME_NAMESRV_";
    const OTHER_VARIABLES: &'static [&'static str] = &["TRIREME_NAMESRV_CONFIG"];
    const WITHOUT_EFFECT: &'static [(&'static str, &'static str)] = rocketmq::namesrv::WITHOUT_EFFECT;

    const SETTINGS: &'static [Setting<Self>] = &[
        Setting {
            key: "listen",
            kind: Kind::Listen { any_port: true },
            default: Initial::Text("0.0.0.0:9876"),
            scope: Scope::Process,
            effect: "Where brokers and clients are served. Port 0 takes a free one.",
            rocketmq: Counterpart::Through(&["bindAddress", "listenPort"]),
            set: |options, value| options.listen = value.listen(),
        },
        Setting {
            key: "broker_expiry_ms",
            kind: Kind::Millis { min: 1000, max: 3_600_000 },
            default: Initial::Text("120000"),
            scope: Scope::Process,
            effect: "After which silence a broker is taken off the routes, unless it asked for another time. \
                     Brokers register every 30 s. Set it alike on all name servers.",
            rocketmq: Counterpart::None,
            set: |options, value| options.broker_expiry = Duration::from_millis(value.number()),
        },
        Setting {
            key: "scan_ms",
            kind: Kind::Millis { min: 100, max: 60_000 },
            default: Initial::Text("5000"),
            scope: Scope::Process,
            effect: "How often silent brokers are looked for.",
            rocketmq: Counterpart::Same(&["scanNotActiveBrokerInterval"]),
            set: |options, value| options.scan_every = Duration::from_millis(value.number()),
        },
        Setting {
            key: "max_connections",
            kind: Kind::Number { min: 1, max: 1_000_000 },
            default: Initial::Text("20000"),
            scope: Scope::Process,
            effect: "How many connections may be open at once; further ones are closed when they arrive. Every \
                     client and every broker holds one.",
            rocketmq: Counterpart::None,
            set: |options, value| options.max_connections = value.length(),
        },
        Setting {
            key: "max_brokers",
            kind: Kind::Number { min: 1, max: 1_000_000 },
            default: Initial::Text("10000"),
            scope: Scope::Process,
            effect: "How many broker addresses there may be, over all groups. Further ones are refused.",
            rocketmq: Counterpart::None,
            set: |options, value| options.max_brokers = value.length(),
        },
        Setting {
            key: "max_topics",
            kind: Kind::Number { min: 1, max: 10_000_000 },
            default: Initial::Text("200000"),
            scope: Scope::Process,
            effect: "How many topics there may be. Further ones get no route, and their broker is told so.",
            rocketmq: Counterpart::None,
            set: |options, value| options.max_topics = value.length(),
        },
        Setting {
            key: "order_message_enable",
            kind: Kind::Switch,
            default: Initial::Text("false"),
            scope: Scope::Process,
            effect: "Routes carry a topic's `ORDER_TOPIC_CONFIG`, which then decides the producers' queues.",
            rocketmq: Counterpart::Same(&["orderMessageEnable"]),
            set: |options, value| options.order_message_enable = value.switch(),
        },
        Setting {
            key: "delete_topic_with_broker_registration",
            kind: Kind::Switch,
            default: Initial::Text("false"),
            scope: Scope::Process,
            effect: "A RocketMQ master's registration removes the topics that it does not name. A Trireme \
                     leader's always does.",
            rocketmq: Counterpart::Same(&["deleteTopicWithBrokerRegistration"]),
            set: |options, value| options.delete_topic_with_broker_registration = value.switch(),
        },
        Setting {
            key: "kv_path",
            kind: Kind::Path,
            default: Initial::Derived("none, the KV configuration lives as long as the process"),
            scope: Scope::Process,
            effect: "The file that keeps the KV configuration, in RocketMQ's own format. Its folder must exist.",
            rocketmq: Counterpart::Same(&["kvConfigPath"]),
            set: |options, value| options.kv_path = Some(value.path()),
        },
        Setting {
            key: "drain_ms",
            kind: Kind::Millis { min: 0, max: 60_000 },
            default: Initial::Text("3000"),
            scope: Scope::Process,
            effect: "How long a stop waits for answers under way.",
            rocketmq: Counterpart::None,
            set: |options, value| options.drain = Duration::from_millis(value.number()),
        },
    ];

    fn blank() -> Self {
        Self::default()
    }

    fn translate(
        properties: &mut Properties,
        layer: &mut Layer,
        _problems: &mut Vec<Problem>,
        _warnings: &mut Vec<Warning>,
    ) {
        rocketmq::namesrv::translate(properties, layer);
    }

    /// The server checks its ranges itself, and has no settings that depend on others.
    fn finish(&mut self, _: &Effective<Self>, _: &mut Vec<Problem>, _: &mut Vec<Warning>) {}
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::load::{Sources, effective};

    #[test]
    fn the_defaults_are_those_of_the_server() {
        let nothing = Sources { file: None, variables: Default::default(), flags: Layer::new() };
        let (options, warnings) = effective::<NameServerOptions>(nothing).unwrap().config().unwrap();
        assert_eq!((options, warnings), (NameServerOptions::default(), vec![]));
    }

    #[test]
    fn the_ranges_are_those_of_the_server() {
        for setting in NameServerOptions::SETTINGS {
            let (Kind::Millis { min, max } | Kind::Number { min, max }) = setting.kind else { continue };
            for number in [min, max] {
                let mut options = NameServerOptions::default();
                (setting.set)(&mut options, setting.kind.read(&number.to_string()).unwrap());
                assert_eq!(options.validate(), Ok(()), "{} {number}", setting.key);
            }
            for number in [min.checked_sub(1), max.checked_add(1)].into_iter().flatten() {
                let mut options = NameServerOptions::default();
                (setting.set)(&mut options, super::super::kind::Value::Number(number));
                assert!(options.validate().is_err(), "{} {number}", setting.key);
            }
        }
    }
}
