//! Opening after a restart: which of the run files are whole and follow one another.
//!
//! | found | done | because |
//! |---|---|---|
//! | a temporary file | removed | a crash interrupted its writing |
//! | a run inside another's numbers | removed | it is a source of that merged run |
//! | a run that fails its checks | removed, with all runs after it | |
//! | a gap in the numbers | all runs after it removed | a file is missing |
//! | runs that overlap in the log | the later removed, with all after it | no writer of ours leaves that |
//!
//! What is removed is fed again: `indexed_up_to` is the end of what remains.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::warn;

use super::run::{self, Run};
use super::run_writer::TEMPORARY;
use super::table::Table;
use super::work::Worker;
use super::{KeyIndex, LastIndexed, Options, Shared, State};
use crate::queues::{Error, disk};

impl KeyIndex {
    /// Opens the index below `dir` (created if missing).
    ///
    /// Reads two pages per run; the rest is checked when read, or by [`KeyIndex::verify`]. Damage found is
    /// no error: what it affects is removed, and [`KeyIndex::indexed_up_to`] says from where to feed the
    /// log again. Errors: `Io`. Panics if an option is 0, `merge_fan_in` is less than 2, or
    /// `pending_entries_max` is less than `run_entries`.
    pub fn open(dir: &Path, options: Options) -> Result<KeyIndex, Error> {
        let Options { range_bytes, table_entries, run_entries, pending_entries_max, .. } = options;
        assert!(range_bytes > 0 && table_entries > 0 && run_entries > 0 && options.merge_step_entries > 0);
        assert!(options.merge_fan_in >= 2, "merging one run into one would never end");
        assert!(pending_entries_max >= run_entries, "the backlog must fill a run, or none would ever be due");
        disk::create_dir_all(dir)?;
        let runs = load_runs(dir)?;
        let last = runs.last().map(|run| LastIndexed {
            physical_offset: run.summary.last_physical_offset,
            store_time_ms: run.summary.max_store_time_ms,
        });
        let indexed_up_to = last.map_or(0, |last| last.physical_offset + 1);
        let next_number = runs.last().map_or(1, |run| run.summary.last_number + 1);
        let state = State {
            active: Table::new(table_entries),
            frozen: VecDeque::new(),
            frozen_entries: 0,
            runs: Arc::new(runs),
            indexed_up_to,
            skip_below: indexed_up_to,
            last,
            is_merging: false,
            merge_is_due: None,
            is_damaged: false,
            work_taken: false,
        };
        let worker = Worker { next_number, merge: None };
        let shared =
            Shared { dir: dir.to_path_buf(), options, worker: Mutex::new(worker), state: Mutex::new(state) };
        Ok(KeyIndex { shared: Arc::new(shared) })
    }
}

/// Applies the table above; returns the remaining runs, oldest first.
fn load_runs(dir: &Path) -> Result<Vec<Arc<Run>>, Error> {
    let mut names = Vec::new();
    disk::for_each_entry(dir, |name, path| {
        if name.strip_suffix(TEMPORARY).and_then(run::parse_name).is_some() {
            disk::remove_file(path)?;
        }
        names.extend(run::parse_name(name));
        Ok(())
    })?;
    // The widest of those with one first number comes first, so a run inside another follows it.
    names.sort_unstable_by_key(|&(first, last)| (first, std::cmp::Reverse(last)));

    let mut runs: Vec<Arc<Run>> = Vec::new();
    let mut is_broken = false;
    for (first, last) in names {
        let path = dir.join(run::file_name(first, last));
        let before = runs.last().map(|run| run.summary);
        if before.is_some_and(|before| last <= before.last_number) {
            disk::remove_file(&path)?;
            continue;
        }
        if !is_broken {
            match Run::open(&path, first, last) {
                Ok(run) if before.is_none_or(|before| run.summary.follows(&before)) => {
                    runs.push(Arc::new(run));
                    continue;
                }
                Ok(_) => warn!(path = %path.display(), "key index run does not follow the one before it"),
                Err(error @ Error::DamagedRun { .. }) => warn!(%error, "key index run is damaged"),
                Err(error) => return Err(error),
            }
            is_broken = true;
        }
        disk::remove_file(&path)?;
    }
    if is_broken {
        // Their numbers will be used again: a crash must not bring the old files back beside the new.
        disk::sync_dir(dir)?;
    }
    Ok(runs)
}
