//! The key index: messages of a topic by key, newest first.
//!
//! Entries are 24 bytes, a 64-bit hash of (topic, key) with the message's physical offset and store time,
//! and lie in a small log-structured tree whose levels follow the commit log:
//!
//! ```text
//!   append ─> active table ─full─> frozen tables ──Work──> runs of one commit-log segment ──Work──> one run
//!             (hash chains)        (hash chains)           (sorted, immutable files)        sealed
//!   physical offsets:  newest <───────────────────────────────────────────────────────────> oldest
//! ```
//!
//! - Each table and each run covers a range of physical offsets that overlaps no other, so walking them from
//!   newest to oldest answers newest first, and trimming the log removes whole files.
//! - A run never crosses the boundary of a commit-log segment, and all entries of one message share a table
//!   and a run. So "indexed up to" is one physical offset.
//! - Memory: the tables (bounded by `pending_entries_max`) and 4 KiB per run.
//! - Nothing here starts a thread: sorting, writing and merging are [`Work`], which the owner takes and
//!   runs where it may block. A run file is written under another name, synced and renamed: it is whole or
//!   absent.
//! - Answers are candidates. Two keys may share a hash, so the caller compares the real topic and keys.
//!
//! Locks: `worker` before `state`; `state` is never held over a system call. In RocketMQ: `IndexService`,
//! `IndexFile`.

mod entry;
mod merge;
mod open;
mod page;
mod query;
mod run;
mod run_writer;
mod table;
#[cfg(test)]
mod tests;
mod trim;
mod work;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

pub use entry::{MessageKeys, key_hash};
pub use work::Work;

use entry::Entry;
use run::Run;
use table::Table;
use work::Worker;

/// Sizes and bounds of a [`KeyIndex`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of commit log that share a set of runs: the segment size, so that runs go when a segment goes.
    pub range_bytes: u64,
    /// Entries per table in memory. A lookup in the active table holds its lock for at most so many steps.
    pub table_entries: usize,
    /// Frozen entries that are worth a run file.
    pub run_entries: usize,
    /// Bound on entries that wait in frozen tables; above it `append` answers [`Backlog`].
    pub pending_entries_max: usize,
    /// Runs of one level that are merged into one of the next while their segment is still growing.
    pub merge_fan_in: usize,
    /// Entries that one step of a merge moves, the bound on how long one [`Work::run`] keeps others waiting.
    pub merge_step_entries: usize,
}

impl Options {
    /// What a broker uses: 1 GiB ranges, runs of 64 Ki entries (1.5 MiB), at most 1 Mi entries pending (40
    /// MiB).
    pub const STANDARD: Options = Options {
        range_bytes: 1 << 30,
        table_entries: 4096,
        run_entries: 1 << 16,
        pending_entries_max: 1 << 20,
        merge_fan_in: 16,
        merge_step_entries: 1 << 18,
    };
}

/// The refusal of an append: work is not done as fast as entries come.
///
/// The entry was not taken. Run the due [`Work`], or wait for whoever does, then append again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pending_entries} key index entries wait to be written")]
pub struct Backlog {
    /// Entries in frozen tables.
    pub pending_entries: usize,
}

/// The newest indexed message, as RocketMQ reports it with query results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastIndexed {
    /// Its physical offset (bytes).
    pub physical_offset: u64,
    /// Its store time (ms since the epoch).
    pub store_time_ms: i64,
}

/// The key index of one replica. Cloning gives another handle to the same index.
///
/// `append` is for the one applier; everything else may be called from anywhere. All calls but `append`,
/// `indexed_up_to`, `last_indexed` and `take_work` reach files and block: keep them off the async runtime.
#[derive(Clone)]
pub struct KeyIndex {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    options: Options,
    /// Held by whoever changes the set of runs, for the length of one step.
    worker: Mutex<Worker>,
    state: Mutex<State>,
}

struct State {
    active: Table,
    /// Full tables, oldest first.
    frozen: VecDeque<Arc<Table>>,
    frozen_entries: usize,
    /// Oldest first. Replaced as a whole, so that a query keeps what it began with.
    runs: Arc<Vec<Arc<Run>>>,
    /// Messages that start below this are in durable runs, or trimmed.
    indexed_up_to: u64,
    /// Appends of messages that start below this are passed over: runs hold them since before a restart.
    skip_below: u64,
    last: Option<LastIndexed>,
    /// A merge has begun and waits for its next step.
    is_merging: bool,
    /// Whether a merge could begin; `None` when something changed since it was last asked.
    merge_is_due: Option<bool>,
    /// A run was found damaged: no merge can succeed before it is gone.
    is_damaged: bool,
    /// A [`Work`] is out.
    work_taken: bool,
}

impl KeyIndex {
    /// Indexes one key, by its [`key_hash`], of the message at `physical_offset`; found by queries on return.
    ///
    /// Call it once per key (UNIQ_KEY and each element of KEYS), message by message in log order. Costs a
    /// few memory writes. A message that runs hold since before a restart is passed over, so the
    /// applier may simply feed from its own position, if that is not above [`KeyIndex::indexed_up_to`].
    ///
    /// Errors: [`Backlog`]. Panics if the physical offset falls.
    pub fn append(&self, hash: u64, physical_offset: u64, store_time_ms: i64) -> Result<(), Backlog> {
        let entry = Entry { hash, physical_offset, store_time_ms };
        let options = &self.shared.options;
        let mut state = self.shared.state.lock();
        if physical_offset < state.skip_below {
            return Ok(());
        }
        let last = state.last.map_or(0, |last| last.physical_offset);
        assert!(last <= physical_offset, "key index: physical offset falls from {last} to {physical_offset}");
        if physical_offset != last {
            let range = |offset| offset / options.range_bytes;
            let is_full =
                state.active.len() >= options.table_entries || range(last) != range(physical_offset);
            if is_full && !state.active.is_empty() {
                if state.frozen_entries >= options.pending_entries_max {
                    return Err(Backlog { pending_entries: state.frozen_entries });
                }
                state.freeze(options);
            }
        }
        state.active.push(entry);
        state.last = Some(LastIndexed { physical_offset, store_time_ms });
        Ok(())
    }

    /// Every message that starts below this physical offset (exclusive) is durably indexed, or trimmed.
    /// After a restart the log must be fed from here on, or from where it begins if that is later; 0 for an
    /// empty index.
    pub fn indexed_up_to(&self) -> u64 {
        self.shared.state.lock().indexed_up_to
    }

    /// The newest message that has an entry, durable or not.
    pub fn last_indexed(&self) -> Option<LastIndexed> {
        self.shared.state.lock().last
    }
}

impl State {
    /// Moves the active table behind the frozen ones, unless it is empty.
    fn freeze(&mut self, options: &Options) {
        if !self.active.is_empty() {
            let full = std::mem::replace(&mut self.active, Table::new(options.table_entries));
            self.merge_is_due = None;
            self.frozen_entries += full.len();
            self.frozen.push_back(Arc::new(full));
        }
    }
}
