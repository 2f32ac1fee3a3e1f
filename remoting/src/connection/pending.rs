//! Requests that wait for their answer, each with a deadline.
//!
//! A timer for each request would cost more than the rest of sending it. So one task for all of them sleeps until the
//! earliest deadline, which passes without anything to do when answers come in time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use crate::frame::Frame;

#[derive(Default)]
pub(super) struct Pending {
    table: Arc<Mutex<Table>>,
    opaque: AtomicI32,
}

#[derive(Default)]
struct Table {
    waiting: HashMap<i32, Entry>,
    /// When the deadlines are looked at next, if a task is to do that.
    next_look: Option<Instant>,
    /// Which task is to: one that was begun for an earlier deadline takes over from the one before.
    watch: u64,
}

struct Entry {
    deadline: Instant,
    /// Told the answer, or `None` after the deadline; dropped when the connection closes.
    answer: oneshot::Sender<Option<Frame>>,
}

/// Why there is no answer.
pub(super) enum NoAnswer {
    Late,
    Closed,
}

impl Pending {
    /// Wraps around; an opaque is in use again only after four billion requests.
    pub(super) fn next_opaque(&self) -> i32 {
        self.opaque.fetch_add(1, Ordering::Relaxed)
    }

    /// Registers a request before it is sent, so that no answer can be missed.
    pub(super) fn register(&self, deadline: Instant) -> Waiting<'_> {
        let opaque = self.next_opaque();
        let (sender, answer) = oneshot::channel();
        let mut table = self.table.lock();
        table.waiting.insert(opaque, Entry { deadline, answer: sender });
        if table.next_look.is_none_or(|next| deadline < next) {
            table.next_look = Some(deadline);
            table.watch += 1;
            tokio::spawn(watch(Arc::downgrade(&self.table), table.watch, deadline));
        }
        Waiting { pending: self, opaque, answer }
    }

    /// Hands an answer to who waits for it; false when nobody does, or does any more.
    pub(super) fn complete(&self, frame: Frame) -> bool {
        let entry = self.table.lock().waiting.remove(&frame.opaque);
        entry.is_some_and(|entry| entry.answer.send(Some(frame)).is_ok())
    }

    /// The connection is closed: no answer can come.
    pub(super) fn fail_all(&self) {
        let dropped = std::mem::take(&mut self.table.lock().waiting);
        drop(dropped);
    }
}

#[cfg(test)]
impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        let table = self.table.lock();
        table.waiting.is_empty() && table.next_look.is_none()
    }
}

/// Tells whose deadline has passed, until nobody waits, the connection is gone, or another task has taken over.
async fn watch(table: Weak<Mutex<Table>>, number: u64, mut deadline: Instant) {
    loop {
        sleep_until(deadline).await;
        let Some(table) = table.upgrade() else { return };
        let mut table = table.lock();
        if table.watch != number {
            return;
        }
        let now = Instant::now();
        let late: Vec<Entry> =
            table.waiting.extract_if(|_, entry| entry.deadline <= now).map(|(_, entry)| entry).collect();
        table.next_look = table.waiting.values().map(|entry| entry.deadline).min();
        let next = table.next_look;
        drop(table);
        for entry in late {
            // Who has stopped waiting has taken himself out, or is about to.
            let _ = entry.answer.send(None);
        }
        match next {
            Some(next) => deadline = next,
            None => return,
        }
    }
}

/// One request that waits; forgets itself when dropped.
pub(super) struct Waiting<'a> {
    pending: &'a Pending,
    opaque: i32,
    answer: oneshot::Receiver<Option<Frame>>,
}

impl Waiting<'_> {
    pub(super) fn opaque(&self) -> i32 {
        self.opaque
    }

    pub(super) async fn answer(mut self) -> Result<Frame, NoAnswer> {
        match (&mut self.answer).await {
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => Err(NoAnswer::Late),
            Err(_) => Err(NoAnswer::Closed),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pending.table.lock().waiting.remove(&self.opaque);
    }
}
