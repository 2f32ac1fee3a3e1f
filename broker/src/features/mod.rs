//! What a broker can do: one folder per feature, each of the same shape.
//!
//! `command` holds the log commands that a feature owns, `state` the replicated state that they change
//! (synchronous, deterministic), `handler` answers requests by proposing or by reading, `task` runs on
//! the leader alone and has no effect but its proposals.

pub mod clients;
pub mod delay;
pub mod groups;
pub mod leadership;
pub mod locks;
pub mod members;
pub mod offsets;
pub mod pull;
pub mod query;
pub mod retention;
pub mod retry;
pub mod runtime;
pub mod scrub;
pub mod send;
pub mod topics;
pub mod upgrade;
pub mod witness;
