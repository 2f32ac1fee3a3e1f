//! Read: entries by index, bytes by physical offset. Nothing is copied.

use std::fmt::Display;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::{CommitLog, State};
use crate::dir::{PAGE, SegmentIo};
use crate::error::{Corruption, ReadError, is_unreadable};
use crate::frame::{self, FILLER, FrameError, HEADER_LEN, Header, LogId};
use crate::index::{SegmentIndex, Span, unpack};
use crate::segment::{IndexState, Segment, log_name};

/// Entries that are located at once, so that the state's lock is held briefly however long the range.
const SPANS_MAX: u64 = 1024;
/// Unreadable pages side by side that are told together, in bytes. What is written in their place is held in memory.
const UNREADABLE_MOST: u64 = 8 << 20;
/// So much of what was written last is in memory, whatever else is: half of the least that a broker may give its log.
const RECENT: u64 = 32 << 20;

/// One entry, as slices of its segment. Holding it keeps the segment's map alive, even when the log has been trimmed
/// past it or closed.
#[derive(Clone, Debug)]
pub struct FrameRef {
    /// Term and index.
    pub id: LogId,
    /// What the payload is; the caller's own.
    pub kind: u8,
    /// Where the frame's first byte lies.
    pub physical_offset: u64,
    /// The whole frame: header, payload, padding. What [`CommitLog::append_frame`] takes on another replica.
    pub frame: Bytes,
    length: usize,
}

impl FrameRef {
    /// Splits the first frame off `bytes`, as a peer sent it. Everything that can be checked without a log is, the
    /// checksum included; [`CommitLog::append_frame`] checks the rest. Nothing is copied.
    pub fn take(bytes: &mut Bytes) -> Result<FrameRef, FrameError> {
        let header = frame::decode(bytes)?.header;
        if header.kind == FILLER {
            return Err(FrameError::Filler);
        }
        let frame = bytes.split_to(header.frame_len() as usize);
        Ok(FrameRef {
            id: header.id,
            kind: header.kind,
            physical_offset: header.physical_offset,
            frame,
            length: header.length as usize,
        })
    }

    /// The payload, without padding.
    pub fn payload(&self) -> Bytes {
        self.frame.slice(HEADER_LEN..HEADER_LEN + self.length)
    }

    /// Physical offset of the payload's first byte.
    pub fn payload_physical_offset(&self) -> u64 {
        self.physical_offset + HEADER_LEN as u64
    }
}

/// One segment, as retention and `trireme dump` see it.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct SegmentInfo {
    /// Where it begins.
    pub first_physical_offset: u64,
    /// Exclusive end: the next segment's start, or the tail in the active one.
    pub next_physical_offset: u64,
    /// Index of its first entry, trimmed or not; that of the next entry when it has none.
    pub first_index: u64,
    /// Index of its last entry; `None` when it has none.
    pub last_index: Option<u64>,
    /// Whether a filler closes it.
    pub sealed: bool,
}

/// Neighbouring frames of one segment, located but not looked at.
struct Run {
    base: u64,
    io: Arc<dyn SegmentIo>,
    first_index: u64,
    spans: Vec<Span>,
    /// Frames from this position on need no checksum: this process checked or wrote them.
    checked_from_pos: u64,
}

impl CommitLog {
    /// The entries `from..to` (exclusive), in order, as many as there are and fit in `max_bytes` of frames; at least
    /// one if `from` is in the log and below `to`.
    ///
    /// Each frame's header is compared with what must be there; its checksum is computed unless this process wrote or
    /// checked it and its segment is still active. Safe beside appends, flushes and edits.
    ///
    /// Errors: [`ReadError::Trimmed`] if `from` is; [`ReadError::Corrupt`] with the exact frame.
    pub fn read(&self, from: u64, to: u64, max_bytes: u64) -> Result<Vec<FrameRef>, ReadError> {
        self.retry_after_edit(|| {
            let mut frames = Vec::new();
            let mut bytes = 0;
            let mut next = from;
            while next < to {
                let Some(run) =
                    self.locate(next, to - next, max_bytes.saturating_sub(bytes), frames.is_empty())?
                else {
                    break;
                };
                next += run.spans.len() as u64;
                bytes += run.spans.iter().map(|span| span.len).sum::<u64>();
                self.collect(&run, &mut frames)?;
            }
            Ok(frames)
        })
    }

