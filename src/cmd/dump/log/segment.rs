//! One segment: what is in it, and whether that is what must be in it.

use std::io;
use std::path::PathBuf;

use trireme_commitlog::frame::{FrameError, HEADER_LEN, Header};
use trireme_commitlog::inspect::{Item, Items};

use super::super::entries;
use super::super::out::Out;
use super::super::range::Range;
use super::super::record::{self, Record, SegmentIs, Tail};
use super::{Walk, file};

/// The unit that a disk writes as a whole or not at all.
const SECTOR: u64 = 512;

/// One segment, while it is walked.
pub struct Segment<'w, 'a> {
    walk: &'w mut Walk<'a>,
    base: u64,
    /// Exclusive.
    end: u64,
    path: PathBuf,
    found: record::Segment,
}

impl<'w, 'a> Segment<'w, 'a> {
    pub fn new(walk: &'w mut Walk<'a>, base: u64) -> Self {
        let found = record::Segment {
            first_physical_offset: base,
            next_physical_offset: base,
            is: SegmentIs::Prepared,
            frames: 0,
            first: None,
            last: None,
            damaged_bytes: 0,
        };
        Self { base, end: base + walk.log.segment_bytes, path: walk.log.path_of(base), walk, found }
    }

    /// `false` when nothing behind this segment is asked for.
    pub fn walk(mut self, out: &mut Out<'_>) -> io::Result<bool> {
        let mut items = match self.walk.log.items(self.base) {
            Ok(items) => items,
            Err(error) => {
                self.failed(error, out)?;
                return Ok(true);
            }
        };
        while let Some(item) = items.next() {
            match item {
                Ok(Item::Frame(header)) => {
                    if self.is_behind_range(&header) {
                        return Ok(false);
                    }
                    self.frame(&items, &header, out)?;
                }
                Ok(Item::Filler(header)) => self.filler(&header, out)?,
                Ok(Item::Bad { from, to, error }) => self.bad(from, to, error, out)?,
                Ok(Item::End { physical_offset }) => self.zeros(physical_offset, out)?,
                Err(error) => self.failed(error, out)?,
            }
        }
        if self.walk.what.segments {
            out.put(&Record::Segment(self.found))?;
        }
        Ok(true)
    }

    fn is_behind_range(&self, header: &Header) -> bool {
        let what = self.walk.what;
        !what.segments && what.frames.is_some_and(|range| range.to <= header.id.index)
    }

    fn frame(&mut self, items: &Items, header: &Header, out: &mut Out<'_>) -> io::Result<()> {
        let from = header.physical_offset;
        let to = from + header.frame_len();
        if let Some(reason) = self.out_of_sequence(header) {
            self.lose((from, to), reason, out)?;
        }
        self.walk.last = Some(header.id);
        self.found.is = SegmentIs::Active;
        self.found.frames += 1;
        self.found.first.get_or_insert(header.id.into());
        self.found.last = Some(header.id.into());
        self.found.next_physical_offset = to;
        let what = self.walk.what;
        if !what.frames.unwrap_or(Range::ALL).contains(header.id.index)
            || !(what.messages || what.frames.is_some())
        {
            return Ok(());
        }
        if !self.walk.sound && !what.follow_damage {
            self.walk.hidden += 1;
            return Ok(());
        }
        let wanted = entries::Wanted { frame: what.frames.is_some(), filter: &what.filter };
        entries::dump(items, header, &self.path, &wanted, out)
    }

    fn out_of_sequence(&self, header: &Header) -> Option<String> {
        let found = header.id;
        let mark = self.walk.log.mark;
        let expected = match (self.walk.last, mark) {
            (Some(last), _) => last.index.checked_add(1),
            (None, Some(mark)) if mark.base == header.physical_offset => {
                Some(mark.trimmed.map_or(0, |trimmed| trimmed.index.saturating_add(1)))
            }
            (None, _) => None,
        };
        if let Some(expected) = expected.filter(|expected| *expected != found.index) {
            return Some(FrameError::Index { expected, found: found.index }.to_string());
        }
        let last = self.walk.last.filter(|last| found.term < last.term)?;
        Some(FrameError::Term { last: last.term, found: found.term }.to_string())
    }

