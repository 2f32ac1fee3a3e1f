//! What a replica says of itself.

use std::net::SocketAddr;
use std::time::Duration;

use trireme_remoting::body::KvTable;
use trireme_remoting::{Client, Frame, RequestCode};

/// A replica that has not answered by then is not there, or frozen.
const ANSWER_WITHIN: Duration = Duration::from_millis(1000);

/// A replica's marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its number in the group.
    pub node: u64,
    /// `leader`, `follower` and so on.
    pub role: String,
    /// Whether it takes messages as the leader.
    pub ready: bool,
    /// Its term.
    pub term: u64,
    /// What time it takes it to be, in milliseconds since 1970.
    pub clock_ms: i64,
    /// Where its log starts: the physical offset of its first entry.
    pub log_start: u64,
    /// Where its log ends.
    pub log_end: u64,
    /// Bytes that are free on its disk.
    pub disk_free: u64,
    /// Index of the last entry in its log.
    pub last_log: u64,
    /// Index of the last entry that it knows to be committed.
    pub committed: u64,
    /// Index of the last entry that it applied.
    pub applied: u64,
    /// The term of that entry.
    pub applied_term: u64,
    /// What the group remembers to have been on its disk: the index of an entry. Releases before version 2 say nothing of it.
    pub witnessed: u64,
    /// The version of the formats that its group writes.
    pub format_version: u64,
    /// Damaged ranges of its log that are not mended yet.
    pub damaged: u64,
    /// Frames that it has mended.
    pub mended: u64,
    /// Bytes of its log that it has looked at in the background.
    pub scrubbed: u64,
}

impl Status {
    /// Asks the replica at `addr`. `None` if it does not answer, or not with a status.
    pub async fn ask(client: &Client, addr: SocketAddr) -> Option<Self> {
        let request = Frame::request(RequestCode::GetBrokerRuntimeInfo);
        let answer = client.invoke(&addr.to_string(), request, ANSWER_WITHIN).await.ok()?;
        let table = KvTable::decode(answer.body.as_slice()).ok()?.table;
        let number = |key: &str| table.get(key)?.parse().ok();
        // What releases before this one do not tell is 0.
        // `term-index`, or `none`.
        let log_id = |key: &str| match table.get(key)?.split_once('-') {
            Some((term, index)) => Some((term.parse::<u64>().ok()?, index.parse::<u64>().ok()?)),
            None => Some((0, 0)),
        };
        let (applied_term, applied) = log_id("raftApplied")?;
        Some(Self {
            node: number("raftNode")?,
            role: table.get("raftRole")?.clone(),
            ready: table.get("raftReady")? == "true",
            term: number("raftTerm")?,
            clock_ms: table.get("clockTimestamp").and_then(|told| told.parse().ok()).unwrap_or(0),
            log_start: number("commitLogMinOffset")?,
            log_end: number("commitLogMaxOffset")?,
            disk_free: number("diskFreeBytes").unwrap_or(0),
            last_log: log_id("raftLastLog")?.1,
            committed: log_id("raftCommitted")?.1,
            applied,
            applied_term,
            witnessed: log_id("raftWitnessed").map_or(0, |id| id.1),
            format_version: number("formatVersion").unwrap_or(1),
            damaged: number("logDamaged").unwrap_or(0),
            mended: number("logMended").unwrap_or(0),
            scrubbed: number("logScrubbedBytes").unwrap_or(0),
        })
    }

    /// Whether it leads and takes messages.
    pub fn leads(&self) -> bool {
        self.role == "leader" && self.ready
    }
}
