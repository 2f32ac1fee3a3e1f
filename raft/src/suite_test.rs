//! openraft's own storage suite, on our log store and adapter over real files.
//!
//! The suite has storages in mind that are less than a commit log, and does three things to them that
//! openraft itself never does. The wrappers here make up for exactly these, everything else passes
//! through:
//!
//! - It begins logs at index 1 or 2. Ours begin at 0 or behind a checkpoint, as those of openraft do;
//!   the missing entries are filled in with blanks of the same term.
//! - It applies entries that were never appended. Ours are applied as frames of the log; they are framed
//!   in a scratch log first.
//! - It purges, and builds snapshots, anywhere. Behind a purge of ours there is always a checkpoint,
//!   recorded or installed; here one is saved just in time.

#![allow(clippy::unwrap_used)]

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use openraft::StorageError;
use openraft::storage::{
    EntryResponder, IOFlushed, LogState, RaftLogReader, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine,
};
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;
use tokio::sync::watch;
use trireme_commitlog::faulty::FaultyDisk;
use trireme_commitlog::{CommitLog, FrameBuf, LogId, Options};

use crate::adapter::{Adapter, Boundary};
use crate::checkpoints::{Checkpoint, Checkpoints, Stored};
use crate::codec::{self, WireMembership};
use crate::config::{ClusterSettings, ReplicaConfig, Timing};
use crate::entry::{Entry, Payload, kind};
use crate::flusher::Flusher;
use crate::lease::{Lease, leases};
use crate::log_store::LogStore;
use crate::proposal::Outcome;
use crate::state_machine::{Applied, NotYet, RestoreError, StateMachine};
use crate::store::Store;
use crate::types::{RaftLogId, SnapshotMeta, StoredMembership, TypeConfig, Vote, from_raft, to_raft};

type Snapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, Checkpoint>;

const SEGMENT_BYTES: u64 = 64 * 1024;

#[test]
fn openrafts_storage_suite_passes() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(Suite::test_all(Builder)).unwrap();
}

struct Builder;

/// What is dropped after a test.
struct Guard {
    flusher: Flusher,
    _dir: TempDir,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.flusher.stop();
    }
}

impl StoreBuilder<TypeConfig, Logs, Machine, Guard> for Builder {
    async fn build(&self) -> Result<(Guard, Logs, Machine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let settings = ClusterSettings {
            cluster: "suite".into(),
            group: "broker-a".into(),
            segment_bytes: SEGMENT_BYTES,
        };
        let config = ReplicaConfig {
            settings,
            node: 0,
            store: dir.path().to_owned(),
            listen: "127.0.0.1:0".parse().unwrap(),
            peers: [(0, "127.0.0.1:1".to_owned())].into(),
            client_addrs: Default::default(),
            joins: false,
            timing: Timing::default(),
            replication_window: 2,
            log_cache_bytes: 64 << 20,
            format_version: crate::peers::NEWEST_VERSION,
        };
        let Store { log, hard, .. } = Store::open(&config, 7).unwrap();
        let checkpoints = Checkpoints::open(&dir.path().join("checkpoints")).unwrap();
        let flusher = Flusher::start(log.clone(), hard.clone()).unwrap();
        let (lease, _) = leases();
        let inner =
            LogStore::new(log.clone(), hard.clone(), flusher.clone(), checkpoints.clone(), lease.clone())
                .unwrap();
        // Nothing is appended before it is applied, so there is no flush to wait for.
        let (_, flushed) = watch::channel(Some(LogId { term: u64::MAX, index: u64::MAX }));
        let (applied, _) = watch::channel(None);
        let boundary = Boundary::new(checkpoints.clone(), log.clone(), lease.clone());
        let adapter = Adapter::new(Box::new(Nothing), hard, boundary, flushed, applied).unwrap();
        let machine = Machine { inner: adapter, checkpoints: checkpoints.clone(), lease };
        Ok((Guard { flusher, _dir: dir }, Logs { inner, log, checkpoints }, machine))
    }
}

/// A state machine without state.
struct Nothing;

impl StateMachine for Nothing {
    fn saved(&self) -> Option<LogId> {
        None
    }

    fn apply(&mut self, _: &Applied) -> Result<Outcome, NotYet> {
        Ok(Outcome::default())
    }

    fn applied(&mut self, _: LogId) {}

    fn checkpoint(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _: LogId, _: u64, _: &[u8]) -> Result<(), RestoreError> {
        Ok(())
    }
}

#[derive(Clone)]
struct Logs {
    inner: LogStore,
    log: Arc<CommitLog>,
    checkpoints: Checkpoints,
}

impl Logs {
    fn save_checkpoint(&self, log_id: LogId, physical_offset: u64) -> io::Result<()> {
        self.checkpoints.save(&checkpoint(log_id, StoredMembership::default(), physical_offset))
    }
}

fn checkpoint(log_id: LogId, membership: StoredMembership, physical_offset: u64) -> Stored {
    Stored { log_id, membership, checkpoint: Checkpoint { physical_offset, state: Bytes::new() } }
}

impl RaftLogReader<TypeConfig> for Logs {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + Send,
    {
        self.inner.try_get_log_entries(range).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.inner.limited_get_log_entries(start, end).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.inner.read_vote().await
    }
}

