//! The payload of a Raft entry: messages, commands, and what the applier needs to know of them.
//!
//! ```text
//!  ├──────────────────────────┬──────────────────┬────────────┬───────────────────┬──────────┤
//!  │ messages, back to back   │ commands         │ key hashes │ table: 20 bytes   │ trailer  │
//!  │ RocketMQ's stored format │ bincode          │ u64 each   │ per message       │ 20 bytes │
//!  └──────────────────────────┴──────────────────┴────────────┴───────────────────┴──────────┘
//!  table row:  topic id u32 │ message bytes u32 │ tags code i64 │ its key hashes u32   little-endian
//!  trailer:    message bytes u32 │ command bytes u32 │ key hashes u32 │ messages u32 │ layout u32 = 2
//! ```
//!
//! Messages come first so that they can be encoded straight into the buffer before it is known how
//! many there will be. The table spares every replica the parsing of each message when it is applied,
//! and ties a message to the topic that it was checked against, not to the name: a topic deleted and
//! made anew in between has another id, and the message goes nowhere. The hashes do the same for the key
//! index; a message with more than 16 keys has none here, and a row that says 2^32 - 1: whoever indexes it parses
//! it.
//!
//! Layout 1, which a group of format version 1 writes (`docs/decisions/0017-versions.md`), has no hashes, rows of 16 and a
//! trailer of 16 bytes.

use bytes::{Buf, BufMut, Bytes};
use trireme_commitlog::{FrameBuf, frame};
use trireme_remoting::message::{
    MessageError, StoredMessageFields, patch_physical_offset, patch_queue_offset,
};

use crate::codec::{self, DecodeError};
use crate::command::Command;
use crate::queues::consume::{QueueId, Unit};
use crate::queues::keys::MessageKeys;

const LAYOUT: u32 = 2;
const ROW_BYTES: usize = 20;
const HASH_BYTES: usize = 8;
const TRAILER_BYTES: usize = 20;
/// The format version since which groups write it.
const SINCE_VERSION: u32 = 2;
const OLD_LAYOUT: u32 = 1;
/// Of that layout, as the next.
const OLD_ROW_BYTES: usize = 16;
const OLD_TRAILER_BYTES: usize = 16;
const MIN_CAPACITY: usize = 4096;
/// Keys of a message whose hashes go along. Keys are as short as a letter, so many would be larger than the message.
const MAX_HASHES: usize = 16;
/// In a row: the message has keys that are not among the hashes.
const IN_MESSAGE: u32 = u32::MAX;
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
    /// How many key hashes are its, or [`IN_MESSAGE`].
    hashes: u32,
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
    /// Hashes of their keys.
    pub hashes: usize,
    /// Commands.
    pub commands: usize,
}

/// A payload under construction. What is encoded here is what is written to the disk.
pub struct EntryBuilder {
    frame: FrameBuf,
    messages: u32,
    rows: Vec<Row>,
    marks: Vec<Mark>,
    hashes: Vec<u64>,
    commands: Vec<Command>,
}

