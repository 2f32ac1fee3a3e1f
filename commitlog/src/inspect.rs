//! Looking at a store without opening it: nothing is changed and nothing is locked, so it works on a stopped store as it
//! was left, and beside a running replica. `trireme dump` is made of it.
//!
//! Of a running store, the last frame may be seen half written, and files come and go.

use std::io;
use std::sync::Arc;

use crate::dir::{LogDir, SegmentIo};
use crate::frame::{FILLER, FrameError, HEADER_LEN, Header};
use crate::mark;
use crate::scan::SegmentReader;
use crate::segment::{FileName, log_name, parse_name};

pub use crate::mark::{Mark, Slot};

/// Both slots of the mark. `NotFound` if there is no mark.
pub fn marks(dir: &dyn LogDir) -> io::Result<[Slot; 2]> {
    mark::read_slots(&*dir.open(mark::FILE)?)
}

/// The first physical offset of each segment file, ascending.
pub fn segments(dir: &dyn LogDir) -> io::Result<Vec<u64>> {
    let mut bases: Vec<u64> = dir
        .list()?
        .iter()
        .filter_map(|name| match parse_name(name) {
            FileName::Log(base) => Some(base),
            _ => None,
        })
        .collect();
    bases.sort_unstable();
    Ok(bases)
}

/// Something in a segment.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Item {
    /// A sound frame at its own offset; checksum and padding are right.
    Frame(Header),
    /// The filler that closes the segment. Nothing follows.
    Filler(Header),
    /// Bytes that are no sound frame.
    Bad {
        /// Where they begin.
        from: u64,
        /// Exclusive end: where the next sound frame begins, or the segment's end.
        to: u64,
        /// Why they are no frame.
        error: FrameError,
    },
    /// From here to the segment's end all is zero. Nothing follows.
    End {
        /// Where the zeros begin.
        physical_offset: u64,
    },
}

/// Walks the segment that begins at `base`. `segment_bytes` is in the mark.
pub fn items(dir: &dyn LogDir, base: u64, segment_bytes: u64) -> io::Result<Items> {
    let io = dir.open(&log_name(base))?;
    let reader = SegmentReader::new(Arc::clone(&io), base, segment_bytes);
    Ok(Items { io, reader, base, segment_bytes, pos: 0 })
}

/// What a segment holds, in order.
#[derive(Debug)]
pub struct Items {
    io: Arc<dyn SegmentIo>,
    reader: SegmentReader,
    base: u64,
    segment_bytes: u64,
    /// Where the next item begins, in bytes from the segment's start.
    pos: u64,
}

impl Items {
    /// The payload of a frame that this walk has given.
    pub fn payload(&self, header: &Header) -> io::Result<Vec<u8>> {
        // The frame was sound, so its length is at most the segment's.
        let mut payload = vec![0; header.length as usize];
        let pos = header.physical_offset - self.base + HEADER_LEN as u64;
        let read = self.io.read_at(pos, &mut payload)?;
        if read < payload.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(payload)
    }

    fn item(&mut self) -> io::Result<Item> {
        let pos = self.pos;
        match self.reader.frame(pos)? {
            Ok(header) if header.kind == FILLER => {
                self.pos = self.segment_bytes;
                Ok(Item::Filler(header))
            }
            Ok(header) => {
                self.pos += header.frame_len();
                Ok(Item::Frame(header))
            }
            Err(error) => {
                let found = self.reader.search(pos)?;
                self.pos = found.frame.unwrap_or(self.segment_bytes);
                Ok(match found.nonzero {
                    None => Item::End { physical_offset: self.base + pos },
                    Some(_) => Item::Bad { from: self.base + pos, to: self.base + self.pos, error },
                })
            }
        }
    }
}

impl Iterator for Items {
    type Item = io::Result<Item>;

    fn next(&mut self) -> Option<io::Result<Item>> {
        if self.segment_bytes <= self.pos {
            return None;
        }
        let item = self.item();
        if item.is_err() {
            // What cannot be read now will not be read later either.
            self.pos = self.segment_bytes;
        }
        Some(item)
    }
}
