//! Which names and addresses may enter the tables.
//!
//! A name that is listed reaches every client, and clients cut text at commas, colons and spaces; so what could
//! be cut wrongly is kept out here, once, and not escaped everywhere else.

use thiserror::Error;

/// The longest name of a topic that users create.
const MAX_TOPIC_CHARS: usize = 127;

/// The longest topic that a broker derives from a group (`%RETRY%`, `%DLQ%`).
const MAX_DERIVED_TOPIC_CHARS: usize = 255;

/// The longest name of a broker group, a cluster or a zone.
const MAX_BROKER_CHARS: usize = 127;

/// The longest `host:port`: a DNS name has at most 253 characters.
const MAX_ADDRESS_CHARS: usize = 260;

/// A name that is not let in. The text is cut, so that a refusal never repeats a megabyte.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} {text:?} is not {rule}")]
pub struct BadName {
    what: &'static str,
    text: String,
    rule: &'static str,
}

fn check(what: &'static str, rule: &'static str, text: &str, good: bool) -> Result<(), BadName> {
    if good { Ok(()) } else { Err(BadName { what, text: text.chars().take(64).collect(), rule }) }
}

/// A topic: `[%|a-zA-Z0-9_-]`, at most 127 characters; a retry or dead-letter topic at most 255.
///
/// `+` is let in behind `%RETRY%` alone: RocketMQ 5 joins group and topic with it for its POP retry topics.
/// Source: RocketMQ `TopicValidator`, `KeyBuilder#buildPopRetryTopicV2`.
pub fn topic(name: &str) -> Result<(), BadName> {
    let retry = name.starts_with("%RETRY%");
    let max = if retry || name.starts_with("%DLQ%") { MAX_DERIVED_TOPIC_CHARS } else { MAX_TOPIC_CHARS };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"%|_-".contains(&b) || (retry && b == b'+');
    let good = (1..=max).contains(&name.len()) && name.bytes().all(plain);
    check("topic", "1 to 127 characters of [%|a-zA-Z0-9_-]", name, good)
}

/// A broker group's name (`brokerName`). Host names are usual, so dots are let in.
pub fn broker(name: &str) -> Result<(), BadName> {
    check("broker name", BROKER_RULE, name, is_broker_name(name))
}

/// A cluster's name.
pub fn cluster(name: &str) -> Result<(), BadName> {
    check("cluster name", BROKER_RULE, name, is_broker_name(name))
}

/// A zone's name (`__ZONE_NAME`).
pub fn zone(name: &str) -> Result<(), BadName> {
    check("zone name", BROKER_RULE, name, is_broker_name(name))
}

const BROKER_RULE: &str = "1 to 127 characters of [%|a-zA-Z0-9_.-]";

fn is_broker_name(name: &str) -> bool {
    (1..=MAX_BROKER_CHARS).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"%|_.-".contains(&b))
}

/// An address that clients can dial: `host:port`, an IPv6 host in brackets, the port not 0.
pub fn address(address: &str) -> Result<(), BadName> {
    let good = address.len() <= MAX_ADDRESS_CHARS
        && address.rsplit_once(':').is_some_and(|(host, port)| is_host(host) && is_port(port));
    check("address", "host:port", address, good)
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        // A zone id (`%eth0`) follows the address proper.
        Some(rest) => rest
            .strip_suffix(']')
            .and_then(|inner| inner.split('%').next())
            .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
    }
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn sorted_out(judge: fn(&str) -> Result<(), BadName>, good: &[&str], bad: &[&str]) {
        for name in good {
            assert!(judge(name).is_ok(), "{name:?} should be let in");
        }
        for name in bad {
            assert!(judge(name).is_err(), "{name:?} should be kept out");
        }
    }

    #[test]
    fn topics() {
        let (longest, too_long) = ("t".repeat(127), "t".repeat(128));
        let (retry, retry_too_long) = (format!("%RETRY%{too_long}"), format!("%RETRY%{}", "g".repeat(249)));
        sorted_out(
            topic,
            &["T", "ns%orders_1-a|b", "%RETRY%group+topic", "%DLQ%group", "TBW102", &longest, &retry],
            &["", "../../x", "a b", "a+b", "%DLQ%a+b", "Straße", "a\n", &too_long, &retry_too_long],
        );
    }

    #[test]
    fn brokers() {
        sorted_out(
            broker,
            &["broker-a", "host.example.org"],
            &["", "a:1", "a;b", "a,b", "a b", &"b".repeat(128)],
        );
    }

    #[test]
    fn addresses() {
        sorted_out(
            address,
            &["127.0.0.1:10911", "broker-a.internal:1", "[::1]:10911", "[fe80::1%eth0]:65535"],
            &[
                "",
                ":1",
                "host",
                "host:",
                "host:0",
                "host:65536",
                "host:+1",
                "a,b:1",
                "a b:1",
                "::1:80",
                "[x]:80",
            ],
        );
    }

    #[test]
    fn a_refusal_repeats_little_of_a_long_name() {
        let refusal = topic(&"x".repeat(1 << 20)).map_err(|bad| bad.to_string().len());
        assert!(refusal.is_err_and(|length| length < 200));
    }
}
