//! The mark file: what is known to be durable, and where the log begins. Two slots, written in turn, each with its own
//! checksum, so that a crash while one is written leaves the other.

use std::io;
use std::sync::Arc;

use crate::LogId;
use crate::dir::{LogDir, SegmentIo};
use crate::error::is_unreadable;
use crate::segment::OFFSETS_END;

/// Name of the file.
pub(crate) const FILE: &str = "mark";
/// Format version of a slot.
pub(crate) const VERSION: u8 = 1;
/// Slots lie this far apart, in different blocks, so that no single torn write can reach both.
const SLOT_STRIDE: u64 = 4096;
const SLOT_LEN: usize = 80;
const MAGIC: u32 = u32::from_le_bytes(*b"TRMK");

const HAS_TRIMMED: u8 = 1;
const HAS_SYNCED: u8 = 2;
const RESETTING: u8 = 4;

/// What is known to be durable, and where the log begins.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Mark {
    /// Segment size of the store; it never changes.
    pub segment_bytes: u64,
    /// Last entry that was trimmed away.
    pub trimmed: Option<LogId>,
    /// First physical offset of the log: where the entry after `trimmed` lies, or will lie.
    pub base: u64,
    /// An entry that is durable, with all before it. Trails the flusher.
    pub synced: Option<LogId>,
    /// Exclusive end of that entry's frame; `base` if there is none.
    pub synced_end: u64,
    /// A reset has been decided and its old files may still be there.
    pub resetting: bool,
}

/// What the file holds, when it is opened.
pub(crate) enum Slots {
    /// At least one slot is sound: the newer one.
    Sound(MarkFile),
    /// Neither slot is sound, or there is no file.
    Lost,
    /// A sound slot of a later format.
    Unsupported(u8),
}

/// The open mark file with its last written content.
#[derive(Debug)]
pub(crate) struct MarkFile {
    io: Arc<dyn SegmentIo>,
    generation: u64,
    pub current: Mark,
}

impl MarkFile {
    /// Creates the file with `mark` in both slots, durably. Replaces a file that a crash left half made.
    pub fn create(dir: &dyn LogDir, mark: Mark) -> io::Result<MarkFile> {
        match dir.remove(FILE) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let io = dir.create(FILE)?;
        io.preallocate(2 * SLOT_STRIDE)?;
        let mut file = MarkFile { io, generation: 0, current: mark };
        file.write_both(mark)?;
        dir.sync_dir()?;
        Ok(file)
    }

    /// Reads both slots and takes the newer sound one.
    pub fn open(dir: &dyn LogDir) -> io::Result<Slots> {
        let io = match dir.open(FILE) {
            Ok(io) => io,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Slots::Lost),
            Err(error) => return Err(error),
        };
        let mut newest: Option<(u64, Mark)> = None;
        for (nth, slot) in read_slots(&*io)?.into_iter().enumerate() {
            match slot {
                Slot::Sound(generation, mark) => {
                    if newest.is_none_or(|(newer, _)| newer < generation) {
                        newest = Some((generation, mark));
                    }
                }
                Slot::Bad => tracing::warn!(file = dir.path_of(FILE), slot = nth, "mark slot is unreadable"),
                Slot::Later(version) => return Ok(Slots::Unsupported(version)),
            }
        }
        Ok(match newest {
            Some((generation, current)) => Slots::Sound(MarkFile { io, generation, current }),
            None => Slots::Lost,
        })
    }

    /// Writes one slot, durably. For a mark that only moves `synced` forward: if this slot is lost the other one is
    /// older, and an older synced mark only means that recovery checks more.
    pub fn write(&mut self, mark: Mark) -> io::Result<()> {
        let generation = self.generation + 1;
        // As a whole: a part of a page that the disk cannot read cannot be written.
        let mut page = [0; SLOT_STRIDE as usize];
        page[..SLOT_LEN].copy_from_slice(&encode(generation, &mark));
        self.io.write_at(generation % 2 * SLOT_STRIDE, &page)?;
        self.io.sync()?;
        self.generation = generation;
        self.current = mark;
        Ok(())
    }

    /// Writes both slots, one after the other, durably. For a mark that an older one would contradict: after files
    /// have been removed or entries truncated, neither slot may speak of them.
    pub fn write_both(&mut self, mark: Mark) -> io::Result<()> {
        self.write(mark)?;
        self.write(mark)
    }
}

