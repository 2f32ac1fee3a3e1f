//! One replica of a broker group, and what its silence means.

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a replica that owes an answer may be silent before it is asked whether it is alive: an answer that
/// should come at once, or one that it may hold back.
const URGENT_SILENCE_MS: u64 = 300;
const HELD_SILENCE_MS: u64 = 5_000;

/// Milliseconds since this process first asked. Never goes back.
pub(crate) fn clock_ms() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_millis() as u64
}

/// What kind of answer is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// One that should come at once.
    Soon,
    /// One that the replica holds back until there is something to say: a pull's.
    Held,
}

/// See the module. Times are of [`clock_ms`]; 0 is long ago.
#[derive(Debug)]
pub(crate) struct Replica {
    /// `host:port`
    pub(crate) addr: Arc<str>,
    /// Until when it is asked last.
    suspect_until: AtomicU64,
    /// When something was last heard of it.
    heard: AtomicU64,
    soon: Waiting,
    held: Waiting,
    /// It is being asked whether it is alive.
    probing: AtomicBool,
}

/// Requests that wait for an answer.
#[derive(Debug, Default)]
struct Waiting {
    count: AtomicU32,
    /// When the first of them began to wait.
    since: AtomicU64,
}

impl Replica {
    pub(crate) fn new(addr: impl Into<Arc<str>>) -> Self {
        Self {
            addr: addr.into(),
            suspect_until: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            soon: Waiting::default(),
            held: Waiting::default(),
            probing: AtomicBool::new(false),
        }
    }

    /// Whether it did not answer lately.
    pub(crate) fn is_suspect(&self, now: u64) -> bool {
        now < self.suspect_until.load(Ordering::Relaxed)
    }

    /// It did not answer. Whether that is new.
    pub(crate) fn suspect(&self, now: u64, interval: Duration) -> bool {
        let until = now + interval.as_millis() as u64;
        self.suspect_until.swap(until, Ordering::Relaxed) <= now
    }

    /// It answered.
    pub(crate) fn heard(&self, now: u64) {
        self.heard.store(now, Ordering::Relaxed);
        if self.suspect_until.load(Ordering::Relaxed) != 0 {
            self.suspect_until.store(0, Ordering::Relaxed);
        }
    }

    /// Whether something was heard of it within `interval`.
    pub(crate) fn was_heard(&self, now: u64, interval: Duration) -> bool {
        now < self.heard.load(Ordering::Relaxed).saturating_add(interval.as_millis() as u64)
    }

    /// Counts a request that waits for its answer, for as long as the guard lives.
    pub(crate) fn waiting(&self, awaited: Awaited, now: u64) -> impl Drop + use<'_> {
        let waiting = match awaited {
            Awaited::Soon => &self.soon,
            Awaited::Held => &self.held,
        };
        if waiting.count.fetch_add(1, Ordering::Relaxed) == 0 {
            waiting.since.store(now, Ordering::Relaxed);
        }
        WaitingGuard(&waiting.count)
    }

    /// Whether it should be asked now whether it is alive: it owes an answer, and has been silent for too long.
    pub(crate) fn needs_probe(&self, now: u64) -> bool {
        let heard = self.heard.load(Ordering::Relaxed);
        let is_silent = |waiting: &Waiting, limit: u64| {
            let since = waiting.since.load(Ordering::Relaxed).max(heard);
            waiting.count.load(Ordering::Relaxed) > 0 && since + limit <= now
        };
        is_silent(&self.soon, URGENT_SILENCE_MS) || is_silent(&self.held, HELD_SILENCE_MS)
    }

    /// Takes the duty of asking whether it is alive; nothing if somebody has it.
    pub(crate) fn probe(self: &Arc<Self>) -> Option<Probe> {
        let free = !self.probing.swap(true, Ordering::Relaxed);
        free.then(|| Probe(self.clone()))
    }
}

impl PartialEq for Replica {
    fn eq(&self, other: &Self) -> bool {
        self.addr == other.addr
    }
}

impl Eq for Replica {}

struct WaitingGuard<'a>(&'a AtomicU32);

impl Drop for WaitingGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The duty of asking a replica whether it is alive.
pub(crate) struct Probe(pub(crate) Arc<Replica>);

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.probing.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn silence_is_questioned_when_an_answer_is_owed() {
        let replica = Replica::new("a:1");
        replica.heard(100);
        assert!(!replica.needs_probe(1_000_000), "it owes nothing");
        let held = replica.waiting(Awaited::Held, 10_000);
        assert!(!replica.needs_probe(14_999));
        assert!(replica.needs_probe(15_000));
        replica.heard(14_000);
        assert!(!replica.needs_probe(15_000));
        let soon = replica.waiting(Awaited::Soon, 15_000);
        assert!(!replica.needs_probe(15_299));
        let later = replica.waiting(Awaited::Soon, 15_300);
        assert!(replica.needs_probe(15_300), "the first one counts");
        drop((soon, later));
        assert!(!replica.needs_probe(15_300));
        drop(held);
        assert!(!replica.needs_probe(1_000_000));
    }

    #[test]
    fn suspicion_passes() {
        let replica = Replica::new("a:1");
        assert!(replica.suspect(1000, Duration::from_secs(3)));
        assert!(!replica.suspect(2000, Duration::from_secs(3)), "old news");
        assert!(replica.is_suspect(4999));
        assert!(!replica.is_suspect(5000));
        assert!(replica.suspect(5000, Duration::from_secs(3)));
        replica.heard(5001);
        assert!(!replica.is_suspect(5001));
        assert!(replica.was_heard(5500, Duration::from_millis(500)));
        assert!(!replica.was_heard(5501, Duration::from_millis(500)));
    }

    #[test]
    fn one_probe_at_a_time() {
        let replica = Arc::new(Replica::new("a:1"));
        let probe = replica.probe().unwrap();
        assert!(replica.probe().is_none());
        drop(probe);
        assert!(replica.probe().is_some());
    }
}