    fn filler(&mut self, header: &Header, out: &mut Out<'_>) -> io::Result<()> {
        let from = header.physical_offset;
        if let Some(last) = self.walk.last.filter(|last| *last != header.id) {
            let reason = format!("a filler behind entry {} where entry {last} is the last", header.id);
            self.lose((from, from + HEADER_LEN as u64), reason, out)?;
        }
        self.found.is = SegmentIs::Sealed;
        self.found.next_physical_offset = from + HEADER_LEN as u64;
        Ok(())
    }

    /// Zeros up to the segment's end.
    fn zeros(&mut self, from: u64, out: &mut Out<'_>) -> io::Result<()> {
        let durable = self.walk.log.synced_end().min(self.end);
        if from < durable {
            return self.lose((from, durable), "zeros where synced entries must be", out);
        }
        if self.walk.log.frame_behind(self.base) {
            self.walk.last = None;
            self.walk.sound = false;
            let reason = "zeros, and frames in later segments: writes were lost that had not been synced; the log \
                          is cut here at the next start";
            return out.put(&Record::Tail(Tail { from, to: self.end, reason: reason.into() }));
        }
        Ok(())
    }

    /// Bytes that are no frame. `to` is where the next sound one begins, or the segment's end.
    fn bad(&mut self, from: u64, to: u64, error: FrameError, out: &mut Out<'_>) -> io::Result<()> {
        if self.found.frames == 0 {
            self.found.is = SegmentIs::Unreadable;
        }
        let extent = self.extent(from, to);
        let shown = (from, if to < self.end { to } else { extent });
        let durable = from < self.walk.log.synced_end();
        let behind = to < self.end || self.walk.log.frame_behind(self.base);
        if durable || (behind && !self.has_zero_sector(from, extent)) {
            return self.lose(shown, error, out);
        }
        self.walk.sound = false;
        self.walk.last = None;
        let why = if self.walk.what.in_use { "being written, or torn" } else { "torn" };
        let reason = format!("{why}, and never reported durable: the next start cuts the log here ({error})");
        out.put(&Record::Tail(Tail { from, to: shown.1, reason }))
    }

    /// Where the bad frame at `from` ends, as far as its header can be believed.
    fn extent(&self, from: u64, limit: u64) -> u64 {
        let mut bytes = [0; HEADER_LEN];
        let read = self.read(from, &mut bytes).unwrap_or(0);
        let header = Header::parse(&bytes[..read]).ok().filter(|header| header.physical_offset == from);
        let claimed = header.map(|header| from + header.frame_len()).filter(|end| *end <= limit);
        claimed.unwrap_or(from + HEADER_LEN as u64).min(limit)
    }

    /// Whether some whole sector's part of `from..to` reads as zeros. What cannot be read is not zero.
    fn has_zero_sector(&self, from: u64, to: u64) -> bool {
        let mut at = from;
        while at < to {
            let next = (at - at % SECTOR + SECTOR).min(to);
            let mut bytes = [0xff; SECTOR as usize];
            let part = &mut bytes[..(next - at) as usize];
            if self.read(at, part).is_ok() && part.iter().all(|byte| *byte == 0) {
                return true;
            }
            at = next;
        }
        false
    }

    fn read(&self, from: u64, bytes: &mut [u8]) -> io::Result<usize> {
        file(&self.walk.log.dir, self.base)?.read_at(from - self.base, bytes)
    }

    fn failed(&mut self, error: io::Error, out: &mut Out<'_>) -> io::Result<()> {
        if error.kind() == io::ErrorKind::NotFound {
            // Listed and gone: a running replica has trimmed or truncated it meanwhile.
            return out.note(format!("{} went away while it was looked at", self.path.display()));
        }
        let from = self.found.next_physical_offset;
        self.lose((from, self.end), format!("cannot be read: {error}"), out)
    }

    fn lose(&mut self, range: (u64, u64), reason: impl ToString, out: &mut Out<'_>) -> io::Result<()> {
        self.found.damaged_bytes += range.1 - range.0;
        self.walk.lose(out, &self.path, range, reason)
    }
}
