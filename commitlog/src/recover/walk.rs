//! The walk over the segments from the synced mark's on: frame after frame, until something is not the next one.

use std::fmt;
use std::sync::Arc;

use trireme_planted::{self as planted, Defect};

use super::verdict::{Behind, Spot, Verdict, judge};
use super::{Io, Store};
use crate::dir::SegmentIo;
use crate::error::{Corruption, OpenError};
use crate::frame::{FILLER, FrameError, HEADER_LEN, Header, LogId};
use crate::index::pack;
use crate::mark::Mark;
use crate::scan::SegmentReader;
use crate::segment::log_name;

/// One segment that has been walked.
pub(super) struct Walked {
    pub base: u64,
    pub io: Arc<dyn SegmentIo>,
    pub first_index: u64,
    pub offsets: Vec<u32>,
    /// Position behind the last frame: where the filler lies, or the walk stopped.
    pub end_pos: u64,
}

/// Where and why the walk stopped.
struct Stop {
    /// Which of the segments; one past the last when a filler closes the last one.
    nth: usize,
    pos: u64,
    why: Why,
}

enum Why {
    /// There is no next segment, which is as good as zeros.
    NoSegment,
    /// What is there is not the next frame.
    Frame(FrameError),
    /// The mark and the frames before this contradict each other.
    Mark(String),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::NoSegment => write!(f, "no next segment"),
            Why::Frame(error) => write!(f, "{error}"),
            Why::Mark(reason) => write!(f, "{reason}"),
        }
    }
}

/// What the walk starts from.
pub(super) struct Start {
    /// Index of the first frame, if what lies before says it.
    pub first_index: Option<u64>,
    /// The entry before the first frame, if known.
    pub last: Option<LogId>,
}

/// What the walk found to be the log.
pub(super) struct Outcome {
    /// The segments walked, up to and including the one that holds the tail.
    pub segments: Vec<Walked>,
    pub last: Option<LogId>,
}

/// Walks the segments at `bases` and decides where the log ends. Changes nothing.
pub(super) fn walk(
    store: &Store<'_>,
    mark: &Mark,
    bases: &[u64],
    start: Start,
) -> Result<Outcome, OpenError> {
    let mut walk = Walk { store, mark, next: start.first_index, last: start.last, segments: Vec::new() };
    for &base in bases {
        let io = store.open(base)?;
        walk.segments.push(Walked { base, io, first_index: 0, offsets: Vec::new(), end_pos: 0 });
    }
    let stop = walk.run()?;
    walk.decide(&stop)?;
    let Walk { mut segments, last, .. } = walk;
    // A filler whose next segment holds no frame closes nothing: its segment is the one that goes on.
    let holder = if stop.pos == 0 { stop.nth.saturating_sub(1) } else { stop.nth };
    segments.truncate(holder + 1);
    Ok(Outcome { segments, last })
}

struct Walk<'a> {
    store: &'a Store<'a>,
    mark: &'a Mark,
    /// Index of the next frame, once known.
    next: Option<u64>,
    last: Option<LogId>,
    segments: Vec<Walked>,
}

