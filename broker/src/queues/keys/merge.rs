//! Merging neighbouring runs into one, a bounded step at a time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;
use std::sync::Arc;

use super::entry::Entry;
use super::page::{Kind, Page};
use super::run::Run;
use super::run_writer::RunWriter;
use crate::queues::Error;

/// Pages that a source is read ahead by.
const PAGES_PER_READ: u64 = 16;

/// Sources of one merge at most: each costs a read-ahead of 64 KiB and an open file.
pub(super) const SOURCES_MAX: usize = 64;

/// A merge under way. Dropped unfinished it leaves no file behind.
pub(super) struct Merge {
    writer: RunWriter,
    sources: Vec<Source>,
    /// The next entry of every source that has one, lowest first.
    heads: BinaryHeap<Reverse<(Entry, usize)>>,
}

impl Merge {
    /// Begins to merge `runs`, which follow one another in the log, into one of `level`.
    pub fn begin(dir: &Path, runs: &[Arc<Run>], level: u64) -> Result<Merge, Error> {
        let (Some(first), Some(last)) = (runs.first(), runs.last()) else {
            unreachable!("a merge has at least two sources");
        };
        let writer = RunWriter::create(dir, first.summary.first_number, last.summary.last_number, level)?;
        let mut sources: Vec<_> = runs.iter().cloned().map(Source::new).collect();
        let mut heads = BinaryHeap::with_capacity(sources.len());
        for (index, source) in sources.iter_mut().enumerate() {
            heads.extend(source.next()?.map(|entry| Reverse((entry, index))));
        }
        Ok(Merge { writer, sources, heads })
    }

    /// Moves up to `entries` entries; `true` when all have been moved. What a step wrote is synced by its
    /// end, so that [`Merge::finish`] does not pay for all of them.
    pub fn step(&mut self, entries: usize) -> Result<bool, Error> {
        for _ in 0..entries {
            let Some(mut head) = self.heads.peek_mut() else { return Ok(true) };
            let Reverse((entry, index)) = *head;
            self.writer.push(entry)?;
            match self.sources[index].next()? {
                Some(next) => *head = Reverse((next, index)),
                None => drop(std::collections::binary_heap::PeekMut::pop(head)),
            }
        }
        if self.heads.is_empty() {
            return Ok(true);
        }
        self.writer.sync()?;
        Ok(false)
    }

    /// Makes the merged run durable, once [`Merge::step`] has said so. The sources' files are still there.
    pub fn finish(self) -> Result<Run, Error> {
        self.writer.finish()
    }

    /// Whether `run` is one of the sources.
    pub fn has_source(&self, run: &Arc<Run>) -> bool {
        self.sources.iter().any(|source| Arc::ptr_eq(&source.run, run))
    }
}

/// The entries of a run from first to last.
struct Source {
    run: Arc<Run>,
    next_page: u64,
    /// Entries read ahead, in reverse, so that the next one is popped off.
    ahead: Vec<Entry>,
}

impl Source {
    fn new(run: Arc<Run>) -> Source {
        Source { run, next_page: 0, ahead: Vec::new() }
    }

    fn next(&mut self) -> Result<Option<Entry>, Error> {
        if self.ahead.is_empty() {
            let end = self.run.summary.data_pages.min(self.next_page + PAGES_PER_READ);
            let mut page = Page::new();
            for number in self.next_page..end {
                let count = self.run.read_page(&mut page, number, Kind::Data)?;
                self.ahead.extend(page.entries(count));
            }
            self.ahead.reverse();
            self.next_page = end;
        }
        Ok(self.ahead.pop())
    }
}
