//! Whether the oldest segment may go.

use std::fmt;
use std::time::Duration;

/// What the settings say.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Messages are kept for so long, unless another rule lets them go before.
    pub keep: Duration,
    /// So many bytes of the log are kept; `None`: all that are young enough.
    pub keep_bytes: Option<u64>,
}

/// A place where the log can be made to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The start of a segment.
    pub physical_offset: u64,
    /// The latest store time before it, in milliseconds since 1970; 0 if there is no message.
    pub newest_ms: i64,
}

/// What there is to decide about.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// The log's end.
    pub tail: u64,
    /// What time it is, for retention.
    pub now_ms: i64,
    /// The disk has less room left than it shall have.
    pub is_disk_low: bool,
}

/// Why messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// They are too old.
    Age,
    /// The log is too large.
    Size,
    /// The disk has too little room left.
    Disk,
    /// Somebody said so.
    Order,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Age => "age",
            Self::Size => "size",
            Self::Disk => "disk",
            Self::Order => "order",
        })
    }
}

impl Policy {
    /// Messages that were stored before this are too old, in milliseconds since 1970.
    pub fn expired_before(&self, now_ms: i64) -> i64 {
        now_ms.saturating_sub(i64::try_from(self.keep.as_millis()).unwrap_or(i64::MAX))
    }

    /// Why what lies before `point` may go, if it may.
    pub fn lets_go(&self, point: &Point, situation: &Situation) -> Option<Reason> {
        if point.newest_ms < self.expired_before(situation.now_ms) {
            return Some(Reason::Age);
        }
        let kept = situation.tail.saturating_sub(point.physical_offset);
        if self.keep_bytes.is_some_and(|bytes| bytes <= kept) {
            return Some(Reason::Size);
        }
        situation.is_disk_low.then_some(Reason::Disk)
    }
}

/// What somebody wants trimmed: all that one of these lets go. Without any, what is too old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Messages that were stored before this time, in milliseconds since 1970.
    pub before_ms: Option<i64>,
    /// What lies before the last so many bytes of the log.
    pub keep_bytes: Option<u64>,
}

impl Order {
    /// Whether what lies before `point` shall go.
    pub fn lets_go(&self, point: &Point, tail: u64) -> bool {
        self.before_ms.is_some_and(|before| point.newest_ms < before)
            || self.keep_bytes.is_some_and(|bytes| bytes <= tail.saturating_sub(point.physical_offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINT: Point = Point { physical_offset: 1000, newest_ms: 500_000 };

    fn at(now_ms: i64, tail: u64) -> Situation {
        Situation { tail, now_ms, is_disk_low: false }
    }

    #[test]
    fn messages_go_by_age_then_by_size_then_for_room() {
        let policy = Policy { keep: Duration::from_secs(100), keep_bytes: Some(3000) };
        assert_eq!(policy.lets_go(&POINT, &at(600_000, 3999)), None);
        assert_eq!(policy.lets_go(&POINT, &at(600_001, 3999)), Some(Reason::Age));
        assert_eq!(policy.lets_go(&POINT, &at(600_000, 4000)), Some(Reason::Size));
        let low = Situation { is_disk_low: true, ..at(600_000, 3999) };
        assert_eq!(policy.lets_go(&POINT, &low), Some(Reason::Disk));
        let unbounded = Policy { keep_bytes: None, keep: Duration::MAX };
        assert_eq!(unbounded.lets_go(&POINT, &at(i64::MAX, u64::MAX)), None);
    }

    #[test]
    fn an_order_says_what_goes() {
        let before = Order { before_ms: Some(500_001), keep_bytes: None };
        assert!(before.lets_go(&POINT, 1001));
        assert!(!Order { before_ms: Some(500_000), ..before }.lets_go(&POINT, u64::MAX));
        let keep = Order { before_ms: None, keep_bytes: Some(50) };
        assert!(keep.lets_go(&POINT, 1050) && !keep.lets_go(&POINT, 1049));
        assert!(!Order::default().lets_go(&POINT, u64::MAX));
    }
}
