//! Recovery: from the files of a directory to a [`State`], as the table in `FORMAT.md` says.
//!
//! ```text
//!   sealed segments            the mark's segment              later segments
//!  +------------------+  +------------------------------+  +-------------------+
//!  | first frame      |  | headers  |mark| whole frames |  | whole frames      |
//!  +------------------+  +------------------------------+  +-------------------+
//! ```
//!
//! First everything is looked at and nothing changed ([`walk`]); then the tail is made what it was found to be.

mod verdict;
mod walk;

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Display;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use self::walk::{Outcome, Start, Walked};
use crate::dir::{LogDir, SegmentIo};
use crate::error::{Corruption, OpenError, is_unreadable};
use crate::frame::{FILLER, FrameError, HEADER_LEN, frame_len};
use crate::index::SegmentIndex;
use crate::log::{Options, State, create_segment, next_after};
use crate::mark::{self, Mark, MarkFile, Slots};
use crate::scan::SegmentReader;
use crate::segment::{
    Active, FileName, IndexState, OFFSETS_END, Segment, log_name, parse_name, sidecar_name,
};

/// What is rewritten at once.
const REWRITE_CHUNK: usize = 1 << 20;

/// The store that is being recovered.
struct Store<'a> {
    dir: &'a dyn LogDir,
    segment_bytes: u64,
}

/// The segment files that are there.
struct Files {
    logs: BTreeSet<u64>,
    sidecars: BTreeSet<u64>,
}

/// Recovers the log in `dir`.
pub(crate) fn recover(dir: &dyn LogDir, options: &Options) -> Result<(State, MarkFile), OpenError> {
    let store = Store { dir, segment_bytes: options.segment_bytes };
    let mut files = store.list()?;
    let mut file = store.open_mark(&files)?;
    if file.current.resetting {
        tracing::info!(physical_offset = file.current.base, "finishing a reset");
        finish_reset(dir, &mut file).map_err(|(action, name, source)| OpenError::Io {
            action,
            file: dir.path_of(&name),
            source,
        })?;
        files = store.list()?;
    }
    let mark = file.current;
    let bases = store.lay_out(&files, &mark)?;
    let walk_from = bases.partition_point(|base| base + store.segment_bytes <= mark.synced_end);
    let (trusted, walked) = bases.split_at(walk_from);
    let trusted = store.check_trusted(trusted, &mark)?;
    let outcome = walk::walk(&store, &mark, walked, start(&trusted, walked[0], &mark))?;
    store.check_joint(&trusted, &outcome)?;

    let spare = store.remove_behind(&outcome, walked)?;
    store.make_durable(&outcome, &mark)?;
    let doomed = store.remove_stale(&files, bases[0], walked[0])?;
    let state = store.state(trusted, outcome, spare, doomed, &mark);
    // Both slots, whatever was there: it repairs a slot that was torn.
    let mark = Mark { synced: state.flushed, synced_end: state.flushed_end, ..mark };
    file.write_both(mark).at("write", mark::FILE, &store)?;
    Ok((state, file))
}

/// Removes every segment file, creates the first segment of the new log, and says in the mark that it is done. Begins
/// again from any point when it is called again. The error says what was being done to which file.
pub(crate) fn finish_reset(
    dir: &dyn LogDir,
    file: &mut MarkFile,
) -> Result<Arc<dyn SegmentIo>, (&'static str, String, io::Error)> {
    let on_dir = |error| ("list the directory of", mark::FILE.to_owned(), error);
    for name in dir.list().map_err(on_dir)? {
        if parse_name(&name) != FileName::Other {
            dir.remove(&name).map_err(|error| ("remove", name, error))?;
        }
    }
    dir.sync_dir().map_err(|error| ("sync the directory of", mark::FILE.to_owned(), error))?;
    let name = log_name(file.current.base);
    let io = create_segment(dir, &name, file.current.segment_bytes)
        .map_err(|(action, error)| (action, name, error))?;
    let done = Mark { resetting: false, ..file.current };
    file.write_both(done).map_err(|error| ("write", mark::FILE.to_owned(), error))?;
    Ok(io)
}

/// What is known before the first frame at `base`.
fn start(trusted: &[Trusted], base: u64, mark: &Mark) -> Start {
    if trusted.is_empty() && mark.base == base {
        return Start { first_index: Some(next_after(mark.trimmed)), last: mark.trimmed };
    }
    Start { first_index: None, last: None }
}

