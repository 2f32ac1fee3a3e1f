//! Delayed messages, with a clock that can be set.

#![allow(clippy::unwrap_used)]

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use harness::{HOUR, Running, WITHIN, clock, config};

/// RocketMQ's level of one second.
const ONE_SECOND: &str = "DELAY\u{1}1\u{2}";

async fn delivered(running: &Running, topic: &str, count: i64) -> Duration {
    let since = Instant::now();
    while running.count(topic).await < count {
        assert!(since.elapsed() < WITHIN, "{topic}: not {count} messages");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    since.elapsed()
}

/// What was stored while the clock was ahead keeps nobody waiting: neither by its own time nor by that of the messages before
/// it, which store times may not fall behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_ahead_delays_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let wrong_ms = Arc::new(AtomicI64::new(0));
    let running = Running::start(config(dir.path(), HOUR), clock(&wrong_ms)).await;
    running.send("Delayed", "", vec![1]).await;
    let ahead = i64::try_from(1000 * HOUR.as_millis()).unwrap();
    wrong_ms.store(ahead, Ordering::SeqCst);
    running.send("Delayed", "", vec![1]).await;
    running.send("Delayed", ONE_SECOND, vec![1]).await;
    wrong_ms.store(0, Ordering::SeqCst);
    running.send("Delayed", ONE_SECOND, vec![1]).await;
    delivered(&running, "Delayed", 4).await;
    running.stop().await;
}

/// Nor is anything delivered before its time while all clocks are right.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_is_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path(), HOUR), clock(&Arc::default())).await;
    running.send("Delayed", "", vec![1]).await;
    let sent = Instant::now();
    running.send("Delayed", ONE_SECOND, vec![1]).await;
    delivered(&running, "Delayed", 2).await;
    // Its timestamp may have been taken a moment before it was sent.
    assert!(Duration::from_millis(990) < sent.elapsed());
    running.stop().await;
}
