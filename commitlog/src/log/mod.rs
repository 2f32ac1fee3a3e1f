//! The log itself: one writer, one flusher, many readers over one list of segments.
//!
//! Each file here is one verb. What they share is [`State`], behind a lock that is held for memory operations only,
//! and the locks that serialize the slow work, always taken in this order:
//!
//! ```text
//! writer   append, truncate, trim, reset     one at a time
//! flusher  flush                             one at a time; truncate and reset wait for it
//! files    who creates or removes a file     so that two never make or remove the same one
//! mark     who writes the mark file
//! state    everybody, briefly; never while a file is written, synced or removed
//! ```

mod append;
mod edit;
mod flush;
mod maintain;
mod prewrite;
mod read;
mod verify;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};

use crate::dir::{LogDir, SegmentIo};
use crate::error::{Fault, OpenError};
use crate::frame::{HEADER_LEN, LogId};
use crate::mark::MarkFile;
use crate::recover;
use crate::segment::{Active, Segment, log_name};

use prewrite::Prewriting;
pub use read::{FrameRef, SegmentInfo};
use verify::Verified;

/// What every replica of a log must agree on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// Bytes of one segment file. Cluster-wide, fixed when the store is created: it decides where fillers are, thus
    /// every physical offset. Default 1 GiB; a multiple of 4096 from 64 KiB to 16 GiB. RocketMQ:
    /// `mapedFileSizeCommitLog`.
    pub segment_bytes: u64,
}

impl Options {
    /// Segment sizes are multiples of this, so that segments begin and end at blocks.
    pub const SEGMENT_GRANULE: u64 = 4096;
    /// Smallest segment.
    pub const MIN_SEGMENT_BYTES: u64 = 64 << 10;
    /// Largest segment: half of what `u32` offsets in units of 8 bytes can address.
    pub const MAX_SEGMENT_BYTES: u64 = 16 << 30;

    /// Checks the ranges named at the fields.
    pub fn validate(&self) -> Result<(), OpenError> {
        let in_range = Self::MIN_SEGMENT_BYTES <= self.segment_bytes
            && self.segment_bytes <= Self::MAX_SEGMENT_BYTES
            && self.segment_bytes.is_multiple_of(Self::SEGMENT_GRANULE);
        if in_range {
            return Ok(());
        }
        Err(OpenError::InvalidSegmentBytes {
            segment_bytes: self.segment_bytes,
            granule: Self::SEGMENT_GRANULE,
            min: Self::MIN_SEGMENT_BYTES,
            max: Self::MAX_SEGMENT_BYTES,
        })
    }

    /// Largest frame, with header and padding, that a segment holds beside its filler.
    pub fn max_frame_bytes(&self) -> u64 {
        self.segment_bytes - HEADER_LEN as u64
    }
}

impl Default for Options {
    fn default() -> Options {
        Options { segment_bytes: 1 << 30 }
    }
}

/// A log of frames in segments.
///
/// Shared behind an `Arc`. Any thread may read and flush at any time. Appending, truncating, trimming and resetting
/// are safe from any thread too, but their order is the log's content, so one task should own them.
///
/// ```text
///   trimmed        synced         flushed        last
///      |              |              |             |
///  ----+==============+==============+=============+-----> index
///      ^base                                        ^tail (next_physical_offset)
/// ```
///
/// `trimmed <= synced <= flushed <= last`, all inclusive. `base` is where the first readable entry lies.
#[derive(Debug)]
pub struct CommitLog {
    dir: Arc<dyn LogDir>,
    options: Options,
    writer: Mutex<()>,
    flusher: Mutex<()>,
    files: Mutex<Files>,
    mark: Mutex<MarkFile>,
    prewriting: Prewriting,
    state: RwLock<State>,
    fault: OnceLock<Fault>,
    /// The tail when it was opened.
    opened_at: u64,
    verified: Verified,
}

