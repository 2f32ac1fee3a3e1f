//! The notations of values, and their ranges.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use trireme_broker::config::ReplicaAddr;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Replicas of one group.
const MAX_REPLICAS: usize = 9;
/// The largest replica number.
const MAX_NODE: u64 = 1_000_000;
/// Bytes of a cluster's or group's name. A group's is also the name of a topic.
const MAX_NAME_BYTES: usize = 120;

/// A notation with its range; bounds are inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The name of a cluster or group.
    Name,
    /// A number.
    Number { min: u64, max: u64 },
    /// One of some numbers.
    OneOf(&'static [u64]),
    /// A size: bytes, or with a unit.
    Bytes { min: u64, max: u64, multiple_of: u64 },
    /// Milliseconds.
    Millis { min: u64, max: u64 },
    /// Yes or no.
    Switch,
    /// Where to listen.
    Listen { any_port: bool },
    /// A file or directory.
    Path,
    /// Addresses, `host:port`.
    Hosts,
    /// The replicas of a group.
    Replicas,
}

/// A value of some kind, within its range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Of [`Kind::Name`].
    Name(String),
    /// Of [`Kind::Number`], [`Kind::OneOf`], [`Kind::Bytes`] or [`Kind::Millis`].
    Number(u64),
    /// Of [`Kind::Switch`].
    Switch(bool),
    /// Of [`Kind::Listen`].
    Listen(SocketAddr),
    /// Of [`Kind::Path`].
    Path(PathBuf),
    /// Of [`Kind::Hosts`].
    Hosts(Vec<String>),
    /// Of [`Kind::Replicas`].
    Replicas(BTreeMap<u64, ReplicaAddr>),
}

impl Kind {
    /// Reads a value.
    ///
    /// Errors: what it may be, in words.
    pub fn read(&self, text: &str) -> Result<Value, String> {
        let text = text.trim();
        let within = |number: Option<u64>, min: u64, max: u64| {
            number.filter(|n| min <= *n && *n <= max).map(Value::Number).ok_or_else(|| self.allowed())
        };
        match *self {
            Self::Name if is_name(text) => Ok(Value::Name(text.to_owned())),
            Self::Number { min, max } | Self::Millis { min, max } => within(number(text), min, max),
            Self::OneOf(numbers) => within(number(text).filter(|n| numbers.contains(n)), u64::MIN, u64::MAX),
            Self::Bytes { min, max, multiple_of } => {
                within(size(text).filter(|n| n.is_multiple_of(multiple_of)), min, max)
            }
            Self::Switch => text.parse().map(Value::Switch).map_err(|_| self.allowed()),
            Self::Listen { any_port } => match text.parse::<SocketAddr>() {
                Ok(addr) if any_port || addr.port() != 0 => Ok(Value::Listen(addr)),
                _ => Err(self.allowed()),
            },
            Self::Path if !text.is_empty() && !text.contains('\0') => Ok(Value::Path(text.into())),
            Self::Hosts => {
                let hosts: Vec<String> = items(text).map(str::to_owned).collect();
                if !hosts.is_empty() && hosts.iter().all(|host| is_host_and_port(host)) {
                    Ok(Value::Hosts(hosts))
                } else {
                    Err(self.allowed())
                }
            }
            Self::Replicas => {
                replicas(text).map(Value::Replicas).map_err(|reason| format!("{reason}; {}", self.allowed()))
            }
            Self::Name | Self::Path => Err(self.allowed()),
        }
    }

