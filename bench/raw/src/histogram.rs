//! Latencies in microseconds.

use std::time::Duration;

#[derive(Default)]
pub struct Histogram {
    /// All of them: a block is large, so there are few.
    values: Vec<u64>,
}

impl Histogram {
    pub fn add(&mut self, latency: Duration) {
        self.values.push(latency.as_micros() as u64);
    }

    /// The fields of `trireme bench`'s `latency`.
    pub fn json(mut self) -> String {
        self.values.sort_unstable();
        let at = |quantile: f64| match self.values.len() {
            0 => 0,
            count => self.values[((count as f64 * quantile).ceil() as usize).clamp(1, count) - 1],
        };
        let mean = self.values.iter().sum::<u64>() as f64 / self.values.len().max(1) as f64;
        format!(
            r#"{{"count":{},"mean_us":{mean:.1},"p50_us":{},"p90_us":{},"p99_us":{},"p999_us":{},"max_us":{}}}"#,
            self.values.len(),
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            at(1.0),
        )
    }
}
