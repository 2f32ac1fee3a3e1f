//! What can go wrong, in three kinds: refusals that leave the log as it was, corruption with its exact range, and
//! [`Fault`], after which the replica must stop.

use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use crate::LogId;
use crate::frame::FrameError;

/// Loss of durability: a write, a sync or a structural change of the store failed in a way that leaves the disk in
/// an unknown state.
///
/// The first one poisons the log: every later call that would write returns a clone of it. Nothing clears it but
/// opening the log again, which recovers from what is really on disk. The caller stops the replica.
#[derive(Clone, Debug, thiserror::Error)]
#[error("commit log failed: {action} {file}: {source}")]
pub struct Fault {
    /// What was being done, such as `sync`.
    pub action: &'static str,
    /// The file or directory it was done to, as the [`crate::LogDir`] names it.
    pub file: String,
    /// What the operating system answered.
    pub source: Arc<io::Error>,
}

/// A range of the log that does not hold what was written there.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("commit log is corrupt in {segment} at physical offsets {from}..{to}: {reason}")]
pub struct Corruption {
    /// The segment file, as the [`crate::LogDir`] names it.
    pub segment: String,
    /// First physical offset that cannot be trusted.
    pub from: u64,
    /// Exclusive end: where trust resumes, or the end of the range known to have been written.
    pub to: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// Why a log could not be opened. Nothing has been changed on disk, except that a torn tail may have been cut.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An option is outside its range.
    #[error("segment_bytes {segment_bytes} must be a multiple of {granule} between {min} and {max}")]
    InvalidSegmentBytes {
        /// What was asked for.
        segment_bytes: u64,
        /// What it must be a multiple of.
        granule: u64,
        /// Smallest allowed.
        min: u64,
        /// Largest allowed.
        max: u64,
    },
    /// The store was created with another segment size. It is a cluster-wide setting that cannot change in place.
    #[error("store has segments of {store} bytes, the configuration says {options}")]
    SegmentSizeMismatch {
        /// Segment size of the store.
        store: u64,
        /// Segment size of the options.
        options: u64,
    },
    /// A segment file has a length that this log never gives it.
    #[error("segment {segment} is {found} bytes long, more than {expected}")]
    SegmentTooLong {
        /// The file.
        segment: String,
        /// Segment size of the store.
        expected: u64,
        /// Its length.
        found: u64,
    },
    /// A segment between others is gone.
    #[error("segment {segment} is missing")]
    MissingSegment {
        /// The file that should be there.
        segment: String,
    },
    /// A file is named like a segment, but not at the grid of this store.
    #[error("segment {segment} does not begin at a multiple of {segment_bytes}")]
    StraySegment {
        /// The file.
        segment: String,
        /// Segment size of the store.
        segment_bytes: u64,
    },
    /// There are segments, but neither slot of the mark can be read: what was durable is unknown, so this store must
    /// not take part in elections. Source: `reliability.md` corruption protocol; a replica returns under a new id.
    #[error("both slots of {file} are unreadable while segments exist: what was durable is unknown")]
    MarkLost {
        /// The mark file.
        file: String,
    },
    /// Written by a later release.
    #[error("{file} has format version {found}, this release reads {supported}")]
    UnsupportedVersion {
        /// The file.
        file: String,
        /// Its version.
        found: u8,
        /// The version of this release.
        supported: u8,
    },
    /// Frames that were durable, or that others depend on, are damaged.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// The operating system refused.
    #[error("cannot {action} {file}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        file: String,
        /// What the operating system answered.
        source: io::Error,
    },
}

