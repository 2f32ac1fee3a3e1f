//! Counts and latencies: of every second, and of the measured time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::Serialize;

/// Latencies are kept in microseconds with three digits, up to ten minutes.
const MAX_US: u64 = 600_000_000;
const DIGITS: u8 = 3;

/// When what happens counts.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub begins: Instant,
    pub ends: Instant,
}

impl Window {
    pub fn contains(self, at: Instant) -> bool {
        self.begins <= at && at < self.ends
    }
}

/// Measures one thing: sends, or receipts.
pub struct Meter {
    inner: Mutex<Inner>,
}

struct Inner {
    /// The measured time, once it is known.
    window: Option<Window>,
    second: Taken,
    total: Taken,
    errors: BTreeMap<String, u64>,
    second_errors: u64,
}

/// What was measured in some time.
pub struct Taken {
    pub messages: u64,
    pub bytes: u64,
    latency: Histogram<u64>,
}

impl Taken {
    fn new() -> Self {
        let latency = Histogram::new_with_bounds(1, MAX_US, DIGITS).expect("the bounds are constants");
        Self { messages: 0, bytes: 0, latency }
    }
}

/// Of a histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    pub count: u64,
    pub mean_us: f64,
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
    pub max_us: u64,
}

impl Taken {
    pub fn latency(&self) -> Latency {
        let histogram = &self.latency;
        if histogram.is_empty() {
            return Latency::default();
        }
        Latency {
            count: histogram.len(),
            mean_us: histogram.mean(),
            p50_us: histogram.value_at_quantile(0.5),
            p90_us: histogram.value_at_quantile(0.9),
            p99_us: histogram.value_at_quantile(0.99),
            p999_us: histogram.value_at_quantile(0.999),
            max_us: histogram.max(),
        }
    }
}

impl Meter {
    /// Counts nothing to the total until [`Meter::measure`] says when.
    pub fn new() -> Self {
        let inner = Inner {
            window: None,
            second: Taken::new(),
            total: Taken::new(),
            errors: BTreeMap::new(),
            second_errors: 0,
        };
        Self { inner: Mutex::new(inner) }
    }

    /// Sets the time that the total is of.
    pub fn measure(&self, window: Window) {
        self.inner.lock().window = Some(window);
    }

    /// `messages` that began at `began` are done at `now`. They count to the rate of the time in which they are done, and
    /// their latency to the time in which they began: what hangs at the end is waited for, and seen.
    pub fn done(&self, began: Instant, now: Instant, messages: u64, bytes: u64) {
        let latency = u64::try_from(now.saturating_duration_since(began).as_micros()).unwrap_or(MAX_US);
        let mut inner = self.inner.lock();
        inner.second.messages += messages;
        inner.second.bytes += bytes;
        inner.second.latency.saturating_record_n(latency, messages);
        if inner.window.is_some_and(|window| window.contains(now)) {
            inner.total.messages += messages;
            inner.total.bytes += bytes;
        }
        if inner.window.is_some_and(|window| window.contains(began)) {
            inner.total.latency.saturating_record_n(latency, messages);
        }
    }

    /// `messages` that began at `began` have failed; for how long they were tried is a latency like any other.
    pub fn failed(&self, began: Instant, now: Instant, messages: u64, kind: String) {
        let latency = u64::try_from(now.saturating_duration_since(began).as_micros()).unwrap_or(MAX_US);
        let mut inner = self.inner.lock();
        inner.second_errors += messages;
        inner.second.latency.saturating_record_n(latency, messages);
        if inner.window.is_some_and(|window| window.contains(began)) {
            inner.total.latency.saturating_record_n(latency, messages);
        }
        *inner.errors.entry(kind).or_default() += messages;
    }

    /// `messages` that are done, but not quite as they should be.
    pub fn remark(&self, messages: u64, kind: &str) {
        *self.inner.lock().errors.entry(kind.to_owned()).or_default() += messages;
    }

    /// What was measured since the last call, and how many messages failed; `spare` is filled from now on.
    pub fn take_second(&self, spare: &mut Taken) -> u64 {
        spare.messages = 0;
        spare.bytes = 0;
        spare.latency.reset();
        let mut inner = self.inner.lock();
        std::mem::swap(&mut inner.second, spare);
        std::mem::take(&mut inner.second_errors)
    }

    /// Room for [`Meter::take_second`].
    pub fn spare() -> Taken {
        Taken::new()
    }

    /// Of the measured time.
    pub fn total(&self) -> Total {
        let inner = self.inner.lock();
        let measured =
            inner.window.map_or(Duration::ZERO, |window| window.ends.duration_since(window.begins));
        let seconds = measured.max(Duration::from_millis(1)).as_secs_f64();
        Total {
            messages: inner.total.messages,
            messages_per_second: inner.total.messages as f64 / seconds,
            mib_per_second: inner.total.bytes as f64 / seconds / f64::from(1 << 20),
            latency: inner.total.latency(),
            errors: inner.errors.clone(),
        }
    }
}

/// What a meter has come to.
#[derive(Clone, Debug, Serialize)]
pub struct Total {
    pub messages: u64,
    pub messages_per_second: f64,
    /// Of bodies.
    pub mib_per_second: f64,
    pub latency: Latency,
    /// Messages that failed or are not stored as safely as asked for, by kind, over the whole run.
    pub errors: BTreeMap<String, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A send that began in the window and ended behind it counts to the latencies and not to the rate; one that began
    /// before the window, the other way round.
    #[test]
    fn the_window() {
        let begins = Instant::now();
        let window = Window { begins, ends: begins + Duration::from_secs(2) };
        let meter = Meter::new();
        meter.measure(window);
        let at =
            |ms: i64| begins + Duration::from_millis(10_000 + ms.unsigned_abs()) - Duration::from_secs(10);
        meter.done(at(1990), at(2500), 10, 10 << 20);
        meter.done(at(100), at(200), 4, 4 << 20);
        meter.failed(at(300), at(600), 1, "refused".into());
        let total = meter.total();
        assert_eq!((total.messages, total.messages_per_second, total.mib_per_second), (4, 2.0, 2.0));
        assert_eq!(total.latency.count, 15);
        assert!((509_000..=511_000).contains(&total.latency.max_us), "{:?}", total.latency);
        assert_eq!(total.errors["refused"], 1);
        let mut second = Meter::spare();
        assert_eq!(meter.take_second(&mut second), 1);
        assert_eq!((second.messages, second.latency().count), (14, 15));
        assert_eq!(meter.take_second(&mut second), 0);
        assert_eq!((second.messages, second.latency().count), (0, 0));
    }
}
