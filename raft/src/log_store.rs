//! The commit log as openraft's log storage. There is no second log and no second write.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use openraft::RaftLogReader;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use parking_lot::RwLock;
use trireme_commitlog::{CommitLog, FrameBuf, FrameRef, LogId, ReadError};
use trireme_planted::{self as planted, Defect};

use crate::checkpoints::{Checkpoints, Stored};
use crate::codec::{self, WireMembership};
use crate::entry::{Entry, Payload, kind};
use crate::flusher::Flusher;
use crate::hard_state::HardState;
use crate::lease::Lease;
use crate::mend::Mend;
use crate::types::{Membership, RaftLogId, TypeConfig, Vote, from_raft, to_raft};

/// Bytes read at a time for a follower: entries are replicated in requests of about this size. In
/// small segments less, so that a follower whose log has room for anything has room for a request.
const READ_BYTES: u64 = 1024 * 1024;
/// Bytes read when openraft asks for a whole range (apply, start): a bound on what is mapped, not on
/// what is copied.
const RANGE_BYTES: u64 = u64::MAX;

/// The log storage of one replica. Cheap to clone; the writing methods are called by openraft's core
/// task only.
#[derive(Clone)]
pub struct LogStore {
    log: Arc<CommitLog>,
    hard: HardState,
    flusher: Flusher,
    checkpoints: Checkpoints,
    vote: Arc<RwLock<Option<Vote>>>,
    read_bytes: u64,
    mender: Option<Arc<dyn Mend>>,
    _lease: Lease,
}

impl LogStore {
    /// Reads the vote; everything else is open already.
    pub fn new(
        log: Arc<CommitLog>,
        hard: HardState,
        flusher: Flusher,
        checkpoints: Checkpoints,
        lease: Lease,
    ) -> io::Result<Self> {
        let vote = Arc::new(RwLock::new(hard.vote().map_err(io::Error::other)?));
        let read_bytes = READ_BYTES.min(log.options().segment_bytes / 8);
        Ok(Self { log, hard, flusher, checkpoints, vote, read_bytes, mender: None, _lease: lease })
    }

    /// Mends what is damaged when it is read.
    pub fn mended_by(self, mender: Option<Arc<dyn Mend>>) -> Self {
        Self { mender, ..self }
    }

    fn write(&self, entry: Entry) -> io::Result<()> {
        let id = entry.id();
        let written = match (entry.payload, entry.frame) {
            // A peer's entry: the very bytes that it has, checked against our own position.
            (_, Some(frame)) => self.log.append_frame(&frame.frame).map(|_| ()),
            (Payload::Proposal(proposal), None) => {
                let written = self.log.append(id, proposal.frame, proposal.stamp).map(|_| ());
                proposal.appended.store(true, Ordering::Release);
                written
            }
            (Payload::Blank, None) => self.log.append(id, FrameBuf::new(kind::BLANK), |_, _| {}).map(|_| ()),
            (Payload::Membership(membership), None) => {
                let mut frame = FrameBuf::new(kind::MEMBERSHIP);
                frame.extend_from_slice(&codec::encode(&WireMembership::from(&membership)));
                self.log.append(id, frame, |_, _| {}).map(|_| ())
            }
            (Payload::Logged, None) => {
                return Err(io::Error::other(format!("entry {id:?} is said to be logged but has no frame")));
            }
        };
        written.map_err(io::Error::other)
    }

    /// Reads entries. What is damaged is mended first, if it is committed and another replica has it.
    async fn entries(&self, from: u64, to: u64, max_bytes: u64) -> io::Result<Vec<Entry>> {
        let mut last_damaged = None;
        loop {
            let corruption = match self.read(from, to, max_bytes).await {
                Ok(frames) => return frames.into_iter().map(entry_of).collect(),
                Err(ReadError::Corrupt(corruption)) if last_damaged != Some(corruption.from) => corruption,
                Err(error) => return Err(io::Error::other(error)),
            };
            last_damaged = Some(corruption.from);
            let committed = self.hard.committed().map_err(io::Error::other)?;
            let (Some(mender), Some(committed)) = (&self.mender, committed) else {
                return Err(io::Error::other(corruption));
            };
            tracing::error!(error = %corruption, "asking other replicas for what is damaged here");
            match mender.mend(corruption.from..corruption.to, committed.index).await {
                Ok(frames) => {
                    tracing::warn!(
                        from = corruption.from,
                        to = corruption.to,
                        frames,
                        "the commit log is mended"
                    );
                }
                Err(reason) => {
                    return Err(io::Error::other(format!("{corruption}; it is not mended: {reason}")));
                }
            }
        }
    }

