//! What waits to be written: encoded bytes, in the order in which frames were given.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{CloseReason, FrameError, Pressure};
use crate::fields::Header;
use crate::frame::{Body, Frame, Head};

/// Body parts up to this size are copied behind their header: cheaper than an entry of a vectored write.
const COPY_MAX: usize = 2048;

/// What a new tail has room for: a few answers at least, and as much as the last one took up to this.
const TAIL_MIN: usize = 1024;
const TAIL_MAX: usize = 64 * 1024;

/// Whole runs, then the tail that frames are encoded into.
#[derive(Default)]
pub(super) struct Outbox {
    runs: VecDeque<Bytes>,
    tail: Vec<u8>,
    /// How large the tail was that was sealed last: the next one is made so at once, when there is something for it.
    last_tail: usize,
    closed: Option<CloseReason>,
}

pub(super) struct Pushed {
    /// The writer had nothing to take and may be asleep.
    pub(super) was_empty: bool,
    /// Bytes not yet written, this frame's included.
    pub(super) queued: usize,
}

pub(super) enum PushError {
    Closed,
    Frame(FrameError),
}

impl Outbox {
    pub(super) fn closed(&self) -> Option<&CloseReason> {
        self.closed.as_ref()
    }

    /// Returns whether this was what closed it.
    pub(super) fn close(&mut self, reason: CloseReason) -> bool {
        let first = self.closed.is_none();
        if first {
            self.closed = Some(reason);
        }
        first
    }

    fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.tail.is_empty()
    }

    /// Encodes `frame`, with `header`'s fields for its own, behind what is queued. The bytes are counted before the
    /// writer can see them.
    pub(super) fn push(
        &mut self,
        frame: Frame,
        header: &impl Header,
        max_frame: usize,
        pressure: &Pressure,
    ) -> Result<Pushed, PushError> {
        let encode = |tail: &mut Vec<u8>| {
            frame.encode_header_with(header, tail, max_frame)?;
            Ok(frame.body)
        };
        self.push_with(encode, pressure)
    }

    /// As [`Outbox::push`], for a frame that is not even made.
    pub(super) fn push_header(
        &mut self,
        head: &Head<'_>,
        header: &impl Header,
        body: Body,
        max_frame: usize,
        pressure: &Pressure,
    ) -> Result<Pushed, PushError> {
        self.push_with(|tail| head.encode(header, body.len(), tail, max_frame).map(|()| body), pressure)
    }

    fn push_with(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<Body, FrameError>,
        pressure: &Pressure,
    ) -> Result<Pushed, PushError> {
        if self.closed.is_some() {
            return Err(PushError::Closed);
        }
        let was_empty = self.is_empty();
        if self.tail.capacity() == 0 {
            self.tail.reserve(self.last_tail.clamp(TAIL_MIN, TAIL_MAX));
        }
        let start = self.tail.len();
        let body = encode(&mut self.tail).map_err(PushError::Frame)?;
        let bytes = self.tail.len() - start + body.len();
        match body {
            Body::Empty => {}
            Body::One(part) => self.push_part(part),
            Body::Many(parts) => parts.into_iter().for_each(|part| self.push_part(part)),
        }
        Ok(Pushed { was_empty, queued: pressure.queue(bytes) })
    }

    fn push_part(&mut self, part: Bytes) {
        if part.len() <= COPY_MAX {
            self.tail.extend_from_slice(&part);
        } else {
            self.seal_tail();
            self.runs.push_back(part);
        }
    }

    /// Moves everything queued into `batch`, which is empty; false if there was nothing.
    pub(super) fn take(&mut self, batch: &mut VecDeque<Bytes>) -> bool {
        debug_assert!(batch.is_empty());
        self.seal_tail();
        std::mem::swap(&mut self.runs, batch);
        !batch.is_empty()
    }

    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            self.last_tail = self.tail.len();
            self.runs.push_back(std::mem::take(&mut self.tail).into());
        }
    }
}
