//! Where a RocketMQ broker is reached: `brokerIP1`, `listenPort` and the `dLeger` properties, as our `replica`,
//! `node` and `listen`.
//!
//! | RocketMQ | here |
//! |---|---|
//! | `dLegerPeers` `n0-A:40911;n1-B:40911` | replicas 1 and 2 with these peer addresses: `nK` is number K + 1 |
//! | `dLegerSelfId` `n0` | `node` 1 |
//! | clients' address of this replica | `brokerIP1`, or the host of its peer address, with `listenPort` |
//! | clients' address of the others | DLedger does not say: the host of their peer address, with *our* `listenPort` |
//! | no DLedger | a group of one replica at `brokerIP1` and `listenPort`, its peer port `haListenPort` |
//!
//! The guess of the others' port is right where replicas have a machine each. Replicas on one machine differ in
//! their ports, so there `replica` must be given in full, as a flag or as a line of the same file.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::config::kind::host_and_port;
use crate::config::load::Layer;
use crate::config::origin::{Given, Origin};
use crate::config::problem::Warning;
use crate::config::properties::{Properties, Property};

/// RocketMQ's `listenPort` if it is not set.
const DEFAULT_PORT: u16 = 10911;
/// What RocketMQ's server binds to if it is not told.
const EVERYWHERE: &str = "0.0.0.0";
/// How to say what these properties cannot.
const IN_FULL: &str =
    "give every replica, with --replica or a line replica=NODE=CLIENT_IP:PORT/PEER_HOST:PORT;...";

/// Takes the properties out.
pub fn translate(properties: &mut Properties, layer: &mut Layer, warnings: &mut Vec<Warning>) {
    let listen_port = properties.take("listenPort");
    let bind = properties.take("bindAddress");
    let broker_ip = properties.take("brokerIP1");
    let ha_port = properties.take("haListenPort");
    let dledger = DLedger::take(properties, warnings);

    let port = match listen_port.as_ref().map(port) {
        None => DEFAULT_PORT,
        Some(Ok(port)) => port,
        Some(Err(given)) => {
            layer.insert("listen", given);
            return;
        }
    };
    let ip = bind.as_ref().map_or(EVERYWHERE, |bind| bind.value.as_str());
    let name = if bind.is_some() { "bindAddress" } else { "listenPort" };
    if let Some(Property { origin, .. }) = [&bind, &listen_port, &broker_ip].into_iter().flatten().next() {
        layer.insert("listen", Given::new(name, addr(ip, port), origin.clone()));
    }
    match (dledger, broker_ip) {
        (Some(dledger), broker_ip) => dledger.translate(port, broker_ip.as_ref(), layer),
        (None, Some(ip)) => alone(&ip, port, ha_port.as_ref(), layer),
        (None, None) => {
            if let Some(Property { value, origin, .. }) = listen_port {
                let flaw = format!(
                    "this is where to listen; which address clients are told is missing: add brokerIP1, or {IN_FULL}"
                );
                layer.insert("replica", flawed("listenPort", value, origin, flaw));
            }
        }
    }
}

/// A group of one replica.
fn alone(ip: &Property, listen_port: u16, ha_port: Option<&Property>, layer: &mut Layer) {
    let peer_port = match ha_port.map(port) {
        None => listen_port.saturating_add(1),
        Some(Ok(port)) => port,
        Some(Err(given)) => {
            layer.insert("replica", given);
            return;
        }
    };
    let text = format!("1={}/{}", addr(&ip.value, listen_port), addr(&ip.value, peer_port));
    layer.insert("replica", Given::new("brokerIP1", text, ip.origin.clone()));
    layer.insert("node", Given::new("brokerIP1", "1", ip.origin.clone()));
}

/// The properties of a DLedger group.
struct DLedger {
    enabled: Property,
    peers: Option<Property>,
    own: Option<Property>,
}

