//! The applier: walks committed entries and is the only one that changes replicated state.
//!
//! Per message it appends a 24-byte record to a ConsumeQueue, in memory; per command it changes the
//! state. After a run of entries it wakes whoever waits for the queues that grew. Saving the state to
//! disk happens elsewhere (`saver.rs`), from copies made here between two entries.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::RwLock;
use trireme_planted::{self as planted, Defect};
use trireme_raft::LogId;
use trireme_raft::peers::Peers;
use trireme_raft::proposal::Outcome;
use trireme_raft::state_machine::{Applied, Carries, NotYet, RestoreError, StateMachine};
use trireme_remoting::message::StoredMessage;

use crate::codec;
use crate::command::Command;
use crate::entry::Entry;
use crate::features::pull::Parked;
use crate::queues::Error;
use crate::queues::consume::{ConsumeQueues, Position, QueueId};
use crate::saver::{Copies, Saver};
use crate::state::{self, State};

/// The broker's state machine.
pub struct Applier {
    state: Arc<RwLock<State>>,
    queues: ConsumeQueues,
    parked: Parked,
    saver: Saver,
    /// Told what the state says of the other replicas.
    peers: Arc<Peers>,
    /// Bytes of entries that were applied since the last save was handed over.
    unsaved: u64,
    saved: Option<LogId>,
    grown: HashSet<QueueId>,
    /// Deleted topics whose queues still have their files, and the entries that deleted them: a restart may go on
    /// from before such an entry, and would rebuild from the log what is missing.
    deleted: Vec<(LogId, u32)>,
    /// The entry that is to be applied next, if a part of it is.
    begun: Option<Begun>,
}

/// How far an entry is applied.
struct Begun {
    outcome: Outcome,
    /// So many messages are, behind all commands.
    messages: usize,
    /// Where the last one lies that has a topic.
    last: Option<u32>,
}

/// A checkpoint: what the state is made of, and how far each queue had come.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Checkpoint {
    /// One encoded value per feature.
    pub parts: std::collections::BTreeMap<String, Vec<u8>>,
    /// Topic id, queue id, next queue offset.
    pub queues: Vec<(u32, u32, u64)>,
}

impl Applier {
    /// `saved` is the log id that `state` and `queues` were loaded at.
    pub fn new(
        state: Arc<RwLock<State>>,
        queues: ConsumeQueues,
        parked: Parked,
        saver: Saver,
        peers: Arc<Peers>,
        saved: Option<LogId>,
    ) -> Self {
        {
            let state = state.read();
            peers.learn(state.version.get(), state.witness.witnessed());
        }
        if let Some(saved) = saved {
            saver.whole(saved);
            saver.saved(saved);
        }
        let (grown, deleted) = (HashSet::new(), Vec::new());
        Self { state, queues, parked, saver, peers, saved, grown, deleted, unsaved: 0, begun: None }
    }

    fn begin(&mut self, applied: &Applied, entry: &Entry) -> Begun {
        let mut outcome = Outcome { physical_offset: applied.physical_offset, refusals: Vec::new() };
        if !entry.commands.is_empty() {
            self.commands(applied.log_id, entry, &mut outcome);
        }
        Begun { outcome, messages: 0, last: None }
    }

    fn commands(&mut self, log_id: LogId, entry: &Entry, outcome: &mut Outcome) {
        let mut state = self.state.write();
        for (ordinal, command) in entry.commands.iter().enumerate() {
            match state.apply(command) {
                Ok(topic) => self.deleted.extend(topic.map(|topic_id| (log_id, topic_id))),
                Err(refused) => outcome.refusals.push(state::refusal(ordinal, refused)),
            }
            if matches!(command, Command::RaiseVersion(_) | Command::Witness(_)) {
                self.peers.learn(state.version.get(), state.witness.witnessed());
            }
        }
    }

