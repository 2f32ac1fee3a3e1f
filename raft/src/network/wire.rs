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
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::codec::{self, DecodeError, WireLogId, WireStoredMembership, WireVote};
use crate::config::ClusterSettings;
use crate::types::NodeId;

/// First field of every hello: tells a peer from anything else that may connect.
pub const MAGIC: u64 = 0x5452_4952_454d_4531;
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

/// What a hello has said since version 1. Who announces more says [`HelloMore`] behind it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    pub magic: u64,
    /// The newest format version that the caller reads.
    pub version: u32,
    pub lane: Lane,
    pub settings: ClusterSettings,
    pub from: NodeId,
    pub from_store: u128,
    pub to: NodeId,
    /// The store that the membership names for `to`; `None` while there is no membership.
    pub to_store: Option<u128>,
}

/// What a hello says besides, from version 2 on. New fields go at the end: who does not know them ignores them.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct HelloMore {
    /// What the one who is called had on its disk, as far as the caller knows.
    pub had: WireLogId,
}

/// The answer to a hello of version 1. Who announces more is told [`HelloReplyMore`] behind it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HelloReply {
    /// Why the connection is refused; `None` if it is welcome.
    pub refused: Option<String>,
    pub store_id: u128,
    /// The replica belongs to a group that has members already.
    pub initialized: bool,
}

/// What an answer says besides, from version 2 on. New fields go at the end, as in [`HelloMore`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct HelloReplyMore {
    /// The newest format version that the answering replica reads.
    pub version: u32,
    /// What the caller had on its disk, as far as the answering replica knows.
    pub had: WireLogId,
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
    pub(super) header: Bytes,
    pub body: Bytes,
}

impl Message {
    /// The typed header.
    pub fn header<T: DeserializeOwned>(&self, what: &'static str) -> Result<T, DecodeError> {
        codec::decode(what, &self.header)
    }

