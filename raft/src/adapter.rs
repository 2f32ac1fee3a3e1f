//! openraft's state machine, around ours.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use parking_lot::Mutex;
use tokio::sync::watch;
use trireme_commitlog::{CommitLog, LogId};

use crate::checkpoints::{Checkpoint, Checkpoints, Stored};
use crate::entry::{Entry, Payload};
use crate::hard_state::HardState;
use crate::lease::Lease;
use crate::proposal::Outcome;
use crate::recorder::{self, Recorder};
use crate::state_machine::{Applied, Carries, StateMachine};
use crate::types::{RaftLogId, SnapshotMeta, StoredMembership, TypeConfig, from_raft, to_raft};

type Snapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, Checkpoint>;

/// Before an entry is tried again that could not be applied to its end.
const RETRY_EVERY: Duration = Duration::from_millis(50);

/// Drives the broker's state machine from openraft's apply task.
///
/// An entry is applied once it is committed *and* on this replica's own disk. Raft asks only for the
/// first. The second keeps everything that is derived from the log (saved state, indexes,
/// checkpoints) from being ahead of it after a power cut, when an unsynced tail is gone; it costs
/// nothing where the replica's disk is not the slowest of the group.
pub struct Adapter {
    machine: Box<dyn StateMachine>,
    log: Arc<CommitLog>,
    hard: HardState,
    boundary: Boundary,
    recorder: Recorder,
    flushed: watch::Receiver<Option<LogId>>,
    applied: watch::Sender<Option<LogId>>,
    membership: StoredMembership,
}

/// Which checkpoint is the Raft snapshot: the one at the start of the retained log.
#[derive(Clone)]
pub struct Boundary {
    checkpoints: Checkpoints,
    log: Arc<CommitLog>,
    /// Set by whoever wants the log trimmed: the physical offset where it shall start.
    pub target: Arc<Mutex<Option<u64>>>,
    lease: Lease,
}

impl Boundary {
    /// Nothing is to be trimmed yet.
    pub fn new(checkpoints: Checkpoints, log: Arc<CommitLog>, lease: Lease) -> Self {
        Self { checkpoints, log, target: Arc::default(), lease }
    }

    fn current(&self) -> io::Result<Option<Stored>> {
        let newest = match self.checkpoints.newest() {
            // It was recorded here, of a log that is here: only one that is ahead of the log is needed to start.
            Err(error) if error.kind() == io::ErrorKind::InvalidData && !self.is_ahead()? => {
                tracing::error!(%error, "the newest checkpoint is damaged: the log cannot be trimmed to it");
                None
            }
            newest => newest?,
        };
        let last = self.log.last().map(|id| id.index);
        if let Some(ahead) = newest.filter(|stored| Some(stored.log_id.index) > last) {
            // Installed from a peer; the log is about to start over behind it.
            return Ok(Some(ahead));
        }
        match self.log.trimmed() {
            Some(_) => self.checkpoints.load(self.log.min_physical_offset()),
            None => Ok(None),
        }
    }
}

impl Boundary {
    /// Whether the newest checkpoint lies behind the log's end.
    fn is_ahead(&self) -> io::Result<bool> {
        let newest = self.checkpoints.list()?.pop();
        Ok(newest.is_some_and(|physical_offset| self.log.next_physical_offset() < physical_offset))
    }
}

impl Adapter {
    /// `flushed` tells what is on this replica's disk; `applied` is told after each entry.
    pub fn new(
        machine: Box<dyn StateMachine>,
        hard: HardState,
        boundary: Boundary,
        flushed: watch::Receiver<Option<LogId>>,
        applied: watch::Sender<Option<LogId>>,
    ) -> io::Result<Self> {
        let membership = hard.membership().map_err(io::Error::other)?;
        applied.send_replace(machine.saved());
        let log = boundary.log.clone();
        let recorder = Recorder::start(boundary.checkpoints.clone(), boundary.lease.clone());
        Ok(Self { machine, log, hard, boundary, recorder, flushed, applied, membership })
    }

