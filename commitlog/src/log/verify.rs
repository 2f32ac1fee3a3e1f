//! Verify and repair: what was written long ago is looked at again before it is given to anybody, and put right from
//! another replica's copy.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::iter;
use std::ops::Range;

use parking_lot::Mutex;

use super::CommitLog;
use crate::dir::{PAGE, SegmentIo};
use crate::error::{ReadError, RepairError};
use crate::frame::{self, LogId};
use crate::segment::log_name;

/// What of a range can be written: to write a part of a page, the rest of it must be read.
fn writable(io: &dyn SegmentIo, range: Range<u64>) -> Range<u64> {
    let mut page = vec![0; PAGE as usize];
    let mut cannot_read = |pos: u64| io.read_at(pos / PAGE * PAGE, &mut page).is_err();
    let Range { mut start, mut end } = range;
    if !start.is_multiple_of(PAGE) && cannot_read(start) {
        start = start.next_multiple_of(PAGE);
    }
    if !end.is_multiple_of(PAGE) && cannot_read(end) {
        end = end / PAGE * PAGE;
    }
    start..end
}

/// What is looked at together. A frame may lie in several.
const BLOCK: u64 = 256 << 10;

/// The blocks in which every frame has been found whole since the log was opened. Bits, by segment.
#[derive(Debug, Default)]
pub(super) struct Verified {
    segments: Mutex<BTreeMap<u64, Vec<u64>>>,
}

impl Verified {
    fn contains(&self, base: u64, block: u64) -> bool {
        let segments = self.segments.lock();
        let word = segments.get(&base).and_then(|words| words.get((block / 64) as usize));
        word.is_some_and(|word| word & (1 << (block % 64)) != 0)
    }

    /// Forgets what lies before `log_start`: it is gone.
    fn add(&self, base: u64, block: u64, log_start: u64, segment_bytes: u64) {
        let mut segments = self.segments.lock();
        let words = segments.entry(base).or_default();
        let word = (block / 64) as usize;
        if words.len() <= word {
            words.resize(word + 1, 0);
        }
        words[word] |= 1 << (block % 64);
        segments.retain(|base, _| log_start < base + segment_bytes);
    }
}

impl CommitLog {
    /// Looks at every frame that has a byte in `physical_offset..physical_offset + len`, which lie inside one segment,
    /// unless it was found whole before since the log was opened, or this process has written it and its segment is still
    /// active. Waits for the disk.
    pub(super) fn verify(&self, physical_offset: u64, len: u64) -> Result<(), ReadError> {
        let base = physical_offset / self.options.segment_bytes * self.options.segment_bytes;
        let from = physical_offset - base;
        for block in from / BLOCK..(from + len).div_ceil(BLOCK) {
            if !self.verified.contains(base, block) {
                let at = base + block * BLOCK;
                self.look_at(at..(at + BLOCK).min(base + self.options.segment_bytes))?;
                self.verified.add(base, block, self.min_physical_offset(), self.options.segment_bytes);
            }
        }
        Ok(())
    }

    /// Looks at every frame that begins in sealed segments from `physical_offset` on, up to about `max_bytes` of them,
    /// whatever was found before. Returns where to go on; `None` at the end of what is sealed. Waits for the disk.
    ///
    /// Errors: [`ReadError::Corrupt`] with the exact frame. Frames behind it are looked at when somebody goes on there.
    pub fn scrub(&self, physical_offset: u64, max_bytes: u64) -> Result<Option<u64>, ReadError> {
        let segment_bytes = self.options.segment_bytes;
        let (start, active) = {
            let state = self.state.read();
            (state.base, state.active.base)
        };
        let from = physical_offset.max(start);
        if active <= from {
            return Ok(None);
        }
        let end = (from + max_bytes).min(from / segment_bytes * segment_bytes + segment_bytes);
        match self.look_at(from..end) {
            // It goes on behind what is gone.
            Ok(()) | Err(ReadError::Trimmed { .. }) => Ok(Some(end)),
            Err(error) => Err(error),
        }
    }

