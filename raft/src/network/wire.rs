//! The peer protocol, byte by byte.
//!
//! ```text
//!  0        4     5        13           17
//!  ├────────┼─────┼────────┼────────────┼──────────────┬───────────────┐
//!  │ length │kind │ id     │ header len │ header       │ body          │   little-endian
//!  └────────┴─────┴────────┴────────────┴──────────────┴───────────────┘
//! ```
//!
//! `length` counts what follows it. The header is bincode ([`crate::codec`]); the body is raw: whole
//! commit log frames for `Append`, a piece of a checkpoint for `Snapshot`. A reply has the request's
//! kind and id.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::codec::{self, DecodeError, WireLogId, WireStoredMembership, WireVote};
use crate::config::ClusterSettings;
use crate::types::NodeId;

/// First field of every hello: tells a peer from anything else that may connect.
pub const MAGIC: u64 = 0x5452_4952_454d_4531;
/// Version of this protocol. Peers of another version are refused.
pub const VERSION: u32 = 1;
/// The largest message: one entry is bounded far below by what a broker accepts.
pub const MAX_MESSAGE: usize = 32 * 1024 * 1024;
/// Of these, what a header may take: names of members and their addresses.
pub const MAX_HEADER: usize = 64 * 1024;
/// The largest first message: a stranger cannot make us hold more.
pub const MAX_HELLO: usize = 4096;
/// A checkpoint travels in pieces of this size.
pub const SNAPSHOT_PIECE: usize = 1024 * 1024;

const FIXED: usize = 1 + 8 + 4;

/// What a message asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Introduction; the first message in each direction.
    Hello = 0,
    /// `AppendEntries`; without entries, a heartbeat.
    Append = 1,
    /// `RequestVote`.
    Vote = 2,
    /// Would you vote for me? Changes nothing.
    PreVote = 3,
    /// Take over leadership.
    Transfer = 4,
    /// A piece of a checkpoint.
    Snapshot = 5,
}

impl TryFrom<u8> for Kind {
    type Error = io::Error;

