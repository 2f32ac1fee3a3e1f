//! The commit log: its mark, its segments, and whether what is in them is what must be in them. The verdicts are those of
//! recovery (`commitlog/FORMAT.md`), but nothing is cut and nothing ends the walk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trireme_commitlog::frame::{FrameError, HEADER_LEN, Header};
use trireme_commitlog::inspect::{self, Item, Items, Slot};
use trireme_commitlog::{DiskDir, LogDir, LogId, Options, SegmentIo};

use super::entries::{self, Filter};
use super::out::Out;
use super::range::Range;
use super::record::{self, Part, Record, SegmentIs, Tail};

/// The unit that a disk writes as a whole or not at all.
const SECTOR: u64 = 512;
/// Physical offsets stay below this (`commitlog/FORMAT.md`).
const OFFSETS_END: u64 = 1 << 62;

/// What is asked of the log.
pub struct What {
    pub segments: bool,
    /// Frames with these indexes.
    pub frames: Option<Range>,
    pub messages: bool,
    pub filter: Filter,
    /// Show what stands behind damage as well.
    pub follow_damage: bool,
    /// A replica has the store open.
    pub in_use: bool,
}

/// The log's directory and what its mark says.
struct Log {
    dir: DiskDir,
    path: PathBuf,
    mark: Option<inspect::Mark>,
    segment_bytes: u64,
    /// First physical offsets of the segment files, ascending.
    bases: Vec<u64>,
}

/// Writes what is asked of the commit log in `path`. Returns where the log begins, if that is known.
pub fn dump(path: &Path, what: &What, out: &mut Out<'_>) -> io::Result<Option<u64>> {
    let Some(log) = Log::open(path, out)? else { return Ok(None) };
    let begins = log.mark.map(|mark| mark.base);
    if what.segments || what.messages || what.frames.is_some() {
        let mut walk = Walk { log: &log, what, last: None, sound: true, hidden: 0 };
        walk.run(out)?;
    }
    Ok(begins)
}

impl Log {
    fn open(path: &Path, out: &mut Out<'_>) -> io::Result<Option<Self>> {
        let found = DiskDir::open_to_inspect(path).and_then(|dir| Ok((inspect::segments(&dir)?, dir)));
        let (bases, dir) = match found {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                out.note(format!("there is no commit log in {}", path.display()))?;
                return Ok(None);
            }
            Err(error) => {
                out.damage(Part::CommitLog, path, None, error)?;
                return Ok(None);
            }
        };
        let mark = newest_mark(&dir, path, &bases, out)?;
        let segment_bytes = match mark {
            Some(mark) => Some(mark.segment_bytes),
            // Every segment but one that is being made has its full length.
            None => bases.first().and_then(|base| file(&dir, *base).ok()?.len().ok()),
        };
        let usable = segment_bytes.filter(|bytes| Options { segment_bytes: *bytes }.validate().is_ok());
        let Some(segment_bytes) = usable else {
            if segment_bytes.is_some() {
                let reason = format!("{segment_bytes:?} is no size of segments");
                out.damage(Part::CommitLog, path, None, reason)?;
            }
            return Ok(None);
        };
        Ok(Some(Self { dir, path: path.to_owned(), mark, segment_bytes, bases }))
    }

    fn synced_end(&self) -> u64 {
        self.mark.map_or(0, |mark| mark.synced_end)
    }

    /// Whether a segment file behind `base` holds a sound frame.
    fn frame_behind(&self, base: u64) -> bool {
        let is_frame = |item| matches!(item, Ok(Item::Frame(_)));
        let behind = self.bases.iter().filter(|&&other| other > base);
        behind.filter_map(|&base| self.items(base).ok()).any(|mut items| items.any(is_frame))
    }

    fn items(&self, base: u64) -> io::Result<Items> {
        inspect::items(&self.dir, base, self.segment_bytes)
    }

    fn path_of(&self, base: u64) -> PathBuf {
        self.path.join(name(base))
    }
}

fn name(base: u64) -> String {
    format!("{base:020}.log")
}

fn file(dir: &DiskDir, base: u64) -> io::Result<Arc<dyn SegmentIo>> {
    dir.open(&name(base))
}