/// Who holds it makes or removes files.
#[derive(Debug, Default)]
struct Files {
    /// No sidecar could be written lately; that was told.
    sidecars_fail: bool,
}

/// What is in memory of the log. Built by recovery, changed by the verbs.
#[derive(Debug)]
pub(crate) struct State {
    /// Sealed segments, ascending, without gaps. The active one follows.
    pub sealed: VecDeque<Arc<Segment>>,
    pub active: Active,
    /// The segment after the active one, prepared ahead: allocated, empty, durable.
    pub spare: Option<Arc<dyn SegmentIo>>,
    /// Names of trimmed files that are still to be removed.
    pub doomed: Vec<String>,
    /// Exclusive end of the last frame; inside the active segment.
    pub tail: u64,
    /// The last entry, or `trimmed` when there is none.
    pub last: Option<LogId>,
    pub trimmed: Option<LogId>,
    /// Physical offset of the entry after `trimmed`; the tail when there is none.
    pub base: u64,
    pub flushed: Option<LogId>,
    /// Exclusive end of `flushed`'s frame.
    pub flushed_end: u64,
    /// Bytes of a flush, about: the mean of the latest ones.
    pub flush_bytes: u64,
    /// Exclusive end of what was prewritten; nothing is if it is not above the tail.
    pub prewritten: u64,
    /// What lies in the active segment from here on was checked or written by this process, and is not checked again
    /// when it is read.
    pub checked_from: u64,
    /// Counts truncations, trims and resets. A reader that finds something wrong reads again if this has changed
    /// meanwhile: what it looked at was taken away under it.
    pub edits: u64,
}

impl State {
    pub fn next_index(&self) -> u64 {
        self.active.next_index()
    }

    /// The first index that can be read, once it is written.
    pub fn first_index(&self) -> u64 {
        next_after(self.trimmed)
    }

    /// The order that the words of the design promise, and what the verbs rely on. Called after each of them in tests
    /// and debug builds.
    pub fn check(&self, segment_bytes: u64) {
        let header = HEADER_LEN as u64;
        assert!(self.base <= self.flushed_end && self.flushed_end <= self.tail);
        assert!(self.trimmed <= self.flushed && self.flushed <= self.last);
        assert!(self.active.base <= self.tail && self.tail + header <= self.active.base + segment_bytes);
        assert_eq!(next_after(self.last), self.next_index());
        let mut base = self.sealed.front().map_or(self.active.base, |first| first.base);
        let mut index = self.sealed.front().map_or(self.active.first_index, |first| first.first_index);
        assert!(base <= self.base && index <= self.first_index());
        for segment in &self.sealed {
            assert_eq!((segment.base, segment.first_index), (base, index));
            assert!(index < segment.next_index);
            base += segment_bytes;
            index = segment.next_index;
        }
        assert_eq!((self.active.base, self.active.first_index), (base, index));
        assert!(self.sealed.is_empty() || !self.active.offsets.is_empty());
    }
}

/// The index that follows `id`; the first one of a log if there is none.
pub(crate) fn next_after(id: Option<LogId>) -> u64 {
    id.map_or(0, |id| id.index + 1)
}

impl CommitLog {
    /// Opens the log in `dir`, creating it if the directory holds none, and recovers it.
    ///
    /// Recovery is the table in `FORMAT.md`: a torn tail is cut, durably; anything else that is wrong is an error that
    /// names it, and nothing is changed. On return everything in the log is durable: `flushed() == last()`.
    /// Reads the active segment's headers and what lies above the synced mark; of other segments, one header each.
    pub fn open(dir: Arc<dyn LogDir>, options: Options) -> Result<CommitLog, OpenError> {
        options.validate()?;
        let (state, mark) = recover::recover(&*dir, &options)?;
        let log = CommitLog {
            opened_at: state.tail,
            dir,
            options,
            writer: Mutex::new(()),
            flusher: Mutex::new(()),
            files: Mutex::default(),
            mark: Mutex::new(mark),
            prewriting: Prewriting::default(),
            state: RwLock::new(state),
            fault: OnceLock::new(),
            verified: Verified::default(),
        };
        log.check();
        Ok(log)
    }

