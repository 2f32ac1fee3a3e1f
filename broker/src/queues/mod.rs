//! The derived indexes of a replica: ConsumeQueues and the key index.
//!
//! Both are functions of the committed log and nothing else. The applier feeds them, handlers read them at
//! the same time, and neither is flushed on the write path: the owner calls `flush` at a checkpoint, and
//! after a crash feeds the log again from the recorded position.
//!
//! ```text
//!   commit log ──applier──> ConsumeQueues  (topic, queue, queue offset) -> physical offset, size, tags
//!                     └───> KeyIndex       (topic, key, time)           -> candidate physical offsets
//! ```
//!
//! Invariants, whichever index:
//! - a unit or entry once appended is readable at once, from memory or file;
//! - nothing here starts a thread, reads a clock or draws randomness; blocking work is done by whoever calls;
//! - every byte read from a file has passed a checksum, so damage is an error value and never a wrong
//!   answer. The answer to damage is to feed the log again, never to repair in place;
//! - no name chosen by a client reaches the file system: files are named by numbers.
//!
//! The layouts on disk are in `FORMAT.md` beside this file. In RocketMQ: `ConsumeQueue`, `IndexService`.

pub mod consume;
mod disk;
mod error;
pub mod keys;

pub use error::Error;