    /// Every frame that has a byte in the range, which lies inside one segment.
    fn look_at(&self, range: Range<u64>) -> Result<(), ReadError> {
        let (start, tail) = {
            let state = self.state.read();
            (state.base, state.tail)
        };
        let (from, end) = (range.start.max(start), range.end.min(tail));
        if end <= from {
            return Ok(());
        }
        let Some(mut index) = self.index_at(from)? else { return Ok(()) };
        let mut at = from;
        while at < end {
            let frames = self.read(index, u64::MAX, (end - at).min(BLOCK))?;
            let Some(last) = frames.last() else { return Ok(()) };
            at = last.physical_offset + last.frame.len() as u64;
            index = last.id.index + 1;
        }
        Ok(())
    }

    /// Writes frames again that are in the log side by side, in one segment, and were damaged, as another replica has them,
    /// durably. Returns the last one's id. Pages that the disk cannot read are written as a whole, which heals many a
    /// disk; one that holds also something else is left as it is.
    ///
    /// The caller knows that the entries are committed: then they are the same on all replicas, byte for byte.
    /// Errors: they are not whole frames, or not ones that have their place here, or they fill no page of those that cannot
    /// be read; the log is as it was.
    pub fn repair(&self, frames: &[u8]) -> Result<LogId, RepairError> {
        // Nothing is truncated meanwhile.
        let _writer = self.writer.lock();
        self.check_fault()?;
        let first = frame::decode(frames)?.header;
        let segment_bytes = self.options.segment_bytes;
        let base = first.physical_offset / segment_bytes * segment_bytes;
        let (mut last, mut rest) = (first, frames);
        while !rest.is_empty() {
            let header = frame::decode(rest)?.header;
            let (from, to) = (header.physical_offset, header.physical_offset + header.frame_len());
            let is_next = header.id.index == last.id.index + 1 || rest.len() == frames.len();
            let is_there = self.frame_range(header.id.index)? == Some((from, to));
            if !(is_next && is_there && to <= base + segment_bytes) {
                return Err(RepairError::Misplaced { id: header.id, from, to });
            }
            (last, rest) = (header, &rest[header.frame_len() as usize..]);
        }
        let io = {
            let state = self.state.read();
            match self.sealed_at(&state, first.physical_offset) {
                Some(segment) => segment.io.clone(),
                None => state.active.io.clone(),
            }
        };
        let mut bytes = Cow::Borrowed(frames);
        let end = first.physical_offset + frames.len() as u64;
        if self.is_sealed_behind(last.id.index, base) {
            // The rest of its page is known as well.
            let page_end = end.next_multiple_of(PAGE).min(base + segment_bytes);
            let filler = frame::filler(last.id, end);
            let known = filler.into_iter().chain(iter::repeat(0)).take((page_end - end) as usize);
            bytes.to_mut().extend(known);
        }
        let pos = first.physical_offset - base;
        let range = writable(&*io, pos..pos + bytes.len() as u64);
        if range.is_empty() {
            return Err(RepairError::Unreadable { from: first.physical_offset, to: end });
        }
        let failed = |action| move |error| self.fail(action, &log_name(base), error);
        let bytes = &bytes[(range.start - pos) as usize..(range.end - pos) as usize];
        io.write_at(range.start, bytes).map_err(failed("repair"))?;
        io.sync().map_err(failed("sync"))?;
        Ok(last.id)
    }

    /// Whether the segment is closed behind the entry.
    fn is_sealed_behind(&self, index: u64, base: u64) -> bool {
        let segments = self.segments();
        let segment = segments.iter().find(|segment| segment.first_physical_offset == base);
        segment.is_some_and(|segment| segment.sealed && segment.last_index == Some(index))
    }
}
