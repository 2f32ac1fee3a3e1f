//! What the owner's I/O thread does for the index: writing runs and merging them.

use std::sync::Arc;

use super::entry::Entry;
use super::merge::{Merge, SOURCES_MAX};
use super::run::Run;
use super::run_writer::RunWriter;
use super::table::Table;
use super::{KeyIndex, Options, Shared, State};
use crate::queues::{Error, disk};

/// What belongs to whoever changes the set of runs.
pub(super) struct Worker {
    /// The number of the next run of tables.
    pub next_number: u64,
    pub merge: Option<Merge>,
}

/// One step of background work on a key index, to be run on a thread that may block.
///
/// At most one is out at a time. Dropping it without running it is harmless: it is due again.
#[must_use = "the work is done by `run`"]
pub struct Work {
    shared: Arc<Shared>,
}

/// A merge that is due.
struct Candidate {
    runs: Vec<Arc<Run>>,
    level: u64,
}

impl KeyIndex {
    /// The next step of work, if any is due and none is out. Cheap: ask after every batch of appends, and
    /// again after each step.
    pub fn take_work(&self) -> Option<Work> {
        let mut state = self.shared.state.lock();
        let options = &self.shared.options;
        if state.work_taken || !(state.run_is_due(options) || state.merge_is_due(options)) {
            return None;
        }
        state.work_taken = true;
        Some(Work { shared: self.shared.clone() })
    }

    /// Makes every entry appended before the call durable: `indexed_up_to` passes the message of the last
    /// one.
    ///
    /// Blocks for writing what is in memory; appends and queries go on. Leaves a small run each time, so
    /// call it at checkpoints and at shutdown. Errors: `Io`; the entries are still in memory, and it may be
    /// tried again.
    pub fn flush(&self) -> Result<(), Error> {
        let mut worker = self.shared.worker.lock();
        let last = {
            let mut state = self.shared.state.lock();
            state.freeze(&self.shared.options);
            state.last.map_or(0, |last| last.physical_offset)
        };
        loop {
            let tables = {
                let state = self.shared.state.lock();
                match state.frozen.front().and_then(|table| table.first_physical_offset()) {
                    Some(first) if first <= last => state.oldest_tables(&self.shared.options),
                    _ => return Ok(()),
                }
            };
            self.shared.write_run(&mut worker, &tables)?;
        }
    }
}

impl Work {
    /// Does one bounded step: writes a run of up to `pending_entries_max` entries, or moves up to
    /// `merge_step_entries` of a merge. Ask [`KeyIndex::take_work`] again afterwards.
    ///
    /// Errors: `Io`; nothing is lost and the step is due again, so do not retry without a pause.
    /// `DamagedRun` from a merge: merges rest until [`KeyIndex::truncate_after`] or [`KeyIndex::reset`] has
    /// removed the run.
    pub fn run(self) -> Result<(), Error> {
        let shared = &*self.shared;
        let mut worker = shared.worker.lock();
        let tables = {
            let state = shared.state.lock();
            if state.run_is_due(&shared.options) { state.oldest_tables(&shared.options) } else { Vec::new() }
        };
        if !tables.is_empty() {
            return shared.write_run(&mut worker, &tables);
        }
        let outcome = shared.step_merge(&mut worker);
        let mut state = shared.state.lock();
        if outcome.is_err() {
            state.merge_is_due = None;
            state.is_damaged |= matches!(outcome, Err(Error::DamagedRun { .. }));
        }
        state.is_merging = worker.merge.is_some();
        outcome
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.shared.state.lock().work_taken = false;
    }
}

impl State {
    /// A run is worth writing when enough is frozen, or when its segment is complete.
    fn run_is_due(&self, options: &Options) -> bool {
        let Some(oldest) = self.frozen.front().and_then(|table| table.first_physical_offset()) else {
            return false;
        };
        self.frozen_entries >= options.run_entries || self.is_sealed(oldest, options)
    }

    /// Whether a merge is under way or could begin. Looks at the runs only after something changed.
    fn merge_is_due(&mut self, options: &Options) -> bool {
        let is_due =
            self.is_merging || self.merge_is_due.unwrap_or_else(|| self.merge_candidate(options).is_some());
        self.merge_is_due = Some(is_due);
        is_due
    }

