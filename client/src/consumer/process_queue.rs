//! One queue that this member has, as its pull loop, its listener and the commits see it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use trireme_remoting::body::ProcessQueueInfo;

use super::window::{Limits, Window};
use crate::instance::now_ms;
use crate::message::{MessageQueue, ReceivedMessage};

/// How long after a lock was last renewed its queue may be consumed from. The broker keeps it for 60 s.
pub(super) const LOCK_VALID: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub(super) struct ProcessQueue {
    pub(super) queue: MessageQueue,
    window: Mutex<Window>,
    /// Permit for the pull loop: there may be room, or the window was reset.
    pull: Notify,
    /// The queue is not this member's any more, or the consumer stops: no further batch is begun.
    closed: AtomicBool,
    closing: Notify,
    lock: Mutex<Lock>,
    last_pull_ms: AtomicU64,
    last_consume_ms: AtomicU64,
}

/// What an ordered consumer knows of its lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    /// It has none, or needs none.
    None,
    /// The broker confirmed it at this time.
    Held { since: Instant, at_ms: u64 },
    /// The broker has given it to somebody else, or might have.
    Lost,
}

impl ProcessQueue {
    /// A queue to be consumed from `next` on.
    pub(super) fn new(queue: MessageQueue, next: i64) -> Self {
        Self {
            queue,
            window: Mutex::new(Window::new(next)),
            pull: Notify::new(),
            closed: AtomicBool::new(false),
            closing: Notify::new(),
            lock: Mutex::new(Lock::None),
            last_pull_ms: AtomicU64::new(now_ms()),
            last_consume_ms: AtomicU64::new(now_ms()),
        }
    }

    /// Waits until more may be pulled; the offset to pull and the generation that the answer belongs to.
    pub(super) async fn room(&self, limits: &Limits) -> (i64, u64) {
        loop {
            {
                let window = self.window.lock();
                if window.has_room(limits) {
                    return (window.next(), window.generation());
                }
            }
            self.pull.notified().await;
        }
    }

    /// Waits until the window is not of this generation any more.
    pub(super) async fn reset_since(&self, generation: u64) {
        while self.window.lock().generation() == generation {
            self.pull.notified().await;
        }
    }

    /// Takes pulled messages in and returns those to be consumed: the wanted ones that are new. Everything below
    /// `next` has been seen. Nothing if the window was reset meanwhile.
    pub(super) fn accept(
        &self,
        generation: u64,
        messages: Vec<ReceivedMessage>,
        next: i64,
        wanted: impl Fn(&ReceivedMessage) -> bool,
    ) -> Vec<ReceivedMessage> {
        self.last_pull_ms.store(now_ms(), Ordering::Relaxed);
        let mut window = self.window.lock();
        if window.generation() != generation {
            return Vec::new();
        }
        let mut accepted = messages;
        accepted.retain(|message| wanted(message) && window.push(message.queue_offset, message.body.len()));
        window.advance(next);
        accepted
    }

    /// Marks messages of this generation as consumed.
    pub(super) fn done(&self, generation: u64, offsets: impl IntoIterator<Item = i64>) {
        self.last_consume_ms.store(now_ms(), Ordering::Relaxed);
        let mut window = self.window.lock();
        if window.generation() == generation {
            offsets.into_iter().for_each(|offset| window.done(offset));
            self.pull.notify_one();
        }
    }

    /// Goes on at another offset; what was pulled is forgotten.
    pub(super) fn reset(&self, next: i64) {
        self.window.lock().reset(next);
        self.pull.notify_one();
    }

    /// Whether messages of this generation are still to be consumed.
    pub(super) fn is_current(&self, generation: u64) -> bool {
        self.window.lock().generation() == generation
    }

    /// The offset below which everything is consumed.
    pub(super) fn commit_offset(&self) -> i64 {
        self.window.lock().commit_offset()
    }

    /// No further batch is begun from here on.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.closing.notify_waiters();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Waits for [`close`](Self::close).
    pub(super) async fn closed(&self) {
        let closing = self.closing.notified();
        tokio::pin!(closing);
        closing.as_mut().enable();
        if !self.is_closed() {
            closing.await;
        }
    }

    /// The broker has confirmed the lock, in answer to a request of `asked`. A lock that had run out may have
    /// been another member's in between, and counts as lost.
    pub(super) fn lock_confirmed(&self, asked: Instant) {
        let mut lock = self.lock.lock();
        *lock = match *lock {
            Lock::Held { since, .. } if asked.saturating_duration_since(since) > LOCK_VALID => Lock::Lost,
            Lock::Lost => Lock::Lost,
            Lock::Held { .. } | Lock::None => Lock::Held { since: asked, at_ms: now_ms() },
        };
    }

    /// The broker has given the lock to somebody else.
    pub(super) fn lock_lost(&self) {
        *self.lock.lock() = Lock::Lost;
    }

    pub(super) fn is_lock_lost(&self) -> bool {
        *self.lock.lock() == Lock::Lost
    }

    /// Whether this member may be sure that the queue is its own.
    pub(super) fn is_lock_valid(&self) -> bool {
        matches!(*self.lock.lock(), Lock::Held { since, .. } if since.elapsed() <= LOCK_VALID)
    }

    /// For administrators.
    pub(super) fn info(&self) -> ProcessQueueInfo {
        let window = self.window.lock();
        let lock = *self.lock.lock();
        ProcessQueueInfo {
            cached_msg_min_offset: window.commit_offset(),
            cached_msg_max_offset: window.next() - 1,
            cached_msg_count: i32::try_from(window.waiting()).unwrap_or(i32::MAX),
            cached_msg_size_in_mib: i32::try_from(window.bytes() >> 20).unwrap_or(i32::MAX),
            commit_offset: window.commit_offset(),
            droped: self.is_closed(),
            last_consume_timestamp: self.last_consume_ms.load(Ordering::Relaxed) as i64,
            last_pull_timestamp: self.last_pull_ms.load(Ordering::Relaxed) as i64,
            last_lock_timestamp: if let Lock::Held { at_ms, .. } = lock { at_ms as i64 } else { 0 },
            locked: matches!(lock, Lock::Held { .. }),
            ..ProcessQueueInfo::default()
        }
    }
}