    /// The entry at `index`: also for the last trimmed one. `None` if it is below that or above the last.
    pub fn id_of(&self, index: u64) -> Result<Option<LogId>, ReadError> {
        self.retry_after_edit(|| {
            {
                let state = self.state.read();
                match (state.trimmed, state.last) {
                    (Some(trimmed), _) if index <= trimmed.index => {
                        return Ok((index == trimmed.index).then_some(trimmed));
                    }
                    (_, Some(last)) if last.index == index => return Ok(Some(last)),
                    _ => {}
                }
            }
            let mut frames = Vec::new();
            if let Some(run) = self.locate(index, 1, 0, true)? {
                self.collect(&run, &mut frames)?;
            }
            Ok(frames.first().map(|frame| frame.id))
        })
    }

    /// The bytes at `physical_offset..physical_offset + len`, which lie inside one segment, below the tail and not
    /// below the first entry.
    ///
    /// For answers to pulls: the caller knows what is there. Nothing is checked but the bounds: [`CommitLog::load`] has
    /// looked at what this process did not write just now.
    pub fn slice(&self, physical_offset: u64, len: u32) -> Result<Bytes, ReadError> {
        self.within(physical_offset, len, |io, pos, len| io.slice(pos, len))
    }

    /// Brings the bytes that [`CommitLog::slice`] would return into memory, and looks whether the frames that they are of
    /// are whole, once since the log was opened. Blocks for as long as the disk takes; without it, whoever touches the slice
    /// does. To be called where [`CommitLog::is_recent`] does not say that it is needless.
    ///
    /// Errors: [`ReadError::Corrupt`] with the exact frame.
    pub fn load(&self, physical_offset: u64, len: u32) -> Result<(), ReadError> {
        self.bring(physical_offset, len)?;
        self.verify(physical_offset, u64::from(len))
    }

    /// Whether what starts at `physical_offset` was written by this process, and so short ago that it is in memory.
    pub fn is_recent(&self, physical_offset: u64) -> bool {
        let state = self.state.read();
        physical_offset >= state.tail.saturating_sub(RECENT).max(self.opened_at)
    }

    /// As [`CommitLog::is_recent`], for the entry at `index` and those behind it.
    pub fn is_entry_recent(&self, index: u64) -> bool {
        let (sealed, nth) = {
            let state = self.state.read();
            if let Some(nth) = index.checked_sub(state.active.first_index) {
                let packed = state.active.offsets.get(nth as usize);
                let offset = packed.map(|packed| state.active.base + unpack(*packed));
                drop(state);
                return offset.is_some_and(|offset| self.is_recent(offset));
            }
            let nth = state.sealed.partition_point(|segment| segment.next_index <= index);
            let Some(segment) = state.sealed.get(nth) else { return false };
            (Arc::clone(segment), index.checked_sub(segment.first_index))
        };
        // Of a segment that may hold it, the index is in memory still.
        self.is_recent(sealed.base + self.options.segment_bytes - 1)
            && nth.is_some_and(|nth| {
                self.index_of(&sealed).is_ok_and(|index| self.is_recent(sealed.base + index.span(nth).pos))
            })
    }

    fn within<T>(
        &self,
        physical_offset: u64,
        len: u32,
        read: impl Fn(&dyn SegmentIo, u64, u64) -> io::Result<T>,
    ) -> Result<T, ReadError> {
        self.on_segment(physical_offset, len, |base, io, pos, len| {
            read(io, pos, len).map_err(|error| self.read_error(base, error))
        })
    }