    /// Whether nothing more will come for the range that holds `physical_offset`.
    fn is_sealed(&self, physical_offset: u64, options: &Options) -> bool {
        let last = self.last.map_or(0, |last| last.physical_offset);
        physical_offset / options.range_bytes < last / options.range_bytes
    }

    /// The oldest frozen tables as far as they are of one range.
    fn oldest_tables(&self, options: &Options) -> Vec<Arc<Table>> {
        let range =
            |table: &Arc<Table>| table.first_physical_offset().map(|first| first / options.range_bytes);
        let oldest = self.frozen.front().and_then(range);
        self.frozen.iter().take_while(|table| range(table) == oldest).cloned().collect()
    }

    /// The oldest merge that is due: all runs of a complete range, or `merge_fan_in` of one level in a
    /// growing one.
    fn merge_candidate(&self, options: &Options) -> Option<Candidate> {
        if self.is_damaged {
            return None;
        }
        let range = |run: &Arc<Run>| run.summary.first_physical_offset / options.range_bytes;
        for of_range in self.runs.chunk_by(|a, b| range(a) == range(b)) {
            // Its tables are due as soon as it is sealed, and tables go before merges, so these are all.
            let is_complete = self.is_sealed(of_range[0].summary.first_physical_offset, options);
            if is_complete && of_range.len() > 1 {
                let runs = &of_range[..of_range.len().min(SOURCES_MAX)];
                let level = runs.iter().map(|run| run.summary.level).max().map_or(0, |level| level + 1);
                return Some(Candidate { runs: runs.to_vec(), level });
            }
            let fan_in = options.merge_fan_in;
            let mut of_levels = of_range.chunk_by(|a, b| a.summary.level == b.summary.level);
            if let Some(of_level) = of_levels.find(|of_level| of_level.len() >= fan_in) {
                return Some(Candidate {
                    runs: of_level[..fan_in].to_vec(),
                    level: of_level[0].summary.level + 1,
                });
            }
        }
        None
    }
}

impl Shared {
    /// Writes the oldest frozen tables as one run and puts it in their place.
    fn write_run(&self, worker: &mut Worker, tables: &[Arc<Table>]) -> Result<(), Error> {
        let mut entries: Vec<Entry> = Vec::with_capacity(tables.iter().map(|table| table.len()).sum());
        entries.extend(tables.iter().flat_map(|table| table.entries()));
        entries.sort_unstable();
        let number = worker.next_number;
        let mut writer = RunWriter::create(&self.dir, number, number, 0)?;
        entries.iter().try_for_each(|&entry| writer.push(entry))?;
        let run = Arc::new(writer.finish()?);
        worker.next_number += 1;

        let mut state = self.state.lock();
        state.indexed_up_to = run.summary.last_physical_offset + 1;
        state.runs_mut().push(run);
        state.frozen.drain(..tables.len());
        state.frozen_entries -= entries.len();
        Ok(())
    }

    /// Begins, continues or completes a merge.
    fn step_merge(&self, worker: &mut Worker) -> Result<(), Error> {
        let mut merge = match worker.merge.take() {
            Some(merge) => merge,
            None => match self.state.lock().merge_candidate(&self.options) {
                Some(candidate) => Merge::begin(&self.dir, &candidate.runs, candidate.level)?,
                None => return Ok(()),
            },
        };
        if !merge.step(self.options.merge_step_entries)? {
            worker.merge = Some(merge);
            return Ok(());
        }
        let sources: Vec<_> = {
            let state = self.state.lock();
            state.runs.iter().filter(|run| merge.has_source(run)).cloned().collect()
        };
        let run = Arc::new(merge.finish()?);
        {
            let mut state = self.state.lock();
            let is_source = |run: &Arc<Run>| sources.iter().any(|source| Arc::ptr_eq(source, run));
            let runs = state.runs_mut();
            let at = runs.iter().position(is_source).unwrap_or(runs.len());
            runs.splice(at..at + sources.len(), [run]);
        }
        // From here on a crash leaves sources beside their merged run; `open` removes them by their numbers.
        sources.iter().try_for_each(|source| disk::remove_file(&source.path))
    }
}
