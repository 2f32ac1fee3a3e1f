//! What a fuzzer may reach of the peer protocol; not part of the crate otherwise.

use bytes::BytesMut;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::requests::append_request;
use super::wire::{
    self, AppendHeader, AppendReply, Hello, HelloReply, Kind, SnapshotHeader, SnapshotReply, TransferHeader,
    TransferReply, VoteHeader, VoteReply,
};
use crate::codec;

/// Reads `bytes` as what a peer sends: as a stream, and behind its first byte as one header of that kind.
pub fn peer_bytes(bytes: &[u8]) {
    let mut buffer = BytesMut::from(bytes);
    while let Ok(Some(message)) = wire::split_message(&mut buffer, wire::MAX_MESSAGE) {
        if message.kind == Kind::Append
            && let Ok((request, _)) = append_request(&message)
        {
            // Whatever is taken leads to entries in a row: openraft takes that for granted.
            let indexes: Vec<u64> = request.entries.iter().map(|entry| entry.id().index).collect();
            assert!(indexes.windows(2).all(|pair| pair[0] + 1 == pair[1]));
        }
        header(message.kind, &message.header);
    }
    assert!(buffer.capacity() <= bytes.len() + (1 << 20), "a claimed length costs one step of memory");
    if let [kind, rest @ ..] = bytes
        && let Ok(kind) = Kind::try_from(kind % 6)
    {
        header(kind, rest);
    }
}

fn header(kind: Kind, bytes: &[u8]) {
    match kind {
        Kind::Hello => {
            exact::<Hello>(bytes);
            exact::<HelloReply>(bytes);
        }
        Kind::Append => {
            exact::<AppendHeader>(bytes);
            exact::<AppendReply>(bytes);
        }
        Kind::Vote | Kind::PreVote => {
            exact::<VoteHeader>(bytes);
            exact::<VoteReply>(bytes);
        }
        Kind::Transfer => {
            exact::<TransferHeader>(bytes);
            exact::<TransferReply>(bytes);
        }
        Kind::Snapshot => {
            exact::<SnapshotHeader>(bytes);
            exact::<SnapshotReply>(bytes);
        }
    }
}

/// What decodes has one value, and that value one encoding.
fn exact<T: DeserializeOwned + Serialize>(bytes: &[u8]) {
    if let Ok(value) = codec::decode::<T>("fuzzed", bytes) {
        let again = codec::decode::<T>("fuzzed", &codec::encode(&value)).expect("its own encoding decodes");
        assert_eq!(codec::encode(&value), codec::encode(&again));
    }
}