    /// The options it was opened with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Bytes of frames that can be appended without making another file: what is left in the active segment, and the
    /// next one if it is prepared. While this is enough for a frame, appending it cannot find the disk full.
    pub fn room(&self) -> u64 {
        let state = self.state.read();
        let usable = self.options.max_frame_bytes();
        let left = usable - (state.tail - state.active.base);
        // A frame that does not fit what is left goes to the spare whole, so the larger of the two counts.
        if state.spare.is_some() { left.max(usable) } else { left }
    }

    /// The last entry: written, perhaps not durable. When there is none, the last trimmed one.
    pub fn last(&self) -> Option<LogId> {
        self.state.read().last
    }

    /// The last entry known to be durable, as of the latest [`CommitLog::flush`].
    pub fn flushed(&self) -> Option<LogId> {
        self.state.read().flushed
    }

    /// The entry in the durable synced mark. Recovery treats damage up to here as corruption, never as a torn tail.
    pub fn synced(&self) -> Option<LogId> {
        self.mark.lock().current.synced
    }

    /// The last entry that was trimmed away.
    pub fn trimmed(&self) -> Option<LogId> {
        self.state.read().trimmed
    }

    /// Where the first readable entry lies, or will lie.
    pub fn min_physical_offset(&self) -> u64 {
        self.state.read().base
    }

    /// Exclusive end of the last frame. The next frame lies here, or at the next segment's start if it does not fit.
    pub fn next_physical_offset(&self) -> u64 {
        self.state.read().tail
    }

    /// The first failure that stopped the log, if there was one.
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.get()
    }

    fn check_fault(&self) -> Result<(), Fault> {
        match self.fault.get() {
            Some(fault) => Err(fault.clone()),
            None => Ok(()),
        }
    }

    /// Poisons the log and returns the fault that did: this one, or an earlier one.
    fn fail(&self, action: &'static str, name: &str, source: io::Error) -> Fault {
        let fault = Fault { action, file: self.dir.path_of(name), source: Arc::new(source) };
        tracing::error!(action, file = fault.file, error = %fault.source, "commit log failed");
        self.fault.get_or_init(|| fault).clone()
    }

    /// Creates the segment that begins at `base`, empty, allocated and durable with its name, so that a frame in it is
    /// as safe as its own sync makes it. The caller holds `files`. `Ok(Err(_))` when the disk is full; nothing is
    /// left behind then.
    fn create_segment(&self, base: u64) -> Result<io::Result<Arc<dyn SegmentIo>>, Fault> {
        let name = log_name(base);
        match create_segment(&*self.dir, &name, self.options.segment_bytes) {
            Ok(io) => Ok(Ok(io)),
            Err((_, error)) if crate::error::is_full(&error) => match self.dir.remove(&name) {
                Err(cleanup) if cleanup.kind() != io::ErrorKind::NotFound => {
                    Err(self.fail("remove", &name, cleanup))
                }
                _ => Ok(Err(error)),
            },
            Err((action, error)) => Err(self.fail(action, &name, error)),
        }
    }

    fn check(&self) {
        if cfg!(debug_assertions) {
            self.state.read().check(self.options.segment_bytes);
        }
    }
}

/// Creates one segment file, durably. The error says what was being done.
pub(crate) fn create_segment(
    dir: &dyn LogDir,
    name: &str,
    segment_bytes: u64,
) -> Result<Arc<dyn SegmentIo>, (&'static str, io::Error)> {
    let io = dir.create(name).map_err(|error| ("create", error))?;
    io.preallocate(segment_bytes).map_err(|error| ("preallocate", error))?;
    io.sync().map_err(|error| ("sync", error))?;
    dir.sync_dir().map_err(|error| ("sync the directory of", error))?;
    Ok(io)
}