impl EntryBuilder {
    /// An empty payload, with room for `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        let frame = trireme_raft::proposal::Proposal::frame(capacity);
        Self {
            frame,
            messages: 0,
            rows: Vec::new(),
            marks: Vec::new(),
            hashes: Vec::new(),
            commands: Vec::new(),
        }
    }

    /// An empty payload, with room for a quarter more than `extent`: entries are about as large as the one before,
    /// and a buffer that grows is copied.
    pub fn like(extent: Extent) -> Self {
        let more = |count: usize| count + count / 4;
        let bytes = extent.bytes + extent.messages * ROW_BYTES + extent.hashes * HASH_BYTES;
        let mut builder = Self::new(more(bytes).max(MIN_CAPACITY));
        builder.rows.reserve(more(extent.messages));
        builder.marks.reserve(more(extent.messages));
        builder.hashes.reserve(more(extent.hashes));
        builder
    }

    /// Encodes a message, which is found by `keys`. Its queue offset and physical offset are stamped when the entry is
    /// appended.
    pub fn message(
        &mut self,
        topic_id: u32,
        tags_code: i64,
        keys: MessageKeys<'_>,
        fields: &StoredMessageFields<'_>,
    ) -> Result<(), MessageError> {
        let at = self.messages;
        let bytes = u32::try_from(fields.encoded_len()?).expect("bounded by encoded_len");
        fields.encode_into(self.frame.writer())?;
        let queue_id = u32::try_from(fields.queue_id).expect("the sender checked the queue id");
        let first = self.hashes.len();
        self.hashes.extend(keys.hashes(fields.topic).take(MAX_HASHES + 1));
        let hashes = match self.hashes.len() - first {
            count if count <= MAX_HASHES => count as u32,
            _ => {
                self.hashes.truncate(first);
                IN_MESSAGE
            }
        };
        self.rows.push(Row { topic_id, bytes, tags_code, hashes });
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
        Extent {
            bytes: self.messages as usize,
            messages: self.marks.len(),
            hashes: self.hashes.len(),
            commands: self.commands.len(),
        }
    }

    /// Drops everything behind `extent`.
    pub fn rewind(&mut self, extent: Extent) {
        self.frame.writer().truncate(frame::HEADER_LEN + extent.bytes);
        self.messages = u32::try_from(extent.bytes).expect("it was a u32 before");
        self.rows.truncate(extent.messages);
        self.marks.truncate(extent.messages);
        self.hashes.truncate(extent.hashes);
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

    /// The payload, in the newest layout that a group of this format version writes, and where its messages stand.
    pub fn finish(mut self, version: u32) -> (FrameBuf, Vec<Mark>) {
        let commands = if self.commands.is_empty() { Vec::new() } else { codec::encode(&self.commands) };
        self.frame.extend_from_slice(&commands);
        let writer = self.frame.writer();
        if version < SINCE_VERSION {
            for row in &self.rows {
                writer.put_u32_le(row.topic_id);
                writer.put_u32_le(row.bytes);
                writer.put_i64_le(row.tags_code);
            }
            writer.put_u32_le(self.messages);
            for count in [commands.len(), self.marks.len()] {
                writer.put_u32_le(u32::try_from(count).expect("entries are bounded"));
            }
            writer.put_u32_le(OLD_LAYOUT);
            return (self.frame, self.marks);
        }
        for hash in &self.hashes {
            writer.put_u64_le(*hash);
        }
        for row in &self.rows {
            writer.put_u32_le(row.topic_id);
            writer.put_u32_le(row.bytes);
            writer.put_i64_le(row.tags_code);
            writer.put_u32_le(row.hashes);
        }
        writer.put_u32_le(self.messages);
        for count in [commands.len(), self.hashes.len(), self.marks.len()] {
            writer.put_u32_le(u32::try_from(count).expect("entries are bounded"));
        }
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
    hashes: Bytes,
    table: Bytes,
    row_bytes: usize,
}

/// The keys of one message of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys<'a> {
    /// Their hashes.
    Hashes(Hashes<'a>),
    /// Only the message itself knows them.
    InMessage,
}

/// Hashes of a message's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashes<'a>(&'a [u8]);

impl Iterator for Hashes<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let (hash, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*hash))
    }
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

impl Stored {
    /// Where the message lies, in an entry whose payload begins at this physical offset.
    pub fn unit(&self, payload_at: u64) -> Unit {
        Unit { physical_offset: payload_at + u64::from(self.at), size: self.bytes, tags_code: self.tags_code }
    }
}

impl Entry {
    /// Reads a payload. Its checksum was checked when it came into this replica's log, so an error
    /// means that another version wrote it or that a replica has a defect.
    pub fn parse(payload: &Bytes) -> Result<Self, DecodeError> {
        let bad = |reason: &str| DecodeError { what: "entry", reason: reason.to_owned() };
        let short = || bad("shorter than its trailer");
        let (rest, layout) = payload.split_last_chunk().ok_or_else(short)?;
        let (trailer_bytes, row_bytes) = match u32::from_le_bytes(*layout) {
            OLD_LAYOUT => (OLD_TRAILER_BYTES, OLD_ROW_BYTES),
            LAYOUT => (TRAILER_BYTES, ROW_BYTES),
            layout => return Err(bad(&format!("layout {layout} is neither {LAYOUT} nor {OLD_LAYOUT}"))),
        };
        let at = payload.len().checked_sub(trailer_bytes).ok_or_else(short)?;
        let mut trailer = &rest[at..];
        let (messages, commands) = (trailer.get_u32_le() as usize, trailer.get_u32_le() as usize);
        let hashes = if trailer.len() > 4 { trailer.get_u32_le() as usize } else { 0 };
        let count = trailer.get_u32_le() as usize;
        let parts =
            [Some(messages), Some(commands), hashes.checked_mul(HASH_BYTES), count.checked_mul(row_bytes)];
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
        let table_at = commands_end + hashes * HASH_BYTES;
        Ok(Self {
            messages: payload.slice(..messages),
            commands,
            hashes: payload.slice(commands_end..table_at),
            table: payload.slice(table_at..at),
            row_bytes,
        })
    }

    /// The messages' places, in order.
    pub fn stored(&self) -> impl Iterator<Item = Result<Stored, DecodeError>> + '_ {
        self.rows().map(|row| row.map(|(stored, _)| stored))
    }

    /// The messages' places, in order, with their keys.
    pub fn keyed(&self) -> impl Iterator<Item = Result<(Stored, Keys<'_>), DecodeError>> + '_ {
        let mut left = &*self.hashes;
        self.rows().map(move |row| {
            let (stored, hashes) = row?;
            if hashes == IN_MESSAGE {
                return Ok((stored, Keys::InMessage));
            }
            let bytes = (hashes as usize).checked_mul(HASH_BYTES);
            let Some((own, others)) = bytes.and_then(|bytes| left.split_at_checked(bytes)) else {
                let reason = format!("message at {} has more key hashes than there are", stored.at);
                return Err(DecodeError { what: "entry", reason });
            };
            left = others;
            Ok((stored, Keys::Hashes(Hashes(own))))
        })
    }

    /// Each message's place, and what its row says of key hashes.
    fn rows(&self) -> impl Iterator<Item = Result<(Stored, u32), DecodeError>> + '_ {
        let mut at = 0u32;
        self.table.chunks_exact(self.row_bytes).map(move |mut row| {
            let (topic_id, bytes, tags_code) = (row.get_u32_le(), row.get_u32_le(), row.get_i64_le());
            let hashes = if row.is_empty() { IN_MESSAGE } else { row.get_u32_le() };
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
            Ok((stored, hashes))
        })
    }
}

