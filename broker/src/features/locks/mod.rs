//! Locks on queues that are consumed in order: one consumer of a group at a time.
//!
//! Who holds a queue is replicated, so that no leader gives it to two (`docs/decisions/0019-locks.md`). When a lock was renewed
//! is known to the leader alone: a new one takes all for renewed when it begins. A consumer stops 30 s after its last successful
//! renewal, an owner is forgotten after 60 s.
//! RocketMQ: `RebalanceLockManager`, request codes 41, 42.

mod command;
mod handler;
mod state;
mod table;

pub use command::Locking;
pub use handler::{is_ordered, lock, unlock};
pub use state::LockState;
pub use table::Locks;