/// Why an append did not happen. Except for [`AppendError::Fault`], the log is exactly as it was before the call.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The disk, or the quota, is full.
    #[error("no space for {bytes} bytes in {file}: {source}")]
    Full {
        /// What was to be written or preallocated.
        bytes: u64,
        /// Where.
        file: String,
        /// What the operating system answered.
        source: io::Error,
    },
    /// No segment can hold the frame.
    #[error("frame of {bytes} bytes is larger than a segment's {max}")]
    TooLarge {
        /// Length of the frame with header and padding.
        bytes: u64,
        /// Largest frame that a segment holds.
        max: u64,
    },
    /// The entry does not follow the last one.
    #[error("entry {found} does not follow {last:?}: index {expected} is next and terms never fall")]
    OutOfSequence {
        /// The last entry of the log.
        last: Option<LogId>,
        /// The index that comes next.
        expected: u64,
        /// The entry that was offered.
        found: LogId,
    },
    /// A frame from a peer is not at the position where this log would write it: the logs differ before it.
    #[error("frame {id} says physical offset {found}, this log would write it at {expected}")]
    Misplaced {
        /// The frame.
        id: LogId,
        /// Where this log writes next.
        expected: u64,
        /// What the frame says.
        found: u64,
    },
    /// The bytes from a peer are not one whole, sound frame.
    #[error("bad frame from peer: {0}")]
    BadFrame(#[from] FrameError),
    /// The log has failed, now or earlier.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why entries could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The entry or offset has been trimmed away, or lies before a filler's end.
    #[error("{what} {at} is below the log's first, {first}")]
    Trimmed {
        /// `index` or `physical offset`.
        what: &'static str,
        /// What was asked for.
        at: u64,
        /// The first that is there.
        first: u64,
    },
    /// The bytes are not (yet) in the log, or cross a segment's end.
    #[error("physical offsets {from}..{to} are not inside one segment below {next}")]
    OutOfRange {
        /// First offset asked for.
        from: u64,
        /// Exclusive end of what was asked for.
        to: u64,
        /// The log's next physical offset.
        next: u64,
    },
    /// What is on disk is not what was written. The replica must not serve it.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// The operating system refused.
    #[error("cannot {action} {file}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        file: String,
        /// What the operating system answered.
        source: io::Error,
    },
}

/// Why a damaged frame was not written again. Except for [`RepairError::Fault`], the log is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// What was to be written is not one whole, sound frame.
    #[error("bad frame from peer: {0}")]
    BadFrame(#[from] FrameError),
    /// This log has another frame there, or none.
    #[error("entry {id} does not lie at physical offsets {from}..{to} here")]
    Misplaced {
        /// The entry.
        id: LogId,
        /// Where it would lie.
        from: u64,
        /// Exclusive end of that.
        to: u64,
    },
    /// The disk cannot read the pages that the frames are part of, and there is something else in each of them.
    #[error("physical offsets {from}..{to} fill no page of those that the disk cannot read")]
    Unreadable {
        /// Where the first frame begins.
        from: u64,
        /// Where the last one ends.
        to: u64,
    },
    /// Where it lies cannot be found out.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log has failed, now or earlier.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why the log was not truncated, trimmed or reset. Except for [`EditError::Fault`], it is as it was.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// What should be kept has been trimmed away already.
    #[error("cannot truncate after {kept:?}: the log is trimmed up to {trimmed}")]
    BelowTrimmed {
        /// The entry to keep as the last one.
        kept: Option<u64>,
        /// The last trimmed entry.
        trimmed: LogId,
    },
    /// The named entry is not in the log.
    #[error("entry {index} is above the last one, {last:?}")]
    AboveLast {
        /// The entry that was named.
        index: u64,
        /// The last entry of the log.
        last: Option<LogId>,
    },
    /// The log holds another entry at that index.
    #[error("cannot trim up to {asked}: the log holds {found}")]
    OtherTerm {
        /// The entry that was named.
        asked: LogId,
        /// The entry that is there.
        found: LogId,
    },
    /// A log can only begin at a segment's start.
    #[error("no segment of {segment_bytes} bytes can begin at physical offset {base}")]
    OffGrid {
        /// The offset that was asked for.
        base: u64,
        /// Segment size of the store.
        segment_bytes: u64,
    },
    /// The place of the cut could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log has failed, now or earlier.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why upkeep did not finish.
#[derive(Debug, thiserror::Error)]
pub enum MaintainError {
    /// No space to prepare the next segment. Appends go on until the active one is full; then they answer
    /// [`AppendError::Full`]. Upkeep tries again when it is called again.
    #[error("no space to prepare {file}: {source}")]
    Full {
        /// The segment that was to be prepared.
        file: String,
        /// What the operating system answered.
        source: io::Error,
    },
    /// The log has failed, now or earlier.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Whether `error` says that the disk cannot give back what was written there. Other than what it cannot write or sync, which
/// is a [`Fault`], that is no more than damage.
pub fn is_unreadable(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::IO)
}

/// Whether `error` says that the disk or the quota is full, which heals by freeing space.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
