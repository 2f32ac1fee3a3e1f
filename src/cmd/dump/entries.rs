//! What frames carry: commands and messages.

use std::io;
use std::path::Path;

use bytes::Bytes;
use trireme_broker::entry::{Entry, Stored};
use trireme_commitlog::frame::{self, HEADER_LEN, Header};
use trireme_commitlog::inspect::Items;
use trireme_raft::inspect::{FrameKind, frame_kind, membership};
use trireme_remoting::message::{StoredMessage, property};

use super::out::Out;
use super::range::Range;
use super::record::{Carries, Command, Frame, Message, Part, Record};

/// Which messages are asked for.
pub struct Filter {
    pub topic: Option<String>,
    pub queue: Option<u32>,
    pub offsets: Range,
}

impl Filter {
    fn is_set(&self) -> bool {
        self.topic.is_some()
    }

    fn matches(&self, message: &Message) -> bool {
        self.topic.as_ref().is_none_or(|topic| *topic == message.topic)
            && self.queue.is_none_or(|queue| queue == message.queue)
            && self.offsets.contains(message.queue_offset)
    }
}

/// What is asked of a frame.
pub struct Wanted<'a> {
    /// The frame itself and its commands, besides its messages.
    pub frame: bool,
    pub filter: &'a Filter,
}

/// Writes what is asked of one sound frame.
pub fn dump(
    items: &Items,
    header: &Header,
    path: &Path,
    wanted: &Wanted<'_>,
    out: &mut Out<'_>,
) -> io::Result<()> {
    let range = (header.physical_offset, header.physical_offset + header.frame_len());
    let payload = match items.payload(header) {
        Ok(payload) => Bytes::from(payload),
        Err(error) => {
            return out.damage(Part::CommitLog, path, Some(range), format!("cannot be read: {error}"));
        }
    };
    let decoded = match frame_kind(header.kind) {
        Some(FrameKind::Blank) => Ok((Carries::Blank, None)),
        Some(FrameKind::Membership) => {
            membership(&payload).map(|members| (Carries::Membership(members.into()), None)).map_err(in_words)
        }
        Some(FrameKind::Proposal) => {
            let entry = Entry::parse(&payload);
            entry.map(|entry| (Carries::Proposal, Some(entry))).map_err(in_words)
        }
        None => Err(format!("frame kind {} is unknown to this release", header.kind)),
    };
    let entry = decoded.and_then(|(carries, entry)| Ok((carries, entry.map(Read::new).transpose()?)));
    match entry {
        Ok((carries, entry)) => put(header, carries, entry, path, wanted, out),
        // Its checksum was right a moment ago, so the writer made it so, unless it was truncated since then.
        Err(_) if !is_still_there(header, &payload) => {
            out.note(format!("entry {} was truncated while it was looked at", header.id))
        }
        Err(reason) => {
            let reason = format!("entry {} does not decode: {reason}", header.id);
            out.damage(Part::CommitLog, path, Some(range), reason)
        }
    }
}

fn in_words(error: impl ToString) -> String {
    error.to_string()
}

/// An entry with the places of its messages.
struct Read {
    entry: Entry,
    stored: Vec<Stored>,
}

impl Read {
    fn new(entry: Entry) -> Result<Self, String> {
        let stored = entry.stored().collect::<Result<_, _>>().map_err(in_words)?;
        Ok(Self { entry, stored })
    }
}

/// Whether the payload is the one that the header's checksum covers.
fn is_still_there(header: &Header, payload: &[u8]) -> bool {
    let mut bytes = [header.encode().as_slice(), payload].concat();
    bytes.resize(header.frame_len() as usize, 0);
    frame::decode(&bytes).is_ok()
}

fn put(
    header: &Header,
    carries: Carries,
    read: Option<Read>,
    path: &Path,
    wanted: &Wanted<'_>,
    out: &mut Out<'_>,
) -> io::Result<()> {
    let mut messages = Vec::new();
    let mut wrong = Vec::new();
    let (stored, commands) = match read {
        Some(Read { entry, stored }) => {
            for one in &stored {
                match message(header, &entry.messages, one) {
                    Ok(message) if wanted.filter.matches(&message) => messages.push(message),
                    Ok(_) => {}
                    Err(reason) => wrong.push((*one, reason)),
                }
            }
            (stored, entry.commands)
        }
        None => (Vec::new(), Vec::new()),
    };
    let log_id = header.id.into();
    if wanted.frame && (!wanted.filter.is_set() || !messages.is_empty()) {
        out.put(&Record::Frame(Frame {
            log_id,
            physical_offset: header.physical_offset,
            bytes: header.frame_len(),
            payload_bytes: header.length,
            carries,
            commands: commands.len(),
            messages: stored.len(),
        }))?;
    }
    if wanted.frame && !wanted.filter.is_set() {
        for command in commands {
            out.put(&Record::Command(Command { log_id, command }))?;
        }
    }
    for message in messages {
        out.put(&Record::Message(message))?;
    }
    for (stored, reason) in wrong {
        let from = physical_offset(header, &stored);
        out.damage(Part::CommitLog, path, Some((from, from + u64::from(stored.bytes))), reason)?;
    }
    Ok(())
}

fn physical_offset(header: &Header, stored: &Stored) -> u64 {
    header.physical_offset + HEADER_LEN as u64 + u64::from(stored.at)
}

/// The message at its place; the reason, if it is not what must be there.
fn message(header: &Header, messages: &[u8], stored: &Stored) -> Result<Message, String> {
    let bytes = &messages[stored.at as usize..][..stored.bytes as usize];
    let physical_offset = physical_offset(header, stored);
    let message = StoredMessage::parse(bytes).map_err(|error| format!("no message: {error}"))?;
    if message.bytes.len() != bytes.len() {
        return Err(format!("message of {} bytes where {} are", message.bytes.len(), bytes.len()));
    }
    if u64::try_from(message.physical_offset) != Ok(physical_offset) {
        return Err(format!("message says physical offset {}, it lies elsewhere", message.physical_offset));
    }
    message.verify_body().map_err(|error| format!("message: {error}"))?;
    let property = |name| message.property(name).map(str::to_owned);
    Ok(Message {
        log_id: header.id.into(),
        topic: message.topic.to_owned(),
        topic_id: stored.queue.topic_id,
        queue: stored.queue.queue_id,
        queue_offset: stored.queue_offset,
        physical_offset,
        bytes: stored.bytes,
        body_bytes: message.body.len(),
        body_crc: message.body_crc,
        tags: property(property::TAGS),
        keys: property(property::KEYS),
        unique_key: property(property::UNIQ_KEY),
        born_ms: message.born_timestamp,
        stored_ms: message.store_timestamp,
        reconsume_times: message.reconsume_times,
        sys_flag: message.sys_flag,
    })
}
