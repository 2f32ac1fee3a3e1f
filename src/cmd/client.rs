//! What the commands that are clients of a cluster have in common.

use std::io::{self, Write};

use anyhow::Context;
use trireme_client::{Client, ClientConfig};

/// Which cluster a command is for.
#[derive(clap::Args)]
pub struct Cluster {
    /// Name servers, HOST:PORT, several separated by semicolons.
    #[arg(
        long,
        env = "TRIREME_NAMESRV",
        default_value = "127.0.0.1:9876",
        global = true,
        value_name = "HOST:PORT"
    )]
    pub namesrv: String,
}

impl Cluster {
    /// A client of the cluster. Connects to nobody yet.
    pub fn client(&self) -> anyhow::Result<Client> {
        Client::new(ClientConfig::new(&self.namesrv)).context("--namesrv")
    }
}

/// Runs `write`; whoever reads our output may stop doing so, as `head` does, and that is no error.
pub fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<Printed> {
    let mut out = io::stdout().lock();
    match write(&mut out).and_then(|()| out.flush()) {
        Ok(()) => Ok(Printed::Yes),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Printed::NobodyReads),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}

/// Whether somebody reads what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Printed {
    /// It was written.
    Yes,
    /// Nobody will read any more.
    NobodyReads,
}

/// Bytes as one line of text: what is no printable character is escaped.
pub fn one_line(bytes: &[u8]) -> String {
    let mut line = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || c == '\\' { line.extend(c.escape_default()) } else { line.push(c) }
        }
        for byte in chunk.invalid() {
            line.push_str(&format!("\\x{byte:02x}"));
        }
    }
    line
}

/// A time in milliseconds since 1970 as people write it, in UTC; before 1970 or after 9999, as the number.
pub fn utc(ms: i64) -> String {
    /// 9999-12-31.
    const LAST_DAY: i64 = 2_932_896;
    let (days, ms_of_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    if !(0..=LAST_DAY).contains(&days) {
        return format!("{ms} ms");
    }
    let (year, month, day) = date(days);
    let (seconds, ms) = (ms_of_day / 1000, ms_of_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{ms:03} UTC")
}

/// Year, month and day of a day after 1970-01-01.
fn date(mut days: i64) -> (i64, usize, i64) {
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    while days >= 365 + i64::from(is_leap(year)) {
        days -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + i64::from(is_leap(year));
    for (month, length) in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].into_iter().enumerate() {
        if days < length {
            return (year, month + 1, days + 1);
        }
        days -= length;
    }
    unreachable!("a year's days are its months' days");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (ms, expect) in [
            (0, "1970-01-01 00:00:00.000 UTC"),
            (951_782_399_999, "2000-02-28 23:59:59.999 UTC"),
            (951_782_400_000, "2000-02-29 00:00:00.000 UTC"),
            (1_709_251_199_000, "2024-02-29 23:59:59.000 UTC"),
            (4_107_542_400_000, "2100-03-01 00:00:00.000 UTC"),
            (253_402_300_799_999, "9999-12-31 23:59:59.999 UTC"),
            (253_402_300_800_000, "253402300800000 ms"),
            (-1, "-1 ms"),
            (i64::MAX, "9223372036854775807 ms"),
        ] {
            assert_eq!(utc(ms), expect);
        }
    }

    #[test]
    fn bodies_stay_on_one_line() {
        for (body, expect) in [
            (&b"plain text"[..], "plain text"),
            ("\u{fc}ber".as_bytes(), "\u{fc}ber"),
            (b"a\nb\tc\\d\x1b[31m", "a\\nb\\tc\\\\d\\u{1b}[31m"),
            (b"\xff\x00a\xc3", "\\xff\\u{0}a\\xc3"),
        ] {
            assert_eq!(one_line(body), expect);
        }
    }
}
