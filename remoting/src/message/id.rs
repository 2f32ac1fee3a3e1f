//! Message ids: the broker's, which says where a message lies, and the producer's.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Input, MessageError};

/// An offsetMsgId: which broker stored the message, and where in its log.
///
/// As text 32 upper-case hex digits, 56 with an IPv6 address. Clients dial the address that is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OffsetMsgId {
    /// The message's `storeHost`.
    pub store_host: SocketAddr,
    /// Position in the commit log.
    pub physical_offset: i64,
}

impl OffsetMsgId {
    /// Its text, without an allocation: one is made for every message that is stored.
    pub fn text(&self) -> IdText {
        let mut text = IdText { digits: [0; 56], len: 0 };
        match self.store_host.ip() {
            IpAddr::V4(ip) => text.push(&ip.octets()),
            IpAddr::V6(ip) => text.push(&ip.octets()),
        }
        text.push(&u32::from(self.store_host.port()).to_be_bytes());
        text.push(&self.physical_offset.to_be_bytes());
        text
    }
}

/// The text of an [`OffsetMsgId`].
#[derive(Debug, Clone, Copy)]
pub struct IdText {
    digits: [u8; 56],
    len: usize,
}

impl IdText {
    fn push(&mut self, bytes: &[u8]) {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        for byte in bytes {
            self.digits[self.len] = HEX[usize::from(byte >> 4)];
            self.digits[self.len + 1] = HEX[usize::from(byte & 15)];
            self.len += 2;
        }
    }

    /// 32 or 56 digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.digits[..self.len]).expect("digits are ASCII")
    }
}

impl fmt::Display for OffsetMsgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

impl FromStr for OffsetMsgId {
    type Err = MessageError;

    fn from_str(text: &str) -> Result<Self, MessageError> {
        let wrong = || MessageError::Id(text.chars().take(64).collect());
        let bytes = hex(text).ok_or_else(wrong)?;
        let mut input = Input::new(&bytes);
        let ip = match bytes.len() {
            16 => IpAddr::V4(Ipv4Addr::from(input.array::<4>()?)),
            28 => IpAddr::V6(Ipv6Addr::from(input.array::<16>()?)),
            _ => return Err(wrong()),
        };
        let port = u16::try_from(input.i32()?).map_err(|_| wrong())?;
        Ok(Self { store_host: SocketAddr::new(ip, port), physical_offset: input.i64()? })
    }
}

/// The bytes of a text of hex digits, at most as many as an id has.
fn hex(text: &str) -> Option<Vec<u8>> {
    if text.len() > 56 || !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    text.as_bytes().chunks_exact(2).map(|pair| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8)).collect()
}

fn write_ip(f: &mut impl fmt::Write, ip: IpAddr) -> fmt::Result {
    match ip {
        IpAddr::V4(ip) => write!(f, "{:08X}", u32::from(ip)),
        IpAddr::V6(ip) => write!(f, "{:032X}", u128::from(ip)),
    }
}

/// Makes UNIQ_KEYs as Java clients do: address, process, a salt, milliseconds since the start of the month,
/// counter.
///
/// Unique per process as long as it makes fewer than 65536 in a millisecond; brokers and tools treat the text
/// as opaque except for its length.
#[derive(Debug)]
pub struct UniqKeyGenerator {
    prefix: String,
    counter: AtomicU32,
}

impl UniqKeyGenerator {
    /// For a process at `ip` with this id. `salt` tells generators of one process apart.
    pub fn new(ip: IpAddr, process_id: u32, salt: u32) -> Self {
        let mut prefix = String::with_capacity(56);
        write_ip(&mut prefix, ip).expect("writing to a string cannot fail");
        prefix.push_str(&format!("{:04X}{salt:08X}", process_id & 0xffff));
        Self { prefix, counter: AtomicU32::new(0) }
    }

    /// The next key: 32 hex digits, 56 with an IPv6 address. `now_ms` is the time since the epoch.
    pub fn next(&self, now_ms: u64) -> String {
        let count = self.counter.fetch_add(1, Ordering::Relaxed) & 0xffff;
        format!("{}{:08X}{count:04X}", self.prefix, ms_of_month(now_ms) as u32)
    }
}

/// Milliseconds since the first of the month, UTC.
fn ms_of_month(now_ms: u64) -> u64 {
    const DAY_MS: u64 = 86_400_000;
    // Days since 1 March of year 0, in the calendar that repeats every 400 years (146097 days); counting from
    // March puts the leap day last, so that month lengths follow one formula.
    let days = now_ms / DAY_MS + 719_468;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5;
    day_of_month * DAY_MS + now_ms % DAY_MS
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn offset_ids_in_both_directions() {
        for (text, host) in [
            ("0A00000100002A9F0000000000001000", "10.0.0.1:10911"),
            ("00000000000000000000000000000001000000500000000000001000", "[::1]:80"),
        ] {
            let id = OffsetMsgId { store_host: host.parse().unwrap(), physical_offset: 4096 };
            assert_eq!(id.to_string(), text);
            assert_eq!(text.parse(), Ok(id));
            assert_eq!(text.to_lowercase().parse(), Ok(id));
        }
    }

    #[test]
    fn what_is_no_offset_id() {
        for text in [
            "",
            "0A",
            "0A00000100002A9F000000000000100",
            "0A00000100002A9F000000000000100G",
            "é000000100002A9F00000000000010",
            "0A000001FFFF2A9F0000000000001000",
        ] {
            assert_eq!(OffsetMsgId::from_str(text), Err(MessageError::Id(text.into())), "{text}");
        }
        assert!(OffsetMsgId::from_str(&"0".repeat(1 << 20)).is_err());
    }

    #[test]
    fn unique_keys() {
        let keys = UniqKeyGenerator::new("10.0.0.9".parse().unwrap(), 0x1_2345, 0xdead_beef);
        // 1 November 2023, 00:00:01.
        assert_eq!(keys.next(1_698_796_801_000), "0A0000092345DEADBEEF000003E80000");
        assert_eq!(keys.next(1_698_796_801_000), "0A0000092345DEADBEEF000003E80001");
        let seen: HashSet<_> = (0..0x10000).map(|_| keys.next(1_700_000_000_000)).collect();
        assert_eq!(seen.len(), 0x10000);
        assert_eq!(UniqKeyGenerator::new("::1".parse().unwrap(), 1, 2).next(0).len(), 56);
    }

    #[test]
    fn months_start_where_the_calendar_says() {
        for (now_ms, expect) in [
            (0, 0),
            (951_782_400_000, 28 * 86_400_000),       // 29 February 2000
            (951_868_800_000, 0),                     // 1 March 2000
            (1_704_067_199_999, 31 * 86_400_000 - 1), // the last ms of 2023
            (1_704_067_200_000, 0),                   // 1 January 2024
            (4_107_542_400_000, 0),                   // 1 March 2100, no leap year
        ] {
            assert_eq!(ms_of_month(now_ms), expect, "{now_ms}");
        }
    }
}