impl DLedger {
    fn take(properties: &mut Properties, warnings: &mut Vec<Warning>) -> Option<Self> {
        let enabled = properties.take("enableDLegerCommitLog");
        let peers = properties.take("dLegerPeers");
        let own = properties.take("dLegerSelfId");
        let Some(enabled) = enabled.filter(|enabled| enabled.value == "true") else {
            let reason =
                "is ignored, since enableDLegerCommitLog is not true: give the replicas with --replica";
            for property in [&peers, &own].into_iter().flatten() {
                warnings.push(Warning::new(&property.key, property.origin.clone(), reason));
            }
            return None;
        };
        if let (Some(group), Some(name)) = (properties.get("dLegerGroup"), properties.get("brokerName"))
            && group.value == name.value
        {
            properties.take("dLegerGroup");
        }
        Some(Self { enabled, peers, own })
    }

    fn translate(&self, listen_port: u16, broker_ip: Option<&Property>, layer: &mut Layer) {
        let Some(Property { value, origin, .. }) = &self.peers else {
            let Property { value, origin, .. } = self.enabled.clone();
            let flaw = "dLegerPeers is missing".to_owned();
            layer.insert("replica", flawed("enableDLegerCommitLog", value, origin, flaw));
            return;
        };
        let own = self.own.as_ref().and_then(|own| node(&own.value));
        if let Some(Property { value, origin, .. }) = &self.own {
            let given = match own {
                Some(node) => Given::new("dLegerSelfId", node.to_string(), origin.clone()),
                None => {
                    let flaw = "expected nK, K from 0".to_owned();
                    flawed("dLegerSelfId", value.clone(), origin.clone(), flaw)
                }
            };
            layer.insert("node", given);
        }
        let replicas = replicas(value, |node, host| {
            let ip = broker_ip.filter(|_| Some(node) == own).map_or(host, |ip| ip.value.as_str());
            addr(ip, listen_port)
        });
        let given = match replicas {
            Ok(replicas) => Given::new("dLegerPeers", replicas, origin.clone()),
            Err(flaw) => flawed("dLegerPeers", value.clone(), origin.clone(), flaw),
        };
        layer.insert("replica", given);
    }
}

/// The peers in our notation; `client` tells the address for clients of a node whose peer address has this host.
///
/// Errors: what is wrong with them, or what they do not say.
fn replicas(peers: &str, client: impl Fn(u64, &str) -> String) -> Result<String, String> {
    let mut hosts = BTreeSet::new();
    let mut replicas = Vec::new();
    for peer in peers.split(';').map(str::trim).filter(|peer| !peer.is_empty()) {
        let parsed = peer
            .split_once('-')
            .and_then(|(id, address)| Some((node(id)?, address, host_and_port(address)?.0)));
        let Some((node, address, host)) = parsed else {
            return Err(format!("{peer:?} is not nK-HOST:PORT"));
        };
        if host.parse::<IpAddr>().is_err() {
            return Err(format!("clients are told IP addresses, and {host} is a name: {IN_FULL}"));
        }
        if !hosts.insert(host) {
            return Err(format!(
                "several replicas are on {host}, and where each serves clients is missing: {IN_FULL}"
            ));
        }
        replicas.push(format!("{node}={}/{address}", client(node, host)));
    }
    Ok(replicas.join(";"))
}

/// Our number of DLedger's `nK`.
fn node(id: &str) -> Option<u64> {
    id.strip_prefix('n')?.parse::<u32>().ok().map(|k| u64::from(k) + 1)
}

fn port(property: &Property) -> Result<u16, Given> {
    let known = if property.key == "listenPort" { "listenPort" } else { "haListenPort" };
    property.value.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
        let Property { value, origin, .. } = property.clone();
        flawed(known, value, origin, "allowed are 1 to 65535".to_owned())
    })
}

fn flawed(name: &'static str, text: String, origin: Origin, flaw: String) -> Given {
    Given { flaw: Some(flaw), ..Given::new(name, text, origin) }
}

/// `host:port`, with brackets around an IPv6 address.
fn addr(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
