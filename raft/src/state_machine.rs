//! The contract between the log and what it drives.

use bytes::Bytes;
use trireme_commitlog::LogId;

use crate::proposal::Outcome;

/// A committed entry, as it is handed to the state machine.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Its place in the log.
    pub log_id: LogId,
    /// Physical offset of the payload's first byte.
    pub physical_offset: u64,
    /// The proposal's payload: a slice of the commit log, no copy. Empty for entries that carry nothing
    /// for the broker (`carries` tells).
    pub payload: Bytes,
    /// What kind of entry it is.
    pub carries: Carries,
}

/// Kinds of entries, as a state machine sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// A proposal of the broker.
    Proposal,
    /// Nothing: a leader opened its term, or the group's members changed.
    Nothing,
}

/// An entry that cannot be applied to its end at the moment: the disk takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotYet;

/// Replicated state: driven by the log and by nothing else.
///
/// Every replica calls `apply` with the same entries in the same order; the state after an entry must
/// be equal on all of them. So an implementation reads no clock, draws no randomness, does no I/O whose
/// failure would show in the state, and does not wait.
///
/// Calls come from one task. `apply` is called with consecutive indexes, each until it is done once per run of
/// the process; after a restart, again from the first index above [`StateMachine::saved`].
pub trait StateMachine: Send + Sync + 'static {
    /// The log id up to which this state survives a restart. Asked once, before the first `apply`.
    fn saved(&self) -> Option<LogId>;

    /// Changes the state by one entry and says what the proposer shall hear. Or stops half-way, and is called with the same
    /// entry again some time later: then it does the rest.
    fn apply(&mut self, entry: &Applied) -> Result<Outcome, NotYet>;

    /// Called after a run of `apply` calls, before more input is waited for: the place to wake readers
    /// once for many entries. `applied` is the last one.
    fn applied(&mut self, applied: LogId);

    /// All replicated state, exactly as of the last applied entry.
    fn checkpoint(&mut self) -> Vec<u8>;

    /// Replaces all state by a checkpoint that some replica took at `log_id`. The log behind it starts at
    /// `physical_offset`. Refuses bytes that it cannot read; the replica then stops.
    fn restore(&mut self, log_id: LogId, physical_offset: u64, checkpoint: &[u8])
    -> Result<(), RestoreError>;
}

/// A checkpoint that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("checkpoint at {at} cannot be read: {reason}")]
pub struct RestoreError {
    /// Log id of the checkpoint.
    pub at: String,
    /// What is wrong with it.
    pub reason: String,
}
