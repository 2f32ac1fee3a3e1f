//! Taking entries away: at the head with the log, at the tail for recovery, or all of them.

use std::sync::Arc;

use super::run::Run;
use super::table::Table;
use super::work::Worker;
use super::{KeyIndex, LastIndexed, State};
use crate::queues::{Error, disk};

impl KeyIndex {
    /// Follows the commit log's trimming: runs that hold nothing at or above `min_physical_offset` are
    /// removed.
    ///
    /// What else lies below it goes with its run, later; queries may return it meanwhile. Errors: `Io`; a
    /// run that could not be removed is out of use, and the next `open` finds it again.
    pub fn trim(&self, min_physical_offset: u64) -> Result<(), Error> {
        let mut worker = self.shared.worker.lock();
        let removed: Vec<_> = {
            let mut state = self.shared.state.lock();
            let trimmed = |run: &Arc<Run>| run.summary.last_physical_offset < min_physical_offset;
            let count = state.runs.partition_point(trimmed);
            if count == 0 {
                return Ok(());
            }
            state.is_damaged = false;
            state.runs_mut().drain(..count).collect()
        };
        self.abandon_merge_of(&removed, &mut worker);
        // Oldest first: whatever part of it survives a crash, the remaining numbers follow one another.
        removed.iter().try_for_each(|run| disk::remove_file(&run.path))
    }

    /// Forgets every message that starts at or above `end_physical_offset`, and returns the physical offset
    /// from which the log is to be fed again: `end_physical_offset`, or less where a run reaches across it,
    /// for runs go as a whole. This is also how a damaged run is taken out: its first physical offset is in
    /// the error.
    ///
    /// Not while the applier appends. Errors: `Io`; the entries are out of use all the same, but the next
    /// `open` may find some again.
    pub fn truncate_after(&self, end_physical_offset: u64) -> Result<u64, Error> {
        let mut worker = self.shared.worker.lock();
        let (removed, feed_from) = {
            let mut state = self.shared.state.lock();
            let kept = |run: &Arc<Run>| run.summary.last_physical_offset < end_physical_offset;
            let count = state.runs.partition_point(kept);
            state.is_damaged = false;
            let removed = state.runs_mut().split_off(count);
            let first_removed = removed.first().map(|run| run.summary.first_physical_offset);
            let feed_from = end_physical_offset.min(first_removed.unwrap_or(u64::MAX));
            state.drop_tables_from(feed_from, self.shared.options.table_entries);
            state.indexed_up_to = state.indexed_up_to.min(feed_from);
            state.skip_below = feed_from;
            (removed, feed_from)
        };
        self.abandon_merge_of(&removed, &mut worker);
        // Newest first, so that no gap is left behind; and durably, since their numbers will be used again.
        removed.iter().rev().try_for_each(|run| disk::remove_file(&run.path))?;
        if !removed.is_empty() {
            disk::sync_dir(&self.shared.dir)?;
        }
        if let Some(last_run) = self.shared.state.lock().runs.last() {
            worker.next_number = last_run.summary.last_number + 1;
        }
        Ok(feed_from)
    }

    /// Forgets everything, ready to be fed from the log again. Not while the applier appends.
    pub fn reset(&self) -> Result<(), Error> {
        self.truncate_after(0).map(drop)
    }

    /// Ends a merge whose sources are gone. The caller holds `worker`, and `state` not: this removes a file.
    fn abandon_merge_of(&self, removed: &[Arc<Run>], worker: &mut Worker) {
        if worker.merge.as_ref().is_some_and(|merge| removed.iter().any(|run| merge.has_source(run))) {
            worker.merge = None;
            self.shared.state.lock().is_merging = false;
        }
    }
}

impl State {
    /// The set of runs, to be changed: what was known about it no longer holds.
    pub(super) fn runs_mut(&mut self) -> &mut Vec<Arc<Run>> {
        self.merge_is_due = None;
        Arc::make_mut(&mut self.runs)
    }

    /// Drops the entries at or above `end` from the tables, and finds the newest of those that remain.
    fn drop_tables_from(&mut self, end: u64, table_entries: usize) {
        let mut kept = Table::new(table_entries);
        let active = std::mem::replace(&mut self.active, Table::new(table_entries));
        // At most one table reaches across `end`; it becomes the active one.
        let reaches_across = |table: &Table| table.last().is_some_and(|last| last.physical_offset >= end);
        let first_cut = self.frozen.partition_point(|table| !reaches_across(table));
        let cut = match self.frozen.get(first_cut) {
            Some(table) => table,
            None => &Arc::new(active),
        };
        cut.entries().filter(|entry| entry.physical_offset < end).for_each(|entry| kept.push(entry));
        self.frozen.truncate(first_cut);
        self.frozen_entries = self.frozen.iter().map(|table| table.len()).sum();
        self.active = kept;

        let in_tables = self.active.last().or_else(|| self.frozen.back().and_then(|table| table.last()));
        let in_runs =
            self.runs.last().map(|run| (run.summary.last_physical_offset, run.summary.max_store_time_ms));
        self.last = in_tables
            .map(|entry| (entry.physical_offset, entry.store_time_ms))
            .or(in_runs)
            .map(|(physical_offset, store_time_ms)| LastIndexed { physical_offset, store_time_ms });
    }
}