/// A segment that lies below the synced mark as a whole, of which only the first header was read.
struct Trusted {
    base: u64,
    io: Arc<dyn SegmentIo>,
    first_index: u64,
}

impl Store<'_> {
    fn list(&self) -> Result<Files, OpenError> {
        let mut files = Files { logs: BTreeSet::new(), sidecars: BTreeSet::new() };
        for name in self.dir.list().at("list the directory of", mark::FILE, self)? {
            match parse_name(&name) {
                FileName::Log(base) => drop(files.logs.insert(base)),
                FileName::Sidecar(base) => drop(files.sidecars.insert(base)),
                FileName::Other => {}
            }
        }
        Ok(files)
    }

    fn open(&self, base: u64) -> Result<Arc<dyn SegmentIo>, OpenError> {
        let name = log_name(base);
        self.dir.open(&name).at("open", &name, self)
    }

    /// The mark, or a new one if this is a new store: no mark, and no segment that could have had one.
    fn open_mark(&self, files: &Files) -> Result<MarkFile, OpenError> {
        match MarkFile::open(self.dir).at("read", mark::FILE, self)? {
            Slots::Sound(file) if file.current.segment_bytes == self.segment_bytes => Ok(file),
            Slots::Sound(file) => Err(OpenError::SegmentSizeMismatch {
                store: file.current.segment_bytes,
                options: self.segment_bytes,
            }),
            Slots::Unsupported(found) => Err(OpenError::UnsupportedVersion {
                file: self.dir.path_of(mark::FILE),
                found,
                supported: mark::VERSION,
            }),
            Slots::Lost if files.logs.is_empty() => {
                let mark = Mark {
                    segment_bytes: self.segment_bytes,
                    trimmed: None,
                    base: 0,
                    synced: None,
                    synced_end: 0,
                    resetting: false,
                };
                MarkFile::create(self.dir, mark).at("create", mark::FILE, self)
            }
            Slots::Lost => Err(OpenError::MarkLost { file: self.dir.path_of(mark::FILE) }),
        }
    }

    /// The segments of the log, ascending: on the grid, without gaps, from the one that holds `mark.base` to at least
    /// the one that holds `mark.synced_end`. Creates the first one of an empty log.
    fn lay_out(&self, files: &Files, mark: &Mark) -> Result<Vec<u64>, OpenError> {
        if let Some(&base) =
            files.logs.iter().find(|&&base| OFFSETS_END < base || !base.is_multiple_of(self.segment_bytes))
        {
            let segment = self.dir.path_of(&log_name(base));
            return Err(OpenError::StraySegment { segment, segment_bytes: self.segment_bytes });
        }
        let floor = |offset: u64| offset / self.segment_bytes * self.segment_bytes;
        let (first, synced) = (floor(mark.base), floor(mark.synced_end));
        let mut bases: Vec<u64> = files.logs.range(first..).copied().collect();
        if bases.is_empty() && mark.base == first && mark.synced_end == mark.base {
            let name = log_name(first);
            create_segment(self.dir, &name, self.segment_bytes).map_err(|(action, source)| {
                OpenError::Io { action, file: self.dir.path_of(&name), source }
            })?;
            bases.push(first);
        }
        // Segments are created in order, each durably before the next, and removed from an end: a gap is a loss.
        let there = bases.last().map_or(synced, |&last| last.max(synced));
        let mut expected = first;
        for base in bases.iter().copied().chain([there + self.segment_bytes]) {
            if base != expected {
                return Err(OpenError::MissingSegment { segment: self.dir.path_of(&log_name(expected)) });
            }
            expected += self.segment_bytes;
        }
        for &base in &bases {
            self.check_length(base, base < synced)?;
        }
        Ok(bases)
    }

    /// No segment is longer than it should be. One that is shorter is damaged if it lies below the mark; above, it
    /// reads as if zeros followed, and gets its length back with the rest of the repair.
    fn check_length(&self, base: u64, durable: bool) -> Result<(), OpenError> {
        let name = log_name(base);
        let found = self.open(base)?.len().at("stat", &name, self)?;
        let segment = self.dir.path_of(&name);
        if self.segment_bytes < found {
            return Err(OpenError::SegmentTooLong { segment, expected: self.segment_bytes, found });
        }
        if durable && found < self.segment_bytes {
            let (from, to) = (base + found, base + self.segment_bytes);
            return Err(Corruption { segment, from, to, reason: "the file is too short".to_owned() }.into());
        }
        Ok(())
    }

    /// Reads the first frame of each segment that lies below the mark as a whole: all others are counted from its index.
    /// They are checked when they are read; and so is a damaged first one, if the segment's sidecar says which entry it is.
    fn check_trusted(&self, bases: &[u64], mark: &Mark) -> Result<Vec<Trusted>, OpenError> {
        let mut trusted: Vec<Trusted> = Vec::with_capacity(bases.len());
        for &base in bases {
            let io = self.open(base)?;
            let header = SegmentReader::new(Arc::clone(&io), base, self.segment_bytes).peek(0);
            io.release();
            let first_index = match header {
                Ok(Ok(header)) if header.kind != FILLER => header.id.index,
                Err(error) if !is_unreadable(&error) => return Err(error).at("read", &log_name(base), self),
                bad => {
                    let reason = match bad {
                        Ok(Ok(_)) => FrameError::Filler.to_string(),
                        Ok(Err(error)) => error.to_string(),
                        Err(error) => error.to_string(),
                    };
                    let told = SegmentIndex::first_in_sidecar(self.dir, base, self.segment_bytes);
                    let Some(index) = told else { return Err(self.bad_first(base, &reason)) };
                    let segment = self.dir.path_of(&log_name(base));
                    tracing::error!(segment, index, reason, "the first frame of a segment is damaged");
                    index
                }
            };
            match trusted.last() {
                None if base == mark.base => {
                    self.check_first(base, next_after(mark.trimmed), first_index)?;
                }
                None => {}
                Some(previous) => self.check_count(previous, base, first_index)?,
            }
            trusted.push(Trusted { base, io, first_index });
        }
        Ok(trusted)
    }

    /// The last trusted segment and the first walked one must fit as well.
    fn check_joint(&self, trusted: &[Trusted], outcome: &Outcome) -> Result<(), OpenError> {
        match (trusted.last(), &outcome.segments[0]) {
            (Some(previous), next) => self.check_count(previous, next.base, next.first_index),
            (None, _) => Ok(()),
        }
    }

    /// A segment holds at least one entry, and no more than fit in it.
    fn check_count(&self, previous: &Trusted, base: u64, first_index: u64) -> Result<(), OpenError> {
        let most = previous.first_index.saturating_add(self.segment_bytes / frame_len(0));
        if previous.first_index < first_index && first_index <= most {
            return Ok(());
        }
        let error = FrameError::Index { expected: previous.first_index + 1, found: first_index };
        Err(self.bad_first(base, &error))
    }

    fn check_first(&self, base: u64, expected: u64, found: u64) -> Result<(), OpenError> {
        if expected == found {
            Ok(())
        } else {
            Err(self.bad_first(base, &FrameError::Index { expected, found }))
        }
    }

    fn bad_first(&self, base: u64, error: &dyn Display) -> OpenError {
        let reason = format!("first frame of a segment below the synced mark: {error}");
        let segment = self.dir.path_of(&log_name(base));
        Corruption { segment, from: base, to: base + HEADER_LEN as u64, reason }.into()
    }

    /// Removes the segments behind the tail, the last one first, each durably: a crash leaves no gap. An empty one
    /// right behind the tail's is kept: it was prepared.
    fn remove_behind(
        &self,
        outcome: &Outcome,
        walked: &[u64],
    ) -> Result<Option<Arc<dyn SegmentIo>>, OpenError> {
        let kept = outcome.segments.len();
        for (nth, &base) in walked.iter().enumerate().skip(kept).rev() {
            let name = log_name(base);
            let io = self.open(base)?;
            let whole = io.len().at("stat", &name, self)? == self.segment_bytes;
            if nth == kept && whole && self.is_zero(&io, base, 0)? {
                io.sync().at("sync", &name, self)?;
                return Ok(Some(io));
            }
            self.dir.remove(&name).at("remove", &name, self)?;
            self.dir.sync_dir().at("sync the directory of", &name, self)?;
        }
        Ok(None)
    }

    /// Zeroes what is behind the tail and makes the log durable.
    ///
    /// What lies above the mark is written once more before it is synced. If the process before this one ended on a
    /// failed sync, the kernel may hold those pages as clean although they never reached the disk, and a sync alone
    /// would report success for nothing.
    fn make_durable(&self, outcome: &Outcome, mark: &Mark) -> Result<(), OpenError> {
        let last = outcome.segments.len() - 1;
        for (nth, segment) in outcome.segments.iter().enumerate() {
            let name = log_name(segment.base);
            let io = &*segment.io;
            if io.len().at("stat", &name, self)? < self.segment_bytes {
                io.preallocate(self.segment_bytes).at("preallocate", &name, self)?;
            }
            if nth == last && !self.is_zero(&segment.io, segment.base, segment.end_pos)? {
                io.zero_range(segment.end_pos, self.segment_bytes - segment.end_pos)
                    .at("zero", &name, self)?;
            }
            let filler = if nth == last { 0 } else { HEADER_LEN as u64 };
            let from = mark.synced_end.saturating_sub(segment.base);
            rewrite(io, from, segment.end_pos + filler).at("rewrite", &name, self)?;
            io.sync().at("sync", &name, self)?;
        }
        Ok(())
    }

    fn is_zero(&self, io: &Arc<dyn SegmentIo>, base: u64, pos: u64) -> Result<bool, OpenError> {
        let found = SegmentReader::new(Arc::clone(io), base, self.segment_bytes).search(pos);
        Ok(found.at("read", &log_name(base), self)?.nonzero.is_none())
    }

    /// Removes sidecars that speak of other content than their segments have now, durably, before such a segment can
    /// be sealed again. Returns the files of trimmed segments, to be removed later.
    fn remove_stale(&self, files: &Files, first: u64, walked: u64) -> Result<Vec<String>, OpenError> {
        let mut removed = false;
        for &base in files.sidecars.range(walked..) {
            let name = sidecar_name(base);
            self.dir.remove(&name).at("remove", &name, self)?;
            removed = true;
        }
        if removed {
            self.dir.sync_dir().at("sync the directory of", mark::FILE, self)?;
        }
        let logs = files.logs.range(..first).map(|&base| log_name(base));
        Ok(logs.chain(files.sidecars.range(..first).map(|&base| sidecar_name(base))).collect())
    }

    fn state(
        &self,
        trusted: Vec<Trusted>,
        outcome: Outcome,
        spare: Option<Arc<dyn SegmentIo>>,
        doomed: Vec<String>,
        mark: &Mark,
    ) -> State {
        let Outcome { mut segments, last } = outcome;
        let Walked { base, io, first_index, offsets, end_pos } =
            segments.pop().expect("the walk keeps at least one segment");
        let tail = base + end_pos;
        let last = last.max(mark.trimmed);
        let mut sealed = VecDeque::new();
        let mut next_index = first_index;
        for walked in segments.into_iter().rev() {
            let index = SegmentIndex::in_memory(walked.offsets, walked.end_pos);
            sealed.push_front(Arc::new(Segment {
                base: walked.base,
                io: walked.io,
                first_index: walked.first_index,
                next_index,
                index: Mutex::new(IndexState::Unsaved(index)),
            }));
            next_index = walked.first_index;
        }
        for Trusted { base, io, first_index } in trusted.into_iter().rev() {
            let index = Mutex::new(IndexState::Unread);
            sealed.push_front(Arc::new(Segment { base, io, first_index, next_index, index }));
            next_index = first_index;
        }
        State {
            sealed,
            active: Active { base, io, first_index, offsets },
            spare,
            doomed,
            tail,
            last,
            trimmed: mark.trimmed,
            base: mark.base,
            flushed: last,
            flushed_end: tail,
            flush_bytes: 0,
            prewritten: tail,
            checked_from: mark.synced_end,
            edits: 0,
        }
    }
}

/// Reads and writes back `from..to`.
fn rewrite(io: &dyn SegmentIo, mut from: u64, to: u64) -> io::Result<()> {
    let mut chunk = vec![0; to.saturating_sub(from).min(REWRITE_CHUNK as u64) as usize];
    while from < to {
        let len = (to - from).min(REWRITE_CHUNK as u64) as usize;
        let read = io.read_at(from, &mut chunk[..len])?;
        if read < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        io.write_at(from, &chunk[..len])?;
        from += len as u64;
    }
    Ok(())
}

/// Gives an I/O error its context.
trait Io<T> {
    fn at(self, action: &'static str, name: &str, store: &Store<'_>) -> Result<T, OpenError>;
}

impl<T> Io<T> for io::Result<T> {
    fn at(self, action: &'static str, name: &str, store: &Store<'_>) -> Result<T, OpenError> {
        self.map_err(|source| OpenError::Io { action, file: store.dir.path_of(name), source })
    }
}
