//! Whether this process stood still: stopped by a signal, or its whole machine by whoever runs it.
//!
//! What it reads when it goes on was sent to it long ago. A clock that is looked at again and again notices: nobody looked
//! for longer than a busy machine explains.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use trireme_runtime::IS_SIMULATED;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Clients that get no answer have begun to look elsewhere by then.
const LONG: Duration = Duration::from_millis(500);
/// All that was sent meanwhile has been read by then.
const AFTERWARDS: Duration = Duration::from_secs(2);

struct Looks {
    epoch: Instant,
    /// Milliseconds since `epoch`.
    last: AtomicU64,
    /// The last look before the last standstill.
    began: AtomicU64,
    /// The first look after it; 0: there was none.
    ended: AtomicU64,
}

static LOOKS: OnceLock<Looks> = OnceLock::new();

/// Begins to look. Once in a process; whoever serves calls it.
pub(crate) fn watch() {
    if IS_SIMULATED || LOOKS.set(Looks::new()).is_err() {
        return;
    }
    // A thread of its own: a runtime that is busy, or ends, is no standstill.
    let looking = std::thread::Builder::new().name("stall".into()).spawn(|| {
        while let Some(looks) = LOOKS.get() {
            std::thread::sleep(LOOK_EVERY);
            looks.look();
        }
    });
    if let Err(error) = looking {
        tracing::warn!(%error, "nobody looks whether this process stands still");
    }
}

/// Whether the process has stood still, and has not long gone on: a number of that standstill.
pub(crate) fn lately() -> Option<u64> {
    LOOKS.get().and_then(|looks| looks.stood_still(looks.now()))
}

impl Looks {
    fn new() -> Self {
        let [last, began, ended] = [const { AtomicU64::new(0) }; 3];
        Self { epoch: Instant::now(), last, began, ended }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn look(&self) {
        let now = self.now();
        let last = self.last.swap(now, Ordering::Relaxed);
        if is_long(last, now) {
            self.began.store(last, Ordering::Relaxed);
            self.ended.store(now, Ordering::Release);
            tracing::warn!(millis = now - last, "this process stood still");
        }
    }

    fn stood_still(&self, now: u64) -> Option<u64> {
        // Whoever goes on first may be here before the one who looks.
        let last = self.last.load(Ordering::Relaxed);
        if is_long(last, now) {
            return Some(last);
        }
        let ended = self.ended.load(Ordering::Acquire);
        let is_recent = ended > 0 && now.saturating_sub(ended) < AFTERWARDS.as_millis() as u64;
        is_recent.then(|| self.began.load(Ordering::Relaxed))
    }
}

fn is_long(last: u64, now: u64) -> bool {
    now.saturating_sub(last) > LONG.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_time_without_a_look_is_a_standstill_for_a_while() {
        let long = LONG.as_millis() as u64;
        let looks = Looks::new();
        looks.last.store(1000, Ordering::Relaxed);
        assert_eq!(looks.stood_still(1000 + long), None);
        assert_eq!(looks.stood_still(1001 + long), Some(1000));
        looks.began.store(1000, Ordering::Relaxed);
        looks.ended.store(5000, Ordering::Relaxed);
        looks.last.store(6000, Ordering::Relaxed);
        assert_eq!(looks.stood_still(6050), Some(1000));
        looks.last.store(8000, Ordering::Relaxed);
        assert_eq!(looks.stood_still(8050), None);
    }
}
