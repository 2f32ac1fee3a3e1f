//! What time it is, for retention.

use std::time::Duration;

/// Follows the wall clock, but no faster than twice the speed at which time passes: a clock that jumps ahead
/// expires nothing at once.
#[derive(Debug)]
pub struct RetentionClock {
    now_ms: i64,
    /// When that was, on a clock that does not jump.
    seen: Duration,
}

impl RetentionClock {
    /// A clock that was known to stand at `last_known_ms`, if at all, and is now at the wall clock's `wall_ms`, or on its
    /// way there. `uptime` is time since any fixed instant.
    pub fn new(last_known_ms: Option<i64>, wall_ms: i64, uptime: Duration) -> Self {
        Self { now_ms: last_known_ms.map_or(wall_ms, |known| known.min(wall_ms)), seen: uptime }
    }

    /// Milliseconds since 1970. Goes back with the wall clock: that keeps messages longer.
    pub fn advance(&mut self, wall_ms: i64, uptime: Duration) -> i64 {
        let passed = uptime.saturating_sub(self.seen).as_millis();
        let most = i64::try_from(2 * passed).unwrap_or(i64::MAX);
        self.seen = uptime;
        self.now_ms = wall_ms.min(self.now_ms.saturating_add(most));
        self.now_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn after(ms: i64) -> Duration {
        Duration::from_millis(ms.unsigned_abs())
    }

    #[test]
    fn a_sound_clock_is_followed() {
        let mut clock = RetentionClock::new(None, 1000 * HOUR, after(5));
        assert_eq!(clock.advance(1001 * HOUR, after(5 + HOUR)), 1001 * HOUR);
        // As a daemon corrects it.
        assert_eq!(clock.advance(1002 * HOUR + 700, after(5 + 2 * HOUR)), 1002 * HOUR + 700);
        assert_eq!(clock.advance(1003 * HOUR, after(5 + 3 * HOUR)), 1003 * HOUR);
    }

    #[test]
    fn a_jump_ahead_takes_as_long_as_it_is_far() {
        let mut clock = RetentionClock::new(None, 1000 * HOUR, after(0));
        assert_eq!(clock.advance(1100 * HOUR, after(0)), 1000 * HOUR);
        assert_eq!(clock.advance(1101 * HOUR, after(HOUR)), 1002 * HOUR);
        assert_eq!(clock.advance(1199 * HOUR, after(99 * HOUR)), 1198 * HOUR);
        assert_eq!(clock.advance(1201 * HOUR, after(101 * HOUR)), 1201 * HOUR);
    }

    #[test]
    fn a_jump_back_is_followed_and_so_is_the_way_forth() {
        let mut clock = RetentionClock::new(None, 1000 * HOUR, after(0));
        assert_eq!(clock.advance(900 * HOUR, after(1)), 900 * HOUR);
        assert_eq!(clock.advance(1000 * HOUR, after(1)), 900 * HOUR);
    }

    #[test]
    fn after_a_start_it_goes_on_from_what_was_known() {
        let mut clock = RetentionClock::new(Some(700 * HOUR), 1000 * HOUR, after(0));
        assert_eq!(clock.advance(1001 * HOUR, after(HOUR)), 702 * HOUR);
        let mut clock = RetentionClock::new(Some(2000 * HOUR), 1000 * HOUR, after(0));
        assert_eq!(clock.advance(1001 * HOUR, after(HOUR)), 1001 * HOUR, "what was known was wrong");
    }
}