    async fn on_disk(&mut self, id: LogId) -> io::Result<()> {
        let reached = self.flushed.wait_for(|flushed| flushed.is_some_and(|last| id.index <= last.index));
        reached.await.map(drop).map_err(|_| io::Error::other("the I/O thread has ended"))
    }

    async fn apply_one(&mut self, entry: &Entry) -> io::Result<Outcome> {
        let frame = entry.frame.as_ref().expect("entries are read from the log, so they have a frame");
        let segment_bytes = self.log.options().segment_bytes;
        if frame.physical_offset.is_multiple_of(segment_bytes) && frame.physical_offset > 0 {
            self.record_checkpoint(frame.physical_offset);
        }
        if let Payload::Membership(membership) = &entry.payload {
            self.membership = StoredMembership::new(Some(to_raft(frame.id)), membership.clone());
            self.hard.save_membership(&self.membership).map_err(io::Error::other)?;
        }
        let carries = match entry.payload {
            Payload::Logged | Payload::Proposal(_) => Carries::Proposal,
            Payload::Blank | Payload::Membership(_) => Carries::Nothing,
        };
        let applied = Applied {
            log_id: frame.id,
            physical_offset: frame.payload_physical_offset(),
            payload: frame.payload(),
            carries,
        };
        // A committed entry must be applied, so a disk that takes nothing is waited for; nothing behind the entry is
        // applied meanwhile, and nothing is lost.
        loop {
            if let Ok(outcome) = self.machine.apply(&applied) {
                return Ok(outcome);
            }
            tokio::time::sleep(RETRY_EVERY).await;
        }
    }

    /// The state as of the entry before the segment that starts at `physical_offset`.
    fn record_checkpoint(&mut self, physical_offset: u64) {
        let Some(log_id) = *self.applied.borrow() else { return };
        let checkpoint = Checkpoint { physical_offset, state: self.machine.checkpoint().into() };
        self.recorder.record(Stored { log_id, membership: self.membership.clone(), checkpoint });
    }
}

impl RaftStateMachine<TypeConfig> for Adapter {
    type SnapshotData = Checkpoint;
    type SnapshotBuilder = Boundary;

    async fn applied_state(&mut self) -> io::Result<(Option<RaftLogId>, StoredMembership)> {
        Ok((self.applied.borrow().map(to_raft), self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + Send,
    {
        let mut last = None;
        while let Some((entry, responder)) = entries.try_next().await? {
            self.on_disk(entry.id()).await?;
            let outcome = self.apply_one(&entry).await?;
            last = Some(entry.id());
            self.applied.send_replace(last);
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        if let Some(last) = last {
            self.machine.applied(last);
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Boundary> {
        Some(self.boundary.clone())
    }

    async fn get_snapshot_builder(&mut self) -> Boundary {
        self.boundary.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Checkpoint) -> io::Result<()> {
        let stored = Stored::from_snapshot(meta, snapshot)
            .ok_or_else(|| io::Error::other("a checkpoint without a log id cannot be installed"))?;
        let Checkpoint { physical_offset, state } = stored.checkpoint.clone();
        let log_id = stored.log_id;
        tracing::info!(?log_id, physical_offset, last_log = ?self.log.last(), "installing a checkpoint");
        recorder::save(&self.boundary.checkpoints, stored, &self.boundary.lease).await?;
        self.machine.restore(log_id, physical_offset, &state).map_err(io::Error::other)?;
        self.membership = meta.last_membership.clone();
        self.hard.save_membership(&self.membership).map_err(io::Error::other)?;
        self.applied.send_replace(meta.last_log_id.as_ref().map(from_raft));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        Ok(self.boundary.current()?.map(Stored::into_snapshot))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Boundary {
    type SnapshotData = Checkpoint;

    /// "Builds" the snapshot by picking the checkpoint that was recorded at the wanted boundary.
    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let target = *self.target.lock();
        let found = match target {
            Some(at) => self.checkpoints.load(at)?,
            None => self.current()?,
        };
        found.map(Stored::into_snapshot).ok_or_else(|| {
            let wanted = target.map_or("the start of the log".into(), |at| format!("physical offset {at}"));
            io::Error::new(io::ErrorKind::NotFound, format!("there is no checkpoint at {wanted}"))
        })
    }
}