/// A message for tests, of queue 0.
#[cfg(test)]
pub fn plain_fields<'a>(topic: &'a str, body: &'a [u8]) -> StoredMessageFields<'a> {
    let host = ([127, 0, 0, 1], 10911).into();
    StoredMessageFields {
        body_crc: 0,
        queue_id: 0,
        flag: 0,
        queue_offset: 0,
        physical_offset: 0,
        sys_flag: 0,
        born_timestamp: 0,
        born_host: host,
        store_timestamp: 7,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        topic,
        properties: "",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use trireme_raft::peers::{NEWEST_VERSION, OLDEST_VERSION};
    use trireme_remoting::message::StoredMessage;

    use super::*;
    use crate::queues::keys::key_hash;

    fn add(builder: &mut EntryBuilder, properties: &str) {
        let fields = StoredMessageFields { queue_id: 3, properties, ..plain_fields("T", b"body") };
        builder.message(7, 99, MessageKeys::of(properties), &fields).unwrap();
    }

    fn keys_of(entry: &Entry) -> Vec<Option<Vec<u64>>> {
        let keys = |(_, keys): (Stored, Keys<'_>)| match keys {
            Keys::Hashes(hashes) => Some(hashes.collect()),
            Keys::InMessage => None,
        };
        entry.keyed().map(|keyed| keys(keyed.unwrap())).collect()
    }

    #[test]
    fn keys_go_along_unless_there_are_many() {
        let many: Vec<String> = (0..=MAX_HASHES).map(|key| key.to_string()).collect();
        let mut builder = EntryBuilder::new(0);
        add(&mut builder, "UNIQ_KEY\u{1}u\u{2}KEYS\u{1}a  b\u{2}");
        add(&mut builder, "");
        let mark = builder.mark();
        add(&mut builder, "UNIQ_KEY\u{1}dropped\u{2}");
        builder.rewind(mark);
        add(&mut builder, &format!("KEYS\u{1}{}\u{2}", many.join(" ")));
        add(&mut builder, &format!("KEYS\u{1}{}\u{2}", many[1..].join(" ")));
        let (frame, marks) = builder.finish(NEWEST_VERSION);
        let entry = Entry::parse(&Bytes::copy_from_slice(frame.payload())).unwrap();
        let hashes = |keys: &[&str]| Some(keys.iter().map(|key| key_hash("T", key)).collect::<Vec<_>>());
        let last: Vec<&str> = many[1..].iter().map(String::as_str).collect();
        assert_eq!(keys_of(&entry), [hashes(&["u", "a", "b"]), hashes(&[]), None, hashes(&last)]);
        let places: Vec<u32> = entry.stored().map(|stored| stored.unwrap().at).collect();
        assert_eq!(places, marks.iter().map(|mark| mark.at).collect::<Vec<_>>());
    }

    /// What a replica of the release before has in its log, and must be able to read in a group that it belongs to.
    #[test]
    fn layout_1_is_what_it_was() {
        let mut builder = EntryBuilder::new(0);
        add(&mut builder, "UNIQ_KEY\u{1}u\u{2}");
        let (frame, _) = builder.finish(OLDEST_VERSION);
        let message = StoredMessage::size(frame.payload()).unwrap();
        let payload = Bytes::copy_from_slice(frame.payload());
        let words = [7, message as u32, 99, 0, message as u32, 0, 1, 1];
        assert_eq!(payload[message..], words.map(u32::to_le_bytes).concat());
        let entry = Entry::parse(&payload).unwrap();
        let stored = entry.stored().next().unwrap().unwrap();
        assert_eq!((stored.queue, stored.tags_code), (QueueId { topic_id: 7, queue_id: 3 }, 99));
        assert_eq!(keys_of(&entry), [None]);
    }

    #[test]
    fn hashes_that_are_not_there_are_an_error() {
        let mut builder = EntryBuilder::new(0);
        add(&mut builder, "UNIQ_KEY\u{1}u\u{2}");
        let (mut frame, _) = builder.finish(NEWEST_VERSION);
        let row_end = frame.payload().len() - TRAILER_BYTES;
        frame.payload_mut()[row_end - 4] = 2;
        let entry = Entry::parse(&Bytes::copy_from_slice(frame.payload())).unwrap();
        assert!(entry.keyed().next().unwrap().is_err());
        assert!(entry.stored().next().unwrap().is_ok());
    }
}
