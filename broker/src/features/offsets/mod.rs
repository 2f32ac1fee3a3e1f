//! Consumers' positions: per group, topic and queue, the next message to consume.
//!
//! Thousands of clients commit every five seconds. Their commits gather on the leader, last one wins,
//! and are proposed together (`gather.rs`); whoever asks for a position that has been committed but not
//! yet proposed waits for that, so a position that was read is on a quorum's disks.
//! Most clients do not wait for an answer to a commit: what has gathered is written before the lead is handed over by order.
//! RocketMQ: `ConsumerOffsetManager`, request codes 14, 15, 29, 30, 31, 32.

mod command;
mod gather;
mod handler;
mod state;

pub use command::{CommitOffsets, Position};
pub use gather::{Gather, HandingOver, NotTaken, run};
pub use handler::{
    commit, commit_along, earliest_store_time, known_queue, max_offset, min_offset, query, search_by_time,
};
pub use state::OffsetState;
