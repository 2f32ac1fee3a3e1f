//! Settings of a client.

use std::env;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use trireme_remoting::SerializeType;

use crate::error::ClientError;

/// Settings that all producers and consumers of one [`Client`](crate::Client) share.
///
/// Start from [`new`](Self::new) and change what has to differ:
///
/// ```
/// use std::time::Duration;
/// use trireme_client::ClientConfig;
///
/// let config = ClientConfig {
///     request_timeout: Duration::from_secs(5),
///     ..ClientConfig::new("10.0.0.1:9876;10.0.0.2:9876")
/// };
/// assert_eq!(config.namesrv_addrs.len(), 2);
/// ```
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Name servers, `host:port`. Any one that answers is enough. RocketMQ: `namesrvAddr`.
    pub namesrv_addrs: Vec<String>,
    /// Tells clients of one host apart; the client id is `ip@instance_name`. Must differ between clients that
    /// have consumers of the same group. Default: unique per client. RocketMQ: `instanceName`.
    pub instance_name: Option<String>,
    /// The address in the client id and in message ids. Default: the one from which the first name server is
    /// reached. RocketMQ: `clientIP`.
    pub local_ip: Option<IpAddr>,
    /// How long a request other than a send or a pull may take, over all replicas tried. Default 3 s.
    /// RocketMQ: `mqClientApiTimeout`.
    pub request_timeout: Duration,
    /// How long making a connection may take. Default 1 s.
    pub connect_timeout: Duration,
    /// How often routes of used topics are asked for anew. Failures bring an earlier look. Default 30 s.
    /// RocketMQ: `pollNameServerInterval`.
    pub route_refresh_interval: Duration,
    /// How often brokers are told of this client's groups. Default 30 s. RocketMQ: `heartbeatBrokerInterval`.
    pub heartbeat_interval: Duration,
    /// How long a replica that did not answer is asked last. Default 3 s.
    pub suspect_interval: Duration,
    /// Notation of request headers, and so of their answers'. Brokers and name servers read both, RocketMQ's of 4.x and
    /// 5.x too. The binary one costs both ends half of what JSON does, and is the default; JSON can be read in a
    /// capture. RocketMQ: `rocketmq.serialize.type`, which is JSON there.
    pub serialize: SerializeType,
    /// Where broadcasting consumers keep their offsets. Default `.trireme` in the home directory.
    /// RocketMQ: `rocketmq.client.localOffsetStoreDir`.
    pub offset_dir: PathBuf,
}

impl ClientConfig {
    /// The default settings for name servers `host:port`, several separated by `;` or `,`.
    pub fn new(namesrv_addrs: &str) -> Self {
        let home = env::var_os("HOME").map_or_else(env::temp_dir, PathBuf::from);
        Self {
            namesrv_addrs: namesrv_addrs
                .split([';', ','])
                .map(str::trim)
                .filter(|addr| !addr.is_empty())
                .map(str::to_owned)
                .collect(),
            instance_name: None,
            local_ip: None,
            request_timeout: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(1),
            route_refresh_interval: Duration::from_secs(30),
            heartbeat_interval: Duration::from_secs(30),
            suspect_interval: Duration::from_secs(3),
            serialize: SerializeType::RocketMq,
            offset_dir: home.join(".trireme"),
        }
    }

    /// Errors: [`ClientError::Config`] names the first setting that cannot be used.
    pub(crate) fn validate(&self) -> Result<(), ClientError> {
        if self.namesrv_addrs.is_empty() {
            return Err(config_error("namesrv_addrs", "", "at least one host:port"));
        }
        for addr in &self.namesrv_addrs {
            let port = addr.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
            if port.and_then(|port| port.parse::<u16>().ok()).is_none() {
                return Err(config_error("namesrv_addrs", addr, "host:port"));
            }
        }
        if let Some(name) =
            self.instance_name.as_ref().filter(|name| name.is_empty() || name.contains(['@', '/', '\\']))
        {
            return Err(config_error("instance_name", name, "text without '@', '/' and '\\'"));
        }
        for (field, duration) in [
            ("request_timeout", self.request_timeout),
            ("connect_timeout", self.connect_timeout),
            ("route_refresh_interval", self.route_refresh_interval),
            ("heartbeat_interval", self.heartbeat_interval),
        ] {
            if duration.is_zero() {
                return Err(config_error(field, "0", "more than zero"));
            }
        }
        Ok(())
    }
}

/// A [`ClientError::Config`].
pub(crate) fn config_error(field: &'static str, value: impl ToString, expected: &'static str) -> ClientError {
    ClientError::Config { field, value: value.to_string(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split_and_checked() {
        let config = ClientConfig::new(" a:1 ; b:2,c:3;");
        assert_eq!(config.namesrv_addrs, ["a:1", "b:2", "c:3"]);
        assert!(config.validate().is_ok());
        for addrs in ["", ";", "a", "a:", ":1", "a:99999", "a:1;b"] {
            let refused = ClientConfig::new(addrs).validate();
            assert!(matches!(refused, Err(ClientError::Config { field: "namesrv_addrs", .. })), "{addrs:?}");
        }
    }

    #[test]
    fn unusable_settings_are_named() {
        let config = ClientConfig { heartbeat_interval: Duration::ZERO, ..ClientConfig::new("a:1") };
        assert!(matches!(config.validate(), Err(ClientError::Config { field: "heartbeat_interval", .. })));
        let config = ClientConfig { instance_name: Some("a@b".to_owned()), ..ClientConfig::new("a:1") };
        assert!(matches!(config.validate(), Err(ClientError::Config { field: "instance_name", .. })));
    }
}
