//! Requests that wait for their answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::frame::Frame;

#[derive(Default)]
pub(super) struct Pending {
    waiting: Mutex<HashMap<i32, oneshot::Sender<Frame>>>,
    opaque: AtomicI32,
}

impl Pending {
    /// Wraps around; an opaque is in use again only after four billion requests.
    pub(super) fn next_opaque(&self) -> i32 {
        self.opaque.fetch_add(1, Ordering::Relaxed)
    }

    /// Registers a request before it is sent, so that no answer can be missed.
    pub(super) fn register(&self) -> Waiting<'_> {
        let opaque = self.next_opaque();
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().insert(opaque, sender);
        Waiting { pending: self, opaque, answer }
    }

    /// Hands an answer to who waits for it; false when nobody does, or does any more.
    pub(super) fn complete(&self, frame: Frame) -> bool {
        let sender = self.waiting.lock().remove(&frame.opaque);
        sender.is_some_and(|sender| sender.send(frame).is_ok())
    }

    /// The connection is closed: no answer can come.
    pub(super) fn fail_all(&self) {
        let dropped = std::mem::take(&mut *self.waiting.lock());
        drop(dropped);
    }
}

/// One request that waits; forgets itself when dropped.
pub(super) struct Waiting<'a> {
    pending: &'a Pending,
    opaque: i32,
    answer: oneshot::Receiver<Frame>,
}

impl Waiting<'_> {
    pub(super) fn opaque(&self) -> i32 {
        self.opaque
    }

    /// The answer; `None` when the connection closed.
    pub(super) async fn answer(mut self) -> Option<Frame> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pending.waiting.lock().remove(&self.opaque);
    }
}