/// What one slot holds.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Slot {
    /// A mark, with its generation: of two, the higher one counts.
    Sound(u64, Mark),
    /// Not a mark: torn, damaged, or never written.
    Bad,
    /// A mark of this later format version.
    Later(u8),
}

/// Reads both slots of the file.
pub(crate) fn read_slots(io: &dyn SegmentIo) -> io::Result<[Slot; 2]> {
    let mut slots = [Slot::Bad; 2];
    for (at, slot) in [0, SLOT_STRIDE].into_iter().zip(&mut slots) {
        let mut bytes = [0; SLOT_LEN];
        *slot = match io.read_at(at, &mut bytes) {
            Ok(read) => decode(&bytes[..read]),
            Err(error) if is_unreadable(&error) => Slot::Bad,
            Err(error) => return Err(error),
        };
    }
    Ok(slots)
}

/// ```text
/// 0 magic u32 | 4 version u8 | 5 flags u8 | 6 zero u16 | 8 crc32c u32 | 12 zero u32 | 16 generation u64 |
/// 24 segment_bytes u64 | 32 trimmed (term, index) u64 x 2 | 48 base u64 | 56 synced (term, index) u64 x 2 |
/// 72 synced_end u64
/// ```
fn encode(generation: u64, mark: &Mark) -> [u8; SLOT_LEN] {
    let flags = if mark.trimmed.is_some() { HAS_TRIMMED } else { 0 }
        | if mark.synced.is_some() { HAS_SYNCED } else { 0 }
        | if mark.resetting { RESETTING } else { 0 };
    let none = LogId { term: 0, index: 0 };
    let trimmed = mark.trimmed.unwrap_or(none);
    let synced = mark.synced.unwrap_or(none);
    let mut bytes = [0; SLOT_LEN];
    bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    bytes[4] = VERSION;
    bytes[5] = flags;
    let words = [
        generation,
        mark.segment_bytes,
        trimmed.term,
        trimmed.index,
        mark.base,
        synced.term,
        synced.index,
        mark.synced_end,
    ];
    for (room, word) in bytes[16..].chunks_exact_mut(8).zip(words) {
        room.copy_from_slice(&word.to_le_bytes());
    }
    let crc = crc32c::crc32c(&bytes);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Slot {
    let Some(bytes) = bytes.first_chunk::<SLOT_LEN>() else {
        return Slot::Bad;
    };
    let mut unsummed = *bytes;
    unsummed[8..12].fill(0);
    if bytes[0..4] != MAGIC.to_le_bytes() || bytes[8..12] != crc32c::crc32c(&unsummed).to_le_bytes() {
        return Slot::Bad;
    }
    if bytes[4] != VERSION {
        return Slot::Later(bytes[4]);
    }
    let flags = bytes[5];
    let mut words = [0u64; 8];
    for (word, room) in words.iter_mut().zip(bytes[16..].chunks_exact(8)) {
        *word = u64::from_le_bytes(room.try_into().expect("chunks_exact gives eight bytes"));
    }
    let [generation, segment_bytes, trimmed_term, trimmed_index, base, synced_term, synced_index, synced_end] =
        words;
    let id = |flag, term, index| (flags & flag != 0).then_some(LogId { term, index });
    let mark = Mark {
        segment_bytes,
        trimmed: id(HAS_TRIMMED, trimmed_term, trimmed_index),
        base,
        synced: id(HAS_SYNCED, synced_term, synced_index),
        synced_end,
        resetting: flags & RESETTING != 0,
    };
    if mark.makes_sense() { Slot::Sound(generation, mark) } else { Slot::Bad }
}

impl Mark {
    /// What every mark that was written fulfils, so that recovery may count with its numbers.
    fn makes_sense(&self) -> bool {
        let countable = |id: Option<LogId>| id.is_none_or(|id| id.index < u64::MAX);
        countable(self.trimmed)
            && countable(self.synced)
            && self.trimmed <= self.synced
            && self.base <= self.synced_end
            && self.synced_end <= OFFSETS_END
    }
}
