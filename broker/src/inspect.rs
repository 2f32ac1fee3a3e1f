//! Reading what a replica has saved of its state, for people. `trireme dump` is made of it, of [`crate::entry`] and of
//! [`crate::queues::consume::inspect`].

use std::collections::BTreeMap;

use crate::applier;
use crate::codec;
use crate::queues::consume::{Position, QueueId};
use crate::saver;
use crate::state::State;

pub use crate::codec::DecodeError;

/// The state in a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointState {
    /// Replicated state.
    pub state: State,
    /// How far each queue had come: the queue offset of its next message.
    pub queues: Vec<(QueueId, u64)>,
}

/// The bounds of every queue, in the parts of a saved state.
pub fn saved_queues(parts: &BTreeMap<String, Vec<u8>>) -> Result<Vec<Position>, DecodeError> {
    saver::positions(parts)
}

/// The state that a checkpoint's bytes hold.
pub fn checkpoint(bytes: &[u8]) -> Result<CheckpointState, DecodeError> {
    let applier::Checkpoint { parts, queues } = codec::decode("checkpoint", bytes)?;
    let queue = |(topic_id, queue_id, next)| (QueueId { topic_id, queue_id }, next);
    Ok(CheckpointState { state: State::restore(&parts)?, queues: queues.into_iter().map(queue).collect() })
}