    /// What a value may be, for people.
    pub fn allowed(&self) -> String {
        match *self {
            Self::Name => {
                format!("allowed are 1 to {MAX_NAME_BYTES} of the characters a-z A-Z 0-9 . _ - % |")
            }
            Self::Number { min, max } => format!("allowed are {min} to {max}"),
            Self::OneOf(numbers) => {
                let numbers: Vec<_> = numbers.iter().map(u64::to_string).collect();
                format!("allowed are {}", numbers.join(", "))
            }
            Self::Bytes { min, max, multiple_of } => {
                let range = format!("allowed are {} to {}", sized(min), sized(max));
                if multiple_of == 1 { range } else { format!("{range} in steps of {}", sized(multiple_of)) }
            }
            Self::Millis { min, max } => format!("allowed are {min} to {max} ms"),
            Self::Switch => "expected true or false".to_owned(),
            Self::Listen { any_port: true } => "expected IP:PORT".to_owned(),
            Self::Listen { any_port: false } => "expected IP:PORT, the port from 1 to 65535".to_owned(),
            Self::Path => "expected a path".to_owned(),
            Self::Hosts => "expected HOST:PORT, several separated by semicolons".to_owned(),
            Self::Replicas => format!(
                "expected NODE=CLIENT_IP:PORT/PEER_HOST:PORT for each of 1 to {MAX_REPLICAS} replicas, \
                 separated by semicolons"
            ),
        }
    }

    /// Whether TOML writes such values in quotes.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Name | Self::Listen { .. } | Self::Path)
    }

    /// Whether there can be several.
    pub fn is_list(&self) -> bool {
        matches!(self, Self::Hosts | Self::Replicas)
    }

    /// A value of this kind as TOML.
    pub fn show(&self, value: &Value) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let list = |items: Vec<String>| format!("[{}]", items.join(", "));
        match value {
            Value::Name(name) => quoted(name),
            Value::Number(number) if matches!(self, Self::Bytes { .. }) => {
                let text = sized(*number);
                if text.ends_with('B') { quoted(&text) } else { text }
            }
            Value::Number(number) => number.to_string(),
            Value::Switch(switch) => switch.to_string(),
            Value::Listen(addr) => quoted(&addr.to_string()),
            Value::Path(path) => quoted(&path.to_string_lossy()),
            Value::Hosts(hosts) => list(hosts.iter().map(|host| quoted(host)).collect()),
            Value::Replicas(replicas) => list(
                replicas
                    .iter()
                    .map(|(node, addr)| quoted(&format!("{node}={}/{}", addr.broker, addr.peer)))
                    .collect(),
            ),
        }
    }
}

/// Why the accessors below cannot fail: kinds and setters stand in the same row of a table, and a test sets every
/// row.
const SAME_ROW: &str = "the row's kind is of this type";

impl Value {
    /// The name.
    pub fn name(self) -> String {
        if let Self::Name(name) = self { name } else { unreachable!("{SAME_ROW}: {self:?}") }
    }

    /// The number.
    pub fn number(self) -> u64 {
        if let Self::Number(number) = self { number } else { unreachable!("{SAME_ROW}: {self:?}") }
    }

    /// The number, which the range makes fit.
    pub fn small(self) -> u32 {
        u32::try_from(self.number()).expect("the row's range ends below 2^32")
    }

    /// The number as a length in memory.
    pub fn length(self) -> usize {
        usize::try_from(self.number()).expect("the row's range ends below 2^32")
    }

    /// The switch.
    pub fn switch(self) -> bool {
        if let Self::Switch(switch) = self { switch } else { unreachable!("{SAME_ROW}: {self:?}") }
    }

    /// The address.
    pub fn listen(self) -> SocketAddr {
        if let Self::Listen(addr) = self { addr } else { unreachable!("{SAME_ROW}: {self:?}") }
    }

    /// The path.
    pub fn path(self) -> PathBuf {
        if let Self::Path(path) = self { path } else { unreachable!("{SAME_ROW}: {self:?}") }
    }

    /// The addresses.
    pub fn hosts(self) -> Vec<String> {
        if let Self::Hosts(hosts) = self { hosts } else { unreachable!("{SAME_ROW}: {self:?}") }
    }

    /// The replicas.
    pub fn replicas(self) -> BTreeMap<u64, ReplicaAddr> {
        if let Self::Replicas(replicas) = self { replicas } else { unreachable!("{SAME_ROW}: {self:?}") }
    }
}

/// The parts of a list in one text.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split([';', ',']).map(str::trim).filter(|item| !item.is_empty())
}

fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-%|".contains(&byte);
    (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(allowed)
}