    /// Reads with the base of the segment that the bytes lie in, its file, and a position and a length there.
    fn on_segment<T>(
        &self,
        physical_offset: u64,
        len: u32,
        read: impl Fn(u64, &dyn SegmentIo, u64, u64) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        self.retry_after_edit(|| {
            let (base, io) = {
                let state = self.state.read();
                let to = physical_offset.saturating_add(u64::from(len));
                if physical_offset < state.base {
                    return Err(ReadError::Trimmed {
                        what: "physical offset",
                        at: physical_offset,
                        first: state.base,
                    });
                }
                let base = physical_offset / self.options.segment_bytes * self.options.segment_bytes;
                if state.tail < to || base + self.options.segment_bytes < to {
                    return Err(ReadError::OutOfRange { from: physical_offset, to, next: state.tail });
                }
                match self.sealed_at(&state, physical_offset) {
                    Some(segment) => (base, Arc::clone(&segment.io)),
                    None => (base, Arc::clone(&state.active.io)),
                }
            };
            read(base, &*io, physical_offset - base, u64::from(len))
        })
    }

    /// The index of the entry whose frame holds the byte at `physical_offset`. `None` in the rest of a sealed segment
    /// from its filler on, and outside the log.
    pub fn index_at(&self, physical_offset: u64) -> Result<Option<u64>, ReadError> {
        self.retry_after_edit(|| {
            let segment = {
                let state = self.state.read();
                if physical_offset < state.base || state.tail <= physical_offset {
                    return Ok(None);
                }
                match self.sealed_at(&state, physical_offset) {
                    Some(segment) => Arc::clone(segment),
                    None => {
                        let nth = state.active.nth_at(physical_offset - state.active.base);
                        return Ok(nth.map(|nth| state.active.first_index + nth));
                    }
                }
            };
            let nth = self.index_of(&segment)?.nth_at(physical_offset - segment.base);
            Ok(nth.map(|nth| segment.first_index + nth))
        })
    }

    /// Where the frame of entry `index` lies, as physical offsets: first byte and exclusive end. `None` if it is not
    /// in the log.
    pub fn frame_range(&self, index: u64) -> Result<Option<(u64, u64)>, ReadError> {
        self.retry_after_edit(|| {
            if index < self.state.read().first_index() {
                return Ok(None);
            }
            let run = self.locate(index, 1, 0, true)?;
            Ok(run.map(|run| (run.base + run.spans[0].pos, run.base + run.spans[0].end())))
        })
    }