impl Walk<'_> {
    fn run(&mut self) -> Result<Stop, OpenError> {
        for nth in 0..self.segments.len() {
            if let Some(stop) = self.run_segment(nth)? {
                return Ok(stop);
            }
        }
        Ok(Stop { nth: self.segments.len(), pos: 0, why: Why::NoSegment })
    }

    /// Walks one segment; `None` when a filler closes it.
    fn run_segment(&mut self, nth: usize) -> Result<Option<Stop>, OpenError> {
        let (base, io) = (self.segments[nth].base, Arc::clone(&self.segments[nth].io));
        let mut reader = SegmentReader::new(io, base, self.store.segment_bytes);
        self.segments[nth].first_index = self.next.unwrap_or_default();
        let mut pos = 0;
        loop {
            if let Some(reason) = self.contradiction(base + pos) {
                return Ok(Some(Stop { nth, pos, why: Why::Mark(reason) }));
            }
            let durable = base + pos < self.mark.synced_end;
            if !durable && planted::is(Defect::TailCutTooShort) {
                return Ok(Some(Stop { nth, pos, why: Why::NoSegment }));
            }
            let read = if durable { reader.header(pos) } else { reader.frame(pos) };
            let read = read.at("read", &log_name(base), self.store)?;
            let header = match read.and_then(|header| self.in_sequence(header, durable)) {
                Ok(header) => header,
                Err(error) => return Ok(Some(Stop { nth, pos, why: Why::Frame(error) })),
            };
            if header.kind == FILLER {
                return Ok(None);
            }
            let segment = &mut self.segments[nth];
            if segment.offsets.is_empty() {
                segment.first_index = header.id.index;
            }
            segment.offsets.push(pack(pos));
            pos += header.frame_len();
            segment.end_pos = pos;
            self.next = Some(header.id.index + 1);
            self.last = Some(header.id);
            if durable && self.mark.synced_end < base + pos {
                let reason = format!("frame {} reaches past the synced mark's end", header.id);
                return Ok(Some(Stop { nth, pos, why: Why::Mark(reason) }));
            }
        }
    }

    /// The mark names two entries by their ends; what was walked up to `offset` must agree.
    fn contradiction(&self, offset: u64) -> Option<String> {
        let mark = self.mark;
        let landmarks = [("synced", mark.synced_end, mark.synced), ("trimmed", mark.base, mark.trimmed)];
        let (what, _, id) = landmarks
            .into_iter()
            .find(|&(_, end, id)| offset == end && self.last.is_some() && self.last != id)?;
        let (last, id) = (show(self.last), show(id));
        Some(format!("the mark says that entry {id} ({what}) ends at {offset}, the log has {last}"))
    }

    /// Whether a frame, sound by itself, is the one that comes next.
    fn in_sequence(&self, header: Header, durable: bool) -> Result<Header, FrameError> {
        if header.kind == FILLER {
            // It closes the segment, so nothing durable may be behind it.
            let closes = self.last == Some(header.id) && !durable;
            return if closes { Ok(header) } else { Err(FrameError::Filler) };
        }
        let found = header.id.index;
        match self.next {
            Some(expected) if found != expected => return Err(FrameError::Index { expected, found }),
            // Counting on must not overflow, whatever an unchecked header says.
            None if found == u64::MAX => return Err(FrameError::Index { expected: 0, found }),
            _ => {}
        }
        match self.last {
            Some(last) if header.id.term < last.term => {
                Err(FrameError::Term { last: last.term, found: header.id.term })
            }
            _ => Ok(header),
        }
    }

    /// Looks closely at where the walk stopped, and either accepts it as the log's end or names the corruption.
    fn decide(&self, stop: &Stop) -> Result<(), OpenError> {
        if planted::is(Defect::TailCutTooShort) {
            return Ok(());
        }
        // One past the last segment, behind its filler.
        let Some(segment) = self.segments.get(stop.nth) else { return Ok(()) };
        let offset = segment.base + stop.pos;
        if offset < self.mark.synced_end || matches!(stop.why, Why::Mark(_)) {
            return Err(self.blame(segment, stop)?);
        }
        let mut reader = SegmentReader::new(Arc::clone(&segment.io), segment.base, self.store.segment_bytes);
        let (behind, next_frame) = self.behind(stop.nth, stop.pos)?;
        let before = next_frame.map_or(u64::MAX, |next| next - segment.base);
        let spot = self.spot(&mut reader, stop.pos, before);
        let spot = spot.at("read", &log_name(segment.base), self.store)?;
        let last_log = show(self.last);
        match judge(false, spot, behind) {
            Verdict::End => Ok(()),
            Verdict::Cut => {
                let why = &stop.why;
                tracing::warn!(physical_offset = offset, last_log, ?spot, ?behind, %why, "torn tail cut");
                Ok(())
            }
            Verdict::Corrupt => {
                // Trust resumes with the next sound frame, or behind this one if it is sound but in the wrong place.
                let to = next_frame.unwrap_or(offset + HEADER_LEN as u64);
                let reason = match spot {
                    Spot::OutOfSequence => stop.why.to_string(),
                    _ => format!("{}, and no lost write explains it: a sound frame follows", stop.why),
                };
                Err(self.corrupt(segment.base, offset, to, reason))
            }
        }
    }

    /// Names the damage below the mark. The walk there looked at headers only and may have been led astray by one, so
    /// everything before the stop is checked in full: the first bad frame is the one to name.
    fn blame(&self, segment: &Walked, stop: &Stop) -> Result<OpenError, OpenError> {
        let mut reader = SegmentReader::new(Arc::clone(&segment.io), segment.base, self.store.segment_bytes);
        let mut why = stop.why.to_string();
        let mut pos = 0;
        while pos < stop.pos {
            match reader.frame(pos).at("read", &log_name(segment.base), self.store)? {
                Ok(header) => pos += header.frame_len(),
                Err(error) => {
                    why = error.to_string();
                    break;
                }
            }
        }
        let (_, next_frame) = self.behind(stop.nth, pos)?;
        let to = next_frame.unwrap_or(0).max(segment.base + pos + HEADER_LEN as u64);
        let to = if next_frame.is_some() { to } else { to.max(self.mark.synced_end) };
        let reason = format!("{why}, below the synced mark at {}", self.mark.synced_end);
        Ok(self.corrupt(segment.base, segment.base + pos, to, reason))
    }

    /// What is at `pos`, when the next sound frame begins at `before`.
    fn spot(&self, reader: &mut SegmentReader, pos: u64, before: u64) -> std::io::Result<Spot> {
        let header_end = pos + HEADER_LEN as u64;
        if reader.is_zero(pos, header_end)? {
            return Ok(Spot::Zero);
        }
        if reader.frame(pos)?.is_ok() {
            return Ok(Spot::OutOfSequence);
        }
        // Without a header that can be believed the frame's end is unknown: then only the header's own sectors count.
        // One that reaches over a sound frame cannot be believed about its length.
        let end = match reader.header(pos)? {
            Ok(header) => (pos + header.frame_len()).min(before),
            Err(_) => header_end,
        };
        Ok(if reader.has_zero_sector(pos, end)? { Spot::Hole } else { Spot::Damaged })
    }

    /// What lies behind position `pos` of segment `nth`, and where the first sound frame there begins.
    fn behind(&self, nth: usize, pos: u64) -> Result<(Behind, Option<u64>), OpenError> {
        let mut behind = Behind::Nothing;
        for (n, segment) in self.segments.iter().enumerate().skip(nth) {
            let mut reader =
                SegmentReader::new(Arc::clone(&segment.io), segment.base, self.store.segment_bytes);
            // Behind the word where a header would begin; the rest of a bad frame counts as behind.
            let from = if n == nth { pos + crate::frame::ALIGN } else { 0 };
            let found = reader.search(from).at("read", &log_name(segment.base), self.store)?;
            if let Some(frame) = found.frame {
                return Ok((Behind::Frame, Some(segment.base + frame)));
            }
            if found.nonzero.is_some() {
                behind = Behind::Rest;
            }
        }
        Ok((behind, None))
    }

    fn corrupt(&self, base: u64, from: u64, to: u64, reason: String) -> OpenError {
        Corruption { segment: self.store.dir.path_of(&log_name(base)), from, to, reason }.into()
    }
}

fn show(id: Option<LogId>) -> String {
    id.map_or_else(|| "none".to_owned(), |id| id.to_string())
}