/// Digits, perhaps with TOML's underscores.
fn number(text: &str) -> Option<u64> {
    let digits = text.replace('_', "");
    // `parse` would take a plus sign.
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// `1073741824`, `1GiB`, `1024 MiB`.
fn size(text: &str) -> Option<u64> {
    for (unit, bytes) in [("KiB", KIB), ("MiB", MIB), ("GiB", GIB)] {
        if let Some(count) = text.strip_suffix(unit) {
            return number(count.trim_end())?.checked_mul(bytes);
        }
    }
    number(text)
}

/// A size with the largest unit that divides it.
pub fn sized(bytes: u64) -> String {
    match [(GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")].into_iter().find(|(unit, _)| bytes.is_multiple_of(*unit))
    {
        Some((unit, name)) if bytes > 0 => format!("{} {name}", bytes / unit),
        _ => bytes.to_string(),
    }
}

/// The host and the port of `host:port`; IPv6 addresses stand in brackets.
pub fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_host =
        !bare.is_empty() && !bare.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/');
    (is_host && (host != bare || !bare.contains(':'))).then_some((bare, port))
}

fn is_host_and_port(text: &str) -> bool {
    host_and_port(text).is_some()
}

fn replicas(text: &str) -> Result<BTreeMap<u64, ReplicaAddr>, String> {
    let mut found = BTreeMap::new();
    let mut addresses = BTreeSet::new();
    for item in items(text) {
        let (node, addr) = replica(item).map_err(|reason| format!("{item:?} {reason}"))?;
        for address in [addr.broker.to_string(), addr.peer.clone()] {
            if !addresses.insert(address.clone()) {
                return Err(format!("{address} is used twice"));
            }
        }
        if found.insert(node, addr).is_some() {
            return Err(format!("node {node} is named twice"));
        }
    }
    if (1..=MAX_REPLICAS).contains(&found.len()) {
        Ok(found)
    } else {
        Err(format!("{} replicas", found.len()))
    }
}

fn replica(text: &str) -> Result<(u64, ReplicaAddr), String> {
    let (node, addresses) = text.split_once('=').ok_or("has no '='")?;
    let (client, peer) = addresses.split_once('/').ok_or("has no '/'")?;
    let node = number(node.trim())
        .filter(|node| (1..=MAX_NODE).contains(node))
        .ok_or(format!("has a node that is not 1 to {MAX_NODE}"))?;
    let broker: SocketAddr =
        client.trim().parse().map_err(|_| "has a client address that is not IP:PORT".to_owned())?;
    // Clients are told this address, and message ids contain it.
    if broker.ip().is_unspecified() || broker.port() == 0 {
        return Err("has a client address that nobody can connect to".to_owned());
    }
    let peer = peer.trim();
    if !is_host_and_port(peer) {
        return Err("has a peer address that is not HOST:PORT".to_owned());
    }
    if peer.parse::<SocketAddr>().is_ok_and(|peer| peer.ip().is_unspecified()) {
        return Err("has a peer address that nobody can connect to".to_owned());
    }
    Ok((node, ReplicaAddr { peer: peer.to_owned(), broker }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SEGMENT: Kind = Kind::Bytes { min: 64 * KIB, max: 16 * GIB, multiple_of: 4 * KIB };

    /// The value as TOML, or the error.
    #[track_caller]
    fn check(kind: Kind, text: &str, expect: &str) {
        let shown = kind.read(text).map(|value| kind.show(&value)).unwrap_or_else(|reason| reason);
        assert_eq!(shown, expect, "{text:?}");
    }

    #[test]
    fn sizes() {
        for (text, expect) in [
            ("65536", "\"64 KiB\""),
            ("1GiB", "\"1 GiB\""),
            (" 1024 MiB ", "\"1 GiB\""),
            ("1_073_741_824", "\"1 GiB\""),
            ("69632", "\"68 KiB\""),
        ] {
            check(SEGMENT, text, expect);
        }
        let range = "allowed are 64 KiB to 16 GiB in steps of 4 KiB";
        for text in ["", "0", "61440", "65537", "17179873280", "17GiB", "1 gib", "1GB", "-1", "+65536", "GiB"]
        {
            check(SEGMENT, text, range);
        }
        check(SEGMENT, "99999999999999999999GiB", range);
        check(Kind::Bytes { min: 0, max: 10, multiple_of: 1 }, "0", "0");
    }

    #[test]
    fn numbers_and_switches() {
        let queues = Kind::Number { min: 1, max: 16_384 };
        check(queues, "8", "8");
        for text in ["0", "16385", "8.0", "eight", "", "0x8"] {
            check(queues, text, "allowed are 1 to 16384");
        }
        check(Kind::OneOf(&[2, 4, 6]), "6", "6");
        check(Kind::OneOf(&[2, 4, 6]), "5", "allowed are 2, 4, 6");
        check(Kind::Millis { min: 10, max: 20 }, "21", "allowed are 10 to 20 ms");
        check(Kind::Switch, "true", "true");
        check(Kind::Switch, "yes", "expected true or false");
    }

    #[test]
    fn names_and_paths() {
        check(Kind::Name, "broker-a.example", "\"broker-a.example\"");
        let too_long = "x".repeat(121);
        for text in ["", "a b", "a;b", "a/b", "b\u{f6}", &too_long] {
            check(Kind::Name, text, &Kind::Name.allowed());
        }
        check(Kind::Path, "/var/\"lib\"", "'/var/\"lib\"'");
        check(Kind::Path, "", "expected a path");
    }

    #[test]
    fn addresses() {
        let listen = Kind::Listen { any_port: false };
        check(listen, "[::1]:9876", "\"[::1]:9876\"");
        check(listen, "0.0.0.0:9876", "\"0.0.0.0:9876\"");
        for text in ["localhost:9876", "9876", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536"] {
            check(listen, text, "expected IP:PORT, the port from 1 to 65535");
        }
        check(Kind::Listen { any_port: true }, "127.0.0.1:0", "\"127.0.0.1:0\"");
        check(Kind::Hosts, "a:1; b.example:2,[::1]:3;", r#"["a:1", "b.example:2", "[::1]:3"]"#);
        for text in ["", ";", "a", "a:", ":1", "a:0", "a:70000", "a b:1", "::1:3", "http://a:1"] {
            check(Kind::Hosts, text, &Kind::Hosts.allowed());
        }
    }

    #[test]
    fn replicas() {
        let one = r#"["1=10.0.0.1:10911/a:10916", "2=10.0.0.2:10911/10.0.0.2:10916"]"#;
        check(Kind::Replicas, "2=10.0.0.2:10911/10.0.0.2:10916; 1 = 10.0.0.1:10911 / a:10916", one);
        let many: Vec<_> = (1..=10).map(|n| format!("{n}=10.0.0.{n}:1/10.0.0.{n}:2")).collect();
        let many = many.join(";");
        for (text, reason) in [
            ("", "0 replicas"),
            (many.as_str(), "10 replicas"),
            ("127.0.0.1:1/127.0.0.1:2", r#""127.0.0.1:1/127.0.0.1:2" has no '='"#),
            ("1=127.0.0.1:1", r#""1=127.0.0.1:1" has no '/'"#),
            (
                "0=127.0.0.1:1/127.0.0.1:2",
                r#""0=127.0.0.1:1/127.0.0.1:2" has a node that is not 1 to 1000000"#,
            ),
            ("1=localhost:1/a:2", r#""1=localhost:1/a:2" has a client address that is not IP:PORT"#),
            ("1=0.0.0.0:1/a:2", r#""1=0.0.0.0:1/a:2" has a client address that nobody can connect to"#),
            ("1=10.0.0.1:0/a:2", r#""1=10.0.0.1:0/a:2" has a client address that nobody can connect to"#),
            ("1=10.0.0.1:1/a", r#""1=10.0.0.1:1/a" has a peer address that is not HOST:PORT"#),
            ("1=10.0.0.1:1/[::]:2", r#""1=10.0.0.1:1/[::]:2" has a peer address that nobody can connect to"#),
            ("1=10.0.0.1:1/10.0.0.1:1", "10.0.0.1:1 is used twice"),
            ("1=10.0.0.1:1/a:1;2=10.0.0.2:1/a:1", "a:1 is used twice"),
            ("1=10.0.0.1:1/a:1;1=10.0.0.2:1/b:1", "node 1 is named twice"),
        ] {
            check(Kind::Replicas, text, &format!("{reason}; {}", Kind::Replicas.allowed()));
        }
    }
}