    /// The typed header, and what may follow it; behind that may be what only newer releases know.
    pub fn header_and_more<T: DeserializeOwned, M: DeserializeOwned>(
        &self,
        what: &'static str,
    ) -> Result<(T, Option<M>), DecodeError> {
        let (header, rest) = codec::decode_first(what, &self.header)?;
        let more = if rest.is_empty() { None } else { Some(codec::decode_first(what, rest)?.0) };
        Ok((header, more))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn bytes(message: Outgoing) -> Vec<u8> {
        let mut parts = Vec::new();
        message.slices(&mut parts);
        parts.concat()
    }

    /// One message of each kind, with a body where the kind has one.
    fn samples() -> Vec<(Kind, Vec<u8>)> {
        let vote = WireVote { term: 7, node: 2, committed: true };
        let settings =
            ClusterSettings { cluster: "c".into(), group: "broker-a".into(), segment_bytes: 1 << 30 };
        let hello = Hello {
            magic: MAGIC,
            version: 1,
            lane: Lane::Bulk,
            settings,
            from: 1,
            from_store: 11,
            to: 2,
            to_store: Some(22),
        };
        let more = HelloMore { had: Some((6, 9)) };
        let header =
            AppendHeader { session: 3, vote, prev: Some((6, 9)), leader_commit: Some((6, 8)), entries: 2 };
        let asked = VoteHeader { vote, last_log: Some((6, 9)), transfer: false };
        let transfer = TransferHeader { from_leader: vote, to: 2, last_log: None };
        let piece = SnapshotHeader {
            vote,
            last_log: Some((6, 9)),
            membership: (&crate::types::StoredMembership::default()).into(),
            physical_offset: 1 << 20,
            total: 5,
            at: 0,
        };
        let body = || vec![Bytes::from_static(b"two "), Bytes::new(), Bytes::from_static(b"frames")];
        vec![
            (Kind::Hello, bytes(Outgoing::new(Kind::Hello, 0, &hello, Vec::new()))),
            (Kind::Hello, bytes(Outgoing::new(Kind::Hello, 0, &(&hello, &more), Vec::new()))),
            (Kind::Append, bytes(Outgoing::new(Kind::Append, 1, &header, body()))),
            (Kind::Vote, bytes(Outgoing::new(Kind::Vote, 2, &asked, Vec::new()))),
            (Kind::PreVote, bytes(Outgoing::new(Kind::PreVote, u64::MAX, &asked, Vec::new()))),
            (Kind::Transfer, bytes(Outgoing::new(Kind::Transfer, 4, &transfer, Vec::new()))),
            (Kind::Snapshot, bytes(Outgoing::new(Kind::Snapshot, 5, &piece, body()))),
        ]
    }

    /// Decodes the header as whatever the kind says.
    fn read_header(message: &Message) -> Result<(), DecodeError> {
        match message.kind {
            Kind::Hello => message.header_and_more::<Hello, HelloMore>("hello").map(drop),
            Kind::Append => message.header::<AppendHeader>("append").map(drop),
            Kind::Vote | Kind::PreVote => message.header::<VoteHeader>("vote").map(drop),
            Kind::Transfer => message.header::<TransferHeader>("transfer").map(drop),
            Kind::Snapshot => message.header::<SnapshotHeader>("snapshot").map(drop),
        }
    }

    #[test]
    fn a_message_arrives_as_it_was_sent() {
        let all: Vec<u8> = samples().into_iter().flat_map(|(_, bytes)| bytes).collect();
        // However the stream is cut into reads.
        for step in [1, 2, 3, 7, 64, all.len()] {
            let mut buffer = BytesMut::new();
            let mut kinds = Vec::new();
            for part in all.chunks(step) {
                buffer.extend_from_slice(part);
                while let Some(message) = split_message(&mut buffer, MAX_MESSAGE).unwrap() {
                    read_header(&message).unwrap();
                    if matches!(message.kind, Kind::Append | Kind::Snapshot) {
                        assert_eq!(message.body, b"two frames".as_slice());
                    } else {
                        assert!(message.body.is_empty());
                    }
                    kinds.push(message.kind);
                }
            }
            assert!(buffer.is_empty());
            assert_eq!(kinds, samples().into_iter().map(|(kind, _)| kind).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_cut_message_is_waited_for() {
        for (kind, bytes) in samples() {
            for cut in 0..bytes.len() {
                let mut buffer = BytesMut::from(&bytes[..cut]);
                assert!(split_message(&mut buffer, MAX_MESSAGE).unwrap().is_none(), "{kind:?} cut at {cut}");
                assert_eq!(buffer, bytes[..cut], "what arrived stays");
            }
        }
    }

    #[test]
    fn flipped_bits_are_an_error_or_another_message() {
        let mut random = StdRng::seed_from_u64(7);
        let samples = samples();
        let (mut refused, mut passed) = (0, 0);
        for _ in 0..50_000 {
            let (_, mut bytes) = samples[random.random_range(0..samples.len())].clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..bytes.len());
                bytes[at] ^= 1 << random.random_range(0..8);
            }
            let mut buffer = BytesMut::from(bytes.as_slice());
            match split_message(&mut buffer, MAX_MESSAGE) {
                Ok(Some(message)) if read_header(&message).is_ok() => passed += 1,
                Ok(_) | Err(_) => refused += 1,
            }
            assert!(buffer.capacity() <= bytes.len() + (1 << 20), "memory for a claimed length");
        }
        assert!(refused > 0 && passed > 0, "the flips hit everything: {refused} refused, {passed} not");
    }

    #[test]
    fn lengths_are_judged_before_memory_is_taken() {
        let check = |length: u32, limit: usize, allowed: bool| {
            let mut buffer = BytesMut::from(length.to_le_bytes().as_slice());
            assert_eq!(split_message(&mut buffer, limit).is_ok(), allowed, "{length} of {limit}");
            assert!(buffer.capacity() <= 2 << 20, "{} bytes for a claim of {length}", buffer.capacity());
        };
        check(0, MAX_MESSAGE, false);
        check(FIXED as u32 - 1, MAX_MESSAGE, false);
        check(FIXED as u32, MAX_MESSAGE, true);
        check(MAX_MESSAGE as u32, MAX_MESSAGE, true);
        check(MAX_MESSAGE as u32 + 1, MAX_MESSAGE, false);
        check(u32::MAX, MAX_MESSAGE, false);
        check(MAX_HELLO as u32 + 1, MAX_HELLO, false);
        // A header that is longer than its message.
        let mut message = bytes(Outgoing::new(Kind::Vote, 1, &1_u8, Vec::new()));
        message[13..17].copy_from_slice(&u32::MAX.to_le_bytes());
        let error = split_message(&mut BytesMut::from(message.as_slice()), MAX_MESSAGE).unwrap_err();
        assert!(error.to_string().contains("header of 4294967295 bytes"), "{error}");
    }
}
