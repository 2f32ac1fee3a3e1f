//! What an operator may set.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// Settings of one name server.
///
/// Name servers do not know each other and need not agree, except that all of them should expire brokers alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameServerOptions {
    /// Where to listen; port 0 takes a free one. Default `0.0.0.0:9876`. RocketMQ: `bindAddress`, `listenPort`.
    pub listen: SocketAddr,

    /// After which silence a broker is taken off the routes, unless it says so itself (`heartbeatTimeoutMillis`).
    /// Default 120 s, range 1 s to 1 h; brokers register every 30 s. RocketMQ: a constant, no property.
    pub broker_expiry: Duration,

    /// How often silent brokers are looked for. Default 5 s, range 100 ms to 60 s.
    /// RocketMQ: `scanNotActiveBrokerInterval` (ms). May be changed while running.
    pub scan_every: Duration,

    /// How many connections may be open at once; further ones are closed when they arrive. Default 20 000, range
    /// 1 to 1 000 000. Every client holds one, every broker one. RocketMQ: no limit.
    pub max_connections: usize,

    /// How many broker addresses the route table takes, over all groups. Default 10 000, range 1 to 1 000 000.
    /// A broker beyond it is refused with code 1. RocketMQ: no limit.
    pub max_brokers: usize,

    /// How many topics the route table takes. Default 200 000, range 1 to 10 000 000. Topics beyond it are not
    /// routed and their broker is told so with code 1; it stays listed. RocketMQ: no limit.
    pub max_topics: usize,

    /// Whether a route carries the topic's `ORDER_TOPIC_CONFIG`, which then decides the producers' queues.
    /// Default false. RocketMQ: `orderMessageEnable`. May be changed while running.
    pub order_message_enable: bool,

    /// Whether a master's registration removes the topics that it does not name. Default false, since RocketMQ
    /// brokers also register single topics; a [Raft group](crate::RAFT_GROUP) is always treated so.
    /// RocketMQ: `deleteTopicWithBrokerRegistration`. May be changed while running.
    pub delete_topic_with_broker_registration: bool,

    /// The file that keeps the KV configuration, in RocketMQ's own format; its folder must exist. Default none:
    /// the configuration lives as long as the process. RocketMQ: `kvConfigPath`.
    pub kv_path: Option<PathBuf>,

    /// How long [`shutdown`](crate::NameServer::shutdown) waits for answers under way to be written. Default 3 s,
    /// range 0 to 60 s. RocketMQ: no property.
    pub drain: Duration,
}

impl Default for NameServerOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 9876)),
            broker_expiry: Duration::from_secs(120),
            scan_every: Duration::from_secs(5),
            max_connections: 20_000,
            max_brokers: 10_000,
            max_topics: 200_000,
            order_message_enable: false,
            delete_topic_with_broker_registration: false,
            kv_path: None,
            drain: Duration::from_secs(3),
        }
    }
}

/// A setting outside its range.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{setting} is {value}, allowed are {range}")]
pub struct BadOption {
    /// The field of [`NameServerOptions`].
    pub setting: &'static str,
    /// What it was set to.
    pub value: String,
    /// What it may be.
    pub range: &'static str,
}

impl NameServerOptions {
    /// Checks every range; the first setting outside is the error.
    pub fn validate(&self) -> Result<(), BadOption> {
        let second = Duration::from_secs(1);
        check("broker_expiry", self.broker_expiry, second, 3600 * second, "1 s to 1 h")?;
        check_scan_every(self.scan_every)?;
        check("max_connections", self.max_connections, 1, 1_000_000, "1 to 1000000")?;
        check("max_brokers", self.max_brokers, 1, 1_000_000, "1 to 1000000")?;
        check("max_topics", self.max_topics, 1, 10_000_000, "1 to 10000000")?;
        check("drain", self.drain, Duration::ZERO, 60 * second, "0 to 60 s")
    }
}

/// Apart from the others because it can be changed while running.
pub(crate) fn check_scan_every(value: Duration) -> Result<(), BadOption> {
    check("scan_every", value, Duration::from_millis(100), Duration::from_secs(60), "100 ms to 60 s")
}

fn check<T: PartialOrd + std::fmt::Debug>(
    setting: &'static str,
    value: T,
    min: T,
    max: T,
    range: &'static str,
) -> Result<(), BadOption> {
    if min <= value && value <= max {
        Ok(())
    } else {
        Err(BadOption { setting, value: format!("{value:?}"), range })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_their_ranges() {
        assert_eq!(NameServerOptions::default().validate(), Ok(()));
    }

    #[test]
    fn a_value_outside_is_named_with_its_range() {
        let options = NameServerOptions { broker_expiry: Duration::ZERO, ..NameServerOptions::default() };
        let refusal = options.validate().map_err(|bad| bad.to_string());
        assert_eq!(refusal, Err("broker_expiry is 0ns, allowed are 1 s to 1 h".to_owned()));
    }
}
