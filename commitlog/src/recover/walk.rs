//! The walk over the segments from the synced mark's on: frame after frame, until something is not the next one.

use std::sync::Arc;

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
    /// `None`: there is no file, which is as good as zeros.
    error: Option<FrameError>,
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
        Ok(Stop { nth: self.segments.len(), pos: 0, error: None })
    }

    /// Walks one segment; `None` when a filler closes it.
    fn run_segment(&mut self, nth: usize) -> Result<Option<Stop>, OpenError> {
        let (base, io) = (self.segments[nth].base, Arc::clone(&self.segments[nth].io));
        let mut reader = SegmentReader::new(&*io, base, self.store.segment_bytes);
        self.segments[nth].first_index = self.next.unwrap_or_default();
        let mut pos = 0;
        loop {
            self.check_landmarks(base, pos)?;
            let durable = base + pos < self.mark.synced_end;
            let read = if durable { reader.header(pos) } else { reader.frame(pos) };
            let header = match read.at("read", &log_name(base), self.store)?.and_then(|h| self.in_sequence(h))
            {
                Ok(header) => header,
                Err(error) => return Ok(Some(Stop { nth, pos, error: Some(error) })),
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
                return Err(self.corrupt(base, header.physical_offset, base + pos, reason));
            }
        }
    }

    /// The mark names two entries by their ends; what was walked must agree.
    fn check_landmarks(&self, base: u64, pos: u64) -> Result<(), OpenError> {
        let mark = self.mark;
        for (what, end, id) in
            [("synced", mark.synced_end, mark.synced), ("trimmed", mark.base, mark.trimmed)]
        {
            if base + pos == end && self.last.is_some() && self.last != id {
                let (last, id) = (show(self.last), show(id));
                let reason = format!("the mark says that entry {id} ({what}) ends here, the log has {last}");
                return Err(self.corrupt(base, base, end, reason));
            }
        }
        Ok(())
    }

    /// Whether a frame, sound by itself, is the one that comes next.
    fn in_sequence(&self, header: Header) -> Result<Header, FrameError> {
        if header.kind == FILLER {
            return if self.last == Some(header.id) { Ok(header) } else { Err(FrameError::Filler) };
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
        // One past the last segment, behind its filler.
        let Some(segment) = self.segments.get(stop.nth) else { return Ok(()) };
        let name = log_name(segment.base);
        let offset = segment.base + stop.pos;
        let durable = offset < self.mark.synced_end;
        let mut reader = SegmentReader::new(&*segment.io, segment.base, self.store.segment_bytes);
        let spot = self.spot(&mut reader, stop.pos).at("read", &name, self.store)?;
        let (behind, next_frame) = self.behind(stop.nth, stop.pos)?;
        let verdict = judge(durable, spot, behind);
        let why = stop.error.map(|error| error.to_string()).unwrap_or_default();
        if verdict != Verdict::Corrupt {
            if verdict == Verdict::Cut {
                tracing::warn!(
                    physical_offset = offset,
                    last_log = show(self.last),
                    ?spot,
                    ?behind,
                    why,
                    "torn tail cut"
                );
            }
            return Ok(());
        }
        // The range ends with the frame if its header can be believed, or where the next sound frame begins.
        let to = match reader.header(stop.pos).at("read", &name, self.store)? {
            Ok(header) => offset + header.frame_len(),
            Err(_) => next_frame.unwrap_or(self.mark.synced_end).max(offset + HEADER_LEN as u64),
        };
        let context = match (durable, next_frame) {
            (true, _) => format!("below the synced mark at {}", self.mark.synced_end),
            (false, Some(next)) => format!("above the synced mark, but a sound frame follows at {next}"),
            (false, None) => "above the synced mark".to_owned(),
        };
        Err(self.corrupt(segment.base, offset, to, format!("{why}, {context}")))
    }

    fn spot(&self, reader: &mut SegmentReader<'_>, pos: u64) -> std::io::Result<Spot> {
        let header_end = pos + HEADER_LEN as u64;
        if reader.is_zero(pos, header_end)? {
            return Ok(Spot::Zero);
        }
        if reader.frame(pos)?.is_ok() {
            return Ok(Spot::OutOfSequence);
        }
        // Without a header that can be believed the frame's end is unknown: then only the header's own sectors count.
        let end = match reader.header(pos)? {
            Ok(header) => pos + header.frame_len(),
            Err(_) => header_end,
        };
        Ok(if reader.has_zero_sector(pos, end)? { Spot::Hole } else { Spot::Damaged })
    }

    /// What lies behind position `pos` of segment `nth`, and where the first sound frame there begins.
    fn behind(&self, nth: usize, pos: u64) -> Result<(Behind, Option<u64>), OpenError> {
        let mut behind = Behind::Nothing;
        for (n, segment) in self.segments.iter().enumerate().skip(nth) {
            let mut reader = SegmentReader::new(&*segment.io, segment.base, self.store.segment_bytes);
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