    async fn read(&self, from: u64, to: u64, max_bytes: u64) -> Result<Vec<FrameRef>, ReadError> {
        if self.log.is_entry_recent(from) || max_bytes == RANGE_BYTES {
            return self.log.read(from, to, max_bytes);
        }
        // A follower that is behind: these may have to come from the disk, and whoever touches them waits for it.
        let log = self.log.clone();
        let read = trireme_runtime::blocking(move || log.read(from, to, max_bytes)).await;
        let ended = |error| ReadError::Io {
            action: "read",
            file: "the commit log".to_owned(),
            source: io::Error::other(error),
        };
        read.map_err(ended)?
    }

    /// Trims all entries up to `upto`. Blocks on the disk.
    fn start_behind(&self, upto: LogId) -> io::Result<()> {
        if self.log.last().is_none_or(|last| last.index <= upto.index) {
            // A checkpoint from a peer put us ahead of our own log, or just at its end: the log starts
            // over behind it, at the segment where the next entry lies on every replica.
            let installed = self.checkpoints.newest()?.filter(|stored| stored.log_id == upto);
            if let Some(Stored { checkpoint, .. }) = installed {
                return self.log.reset(upto, checkpoint.physical_offset).map_err(io::Error::other);
            }
        }
        self.log.trim(upto).map_err(io::Error::other)
    }
}

/// The entry that a frame holds. Also decodes what peers send: the caller has checked the checksum.
pub fn entry_of(frame: FrameRef) -> io::Result<Entry> {
    let payload = match frame.kind {
        kind::BLANK => Payload::Blank,
        kind::NORMAL => Payload::Logged,
        kind::MEMBERSHIP => {
            let wire: WireMembership =
                codec::decode("membership entry", &frame.payload()).map_err(io::Error::other)?;
            Payload::Membership(Membership::try_from(wire).map_err(io::Error::other)?)
        }
        other => return Err(io::Error::other(format!("frame {:?} has the unknown kind {other}", frame.id))),
    };
    Ok(Entry::logged(payload, frame))
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + Send,
    {
        let from = match range.start_bound() {
            Bound::Included(at) => *at,
            Bound::Excluded(at) => at + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(at) => at + 1,
            Bound::Excluded(at) => *at,
            Bound::Unbounded => u64::MAX,
        };
        // What is trimmed is absent, which openraft allows here, and not an error.
        let first = self.log.trimmed().map_or(0, |id| id.index + 1);
        self.entries(from.max(first), to, RANGE_BYTES).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.entries(start, end, self.read_bytes).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(*self.vote.read())
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        // A log without entries says that its last one is the last trimmed one.
        Ok(LogState {
            last_purged_log_id: self.log.trimmed().map(to_raft),
            last_log_id: self.log.last().map(to_raft),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.flusher.save_vote(*vote).await?;
        *self.vote.write() = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> io::Result<()> {
        self.flusher.committed(committed.as_ref().map(from_raft));
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<RaftLogId>> {
        let saved = self.hard.committed().map_err(io::Error::other)?;
        // The mark is written lazily, so a log that lost an unsynced tail may end before it.
        let last = self.log.last();
        Ok(saved.filter(|id| last.is_some_and(|last| id.index <= last.index)).map(to_raft))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        for entry in entries {
            self.write(entry)?;
        }
        self.flusher.appended(callback);
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<RaftLogId>) -> io::Result<()> {
        if planted::is(Defect::TailNotTruncated) {
            return Ok(());
        }
        if last.as_ref().map(|id| id.index()) >= self.log.last().map(|id| id.index) {
            return Ok(());
        }
        tracing::info!(after = ?last.as_ref().map(from_raft), "truncating the log's tail");
        self.flusher.truncate_after(last.map(|id| id.index())).await
    }

    async fn purge(&mut self, upto: RaftLogId) -> io::Result<()> {
        // It syncs, and openraft's core task, which waits for it, must not keep its thread.
        let (this, upto) = (self.clone(), from_raft(&upto));
        trireme_runtime::blocking(move || this.start_behind(upto)).await.map_err(io::Error::other)?
    }
}
