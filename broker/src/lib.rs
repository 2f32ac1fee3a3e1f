//! One replica of a broker group.
//!
//! ```text
//!  clients ─▶ router ─▶ features/*/handler ─▶ sequencer ─▶ raft (the commit log)
//!    ▲           │                                              │ committed
//!    │           └──▶ the leader, if that is another            ▼
//!    └──────── answers, woken pulls ◀── applier ─▶ state, ConsumeQueues ─▶ saver, indexer
//! ```
//!
//! A request either proposes or reads. What it proposes becomes visible when it is applied, on a quorum's
//! disks by then; what it reads is what this replica has applied.

pub mod clock;
pub mod config;
pub mod replica;

pub mod names;
mod router;
mod sequencer;

mod applier;
pub mod command;
pub mod entry;
pub mod state;

pub mod features;
pub mod inspect;
pub mod queues;

mod codec;
mod disk;
mod indexer;
mod registration;
mod saver;
