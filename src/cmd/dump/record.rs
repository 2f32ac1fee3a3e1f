//! What a dump says, one record at a time. `--json` writes them as they stand here; [`super::words`] has them in words.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;
use trireme_broker::command;
use trireme_broker::features::groups;
use trireme_commitlog::LogId;

/// One line of a dump.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Record {
    /// Which store it is.
    Store(Store),
    /// What is known to be durable in the commit log, and where the log begins.
    Mark(Mark),
    /// A segment file, after all that is in it.
    Segment(Segment),
    /// A frame of the commit log.
    Frame(Frame),
    /// A command of the frame before.
    Command(Command),
    /// A message.
    Message(Message),
    /// Where the log ends before its last segment does.
    Tail(Tail),
    /// Identity, vote, members.
    Hard(Hard),
    /// A topic of the saved state.
    Topic(Topic),
    /// A subscription group of the saved state.
    Group(Group),
    /// A committed position of the saved state.
    Offset(Offset),
    /// A delay level of the saved state.
    Delay(Delay),
    /// A ConsumeQueue.
    Queue(Queue),
    /// A unit of a ConsumeQueue.
    Unit(Unit),
    /// A checkpoint.
    Checkpoint(Checkpoint),
    /// Something that was not looked at, and why.
    Note(Note),
    /// Something that is not as it was written. Makes the exit code 1.
    Damage(Damage),
}

/// A log id; written as `term-index` in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Id {
    pub term: u64,
    pub index: u64,
}

impl From<LogId> for Id {
    fn from(id: LogId) -> Self {
        Self { term: id.term, index: id.index }
    }
}

#[derive(Debug, Serialize)]
pub struct Store {
    pub path: PathBuf,
    /// The process that has the store open, if any can be seen.
    pub in_use_by: Option<u32>,
}

#[derive(Debug, Serialize)]
pub struct Mark {
    pub generation: u64,
    pub segment_bytes: u64,
    pub trimmed: Option<Id>,
    /// First physical offset of the log.
    pub base: u64,
    pub synced: Option<Id>,
    /// Exclusive end of the synced entry's frame.
    pub synced_end: u64,
    /// A reset was under way.
    pub resetting: bool,
}

/// What a segment file is to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentIs {
    /// A filler closes it.
    Sealed,
    /// Entries are written to it.
    Active,
    /// Nothing was written to it yet.
    Prepared,
    /// All of it is trimmed; the file is going to be removed.
    Trimmed,
    /// It has nothing that can be read as a frame.
    Unreadable,
}

#[derive(Debug, Serialize)]
pub struct Segment {
    pub first_physical_offset: u64,
    /// Exclusive end of the last frame in it.
    pub next_physical_offset: u64,
    pub is: SegmentIs,
    pub frames: u64,
    pub first: Option<Id>,
    pub last: Option<Id>,
    /// Bytes of it that are damaged.
    pub damaged_bytes: u64,
}

#[derive(Debug, Serialize)]
pub struct Frame {
    pub log_id: Id,
    pub physical_offset: u64,
    /// Header, payload and padding.
    pub bytes: u64,
    pub payload_bytes: u32,
    pub carries: Carries,
    pub commands: usize,
    pub messages: usize,
}

/// What a frame carries.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Carries {
    Blank,
    Membership(Members),
    Proposal,
}

#[derive(Debug, Serialize)]
pub struct Command {
    pub log_id: Id,
    pub command: command::Command,
}

#[derive(Debug, Serialize)]
pub struct Message {
    pub log_id: Id,
    pub topic: String,
    pub topic_id: u32,
    pub queue: u32,
    pub queue_offset: u64,
    pub physical_offset: u64,
    /// The whole stored message.
    pub bytes: u32,
    pub body_bytes: usize,
    /// As stored; compared with the body.
    pub body_crc: u32,
    pub tags: Option<String>,
    pub keys: Option<String>,
    /// The id that its producer gave it.
    pub unique_key: Option<String>,
    pub born_ms: i64,
    pub stored_ms: i64,
    pub reconsume_times: i32,
    pub sys_flag: i32,
}

