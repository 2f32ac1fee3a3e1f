//! Which formats the group writes: those that its oldest replica reads (`docs/decisions/0017-versions.md`).
//!
//! Replicas of two releases share a log while a group is upgraded one replica after the other. The format version is
//! replicated state, begins at 1, and goes up, never down, when all members have announced that they read more.

mod command;
mod state;
mod task;

pub use command::RaiseVersion;
pub use state::GroupVersion;
pub use task::run;