impl RaftLogStorage<TypeConfig> for Logs {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        self.inner.get_log_state().await
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.inner.save_vote(vote).await
    }

    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> io::Result<()> {
        self.inner.save_committed(committed).await
    }

    async fn read_committed(&mut self) -> io::Result<Option<RaftLogId>> {
        self.inner.read_committed().await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let first = entries[0].id();
        let next = self.log.last().map_or(0, |last| last.index + 1);
        for index in next..first.index {
            let blank = FrameBuf::new(kind::BLANK);
            self.log.append(LogId { term: first.term, index }, blank, |_, _| {}).unwrap();
        }
        self.inner.append(entries, callback).await
    }

    async fn truncate_after(&mut self, last: Option<RaftLogId>) -> io::Result<()> {
        self.inner.truncate_after(last).await
    }

    async fn purge(&mut self, upto: RaftLogId) -> io::Result<()> {
        let id = from_raft(&upto);
        if self.log.last().is_none_or(|last| last.index < id.index) {
            let next_segment = self.log.next_physical_offset() / SEGMENT_BYTES + 1;
            self.save_checkpoint(id, next_segment * SEGMENT_BYTES)?;
        }
        self.inner.purge(upto).await?;
        self.save_checkpoint(id, self.log.min_physical_offset())
    }
}

struct Machine {
    inner: Adapter,
    checkpoints: Checkpoints,
    lease: Lease,
}

/// The snapshot of the state as it is, instead of that at the start of the log.
struct Now {
    applied: (Option<RaftLogId>, StoredMembership),
    checkpoints: Checkpoints,
    _lease: Lease,
}

impl RaftSnapshotBuilder<TypeConfig> for Now {
    type SnapshotData = Checkpoint;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (applied, membership) = self.applied.clone();
        let log_id = from_raft(&applied.expect("the suite applies before it takes a snapshot"));
        let stored = checkpoint(log_id, membership, (log_id.index + 1) * SEGMENT_BYTES);
        self.checkpoints.save(&stored)?;
        Ok(stored.into_snapshot())
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = Checkpoint;
    type SnapshotBuilder = Now;

    async fn applied_state(&mut self) -> io::Result<(Option<RaftLogId>, StoredMembership)> {
        self.inner.applied_state().await
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + Send,
    {
        self.inner.apply(entries.map_ok(|(entry, responder)| (framed(entry), responder))).await
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Now> {
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> Now {
        let applied = self.inner.applied_state().await.unwrap();
        Now { applied, checkpoints: self.checkpoints.clone(), _lease: self.lease.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Checkpoint) -> io::Result<()> {
        self.inner.install_snapshot(meta, snapshot).await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        self.inner.get_current_snapshot().await
    }
}

/// The entry as it would be read back from a log.
fn framed(entry: Entry) -> Entry {
    if entry.frame.is_some() {
        return entry;
    }
    let (kind, payload) = match &entry.payload {
        Payload::Membership(membership) => {
            (kind::MEMBERSHIP, codec::encode(&WireMembership::from(membership)))
        }
        _ => (kind::BLANK, Vec::new()),
    };
    let id = entry.id();
    let disk = FaultyDisk::new();
    let scratch = CommitLog::open(disk.handle(), Options { segment_bytes: SEGMENT_BYTES }).unwrap();
    if let Some(before) = id.index.checked_sub(1) {
        scratch.reset(LogId { term: 0, index: before }, 0).unwrap();
    }
    let mut frame = FrameBuf::new(kind);
    frame.extend_from_slice(&payload);
    scratch.append(id, frame, |_, _| {}).unwrap();
    let frame = scratch.read(id.index, id.index + 1, u64::MAX).unwrap().remove(0);
    assert_eq!(from_raft(&to_raft(frame.id)), id);
    crate::log_store::entry_of(frame).unwrap()
}

/// A checkpoint that ends exactly where our log ends: the log starts over at the segment where the next
/// entry lies on every replica, not behind its own last one.
#[tokio::test]
async fn purging_a_whole_log_starts_it_over_at_the_checkpoint() {
    let (guard, mut logs, mut machine) = Builder.build().await.unwrap();
    let append = |index: u64, bytes: usize| {
        let mut frame = FrameBuf::new(kind::NORMAL);
        frame.extend_from_slice(&vec![1; bytes]);
        logs.log.append(LogId { term: 1, index }, frame, |_, _| {}).unwrap()
    };
    append(0, 30_000);
    append(1, 30_000);
    assert_eq!(append(2, 30_000), SEGMENT_BYTES, "the next segment");
    logs.log.truncate_after(Some(1)).unwrap();
    let boundary = LogId { term: 1, index: 1 };
    logs.save_checkpoint(boundary, SEGMENT_BYTES).unwrap();
    logs.inner.purge(to_raft(boundary)).await.unwrap();
    assert_eq!(logs.log.min_physical_offset(), SEGMENT_BYTES);
    assert_eq!(logs.log.last(), Some(boundary));
    let current = machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(current.meta.last_log_id, Some(to_raft(boundary)));
    let mut frame = FrameBuf::new(kind::NORMAL);
    frame.extend_from_slice(&[1; 30_000]);
    let at = logs.log.append(LogId { term: 1, index: 2 }, frame, |_, _| {}).unwrap();
    assert_eq!(at, SEGMENT_BYTES, "where it lies on the others");
    drop(guard);
}