fn newest_mark(
    dir: &DiskDir,
    path: &Path,
    bases: &[u64],
    out: &mut Out<'_>,
) -> io::Result<Option<inspect::Mark>> {
    let file = path.join("mark");
    let slots = match inspect::marks(dir) {
        Ok(slots) => slots,
        Err(error) if error.kind() == io::ErrorKind::NotFound && bases.is_empty() => return Ok(None),
        Err(error) => {
            out.damage(Part::Mark, &file, None, format!("what was durable is unknown: {error}"))?;
            return Ok(None);
        }
    };
    let mut newest = None;
    for (nth, slot) in slots.into_iter().enumerate() {
        match slot {
            Slot::Sound(generation, mark) if newest.is_none_or(|(newer, _)| newer < generation) => {
                newest = Some((generation, mark));
            }
            Slot::Sound(..) => {}
            Slot::Bad => out.note(format!("slot {nth} of the synced mark is unreadable: torn or damaged"))?,
            Slot::Later(version) => {
                out.note(format!("slot {nth} of the synced mark has version {version}"))?
            }
        }
    }
    let Some((generation, mark)) = newest else {
        out.damage(Part::Mark, &file, None, "neither slot can be read: what was durable is unknown")?;
        return Ok(None);
    };
    out.put(&Record::Mark(record::Mark {
        generation,
        segment_bytes: mark.segment_bytes,
        trimmed: mark.trimmed.map(Into::into),
        base: mark.base,
        synced: mark.synced.map(Into::into),
        synced_end: mark.synced_end,
        resetting: mark.resetting,
    }))?;
    Ok(Some(mark))
}

struct Walk<'a> {
    log: &'a Log,
    what: &'a What,
    /// The entry before, if it is known which one that is.
    last: Option<LogId>,
    /// Nothing wrong was met yet, so what comes next is the log.
    sound: bool,
    /// Frames that were not shown because they are behind damage.
    hidden: u64,
}

impl Walk<'_> {
    fn run(&mut self, out: &mut Out<'_>) -> io::Result<()> {
        let segment_bytes = self.log.segment_bytes;
        let begins = self.log.mark.map(|mark| mark.base);
        // Where the next segment must be.
        let mut due = begins.map(|base| base - base % segment_bytes);
        for (nth, &base) in self.log.bases.iter().enumerate() {
            if !base.is_multiple_of(segment_bytes) || OFFSETS_END <= base {
                let reason = format!("no segment of {segment_bytes} bytes begins at {base}");
                out.damage(Part::CommitLog, &self.log.path_of(base), None, reason)?;
                continue;
            }
            if begins.is_some_and(|begins| base + segment_bytes <= begins) {
                self.segment(base, SegmentIs::Trimmed, out)?;
                continue;
            }
            if let Some(due) = due.filter(|due| *due != base) {
                self.lose(out, &self.log.path, (due, base), "segments are missing")?;
            }
            due = Some(base + segment_bytes);
            if self.wanted_later(nth) {
                continue;
            }
            if !Segment::new(self, base).walk(out)? {
                return Ok(());
            }
        }
        let (walked, synced_end) = (due.unwrap_or(0), self.log.synced_end());
        if walked < synced_end && self.log.mark.is_some_and(|mark| mark.base < synced_end) {
            self.lose(out, &self.log.path, (walked, synced_end), "segments are missing that were synced")?;
        }
        if self.hidden > 0 {
            let hidden = self.hidden;
            out.note(format!("{hidden} frames behind damage are not shown; --follow-damage shows them"))?;
        }
        Ok(())
    }

    /// Whether all frames asked for lie behind the `nth` segment, as the first one of the next segment shows.
    fn wanted_later(&self, nth: usize) -> bool {
        let from = self.what.frames.filter(|_| !self.what.segments).map_or(0, |range| range.from);
        let next = self.log.bases.get(nth + 1).filter(|_| from > 0);
        let first = next.and_then(|base| self.log.items(*base).ok()?.next()?.ok());
        matches!(first, Some(Item::Frame(header)) if header.id.index <= from)
    }

    fn lose(
        &mut self,
        out: &mut Out<'_>,
        path: &Path,
        range: (u64, u64),
        reason: impl ToString,
    ) -> io::Result<()> {
        self.sound = false;
        // What comes behind damage begins a new sequence.
        self.last = None;
        out.damage(Part::CommitLog, path, Some(range), reason)
    }

    fn segment(&self, base: u64, is: SegmentIs, out: &mut Out<'_>) -> io::Result<()> {
        if !self.what.segments {
            return Ok(());
        }
        let (first_physical_offset, next_physical_offset) = (base, base);
        out.put(&Record::Segment(record::Segment {
            first_physical_offset,
            next_physical_offset,
            is,
            frames: 0,
            first: None,
            last: None,
            damaged_bytes: 0,
        }))
    }
}

/// One segment, while it is walked.
struct Segment<'w, 'a> {
    walk: &'w mut Walk<'a>,
    base: u64,
    /// Exclusive.
    end: u64,
    path: PathBuf,
    found: record::Segment,
}

impl<'w, 'a> Segment<'w, 'a> {
    fn new(walk: &'w mut Walk<'a>, base: u64) -> Self {
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
    fn walk(mut self, out: &mut Out<'_>) -> io::Result<bool> {
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
