//! Tells of a disk that is slow: what waits for it waits as long, and the reason is seen nowhere else.

use std::time::{Duration, Instant};

/// From this on the group's clients notice: two of three replicas sync each message before it is acknowledged.
const SLOW: Duration = Duration::from_millis(200);
/// Not more often than this.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What took long, and was not told yet.
#[derive(Default)]
pub struct SlowSyncs {
    told: Option<Instant>,
    count: u32,
    longest: Duration,
}

impl SlowSyncs {
    /// Runs what waits for the disk.
    pub fn watch<T>(&mut self, sync: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = sync();
        // A simulated disk takes none of this machine's time.
        if !trireme_runtime::IS_SIMULATED
            && let Some((count, longest)) = self.note(began.elapsed(), Instant::now())
        {
            let longest = longest.as_millis();
            tracing::warn!(count, longest_ms = longest, "the disk is slow to sync: messages wait for it");
        }
        result
    }

    /// What is to be told: how many were slow since it was told last, and the slowest.
    fn note(&mut self, took: Duration, now: Instant) -> Option<(u32, Duration)> {
        if took < SLOW {
            return None;
        }
        self.count += 1;
        self.longest = self.longest.max(took);
        if self.told.is_some_and(|told| now < told + TELL_EVERY) {
            return None;
        }
        let told = (self.count, self.longest);
        *self = Self { told: Some(now), ..Self::default() };
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_ones_are_told_once_a_second() {
        let (mut slow, start) = (SlowSyncs::default(), Instant::now());
        let ms = Duration::from_millis;
        assert_eq!(slow.note(ms(199), start), None);
        assert_eq!(slow.note(ms(300), start), Some((1, ms(300))));
        assert_eq!(slow.note(ms(700), start + ms(700)), None, "told a moment ago");
        assert_eq!(slow.note(ms(250), start + ms(1000)), Some((2, ms(700))));
        assert_eq!(slow.note(ms(200), start + ms(3000)), Some((1, ms(200))), "what was told is told");
    }
}