    fn try_from(byte: u8) -> io::Result<Self> {
        Ok(match byte {
            0 => Self::Hello,
            1 => Self::Append,
            2 => Self::Vote,
            3 => Self::PreVote,
            4 => Self::Transfer,
            5 => Self::Snapshot,
            other => return Err(invalid(format!("unknown message kind {other}"))),
        })
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Lane {
    Control,
    Bulk,
    Snapshot,
    /// Only the hello: who are you?
    Probe,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    pub magic: u64,
    pub version: u32,
    pub lane: Lane,
    pub settings: ClusterSettings,
    pub from: NodeId,
    pub from_store: u128,
    pub to: NodeId,
    /// The store that the membership names for `to`; `None` while there is no membership.
    pub to_store: Option<u128>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HelloReply {
    /// Why the connection is refused; `None` if it is welcome.
    pub refused: Option<String>,
    pub store_id: u128,
    /// The replica belongs to a group that has members already.
    pub initialized: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct AppendHeader {
    /// Requests of one replication stream; a failed stream's late requests are dropped by it.
    pub session: u64,
    pub vote: WireVote,
    pub prev: WireLogId,
    pub leader_commit: WireLogId,
    /// Frames in the body.
    pub entries: u32,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum AppendReply {
    /// Flushed up to here.
    Flushed(WireLogId),
    Conflict((u64, u64)),
    HigherVote(WireVote),
    /// Cannot take entries now (disk full); nothing was changed.
    Busy,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct VoteHeader {
    pub vote: WireVote,
    pub last_log: WireLogId,
    pub transfer: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct VoteReply {
    pub vote: WireVote,
    pub granted: bool,
    pub last_log: WireLogId,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct TransferHeader {
    pub from_leader: WireVote,
    pub to: NodeId,
    pub last_log: WireLogId,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum TransferReply {
    Taken,
    VoteChanged { expected: WireVote, actual: WireVote },
    NotFlushed { expected: WireLogId, actual: WireLogId },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SnapshotHeader {
    pub vote: WireVote,
    pub last_log: WireLogId,
    pub membership: WireStoredMembership,
    /// Where the log behind the checkpoint starts.
    pub physical_offset: u64,
    /// Bytes of the whole checkpoint, and this piece's place in it.
    pub total: u64,
    pub at: u64,
}

/// The vote of the receiver, or why it could not take the piece.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum SnapshotReply {
    Next,
    Done(WireVote),
    Failed(String),
}

/// A message as it was received.
#[derive(Debug)]
pub struct Message {
    pub kind: Kind,
    pub id: u64,
    header: Bytes,
    pub body: Bytes,
}

impl Message {
    /// The typed header.
    pub fn header<T: serde::de::DeserializeOwned>(&self, what: &'static str) -> Result<T, DecodeError> {
        codec::decode(what, &self.header)
    }
}

/// A message to be sent: everything before the body, then the body's slices.
#[derive(Debug)]
pub struct Outgoing {
    head: Bytes,
    body: Vec<Bytes>,
}

impl Outgoing {
    /// Encodes the header; the body is not copied.
    pub fn new<T: Serialize>(kind: Kind, id: u64, header: &T, body: Vec<Bytes>) -> Self {
        let header = codec::encode(header);
        let length = FIXED + header.len() + body.iter().map(Bytes::len).sum::<usize>();
        let mut head = BytesMut::with_capacity(4 + FIXED + header.len());
        head.put_u32_le(u32::try_from(length).expect("messages are bounded by MAX_MESSAGE"));
        head.put_u8(kind as u8);
        head.put_u64_le(id);
        head.put_u32_le(u32::try_from(header.len()).expect("headers are small"));
        head.put_slice(&header);
        Self { head: head.freeze(), body }
    }

    /// Appends the message's slices to what one vectored write will send.
    pub fn slices(self, to: &mut Vec<Bytes>) {
        to.push(self.head);
        to.extend(self.body.into_iter().filter(|part| !part.is_empty()));
    }
}

/// Writes all of `parts`, as few system calls as the kernel allows.
pub async fn write_all(writer: &mut (impl AsyncWrite + Unpin), parts: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<io::IoSlice<'_>> = parts.iter().map(|part| io::IoSlice::new(part)).collect();
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        let written = writer.write_vectored(rest).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        io::IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}

/// Takes one message off `reader`; `None` when the peer closed between messages. `buffer` keeps what
/// arrived beyond it. A message longer than `limit` is an error before memory is taken for it.
pub async fn read_message(
    reader: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    limit: usize,
) -> io::Result<Option<Message>> {
    loop {
        if let Some(message) = split_message(buffer, limit)? {
            return Ok(Some(message));
        }
        if reader.read_buf(buffer).await? == 0 {
            return if buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    }
}

/// Splits the first whole message off `buffer`, which it makes room in if there is none yet.
pub fn split_message(buffer: &mut BytesMut, limit: usize) -> io::Result<Option<Message>> {
    let Some(length) = buffer.get(..4).map(|mut bytes| bytes.get_u32_le() as usize) else {
        buffer.reserve(limit.min(64 * 1024));
        return Ok(None);
    };
    if !(FIXED..=limit).contains(&length) {
        return Err(invalid(format!("message of {length} bytes, allowed are {FIXED} to {limit}")));
    }
    if buffer.len() < 4 + length {
        // Grown in steps: a length that was only claimed costs one step.
        buffer.reserve((4 + length - buffer.len()).min(1024 * 1024));
        return Ok(None);
    }
    let mut message = buffer.split_to(4 + length).freeze();
    message.advance(4);
    let kind = Kind::try_from(message.get_u8())?;
    let id = message.get_u64_le();
    let header_length = message.get_u32_le() as usize;
    if header_length > message.len() {
        return Err(invalid(format!(
            "header of {header_length} bytes in a message with {} left",
            message.len()
        )));
    }
    let header = message.split_to(header_length);
    Ok(Some(Message { kind, id, header, body: message }))
}

/// An error of the peer's making: its connection is closed with this reason.
pub fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

/// Sends messages from `queue` until it closes: drains what is queued, then writes it as one.
pub async fn run_writer(
    mut writer: impl AsyncWrite + Unpin,
    mut queue: tokio::sync::mpsc::Receiver<Outgoing>,
) -> io::Result<()> {
    let mut parts = Vec::new();
    while let Some(first) = queue.recv().await {
        first.slices(&mut parts);
        while let Ok(next) = queue.try_recv() {
            next.slices(&mut parts);
        }
        write_all(&mut writer, &parts).await?;
        parts.clear();
    }
    writer.shutdown().await
}
