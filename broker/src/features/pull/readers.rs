//! Readers: threads that wait for the disk, for consumers that are behind.
//!
//! A page of the log that is not in memory stops whoever touches it, and the threads that run requests have
//! producers to answer. So a pull of anything but the newest messages is read, and brought into memory, here;
//! what is left for the connection is to write it. Other requests for old messages are answered here altogether.

use std::io;
use std::sync::Arc;

use trireme_remoting::{Frame, Responder, response};
use trireme_runtime::Pool;

use super::handler::{Pull, answer};
use super::{Found, respond};
use crate::features::scrub;
use crate::replica::Shared;

/// Threads. Of the log, one piece is read from the disk at a time, whoever asks; meanwhile the others serve what is in
/// memory after all, and read where messages lie.
const READERS: usize = 4;
/// Pulls that may wait for a reader. One more is refused; its client comes again.
const MAX_QUEUED: usize = 10_000;

/// The threads of one replica. They end with it, or with [`Readers::stop`], which waits for them.
pub struct Readers {
    pool: Pool,
}

impl Readers {
    /// Starts the threads. They belong to the runtime that this is called in: what they pass on may become a task of it.
    pub fn start() -> io::Result<Self> {
        Ok(Self { pool: Pool::start("reader", READERS, MAX_QUEUED)? })
    }

    /// Ends the threads and waits for what each is reading; what is queued is dropped, and whoever asked is told that there
    /// is no answer. Blocks.
    pub fn stop(&self) {
        self.pool.stop();
    }

    /// Answers a pull whose messages are not in memory, and whose queue says in a file where they lie.
    pub(super) fn pull(&self, shared: &Arc<Shared>, pull: Pull, request: Frame, responder: Responder) {
        let shared = shared.clone();
        self.answer(responder, move |responder| answer(&shared, pull, request, responder));
    }

    /// Sends what was found once it is in memory.
    pub(super) fn load(&self, shared: &Arc<Shared>, responder: Responder, found: Found) {
        let shared = shared.clone();
        self.answer(responder, move |responder| load(&shared, responder, &found));
    }

    /// Answers a request on one of the threads, where waiting for the disk holds up nobody who does not. A defect in there
    /// costs the one answer.
    pub fn answer(&self, responder: Responder, answer: impl FnOnce(Responder) + Send + 'static) {
        let Some(place) = self.pool.place() else {
            let reason = "too many consumers wait for messages from the disk";
            return responder.refuse(response::SYSTEM_BUSY, reason);
        };
        place.take(Box::new(move || {
            if !responder.connection().is_closed() {
                answer(responder);
            }
        }));
    }
}

fn load(shared: &Shared, responder: Responder, found: &Found) {
    for range in &found.ranges {
        if let Err(error) = scrub::load(shared, range.physical_offset, range.bytes) {
            return respond::unreadable(shared, responder, found, &error);
        }
    }
    respond::in_memory(shared, responder, found);
}
