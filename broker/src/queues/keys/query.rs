//! Looking a key up, and checking the whole index.

use std::ops::ControlFlow;

use super::KeyIndex;
use super::entry::{Entry, key_hash};
use super::page::{Kind, Page};
use super::run::Run;
use crate::queues::Error;

impl KeyIndex {
    /// Physical offsets of up to `max` messages of `topic` that have `key` and were stored between
    /// `begin_ms` and `end_ms` (both inclusive), newest first, each once.
    ///
    /// They are candidates: the caller compares the real topic and keys, and skips what was trimmed since.
    /// Blocks for two or three page reads per run whose time range fits. Errors: `DamagedRun`, `Io`.
    pub fn query(
        &self,
        topic: &str,
        key: &str,
        begin_ms: i64,
        end_ms: i64,
        max: usize,
    ) -> Result<Vec<u64>, Error> {
        let hash = key_hash(topic, key);
        let mut found = Vec::new();
        if max == 0 {
            return Ok(found);
        }
        let mut take = |entry: Entry| {
            let fits = (begin_ms..=end_ms).contains(&entry.store_time_ms);
            // Two keys of one message with the same hash stand side by side.
            if fits && found.last() != Some(&entry.physical_offset) {
                found.push(entry.physical_offset);
            }
            if found.len() < max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let (mut outcome, frozen, runs) = {
            let state = self.shared.state.lock();
            let outcome = state.active.with_hash(hash).try_for_each(&mut take);
            (outcome, state.frozen.clone(), state.runs.clone())
        };
        if outcome.is_continue() {
            outcome = frozen.iter().rev().flat_map(|table| table.with_hash(hash)).try_for_each(&mut take);
        }
        for run in runs.iter().rev() {
            if outcome.is_break() {
                break;
            }
            if begin_ms <= run.summary.max_store_time_ms && run.summary.min_store_time_ms <= end_ms {
                outcome = run.with_hash(hash, &mut take)?;
            }
        }
        Ok(found)
    }

    /// Reads every run: pages must pass their checksums, entries must be in order and as many as the footer
    /// says.
    ///
    /// Every query checks the pages it reads; this finds damage in what nobody asked for. Errors: the first
    /// `DamagedRun` in log order, or `Io`.
    pub fn verify(&self) -> Result<(), Error> {
        let runs = self.shared.state.lock().runs.clone();
        runs.iter().try_for_each(|run| verify_run(run))
    }
}

fn verify_run(run: &Run) -> Result<(), Error> {
    let mut page = Page::new();
    let mut entries = 0;
    let mut last = None;
    for number in 0..run.summary.data_pages {
        let count = run.read_page(&mut page, number, Kind::Data)?;
        for entry in page.entries(count) {
            if last.is_some_and(|last| entry < last) {
                return Err(run.damaged("entries are out of order"));
            }
            last = Some(entry);
            entries += 1;
        }
    }
    for number in run.fence_pages() {
        run.read_page(&mut page, number, Kind::Fence)?;
    }
    if entries != run.summary.entries { Err(run.damaged("entries are missing")) } else { Ok(()) }
}