    /// Removes the queues of topics that no restart knows any more.
    fn remove_deleted(&mut self) {
        let on_disk = self.saver.on_disk();
        let queues = &self.queues;
        self.deleted.retain(|(deleted_at, topic_id)| {
            let is_known = on_disk.is_none_or(|saved| saved.index < deleted_at.index);
            if !is_known && let Err(error) = queues.remove_topic(*topic_id) {
                // Files of a topic that is gone are never read again; they only take room.
                tracing::warn!(topic_id, %error, "the queues of a deleted topic could not be removed");
            }
            is_known
        });
    }

    /// Goes on from where it has `begun`.
    fn messages(&mut self, entry: &Entry, payload_offset: u64, begun: &mut Begun) -> Result<(), Error> {
        {
            let state = self.state.clone();
            let state = state.read();
            for stored in entry.stored().skip(begun.messages) {
                let stored = stored.expect("the entry's checksum was right, so its writer made it so");
                // A message whose topic was deleted between its check and here goes with its topic.
                if state.topics.name(stored.queue.topic_id).is_some() {
                    self.queues.append(stored.queue, stored.queue_offset, stored.unit(payload_offset))?;
                    self.grown.insert(stored.queue);
                    begun.last = Some(stored.at);
                }
                begun.messages += 1;
            }
        }
        // Store times do not go back within an entry, so the last message has the latest.
        let last = begun.last.map(|at| StoredMessage::parse(&entry.messages[at as usize..]));
        if let Some(Ok(message)) = last {
            let mut state = self.state.write();
            let latest = &mut state.general.last_store_timestamp;
            *latest = (*latest).max(message.store_timestamp);
        }
        Ok(())
    }
}

/// The latest store time before a checkpoint, in milliseconds since 1970; 0 if there was no message.
pub fn last_store_timestamp(checkpoint: &[u8]) -> Result<i64, codec::DecodeError> {
    let Checkpoint { parts, .. } = codec::decode("checkpoint", checkpoint)?;
    Ok(State::restore(&parts)?.general.last_store_timestamp)
}

/// What to save, while no entry is being applied. `None` if one is.
pub fn copies(state: &RwLock<State>, queues: &ConsumeQueues, saver: &Saver) -> Option<Copies> {
    let at = saver.at()?;
    let (parts, positions) = {
        let state = state.read();
        (state.checkpoint(), positions(&state, queues))
    };
    // Otherwise they may be of different entries, or of half of one.
    (saver.at() == Some(at)).then_some((at, parts, positions))
}

/// Where the queues of all topics stand. Those of deleted topics are not part of what is saved.
pub fn positions(state: &State, queues: &ConsumeQueues) -> Vec<Position> {
    let mut positions = queues.positions();
    positions.retain(|position| state.topics.name(position.queue.topic_id).is_some());
    positions
}

impl StateMachine for Applier {
    fn saved(&self) -> Option<LogId> {
        self.saved
    }

    fn apply(&mut self, applied: &Applied) -> Result<Outcome, NotYet> {
        if applied.carries == Carries::Nothing {
            self.saver.whole(applied.log_id);
            return Ok(Outcome { physical_offset: applied.physical_offset, refusals: Vec::new() });
        }
        self.saver.changing();
        let entry = Entry::parse(&applied.payload).unwrap_or_else(|error| {
            // Skipping it would make this replica differ from the others for ever.
            panic!("entry {:?} at {} cannot be applied: {error}", applied.log_id, applied.physical_offset)
        });
        let is_new = self.begun.is_none();
        let mut begun = self.begun.take().unwrap_or_else(|| self.begin(applied, &entry));
        if let Err(error) = self.messages(&entry, applied.physical_offset, &mut begun) {
            if is_new {
                tracing::error!(log_id = %applied.log_id, %error, "a ConsumeQueue cannot be written; waiting");
            }
            self.begun = Some(begun);
            return Err(NotYet);
        }
        self.unsaved += applied.payload.len() as u64;
        self.saver.whole(applied.log_id);
        Ok(begun.outcome)
    }

