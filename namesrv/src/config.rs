//! The settings as tools see and change them: RocketMQ's property text (codes 318 and 319).
//!
//! Few can be changed while running, and every other key is refused by name: a path that a peer may set is a way
//! to write files (CVE-2023-37582).

use std::fmt::Write as _;
use std::time::Duration;

use thiserror::Error;

use crate::options::{BadOption, NameServerOptions, check_scan_every};

/// The settings that can be changed while running. See [`NameServerOptions`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changeable {
    /// `orderMessageEnable`.
    pub order_message_enable: bool,
    /// `deleteTopicWithBrokerRegistration`.
    pub delete_topic_with_broker_registration: bool,
    /// `scanNotActiveBrokerInterval`.
    pub scan_every: Duration,
}

const ORDER_MESSAGE_ENABLE: &str = "orderMessageEnable";
const DELETE_TOPIC: &str = "deleteTopicWithBrokerRegistration";
const SCAN_EVERY: &str = "scanNotActiveBrokerInterval";

/// Why settings were not changed; none of those in the same text was.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigRefusal {
    /// The text is not `key=value` lines.
    #[error("line {0:?} is not key=value")]
    Malformed(String),
    /// The key is unknown, or fixed when the server starts.
    #[error(
        "{0:?} cannot be changed while running, only {ORDER_MESSAGE_ENABLE}, {DELETE_TOPIC} and {SCAN_EVERY}"
    )]
    Fixed(String),
    /// The value is not what the key needs.
    #[error("{key} is {value:?}, expected {expected}")]
    Invalid {
        /// The key.
        key: &'static str,
        /// The value, cut to 64 characters.
        value: String,
        /// What it should have been.
        expected: &'static str,
    },
    /// The value is outside its range.
    #[error(transparent)]
    Range(#[from] BadOption),
}

impl Changeable {
    /// The changeable part of the options.
    pub fn of(options: &NameServerOptions) -> Self {
        Self {
            order_message_enable: options.order_message_enable,
            delete_topic_with_broker_registration: options.delete_topic_with_broker_registration,
            scan_every: options.scan_every,
        }
    }

    /// These settings with the changes of a property text: lines of `key=value`, empty ones and those that start
    /// with `#` skipped.
    pub fn with(&self, text: &str) -> Result<Self, ConfigRefusal> {
        let mut changed = self.clone();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (key, value) = line
                .split_once('=')
                .ok_or_else(|| ConfigRefusal::Malformed(line.chars().take(64).collect()))?;
            match (key.trim(), value.trim()) {
                (ORDER_MESSAGE_ENABLE, value) => {
                    changed.order_message_enable = boolean(ORDER_MESSAGE_ENABLE, value)?;
                }
                (DELETE_TOPIC, value) => {
                    changed.delete_topic_with_broker_registration = boolean(DELETE_TOPIC, value)?;
                }
                (SCAN_EVERY, value) => {
                    let ms = value.parse().map_err(|_| invalid(SCAN_EVERY, value, "milliseconds"))?;
                    changed.scan_every = Duration::from_millis(ms);
                    check_scan_every(changed.scan_every)?;
                }
                (key, _) => return Err(ConfigRefusal::Fixed(key.chars().take(64).collect())),
            }
        }
        Ok(changed)
    }

    /// All settings as a property text: these, and the fixed ones from `options`.
    pub fn to_text(&self, options: &NameServerOptions, listen: std::net::SocketAddr) -> String {
        let kv_path = options.kv_path.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
        let mut text = String::new();
        let mut line = |key: &str, value: &dyn std::fmt::Display| {
            writeln!(text, "{key}={value}").expect("writing to a string cannot fail");
        };
        line("bindAddress", &listen.ip());
        line("listenPort", &listen.port());
        line("kvConfigPath", &kv_path);
        line(ORDER_MESSAGE_ENABLE, &self.order_message_enable);
        line(DELETE_TOPIC, &self.delete_topic_with_broker_registration);
        line(SCAN_EVERY, &self.scan_every.as_millis());
        line("brokerExpiryMillis", &options.broker_expiry.as_millis());
        line("maxConnections", &options.max_connections);
        line("maxBrokers", &options.max_brokers);
        line("maxTopics", &options.max_topics);
        text
    }
}

fn boolean(key: &'static str, value: &str) -> Result<bool, ConfigRefusal> {
    value.parse().map_err(|_| invalid(key, value, "true or false"))
}

fn invalid(key: &'static str, value: &str, expected: &'static str) -> ConfigRefusal {
    ConfigRefusal::Invalid { key, value: value.chars().take(64).collect(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Result<(bool, bool, u64), &str>) {
        let start = Changeable::of(&NameServerOptions::default());
        let changed = start.with(text).map(|changed| {
            let every = u64::try_from(changed.scan_every.as_millis()).unwrap_or(u64::MAX);
            (changed.order_message_enable, changed.delete_topic_with_broker_registration, every)
        });
        assert_eq!(changed.map_err(|refusal| refusal.to_string()), expect.map_err(str::to_owned));
    }

    #[test]
    fn property_texts() {
        check("", Ok((false, false, 5000)));
        check("orderMessageEnable=true\n", Ok((true, false, 5000)));
        check("# no\n\n deleteTopicWithBrokerRegistration = true \r\n", Ok((false, true, 5000)));
        check("scanNotActiveBrokerInterval=1000", Ok((false, false, 1000)));
        check("scanNotActiveBrokerInterval=0", Err("scan_every is 0ns, allowed are 100 ms to 60 s"));
        check(
            "scanNotActiveBrokerInterval=soon",
            Err("scanNotActiveBrokerInterval is \"soon\", expected milliseconds"),
        );
        check("orderMessageEnable=yes", Err("orderMessageEnable is \"yes\", expected true or false"));
        check("orderMessageEnable", Err("line \"orderMessageEnable\" is not key=value"));
    }

    #[test]
    fn only_listed_keys_are_changed() {
        let start = Changeable::of(&NameServerOptions::default());
        let keys =
            ["kvConfigPath", "configStorePath", "rocketmqHome", "configBlackList", "listenPort", "", "x"];
        for key in keys {
            let text = format!("orderMessageEnable=true\n{key}=/etc/passwd");
            assert_eq!(start.with(&text), Err(ConfigRefusal::Fixed(key.to_owned())));
        }
    }
}