#[derive(Debug, Serialize)]
pub struct Tail {
    pub from: u64,
    pub to: u64,
    pub reason: String,
}

#[derive(Debug, Serialize)]
pub struct Hard {
    pub cluster: String,
    pub group: String,
    pub node: u64,
    /// 32 hex digits.
    pub store_id: String,
    pub segment_bytes: u64,
    pub layout_version: u32,
    pub vote: Option<Vote>,
    /// The commit mark as last saved; it trails.
    pub committed: Option<Id>,
    /// The entry that set the members.
    pub members_since: Option<Id>,
    pub members: Members,
    /// What the saved state contains the effect of.
    pub state: Option<Id>,
    pub topics: usize,
    pub groups: usize,
    pub queues: usize,
    pub last_store_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Vote {
    pub term: u64,
    pub node: u64,
    /// The node is known to lead the term.
    pub committed: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Members {
    /// Two sets while the membership changes.
    pub voters: Vec<BTreeSet<u64>>,
    pub members: BTreeMap<u64, Member>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    pub peer_addr: String,
    pub client_addr: Option<String>,
    /// 32 hex digits.
    pub store_id: String,
}

impl From<trireme_raft::inspect::Members> for Members {
    fn from(found: trireme_raft::inspect::Members) -> Self {
        let member = |(node, member): (u64, trireme_raft::inspect::Member)| {
            let store_id = format!("{:032x}", member.store_id);
            (node, Member { peer_addr: member.peer_addr, client_addr: member.client_addr, store_id })
        };
        Self { voters: found.voters, members: found.members.into_iter().map(member).collect() }
    }
}

#[derive(Debug, Serialize)]
pub struct Topic {
    pub topic: String,
    pub topic_id: u32,
    pub read_queues: u32,
    pub write_queues: u32,
    pub perm: u32,
    pub sys_flag: i32,
    pub order: bool,
    pub attributes: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
pub struct Group {
    pub group: String,
    #[serde(flatten)]
    pub settings: groups::Group,
}

#[derive(Debug, Serialize)]
pub struct Offset {
    pub group: String,
    pub topic: String,
    pub queue: u32,
    /// The next message to consume.
    pub next: i64,
}

#[derive(Debug, Serialize)]
pub struct Delay {
    pub level: u32,
    /// The next message to deliver, in the level's queue.
    pub next: u64,
}

#[derive(Debug, Serialize)]
pub struct Queue {
    /// `None` if no saved topic has the number.
    pub topic: Option<String>,
    pub topic_id: u32,
    pub queue: u32,
    /// Bounds of what is sound in its files, `next` exclusive.
    pub min: u64,
    pub next: u64,
    /// The bounds that belong to the saved state.
    pub saved: Option<(u64, u64)>,
    pub files: usize,
    pub bytes: u64,
    pub bad: u64,
}

#[derive(Debug, Serialize)]
pub struct Unit {
    pub topic: Option<String>,
    pub topic_id: u32,
    pub queue: u32,
    pub queue_offset: u64,
    pub physical_offset: u64,
    pub bytes: u32,
    pub tags_code: i64,
}

#[derive(Debug, Serialize)]
pub struct Checkpoint {
    /// Where the first frame behind it lies.
    pub physical_offset: u64,
    pub log_id: Id,
    pub members: Members,
    pub state_bytes: usize,
    pub topics: usize,
    pub groups: usize,
    pub offsets: usize,
    pub queues: usize,
    /// Next queue offsets, summed over all queues.
    pub messages: u64,
}

#[derive(Debug, Serialize)]
pub struct Note {
    pub text: String,
}

/// A part of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Mark,
    CommitLog,
    HardState,
    ConsumeQueue,
    Checkpoint,
}

#[derive(Debug, Serialize)]
pub struct Damage {
    pub part: Part,
    pub path: PathBuf,
    /// What is damaged: physical offsets in the commit log, queue offsets in a ConsumeQueue; `to` exclusive. Nothing if
    /// the whole file is.
    pub range: Option<(u64, u64)>,
    pub reason: String,
}
