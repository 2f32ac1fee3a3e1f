//! Locks on queues that are consumed in order: one consumer of a group at a time.
//!
//! **Local to the leader, not replicated**, as in RocketMQ without strict mode: after a failover the
//! consumers lock anew. A consumer stops 30 s after its last successful renewal, an owner is forgotten
//! after 60 s.
//! RocketMQ: `RebalanceLockManager`, request codes 41, 42.

mod handler;
mod table;

pub use handler::{lock, unlock};
pub use table::Locks;
