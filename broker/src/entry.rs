//! The payload of a Raft entry: messages, commands, and what the applier needs to know of them.
//!
//! ```text
//!  ├──────────────────────────┬──────────────────┬───────────────────┬──────────┤
//!  │ messages, back to back   │ commands         │ table: 16 bytes   │ trailer  │
//!  │ RocketMQ's stored format │ bincode          │ per message       │ 16 bytes │
//!  └──────────────────────────┴──────────────────┴───────────────────┴──────────┘
//!  table row:  topic id u32 │ message bytes u32 │ tags code i64          little-endian
//!  trailer:    message bytes u32 │ command bytes u32 │ messages u32 │ layout u32 = 1
//! ```
//!
//! Messages come first so that they can be encoded straight into the buffer before it is known how
//! many there will be. The table spares every replica the parsing of each message when it is applied,
//! and ties a message to the topic that it was checked against, not to the name: a topic deleted and
//! made anew in between has another id, and the message goes nowhere.

use bytes::{Buf, BufMut, Bytes};
use trireme_commitlog::{FrameBuf, frame};
use trireme_remoting::message::{
    MessageError, StoredMessageFields, patch_physical_offset, patch_queue_offset,
};

use crate::codec::{self, DecodeError};
use crate::command::Command;
use crate::queues::consume::QueueId;

const LAYOUT: u32 = 1;
const ROW_BYTES: usize = 16;
const MIN_CAPACITY: usize = 4096;
const TRAILER_BYTES: usize = 16;
const QUEUE_ID_AT: usize = 12;
const QUEUE_OFFSET_AT: usize = 20;

/// What the table says of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The topic, by number.
    pub topic_id: u32,
    /// The message's size.
    pub bytes: u32,
    /// What a pull filters by: the hash of its tag, or when a delayed message is due.
    pub tags_code: i64,
}

/// Where a message stands in the payload, and which queue it goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Bytes from the payload's start.
    pub at: u32,
    /// The queue.
    pub queue: QueueId,
}

/// How much a payload under construction holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Bytes of messages.
    pub bytes: usize,
    /// Messages.
    pub messages: usize,
    /// Commands.
    pub commands: usize,
}

/// A payload under construction. What is encoded here is what is written to the disk.
pub struct EntryBuilder {
    frame: FrameBuf,
    messages: u32,
    rows: Vec<Row>,
    marks: Vec<Mark>,
    commands: Vec<Command>,
}

impl EntryBuilder {
    /// An empty payload, with room for `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        let frame = trireme_raft::proposal::Proposal::frame(capacity);
        Self { frame, messages: 0, rows: Vec::new(), marks: Vec::new(), commands: Vec::new() }
    }

    /// An empty payload, with room for a quarter more than `extent`: entries are about as large as the one before,
    /// and a buffer that grows is copied.
    pub fn like(extent: Extent) -> Self {
        let more = |count: usize| count + count / 4;
        let mut builder = Self::new(more(extent.bytes + extent.messages * ROW_BYTES).max(MIN_CAPACITY));
        builder.rows.reserve(more(extent.messages));
        builder.marks.reserve(more(extent.messages));
        builder
    }

    /// Encodes a message. Its queue offset and physical offset are stamped when the entry is appended.
    pub fn message(
        &mut self,
        topic_id: u32,
        tags_code: i64,
        fields: &StoredMessageFields<'_>,
    ) -> Result<(), MessageError> {
        let at = self.messages;
        let bytes = u32::try_from(fields.encoded_len()?).expect("bounded by encoded_len");
        fields.encode_into(self.frame.writer())?;
        let queue_id = u32::try_from(fields.queue_id).expect("the sender checked the queue id");
        self.rows.push(Row { topic_id, bytes, tags_code });
        self.marks.push(Mark { at, queue: QueueId { topic_id, queue_id } });
        self.messages += bytes;
        Ok(())
    }

    /// Adds a command; commands are applied before the messages of the same entry.
    pub fn command(&mut self, command: Command) {
        self.commands.push(command);
    }

    /// How far the payload has come, to go back to if a submission fails half-way.
    pub fn mark(&self) -> Extent {
        Extent { bytes: self.messages as usize, messages: self.marks.len(), commands: self.commands.len() }
    }

    /// Drops everything behind `extent`.
    pub fn rewind(&mut self, extent: Extent) {
        self.frame.writer().truncate(frame::HEADER_LEN + extent.bytes);
        self.messages = u32::try_from(extent.bytes).expect("it was a u32 before");
        self.rows.truncate(extent.messages);
        self.marks.truncate(extent.messages);
        self.commands.truncate(extent.commands);
    }

    /// Bytes of messages so far.
    pub fn message_bytes(&self) -> usize {
        self.messages as usize
    }

    /// Messages so far.
    pub fn message_count(&self) -> usize {
        self.marks.len()
    }

    /// Commands so far.
    pub fn command_count(&self) -> usize {
        self.commands.len()
    }

    /// Whether there is nothing to propose.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty() && self.commands.is_empty()
    }

    /// The payload, and where its messages stand.
    pub fn finish(mut self) -> (FrameBuf, Vec<Mark>) {
        let commands = if self.commands.is_empty() { Vec::new() } else { codec::encode(&self.commands) };
        self.frame.extend_from_slice(&commands);
        let writer = self.frame.writer();
        for row in &self.rows {
            writer.put_u32_le(row.topic_id);
            writer.put_u32_le(row.bytes);
            writer.put_i64_le(row.tags_code);
        }
        writer.put_u32_le(self.messages);
        writer.put_u32_le(u32::try_from(commands.len()).expect("entries are bounded"));
        writer.put_u32_le(u32::try_from(self.marks.len()).expect("entries are bounded"));
        writer.put_u32_le(LAYOUT);
        (self.frame, self.marks)
    }
}

