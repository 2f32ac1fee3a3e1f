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
        frame_bytes <= self.largest && self.covers(frame_bytes, self.promised.load(Ordering::Acquire))
    }

    /// Counts `frame_bytes` as written.
    pub fn promise(&self, frame_bytes: u64) -> Promise {
        self.promised.fetch_add(frame_bytes, Ordering::AcqRel);
        Promise { bytes: frame_bytes, promised: self.promised.clone() }
    }

    /// Accepts `frame_bytes` from a peer, or `None` if the disk is full.
    pub async fn accept(&self, frame_bytes: u64) -> Option<Promise> {
        if let Some(promise) = self.try_accept(frame_bytes) {
            return Some(promise);
        }
        // The next segment may only be missing because nobody came round to preparing it. If that
        // fails, its reason is told by the keeper, who tries too.
        let log = self.log.clone();
        let _ = tokio::task::spawn_blocking(move || log.maintain()).await;
        self.try_accept(frame_bytes)
    }

    fn try_accept(&self, frame_bytes: u64) -> Option<Promise> {
        let promise = self.promise(frame_bytes);
        let others = self.promised.load(Ordering::Acquire) - frame_bytes;
        self.covers(frame_bytes, others).then_some(promise)
    }

    fn covers(&self, frame_bytes: u64, promised: u64) -> bool {
        self.log.room() >= promised.saturating_add(frame_bytes).saturating_add(self.reserved)
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.promised.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}