    /// All segments, ascending, the active one last.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let state = self.state.read();
        let mut segments: Vec<SegmentInfo> = state
            .sealed
            .iter()
            .map(|segment| SegmentInfo {
                first_physical_offset: segment.base,
                next_physical_offset: segment.base + self.options.segment_bytes,
                first_index: segment.first_index,
                last_index: Some(segment.next_index - 1),
                sealed: true,
            })
            .collect();
        let active = &state.active;
        segments.push(SegmentInfo {
            first_physical_offset: active.base,
            next_physical_offset: state.tail,
            first_index: active.first_index,
            last_index: (!active.offsets.is_empty()).then(|| active.next_index() - 1),
            sealed: false,
        });
        segments
    }

    /// Locates up to `count` entries from `from` on in one segment, up to `max_bytes`, but one regardless if `any`.
    /// `None` if there is nothing to give.
    fn locate(&self, from: u64, count: u64, max_bytes: u64, any: bool) -> Result<Option<Run>, ReadError> {
        let segment = {
            let state = self.state.read();
            if from < state.first_index() {
                return Err(ReadError::Trimmed { what: "index", at: from, first: state.first_index() });
            }
            if state.next_index() <= from {
                return Ok(None);
            }
            let active = &state.active;
            if active.first_index <= from {
                let end_pos = state.tail - active.base;
                let first = from - active.first_index;
                let there = active.offsets.len() as u64;
                let spans = take_spans(first, there, count, max_bytes, any, |nth| active.span(nth, end_pos));
                let run = Run {
                    base: active.base,
                    io: Arc::clone(&active.io),
                    first_index: from,
                    spans,
                    checked_from_pos: state.checked_from.saturating_sub(active.base),
                };
                return Ok((!run.spans.is_empty()).then_some(run));
            }
            let nth = state.sealed.partition_point(|segment| segment.next_index <= from);
            Arc::clone(&state.sealed[nth])
        };
        let index = self.index_of(&segment)?;
        let spans =
            take_spans(from - segment.first_index, index.len(), count, max_bytes, any, |nth| index.span(nth));
        let run = Run {
            base: segment.base,
            io: Arc::clone(&segment.io),
            first_index: from,
            spans,
            checked_from_pos: u64::MAX,
        };
        Ok((!run.spans.is_empty()).then_some(run))
    }

    /// Turns located frames into slices, after looking at each.
    fn collect(&self, run: &Run, frames: &mut Vec<FrameRef>) -> Result<(), ReadError> {
        let (first, last) = (run.spans[0], run.spans[run.spans.len() - 1]);
        let (pos, len) = (first.pos, last.end() - first.pos);
        if !self.is_recent(run.base + pos) {
            // What a failing disk does not give is an error here; in a map it were a signal.
            run.io.load(pos, len).map_err(|error| self.not_given(run.base, (&*run.io, pos, len), error))?;
        }
        let bytes = run.io.slice(pos, len).map_err(|error| self.read_error(run.base, error))?;
        for (n, span) in run.spans.iter().enumerate() {
            let at = (span.pos - pos) as usize;
            let frame = bytes.slice(at..at + span.len as usize);
            let expected = run.first_index + n as u64;
            let checked = run.checked_from_pos <= span.pos;
            match look(&frame, expected, run.base + span.pos, checked) {
                Ok(header) => frames.push(FrameRef {
                    id: header.id,
                    kind: header.kind,
                    physical_offset: header.physical_offset,
                    length: header.length as usize,
                    frame,
                }),
                Err(reason) => return Err(self.corruption(run.base, *span, &reason).into()),
            }
        }
        Ok(())
    }

    /// The sealed segment that holds `physical_offset`; `None` if the active one does. The offset is in the log.
    pub(super) fn sealed_at<'a>(&self, state: &'a State, physical_offset: u64) -> Option<&'a Arc<Segment>> {
        if state.active.base <= physical_offset {
            return None;
        }
        let first = state.sealed.front()?.base;
        state.sealed.get(((physical_offset - first) / self.options.segment_bytes) as usize)
    }

    /// The index of a sealed segment: from memory, from its sidecar, or from the segment itself.
    pub(super) fn index_of(&self, segment: &Segment) -> Result<SegmentIndex, ReadError> {
        let mut state = segment.index.lock();
        if let IndexState::Unsaved(index) | IndexState::Saved(index) = &*state {
            return Ok(index.clone());
        }
        let segment_bytes = self.options.segment_bytes;
        if let Some(index) = SegmentIndex::read_sidecar(&*self.dir, segment, segment_bytes) {
            *state = IndexState::Saved(index.clone());
            return Ok(index);
        }
        tracing::info!(physical_offset = segment.base, "rebuilding a sidecar index");
        let rebuilt = SegmentIndex::rebuild(segment, segment_bytes);
        match rebuilt.map_err(|error| self.read_error(segment.base, error))? {
            Ok(index) => {
                *state = IndexState::Unsaved(index.clone());
                Ok(index)
            }
            Err((pos, reason)) => {
                let rest = Span { pos, len: segment_bytes - pos };
                Err(self.corruption(segment.base, rest, &reason).into())
            }
        }
    }

    fn corruption(&self, base: u64, span: Span, reason: &dyn Display) -> Corruption {
        Corruption {
            segment: self.dir.path_of(&log_name(base)),
            from: base + span.pos,
            to: base + span.end(),
            reason: reason.to_string(),
        }
    }

    /// Why bytes of a segment, a position and a length, could not be brought into memory. Where the disk cannot read what
    /// lies there, these are frames to be written again as any damaged ones: that is [`ReadError::Corrupt`], with the
    /// first of them that touches an unreadable page, and the last one beside it.
    pub(super) fn not_given(
        &self,
        base: u64,
        (io, pos, len): (&dyn SegmentIo, u64, u64),
        error: io::Error,
    ) -> ReadError {
        if !is_unreadable(&error) {
            return self.read_error(base, error);
        }
        let mut page = vec![0; PAGE as usize];
        let mut cannot_read = |pos: u64| io.read_at(pos, &mut page).is_err();
        let mut pages = (pos / PAGE * PAGE..pos + len).step_by(PAGE as usize);
        let Some(first) = pages.find(|pos| cannot_read(*pos)) else { return self.read_error(base, error) };
        let most = (first + UNREADABLE_MOST).min(self.options.segment_bytes);
        let end = (first..most).step_by(PAGE as usize).find(|pos| !cannot_read(*pos)).unwrap_or(most);
        match self.frames_at(base + first, base + end) {
            Ok(Some((from, to))) => {
                let span = Span { pos: from - base, len: to - from };
                self.corruption(base, span, &format_args!("the disk cannot read it: {error}")).into()
            }
            Ok(None) => self.read_error(base, error),
            Err(other) => other,
        }
    }

    /// From the start of the first frame with a byte there, which is in one segment, to the end of the last one.
    fn frames_at(&self, from: u64, to: u64) -> Result<Option<(u64, u64)>, ReadError> {
        let Some(first) = self.index_at(from)? else { return Ok(None) };
        let last = match self.index_at(to - 1)? {
            Some(last) => last,
            // Behind the last one of the segment.
            None => {
                let base = from / self.options.segment_bytes * self.options.segment_bytes;
                let segments = self.segments();
                let segment = segments.iter().find(|segment| segment.first_physical_offset == base);
                segment.and_then(|segment| segment.last_index).unwrap_or(first)
            }
        };
        let (first, last) = (self.frame_range(first)?, self.frame_range(last)?);
        Ok(first.zip(last).map(|((from, _), (_, to))| (from, to)))
    }

    /// Brings bytes of one segment into memory. Errors: [`ReadError::Corrupt`] with what the disk cannot read.
    pub(super) fn bring(&self, physical_offset: u64, len: u32) -> Result<(), ReadError> {
        self.on_segment(physical_offset, len, |base, io, pos, len| {
            io.load(pos, len).map_err(|error| self.not_given(base, (io, pos, len), error))
        })
    }

    fn read_error(&self, base: u64, source: io::Error) -> ReadError {
        ReadError::Io { action: "read", file: self.dir.path_of(&log_name(base)), source }
    }

    /// Repeats a read during which the log was truncated, trimmed or reset: it may have seen entries of before and after,
    /// or bytes that were being taken away. So every answer is that of one moment. Edits are rare, so this ends.
    fn retry_after_edit<T>(&self, read: impl Fn() -> Result<T, ReadError>) -> Result<T, ReadError> {
        loop {
            let edits = self.state.read().edits;
            let result = read();
            if self.state.read().edits == edits {
                return result;
            }
        }
    }
}

/// The spans of entries `first..` in a segment of `there` entries, within the limits.
fn take_spans(
    first: u64,
    there: u64,
    count: u64,
    max_bytes: u64,
    any: bool,
    span: impl Fn(u64) -> Span,
) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut bytes = 0;
    for nth in first..there.min(first.saturating_add(count.min(SPANS_MAX))) {
        let span = span(nth);
        bytes += span.len;
        if max_bytes < bytes && !(any && spans.is_empty()) {
            break;
        }
        spans.push(span);
    }
    spans
}

/// Whether `frame` is the one that must be there.
fn look(frame: &[u8], index: u64, physical_offset: u64, checked: bool) -> Result<Header, FrameError> {
    let header = if checked { Header::parse(frame)? } else { crate::frame::decode(frame)?.header };
    if header.physical_offset != physical_offset {
        return Err(FrameError::Position { expected: physical_offset, found: header.physical_offset });
    }
    if header.kind == FILLER {
        return Err(FrameError::Filler);
    }
    if header.id.index != index {
        return Err(FrameError::Index { expected: index, found: header.id.index });
    }
    if header.frame_len() != frame.len() as u64 {
        return Err(FrameError::Length { length: header.length });
    }
    Ok(header)
}
