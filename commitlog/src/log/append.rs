//! Append: where an entry becomes final.

use std::mem;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{CommitLog, next_after};
use crate::dir::SegmentIo;
use crate::error::{AppendError, Fault, is_full};
use crate::frame::{self, FILLER, FrameBuf, FrameError, HEADER_LEN, LogId};
use crate::index::{SegmentIndex, pack};
use crate::segment::{Active, IndexState, Segment, log_name};

/// Where the next frame goes.
struct Place {
    /// Physical offset of the frame.
    offset: u64,
    /// First physical offset of the segment that it goes to.
    base: u64,
    /// Whether that is the segment after the active one, which a filler closes first.
    rolls: bool,
}

/// One frame to be written.
struct Write<'a> {
    /// First physical offset of the segment.
    base: u64,
    io: &'a dyn SegmentIo,
    /// Physical offset of the frame.
    offset: u64,
    bytes: &'a [u8],
}

impl CommitLog {
    /// Appends the entry `id` on the leader and returns the physical offset of its frame.
    ///
    /// `stamp` is called with the payload and the physical offset of its first byte, once the place is decided, to
    /// patch what depends on it; then header and checksum are made and the frame is written from the same memory.
    /// Readable on return; durable when [`CommitLog::flush`] returns an id that is not below it. Takes consecutive
    /// indexes, and terms that never fall. Rolls to the next segment when the frame does not fit.
    ///
    /// Source: Raft §5.3; RocketMQ `CommitLog#asyncPutMessage`, DLedger `AppendHook`.
    pub fn append(
        &self,
        id: LogId,
        mut frame: FrameBuf,
        stamp: impl FnOnce(&mut [u8], u64),
    ) -> Result<u64, AppendError> {
        let _writer = self.writer.lock();
        self.check_fault()?;
        let place = self.place(id, frame.frame_len())?;
        stamp(frame.payload_mut(), place.offset + HEADER_LEN as u64);
        self.write(id, &place, frame.finish(id, place.offset))?;
        Ok(place.offset)
    }

    /// Appends, on a follower, one whole frame as the leader wrote it, and returns its log id.
    ///
    /// Checks it like recovery would, and that its physical offset is where this log would write it: two logs that
    /// agree up to an entry agree on where the next one lies, so anything else means that they do not. The very same
    /// bytes are written. Durability as for [`CommitLog::append`].
    pub fn append_frame(&self, bytes: &[u8]) -> Result<LogId, AppendError> {
        let header = frame::decode(bytes)?.header;
        let extra = bytes.len() as u64 - header.frame_len();
        if extra != 0 {
            return Err(FrameError::Trailing { extra }.into());
        }
        if header.kind == FILLER {
            return Err(FrameError::Filler.into());
        }
        let _writer = self.writer.lock();
        self.check_fault()?;
        let place = self.place(header.id, header.frame_len())?;
        if header.physical_offset != place.offset {
            return Err(AppendError::Misplaced {
                id: header.id,
                expected: place.offset,
                found: header.physical_offset,
            });
        }
        self.write(header.id, &place, bytes)?;
        Ok(header.id)
    }

    /// Decides where the entry goes, if it may come next.
    fn place(&self, id: LogId, frame_bytes: u64) -> Result<Place, AppendError> {
        let segment_bytes = self.options.segment_bytes;
        let max = self.options.max_frame_bytes();
        if max < frame_bytes {
            return Err(AppendError::TooLarge { bytes: frame_bytes, max });
        }
        let state = self.state.read();
        let expected = next_after(state.last);
        if id.index != expected || state.last.is_some_and(|last| id.term < last.term) {
            return Err(AppendError::OutOfSequence { last: state.last, expected, found: id });
        }
        let base = state.active.base;
        let fits = state.tail - base + frame_bytes + HEADER_LEN as u64 <= segment_bytes;
        Ok(if fits {
            Place { offset: state.tail, base, rolls: false }
        } else {
            Place { offset: base + segment_bytes, base: base + segment_bytes, rolls: true }
        })
    }

