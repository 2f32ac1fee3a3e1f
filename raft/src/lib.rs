//! openraft made concrete: the commit log of a broker group is its Raft log.
//!
//! ```text
//!  broker ── propose ──▶ node ──▶ openraft ──▶ log_store ──▶ commitlog ──▶ disk
//!    ▲                              │  ▲            │                        │
//!    │                              │  │         flusher ◀── fdatasync ───────┘
//!    └── StateMachine::apply ◀──────┘  └── network ◀──▶ the group's other replicas
//! ```
//!
//! Nothing of openraft leaves this crate: a broker sees [`node::Node`], [`proposal::Proposal`] and
//! [`state_machine::StateMachine`], whose documentation is the contract.

pub mod config;
pub mod proposal;
pub mod state_machine;

pub mod inspect;
pub mod members;
pub mod mend;
pub mod node;
pub mod peers;

mod adapter;
mod bootstrap;
mod checkpoints;
mod codec;
mod contact;
mod entry;
mod flusher;
mod hard_state;
mod heard;
mod leadership;
mod lease;
mod log_store;
mod network;
mod recorder;
mod room;
mod slow;
mod store;
mod types;

#[cfg(test)]
mod suite_test;

/// The decoders of the peer protocol, for `fuzz/`.
#[cfg(fuzzing)]
pub use network::fuzzing;

pub use hard_state::{HardState, HardStateError, Identity, StoredState};
pub use trireme_commitlog::LogId;
