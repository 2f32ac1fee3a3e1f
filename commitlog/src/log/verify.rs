//! Verify and repair: what was written long ago is looked at again before it is given to anybody, and put right from
//! another replica's copy.

use std::collections::BTreeMap;
use std::ops::Range;

use parking_lot::Mutex;

use super::CommitLog;
use crate::error::{ReadError, RepairError};
use crate::frame::{self, LogId};
use crate::segment::log_name;

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
        // What a failing disk does not give is an error here; in a map it were a signal.
        self.within(from, (end - from) as u32, |io, pos, len| io.load(pos, len))?;
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

    /// Writes a frame again that is in the log and was damaged, as another replica has it, durably. Returns its id.
    ///
    /// The caller knows that the entry is committed: then it is the same on all replicas, byte for byte.
    /// Errors: it is not a whole frame, or not one that has its place here; the log is as it was.
    pub fn repair(&self, frame: &[u8]) -> Result<LogId, RepairError> {
        let header = frame::decode(frame)?.header;
        // Nothing is truncated meanwhile.
        let _writer = self.writer.lock();
        self.check_fault()?;
        let (from, to) = (header.physical_offset, header.physical_offset + frame.len() as u64);
        if self.frame_range(header.id.index)? != Some((from, to)) {
            return Err(RepairError::Misplaced { id: header.id, from, to });
        }
        let base = from / self.options.segment_bytes * self.options.segment_bytes;
        let io = {
            let state = self.state.read();
            match self.sealed_at(&state, from) {
                Some(segment) => segment.io.clone(),
                None => state.active.io.clone(),
            }
        };
        let failed = |action| move |error| self.fail(action, &log_name(base), error);
        io.write_at(from - base, frame).map_err(failed("repair"))?;
        io.sync().map_err(failed("sync"))?;
        Ok(header.id)
    }
}