    fn applied(&mut self, applied: LogId) {
        if !self.grown.is_empty() {
            self.parked.arrived(self.grown.drain());
        }
        if !self.deleted.is_empty() {
            self.remove_deleted();
        }
        if self.saver.is_due(self.unsaved) {
            self.unsaved = 0;
            let state = self.state.read();
            self.saver.save(applied, state.checkpoint(), positions(&state, &self.queues));
        }
    }

    fn checkpoint(&mut self) -> Vec<u8> {
        let state = self.state.read();
        let queues = positions(&state, &self.queues);
        let mut parts = state.checkpoint();
        if planted::is(Defect::CheckpointWithoutPositions) {
            parts.extend(State::default().checkpoint().remove_entry("offsets"));
        }
        codec::encode(&Checkpoint {
            parts,
            queues: queues
                .iter()
                .map(|p| (p.queue.topic_id, p.queue.queue_id, p.next_queue_offset))
                .collect(),
        })
    }

    fn restore(
        &mut self,
        log_id: LogId,
        _physical_offset: u64,
        checkpoint: &[u8],
    ) -> Result<(), RestoreError> {
        let refused = |reason: String| RestoreError { at: log_id.to_string(), reason };
        let checkpoint: Checkpoint =
            codec::decode("checkpoint", checkpoint).map_err(|error| refused(error.to_string()))?;
        let state = State::restore(&checkpoint.parts).map_err(|error| refused(error.to_string()))?;
        self.saver.changing();
        self.begun = None;
        // The messages before the checkpoint are not here, so each queue starts where it had come to.
        self.queues.reset().map_err(|error| refused(error.to_string()))?;
        self.deleted.clear();
        let mut positions = Vec::new();
        for (topic_id, queue_id, next) in checkpoint.queues {
            let queue = QueueId { topic_id, queue_id };
            self.queues.reset_queue(queue, next).map_err(|error| refused(error.to_string()))?;
            positions.push(Position { queue, min_queue_offset: next, next_queue_offset: next });
        }
        let parts = state.checkpoint();
        self.peers.learn(state.version.get(), state.witness.witnessed());
        *self.state.write() = state;
        self.saver.whole(log_id);
        self.saver.save(log_id, parts, positions);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;

    use trireme_raft::peers::NEWEST_VERSION;

    use super::*;
    use crate::entry::{self, EntryBuilder, plain_fields};
    use crate::features::delay::AdvanceDelay;
    use crate::features::topics::DeleteTopic;
    use crate::queues::consume::Options;
    use crate::queues::keys::MessageKeys;

    /// An entry at `index` with one message per queue offset, to queue 0 of `BenchmarkTest`.
    fn entry(state: &State, index: u64, queue_offsets: &[u64]) -> Applied {
        let topic = state.topics.get("BenchmarkTest").unwrap();
        let mut builder = EntryBuilder::new(1024);
        let fields = plain_fields(&topic.name, b"x");
        for _ in queue_offsets {
            builder.message(topic.id, 0, MessageKeys::default(), &fields).unwrap();
        }
        applied(builder, index, queue_offsets)
    }

    fn applied(builder: EntryBuilder, index: u64, queue_offsets: &[u64]) -> Applied {
        let (mut frame, marks) = builder.finish(NEWEST_VERSION);
        let physical_offset = index * 4096;
        for (mark, queue_offset) in marks.iter().zip(queue_offsets) {
            entry::stamp(frame.payload_mut(), *mark, physical_offset, *queue_offset);
        }
        Applied {
            log_id: LogId { term: 1, index },
            physical_offset,
            payload: frame.payload().to_vec().into(),
            carries: Carries::Proposal,
        }
    }

    fn queues(dir: &Path) -> ConsumeQueues {
        ConsumeQueues::open(dir, Options::STANDARD, &[], 0).unwrap().queues
    }

    /// A replica whose apply fails in the middle of an entry must not save what it has: the next start would
    /// apply the first half of the entry again.
    #[test]
    fn what_is_half_applied_belongs_to_no_entry() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::new("c", "g");
        let queues = queues(dir.path());
        let saver = Saver::new();
        let (one, torn) = (entry(&state, 1, &[0]), entry(&state, 2, &[1, 9]));
        let state = Arc::new(RwLock::new(state));
        let mut applier =
            Applier::new(state, queues.clone(), Parked::new(), saver.clone(), Arc::default(), None);
        assert_eq!(saver.at(), None, "nothing is applied yet");
        applier.apply(&one).unwrap();
        assert_eq!(saver.at(), Some(one.log_id));
        let applied = catch_unwind(AssertUnwindSafe(|| applier.apply(&torn)));
        assert!(applied.is_err(), "a queue offset that is not the next one stops the replica");
        assert_eq!(queues.positions()[0].next_queue_offset, 2, "half of it is applied");
        assert_eq!(saver.at(), None);
    }

