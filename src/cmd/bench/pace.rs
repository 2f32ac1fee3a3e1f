//! When to send: as soon as there is room, or at given times.
//!
//! With a rate, every send has the time at which it should begin, and its latency is counted from there, also when it
//! begins late. Otherwise a broker that stalls would be asked less just then, and the stall would hardly show in the
//! percentiles ("coordinated omission").

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// How often sends are released whose time has come. Runtime timers have milliseconds; sleeping threads are finer.
const TICK: Duration = Duration::from_micros(200);

/// Tells a producer's lanes when to send.
#[derive(Clone)]
pub enum Pace {
    /// Whenever one of the sends under way is done, until then.
    Room { ends: Instant },
    /// At given times.
    Rate(Arc<Rate>),
}

/// A schedule, shared by a producer's lanes.
pub struct Rate {
    begins: Instant,
    interval: Duration,
    next: AtomicU64,
    /// A permit for each send whose time has come and that has not begun.
    due: Semaphore,
    /// Sends whose time had come when the run ended, and that had not begun.
    late: AtomicU64,
}

impl Pace {
    /// One send every `interval` from `begins` on, until `ends`; a thread watches the clock.
    pub fn rate(begins: Instant, ends: Instant, interval: Duration) -> Self {
        let (due, next, late) = (Semaphore::new(0), AtomicU64::new(0), AtomicU64::new(0));
        let rate = Arc::new(Rate { begins, interval, next, due, late });
        let paced = rate.clone();
        thread::spawn(move || paced.run(ends));
        Self::Rate(rate)
    }

    /// When the next send should begin, waited for; `None` when the run is over.
    pub async fn next(&self) -> Option<Instant> {
        match self {
            Self::Room { ends } => Some(Instant::now()).filter(|now| now < ends),
            Self::Rate(rate) => {
                rate.due.acquire().await.ok()?.forget();
                let nth = rate.next.fetch_add(1, Ordering::Relaxed);
                Some(rate.begins + rate.after(nth))
            }
        }
    }

    /// Sends that should have begun before the end, and did not.
    pub fn late(&self) -> u64 {
        match self {
            Self::Room { .. } => 0,
            Self::Rate(rate) => rate.late.load(Ordering::Relaxed),
        }
    }
}

impl Rate {
    fn after(&self, nth: u64) -> Duration {
        Duration::from_nanos(u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX).saturating_mul(nth))
    }

    fn run(&self, ends: Instant) {
        let mut released = 0;
        loop {
            let now = Instant::now();
            if ends <= now {
                break;
            }
            let passed = now.saturating_duration_since(self.begins).as_nanos();
            let due = passed.checked_div(self.interval.as_nanos()).map_or(0, |sends| sends as u64 + 1);
            if now >= self.begins && due > released {
                self.due.add_permits((due - released) as usize);
                released = due;
            }
            thread::sleep(TICK);
        }
        self.late.store(self.due.available_permits() as u64, Ordering::Relaxed);
        self.due.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lane that is late is told the times at which it should have sent, not the time at which it asks.
    #[tokio::test]
    async fn intended_times_do_not_slip() {
        let begins = Instant::now();
        let interval = Duration::from_millis(2);
        let pace = Pace::rate(begins, begins + Duration::from_secs(60), interval);
        tokio::time::sleep(Duration::from_millis(50)).await;
        for nth in 0..20 {
            assert_eq!(pace.next().await, Some(begins + interval * nth));
        }
    }

    #[tokio::test]
    async fn the_end_releases_everyone() {
        let begins = Instant::now();
        let pace = Pace::rate(begins, begins + Duration::from_millis(20), Duration::from_secs(3600));
        assert_eq!(pace.next().await, Some(begins), "the first one is due at once");
        assert_eq!(pace.next().await, None);
        assert_eq!(pace.late(), 0);
    }
}
