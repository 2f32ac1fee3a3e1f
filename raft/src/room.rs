//! How much may still be appended: a full disk is noticed before an entry is accepted.
//!
//! An append that finds no space is an error that stops a replica, so whoever accepts entries, a
//! proposer on the leader or a peer connection on a follower, asks here first. What was accepted and
//! is not written yet counts as written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use trireme_commitlog::CommitLog;
use trireme_commitlog::frame::HEADER_LEN;

use crate::network::wire;

/// Room that is kept for entries which Raft itself writes: a term's first one, memberships.
const RESERVED_BYTES: u64 = 64 * 1024;
/// Header and padding of a frame.
const FRAME_OVERHEAD: u64 = HEADER_LEN as u64 + 8;

/// The room of one replica's log. Clones count together.
#[derive(Clone)]
pub struct Room {
    log: Arc<CommitLog>,
    promised: Arc<AtomicU64>,
    reserved: u64,
    largest: u64,
}

/// Room for something that was accepted; given back when it is written or thrown away.
#[derive(Debug)]
pub struct Promise {
    bytes: u64,
    promised: Arc<AtomicU64>,
}

impl Room {
    /// Nothing is promised yet.
    pub fn new(log: Arc<CommitLog>) -> Self {
        // Small segments, which only tests have, keep a small reserve.
        let reserved = RESERVED_BYTES.min(log.options().segment_bytes / 16);
        let one_segment = log.options().max_frame_bytes() - reserved;
        let one_message = (wire::MAX_MESSAGE - wire::MAX_HEADER) as u64;
        Self { log, promised: Arc::default(), reserved, largest: one_segment.min(one_message) }
    }

    /// Whether an entry with a payload of so many bytes may be accepted. Never true for one that does
    /// not fit in an empty segment, or in one message to a peer.
    pub fn fits(&self, payload_bytes: u64) -> bool {
        let frame_bytes = payload_bytes.saturating_add(FRAME_OVERHEAD);
        let promised = self.promised.load(Ordering::Acquire).saturating_add(frame_bytes);
        frame_bytes <= self.largest && self.covers(promised, self.reserved)
    }

    /// The same, when the next segment is prepared, if that is all that is missing.
    pub async fn makes_room(&self, payload_bytes: u64) -> bool {
        if self.fits(payload_bytes) {
            return true;
        }
        if payload_bytes.saturating_add(FRAME_OVERHEAD) <= self.largest {
            self.prepare().await;
        }
        self.fits(payload_bytes)
    }

    /// Counts `frame_bytes` as written.
    pub fn promise(&self, frame_bytes: u64) -> Promise {
        self.promised.fetch_add(frame_bytes, Ordering::AcqRel);
        Promise { bytes: frame_bytes, promised: self.promised.clone() }
    }

    /// Accepts `frame_bytes` from a peer, or `None` if the disk is full. Only what Raft itself writes may
    /// use the reserve: a full group still elects leaders.
    pub async fn accept(&self, frame_bytes: u64, proposals: bool) -> Option<Promise> {
        let keep = if proposals { self.reserved } else { 0 };
        if let Some(promise) = self.try_accept(frame_bytes, keep) {
            return Some(promise);
        }
        self.prepare().await;
        self.try_accept(frame_bytes, keep)
    }

    /// The next segment may only be missing because nobody came round to preparing it. If that fails, its reason is told by the
    /// keeper, who tries too.
    async fn prepare(&self) {
        let log = self.log.clone();
        let _ = trireme_runtime::blocking(move || log.maintain()).await;
    }

    fn try_accept(&self, frame_bytes: u64, keep: u64) -> Option<Promise> {
        let promise = self.promise(frame_bytes);
        self.covers(self.promised.load(Ordering::Acquire), keep).then_some(promise)
    }

    /// Whether the log takes all that is promised, and `keep` bytes are left.
    fn covers(&self, promised: u64, keep: u64) -> bool {
        promised.saturating_add(keep) <= self.log.room()
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.promised.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use trireme_commitlog::faulty::FaultyDisk;
    use trireme_commitlog::{FrameBuf, LogId, Options};

    use super::*;

    const SEGMENT: u64 = 64 * 1024;

    fn room(disk: &FaultyDisk) -> Room {
        let log = CommitLog::open(disk.handle(), Options { segment_bytes: SEGMENT }).unwrap();
        Room::new(Arc::new(log))
    }

    fn append(room: &Room, index: u64, payload_bytes: usize) {
        let mut frame = FrameBuf::new(3);
        frame.extend_from_slice(&vec![7; payload_bytes]);
        room.log.append(LogId { term: 1, index }, frame, |_, _| {}).unwrap();
    }

    #[test]
    fn what_is_promised_counts_until_it_is_given_back() {
        let room = room(&FaultyDisk::new());
        let usable = room.log.options().max_frame_bytes();
        assert!(room.fits(usable - room.reserved - FRAME_OVERHEAD));
        assert!(!room.fits(usable - room.reserved - FRAME_OVERHEAD + 1));
        assert!(!room.fits(u64::MAX));
        let half = room.promise(SEGMENT / 2);
        assert!(room.fits(SEGMENT / 4) && !room.fits(SEGMENT / 2));
        drop(half);
        assert!(room.fits(SEGMENT / 2));
    }

    #[tokio::test]
    async fn a_full_disk_takes_nothing_but_what_raft_writes() {
        let disk = FaultyDisk::new();
        let room = room(&disk);
        disk.set_capacity(Some(disk.used()));
        append(&room, 0, 40_000);
        assert!(room.accept(20_000, true).await.is_some());
        let accepted = room.accept(18_000, true).await.unwrap();
        let left = room.log.room() - 18_000;
        assert!(room.accept(left, true).await.is_none());
        assert!(room.accept(left + 1, false).await.is_none());
        assert!(room.accept(left, false).await.is_some());
        drop(accepted);
        // Space for a segment again: it is made when it is asked for.
        disk.set_capacity(None);
        assert!(room.accept(SEGMENT / 2, true).await.is_some());
    }

    /// Who fills segments faster than they are prepared waits for the next one, and is not refused.
    #[tokio::test]
    async fn a_segment_that_is_not_prepared_yet_is_no_full_disk() {
        let disk = FaultyDisk::new();
        let room = room(&disk);
        let mut index = 0;
        while room.fits(20_000) {
            append(&room, index, 20_000);
            index += 1;
        }
        assert!(!room.makes_room(SEGMENT).await, "never for more than a segment");
        assert!(room.makes_room(20_000).await && room.fits(20_000));
        while room.fits(20_000) {
            append(&room, index, 20_000);
            index += 1;
        }
        disk.set_capacity(Some(disk.used()));
        assert!(!room.makes_room(20_000).await);
    }
}
