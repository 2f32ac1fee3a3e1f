//! What a run came to, as lines for people or JSON lines.

use std::fmt;

use serde::Serialize;

use super::meter::{Latency, Total};

/// One second of a run.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "second")]
pub struct Second {
    /// Seconds since the run began.
    pub at: f64,
    pub phase: Phase,
    pub sent: f64,
    pub sent_mib: f64,
    pub send: Latency,
    pub errors: u64,
    pub received: f64,
    pub end_to_end: Latency,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    WarmUp,
    Measured,
    /// Nothing more is sent; what is under way is waited for.
    Draining,
}

/// The whole run.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "summary")]
pub struct Summary {
    pub namesrv: String,
    pub topic: String,
    pub queues: usize,
    pub producers: u32,
    pub in_flight: u32,
    pub connections: u32,
    pub consumers: u32,
    pub size: u64,
    pub batch: u32,
    /// Messages per second asked for, over all producers.
    pub rate: Option<f64>,
    pub json_headers: bool,
    pub seconds: f64,
    pub send: Total,
    /// Sends whose time had come and that had not begun when the run ended.
    pub late: u64,
    pub received: Option<Received>,
    /// The machine's load, averaged over a minute, as the run began.
    pub load_begin: Option<f64>,
    /// As it ended.
    pub load_end: Option<f64>,
}

#[derive(Debug, Serialize)]
pub struct Received {
    pub end_to_end: Total,
    /// Messages over the whole run, each counted once.
    pub messages: u64,
    pub twice: u64,
    pub damaged: u64,
    /// Of other runs, or not of a benchmark.
    pub foreign: u64,
    /// Acknowledged to a producer and never received.
    pub lost: u64,
}

impl fmt::Display for Second {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match self.phase {
            Phase::WarmUp => "warm",
            Phase::Measured => "    ",
            Phase::Draining => "rest",
        };
        write!(
            f,
            "{:>6.1} s {phase} {:>9.0} msg/s {:>7.1} MiB/s  p50 {} p99 {} max {}",
            self.at,
            self.sent,
            self.sent_mib,
            Time(self.send.p50_us),
            Time(self.send.p99_us),
            Time(self.send.max_us),
        )?;
        if self.received > 0.0 || self.end_to_end.count > 0 {
            write!(f, "  received {:>9.0} msg/s p99 {}", self.received, Time(self.end_to_end.p99_us))?;
        }
        match self.errors {
            0 => Ok(()),
            errors => write!(f, "  ERRORS {errors}"),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{} queues, {} bytes", self.queues, self.size)?;
        if self.producers > 0 {
            write!(f, ", {} producers with {} sends under way each", self.producers, self.in_flight)?;
            write!(f, " on {} connections", self.connections)?;
        }
        if self.batch > 1 {
            write!(f, ", {} messages a send", self.batch)?;
        }
        if let Some(rate) = self.rate {
            write!(f, ", {rate:.0} msg/s asked for")?;
        }
        let headers = if self.json_headers { "JSON" } else { "binary" };
        writeln!(f, ", {headers} headers, {} consumers, {:.1} s", self.consumers, self.seconds)?;
        if self.producers > 0 {
            writeln!(f, "sent        {}", self.send)?;
        }
        if self.late > 0 {
            writeln!(
                f,
                "LATE        {} sends had not begun when the run ended: the rate was not reached",
                self.late
            )?;
        }
        if let Some(received) = &self.received {
            writeln!(f, "received    {}", received.end_to_end)?;
            writeln!(
                f,
                "checked     {} messages: {} lost, {} twice, {} damaged, {} foreign",
                received.messages, received.lost, received.twice, received.damaged, received.foreign
            )?;
        }
        let load = |load: Option<f64>| load.map_or("unknown".to_owned(), |load| format!("{load:.1}"));
        write!(f, "load        {} as it began, {} as it ended", load(self.load_begin), load(self.load_end))
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latency = &self.latency;
        write!(
            f,
            "{} messages, {:.0} msg/s, {:.1} MiB/s\n  latency   p50 {} p90 {} p99 {} p99.9 {} max {}",
            self.messages,
            self.messages_per_second,
            self.mib_per_second,
            Time(latency.p50_us),
            Time(latency.p90_us),
            Time(latency.p99_us),
            Time(latency.p999_us),
            Time(latency.max_us),
        )?;
        self.errors
            .iter()
            .try_for_each(|(kind, messages)| write!(f, "\n  ERROR     {messages} messages: {kind}"))
    }
}

/// Microseconds, in milliseconds.
struct Time(u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0 as f64 / 1000.0;
        if ms < 10.0 { write!(f, "{ms:.2} ms") } else { write!(f, "{ms:.0} ms") }
    }
}
