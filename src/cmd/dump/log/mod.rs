//! The commit log: its mark, its segments, and whether what is in them is what must be in them. The verdicts are those of
//! recovery (`commitlog/FORMAT.md`), but nothing is cut and nothing ends the walk.

mod segment;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trireme_commitlog::inspect::{self, Item, Items, Slot};
use trireme_commitlog::{DiskDir, LogDir, LogId, Options, SegmentIo};

use super::entries::Filter;
use super::out::Out;
use super::range::Range;
use super::record::{self, Part, Record, SegmentIs};
use segment::Segment;

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