/// Puts a message's place in the log and in its queue into its bytes, as it is appended.
pub fn stamp(payload: &mut [u8], mark: Mark, payload_offset: u64, queue_offset: u64) {
    let message = &mut payload[mark.at as usize..];
    let physical_offset = payload_offset + u64::from(mark.at);
    patch_physical_offset(message, i64::try_from(physical_offset).expect("a log is shorter than 2^63 bytes"));
    patch_queue_offset(message, i64::try_from(queue_offset).expect("a queue is shorter than 2^63 messages"));
}

/// A payload read back from the log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The messages, back to back.
    pub messages: Bytes,
    /// The commands, applied before the messages.
    pub commands: Vec<Command>,
    table: Bytes,
}

/// One message of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Bytes from the payload's start.
    pub at: u32,
    /// Size in bytes.
    pub bytes: u32,
    /// The queue.
    pub queue: QueueId,
    /// As stamped.
    pub queue_offset: u64,
    /// What a pull filters by.
    pub tags_code: i64,
}

impl Entry {
    /// Reads a payload. Its checksum was checked when it came into this replica's log, so an error
    /// means that another version wrote it or that a replica has a defect.
    pub fn parse(payload: &Bytes) -> Result<Self, DecodeError> {
        let bad = |reason: &str| DecodeError { what: "entry", reason: reason.to_owned() };
        let Some(at) = payload.len().checked_sub(TRAILER_BYTES) else {
            return Err(bad("shorter than its trailer"));
        };
        let mut trailer = &payload[at..];
        let (messages, commands) = (trailer.get_u32_le() as usize, trailer.get_u32_le() as usize);
        let (count, layout) = (trailer.get_u32_le() as usize, trailer.get_u32_le());
        if layout != LAYOUT {
            return Err(bad(&format!("layout {layout} is not {LAYOUT}")));
        }
        let parts = [Some(messages), Some(commands), count.checked_mul(ROW_BYTES)];
        let total = parts.into_iter().try_fold(0usize, |sum, part| sum.checked_add(part?));
        if total != Some(at) {
            return Err(bad("its parts do not add up to its length"));
        }
        let commands_end = messages + commands;
        let commands = if commands == 0 {
            Vec::new()
        } else {
            codec::decode("commands", &payload[messages..commands_end])?
        };
        Ok(Self { messages: payload.slice(..messages), commands, table: payload.slice(commands_end..at) })
    }

    /// The messages' places, in order.
    pub fn stored(&self) -> impl Iterator<Item = Result<Stored, DecodeError>> + '_ {
        let mut at = 0u32;
        self.table.chunks_exact(ROW_BYTES).map(move |mut row| {
            let (topic_id, bytes, tags_code) = (row.get_u32_le(), row.get_u32_le(), row.get_i64_le());
            let message = self.messages.get(at as usize..).and_then(|rest| rest.get(..bytes as usize));
            let Some(message) = message.filter(|message| message.len() >= QUEUE_OFFSET_AT + 8) else {
                return Err(DecodeError {
                    what: "entry",
                    reason: format!("message at {at} leaves its entry"),
                });
            };
            let queue_id = (&message[QUEUE_ID_AT..]).get_u32();
            let queue_offset = (&message[QUEUE_OFFSET_AT..]).get_u64();
            let stored = Stored { at, bytes, queue: QueueId { topic_id, queue_id }, queue_offset, tags_code };
            at += bytes;
            Ok(stored)
        })
    }
}
