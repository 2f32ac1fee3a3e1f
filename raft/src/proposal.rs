//! What a leader proposes, and what the proposer is told.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openraft::raft::ClientWriteResult;
use openraft::raft::responder::Responder;
use trireme_commitlog::{FrameBuf, LogId};

use crate::room::Promise;
use crate::types::TypeConfig;

/// The frame kind of proposals in the commit log.
pub const KIND: u8 = crate::entry::kind::NORMAL;

/// Completes a payload when it is appended: called at most once, on the task that appends, for entries
/// in the order of their indexes. Not called at all for a proposal that is refused, so numbers that it
/// hands out have no gaps. Must not block.
pub type Stamp = Box<dyn FnOnce(&mut [u8], u64) + Send + Sync>;

/// One Raft entry that is not in the log yet.
///
/// `frame` holds the payload, encoded by the proposer into the very buffer that will be written.
/// What depends on the entry's place in the log is left open and filled in by `stamp` when the entry
/// is appended, just before it is checksummed.
pub struct Proposal {
    /// The payload, behind room for the frame header.
    pub frame: FrameBuf,
    /// Completes the payload, given the physical offset of its first byte.
    pub stamp: Stamp,
    /// Set when the leader's log takes the entry: from then on a failure means "outcome unknown".
    pub(crate) appended: Arc<AtomicBool>,
    /// The room that is kept for it while it waits to be appended.
    pub(crate) promise: Option<Promise>,
}

impl Proposal {
    /// An empty payload with room for `capacity` bytes, to encode a proposal into.
    pub fn frame(capacity: usize) -> FrameBuf {
        FrameBuf::with_capacity(KIND, capacity)
    }

    /// A proposal of `frame`, completed by `stamp` when it is appended.
    pub fn new(frame: FrameBuf, stamp: Stamp) -> Self {
        Self { frame, stamp, appended: Arc::new(AtomicBool::new(false)), promise: None }
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proposal({} bytes)", self.frame.payload().len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What applying one entry said. Equal on every replica; only the proposer's is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Physical offset of the payload's first byte.
    pub physical_offset: u64,
    /// The commands of the entry that the state machine refused.
    pub refusals: Vec<Refusal>,
}

/// A command that was committed but changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Position of the command within its entry.
    pub ordinal: u32,
    /// RocketMQ response code.
    pub code: i32,
    /// Why, for a person.
    pub reason: String,
}

/// A committed and applied entry, told to its proposer.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Where the entry stands in the log.
    pub log_id: LogId,
    /// What applying it said.
    pub outcome: Outcome,
}

/// Why a proposal has no [`Committed`].
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// Refused before it was appended: it is not in the log and will never be.
    #[error("this replica does not lead the group in term {term}")]
    NotLeader {
        /// The term that the proposer believed to lead.
        term: u64,
    },
    /// It may or may not be committed later: leadership was lost or the replica stopped meanwhile.
    #[error("the outcome is unknown: {reason}")]
    Unknown {
        /// What happened.
        reason: String,
    },
}

/// A reply slot: a closure that is called exactly once, on the task that applies. It must not block.
pub struct Reply<T>(Option<Box<dyn FnOnce(Option<T>) + Send>>);

impl<T> Reply<T> {
    /// `done` is given `None` if the slot is dropped without an answer, as when a replica stops.
    pub fn new(done: impl FnOnce(Option<T>) + Send + 'static) -> Self {
        Self(Some(Box::new(done)))
    }
}

impl<T: Send + 'static> Responder<TypeConfig, T> for Reply<T> {
    fn on_complete(mut self, result: T) {
        if let Some(done) = self.0.take() {
            done(Some(result));
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done(None);
        }
    }
}

/// openraft's verdict on a write, in our words. `appended` tells a refusal from an unknown outcome:
/// openraft answers "forward to the leader" for both.
pub(crate) fn verdict(
    term: u64,
    appended: &AtomicBool,
    result: Option<ClientWriteResult<TypeConfig>>,
) -> Result<Committed, ProposeError> {
    match result {
        Some(Ok(written)) => {
            Ok(Committed { log_id: crate::types::from_raft(&written.log_id), outcome: written.data })
        }
        _ if !appended.load(Ordering::Acquire) => Err(ProposeError::NotLeader { term }),
        Some(Err(error)) => Err(ProposeError::Unknown { reason: error.to_string() }),
        None => Err(ProposeError::Unknown { reason: format!("the replica stopped leading term {term}") }),
    }
}
