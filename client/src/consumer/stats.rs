//! Rates of a consumer, for administrators.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use trireme_remoting::body::ConsumeStatus;

use super::fetch::Outcome;

/// How many samples are kept; one is taken with every commit, so they span about a minute.
const SAMPLES: usize = 13;

/// Counters by topic.
#[derive(Debug)]
pub(super) struct Stats {
    topics: BTreeMap<Arc<str>, Topic>,
}

#[derive(Debug, Default)]
struct Topic {
    pulls: AtomicU64,
    pull_micros: AtomicU64,
    pulled: AtomicU64,
    batches: AtomicU64,
    consume_micros: AtomicU64,
    ok: AtomicU64,
    failed: AtomicU64,
    samples: Mutex<VecDeque<(Instant, Sample)>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    pulls: u64,
    pull_micros: u64,
    pulled: u64,
    batches: u64,
    consume_micros: u64,
    ok: u64,
    failed: u64,
}

impl Stats {
    /// All zero at `now`.
    pub(super) fn new(topics: impl Iterator<Item = Arc<str>>, now: Instant) -> Self {
        let stats = Self { topics: topics.map(|topic| (topic, Topic::default())).collect() };
        stats.sample(now);
        stats
    }

    /// Counts a pull that was answered.
    pub(super) fn pulled(&self, topic: &str, took: Duration, outcome: &Outcome) {
        // One that was held for want of messages says nothing of the broker's speed.
        if let (Some(topic), Outcome::Messages(messages)) = (self.topics.get(topic), outcome) {
            topic.pulls.fetch_add(1, Ordering::Relaxed);
            topic.pull_micros.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
            topic.pulled.fetch_add(messages.len() as u64, Ordering::Relaxed);
        }
    }

    /// Counts a batch that the listener has had.
    pub(super) fn consumed(&self, topic: &str, took: Duration, ok: usize, failed: usize) {
        if let Some(topic) = self.topics.get(topic) {
            topic.batches.fetch_add(1, Ordering::Relaxed);
            topic.consume_micros.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
            topic.ok.fetch_add(ok as u64, Ordering::Relaxed);
            topic.failed.fetch_add(failed as u64, Ordering::Relaxed);
        }
    }

    /// Takes a sample of every counter.
    pub(super) fn sample(&self, now: Instant) {
        for topic in self.topics.values() {
            let mut samples = topic.samples.lock();
            if samples.len() == SAMPLES {
                samples.pop_front();
            }
            samples.push_back((now, topic.now()));
        }
    }

    /// The rates since the oldest sample.
    pub(super) fn rates(&self, now: Instant) -> BTreeMap<String, ConsumeStatus> {
        let rates = |topic: &Topic| {
            let (since, before) = topic.samples.lock().front().copied().unwrap_or((now, Sample::default()));
            topic.now().rates(&before, now.saturating_duration_since(since))
        };
        self.topics.iter().map(|(name, topic)| (name.to_string(), rates(topic))).collect()
    }
}

impl Topic {
    fn now(&self) -> Sample {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Sample {
            pulls: read(&self.pulls),
            pull_micros: read(&self.pull_micros),
            pulled: read(&self.pulled),
            batches: read(&self.batches),
            consume_micros: read(&self.consume_micros),
            ok: read(&self.ok),
            failed: read(&self.failed),
        }
    }
}

impl Sample {
    fn rates(&self, before: &Self, elapsed: Duration) -> ConsumeStatus {
        let seconds = elapsed.as_secs_f64().max(0.001);
        let mean_ms =
            |micros: u64, count: u64| if count == 0 { 0.0 } else { micros as f64 / count as f64 / 1000.0 };
        ConsumeStatus {
            pull_rt: mean_ms(self.pull_micros - before.pull_micros, self.pulls - before.pulls),
            pull_tps: (self.pulled - before.pulled) as f64 / seconds,
            consume_rt: mean_ms(self.consume_micros - before.consume_micros, self.batches - before.batches),
            consume_ok_tps: (self.ok - before.ok) as f64 / seconds,
            consume_failed_tps: (self.failed - before.failed) as f64 / seconds,
            consume_failed_msgs: (self.failed - before.failed) as i64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_sampled_span() {
        let started = Instant::now();
        let at = |seconds| started + Duration::from_secs(seconds);
        let stats = Stats::new([Arc::from("T")].into_iter(), started);
        stats.consumed("T", Duration::from_millis(4), 100, 0);
        assert_eq!(stats.rates(at(10))["T"].consume_ok_tps, 10.0);
        for second in 1..=13 {
            stats.sample(at(second));
        }
        stats.consumed("T", Duration::from_millis(2), 20, 10);
        stats.consumed("gone", Duration::from_millis(2), 20, 10);
        let rates = &stats.rates(at(11))["T"];
        assert_eq!(
            (rates.consume_ok_tps, rates.consume_failed_tps, rates.consume_failed_msgs),
            (2.0, 1.0, 10)
        );
        assert_eq!(rates.consume_rt, 2.0);
    }
}