    /// Writes the frame, after a filler if the segment is full, and makes it part of the log. The caller holds
    /// `writer`.
    fn write(&self, id: LogId, place: &Place, bytes: &[u8]) -> Result<(), AppendError> {
        let (active, active_base, tail, last) = {
            let state = self.state.read();
            (Arc::clone(&state.active.io), state.active.base, state.tail, state.last)
        };
        self.prewriting.wait_for(tail..place.offset + bytes.len() as u64);
        if !place.rolls {
            self.write_frames(&[Write { base: active_base, io: &*active, offset: place.offset, bytes }])?;
            let mut state = self.state.write();
            state.active.offsets.push(pack(place.offset - active_base));
            state.tail = place.offset + bytes.len() as u64;
            state.last = Some(id);
            return Ok(());
        }
        let next = self.next_segment(place.base)?;
        let last =
            last.expect("a frame that fits no empty segment was refused, so the full one has an entry");
        let filler = frame::filler(last, tail);
        // The filler goes first: alone it is a tail that recovery takes away, whereas a frame in the next segment
        // without it would look like a hole.
        self.write_frames(&[
            Write { base: active_base, io: &*active, offset: tail, bytes: &filler },
            Write { base: place.base, io: &*next, offset: place.offset, bytes },
        ])?;
        let mut state = self.state.write();
        state.spare = None;
        let active = Active {
            base: place.base,
            io: next,
            first_index: id.index,
            offsets: vec![pack(place.offset - place.base)],
        };
        let full = mem::replace(&mut state.active, active);
        state.sealed.push_back(Arc::new(Segment {
            base: full.base,
            io: full.io,
            first_index: full.first_index,
            next_index: id.index,
            index: Mutex::new(IndexState::Unsaved(SegmentIndex::in_memory(full.offsets, tail - full.base))),
        }));
        state.tail = place.offset + bytes.len() as u64;
        state.last = Some(id);
        tracing::info!(physical_offset = place.base, log_id = %id, "segment rolled");
        Ok(())
    }

    /// The prepared segment, or one made now, which costs the appender what upkeep should have paid.
    ///
    /// It stays the spare until the roll is done, so that upkeep does not make it a second time meanwhile.
    fn next_segment(&self, base: u64) -> Result<Arc<dyn SegmentIo>, AppendError> {
        if let Some(spare) = &self.state.read().spare {
            return Ok(Arc::clone(spare));
        }
        let _files = self.files.lock();
        // Upkeep may have made it while this waited.
        if let Some(spare) = &self.state.read().spare {
            return Ok(Arc::clone(spare));
        }
        let made = self.create_segment(base)?.map_err(|source| AppendError::Full {
            bytes: self.options.segment_bytes,
            file: self.dir.path_of(&log_name(base)),
            source,
        })?;
        self.state.write().spare = Some(Arc::clone(&made));
        Ok(made)
    }

    /// Writes the frames in order. If the disk is full, all that was written is taken back; if it cannot be, or on any
    /// other error, the log has failed.
    fn write_frames(&self, frames: &[Write<'_>]) -> Result<(), AppendError> {
        for (nth, frame) in frames.iter().enumerate() {
            match frame.io.write_at(frame.offset - frame.base, frame.bytes) {
                Ok(()) => {}
                Err(source) if is_full(&source) => {
                    self.take_back(&frames[..=nth])?;
                    return Err(AppendError::Full {
                        bytes: frame.bytes.len() as u64,
                        file: self.dir.path_of(&log_name(frame.base)),
                        source,
                    });
                }
                Err(error) => return Err(self.fail("write", &log_name(frame.base), error).into()),
            }
        }
        Ok(())
    }

    /// Zeroes what a failed append has left: a later, shorter frame must not have a piece of it behind it. It need
    /// not be durable: what is not synced is not trusted by recovery either.
    fn take_back(&self, frames: &[Write<'_>]) -> Result<(), Fault> {
        for frame in frames {
            frame.io.zero_range(frame.offset - frame.base, frame.bytes.len() as u64).map_err(|error| {
                self.fail("zero the rest of a failed append in", &log_name(frame.base), error)
            })?;
        }
        Ok(())
    }
}