    /// A queue that cannot be written holds up its entry, which is then applied from there on: nothing of it twice.
    #[test]
    fn what_a_disk_refuses_is_applied_later() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::new("c", "g");
        let topic_id = state.topics.get("BenchmarkTest").unwrap().id;
        let options = Options { spill_units: 2, ..Options::STANDARD };
        let queues = ConsumeQueues::open(dir.path(), options, &[], 0).unwrap().queues;
        let in_its_way = dir.path().join(topic_id.to_string());
        std::fs::write(&in_its_way, b"").unwrap();
        let saver = Saver::new();
        let mut builder = EntryBuilder::new(1024);
        builder.command(Command::AdvanceDelay(AdvanceDelay { queue_id: 0, from: 0, next: 1 }));
        let fields = plain_fields("BenchmarkTest", b"x");
        for _ in 0..5 {
            builder.message(topic_id, 0, MessageKeys::default(), &fields).unwrap();
        }
        let stored = applied(builder, 1, &[0, 1, 2, 3, 4]);
        let next = || queues.positions()[0].next_queue_offset;
        let state = Arc::new(RwLock::new(state));
        let mut applier =
            Applier::new(state, queues.clone(), Parked::new(), saver.clone(), Arc::default(), None);
        for _ in 0..3 {
            assert_eq!(applier.apply(&stored), Err(NotYet));
            assert_eq!((next(), saver.at()), (2, None), "nothing is saved of an entry that is half applied");
        }
        std::fs::remove_file(&in_its_way).unwrap();
        let outcome = applier.apply(&stored).unwrap();
        assert_eq!((next(), saver.at()), (5, Some(stored.log_id)));
        assert!(outcome.refusals.is_empty(), "a level that has moved on does not do so from there again");
    }

    /// A restart goes on from what is saved; if that still knows a deleted topic, its queues must be there, or
    /// all of the log would be read to make them again.
    #[test]
    fn a_deleted_topic_keeps_its_files_until_nobody_knows_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::new("c", "g");
        let queues = queues(dir.path());
        let saver = Saver::new();
        let stored = entry(&state, 1, &[0]);
        let mut builder = EntryBuilder::new(1024);
        builder.command(Command::DeleteTopic(DeleteTopic { name: "BenchmarkTest".into() }));
        let deleted = applied(builder, 2, &[]);
        let state = Arc::new(RwLock::new(state));
        let mut applier =
            Applier::new(state.clone(), queues.clone(), Parked::new(), saver.clone(), Arc::default(), None);
        applier.apply(&stored).unwrap();
        queues.flush().unwrap();
        saver.saved(stored.log_id);
        let has_files = || std::fs::read_dir(dir.path()).unwrap().count() > 0;
        assert!(has_files());
        applier.apply(&deleted).unwrap();
        applier.applied(deleted.log_id);
        assert!(has_files(), "what is saved knows the topic");
        assert!(positions(&state.read(), &queues).is_empty(), "what is saved from now on does not");
        saver.saved(deleted.log_id);
        applier.applied(deleted.log_id);
        assert!(!has_files());
    }
}
