//! Retention by age, with a clock that can be set.

#![allow(clippy::unwrap_used)]

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use harness::{HOUR, Running, SEGMENT, clock, config, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_goes_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let right = Arc::default();
    let running = Running::start(config(dir.path(), Duration::from_secs(2)), clock(&right)).await;
    running.fill(3).await;
    let last_segment = running.log_end() / SEGMENT * SEGMENT;
    eventually("all segments but the last are too old", || running.log_start() == last_segment).await;
    running.fill(1).await;
    running.stop().await;
}

/// Neither while it runs nor by a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_ahead_expires_nothing_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let wrong_ms = Arc::new(AtomicI64::new(0));
    let config = config(dir.path(), HOUR);
    let running = Running::start(config.clone(), clock(&wrong_ms)).await;
    running.fill(3).await;
    assert_eq!(running.trim_expired().await, (0, None));
    wrong_ms.store(i64::try_from(1000 * HOUR.as_millis()).unwrap(), Ordering::SeqCst);
    assert_eq!(running.trim_expired().await, (0, None));
    running.stop().await;

    let running = Running::start(config, clock(&wrong_ms)).await;
    assert_eq!(running.trim_expired().await, (0, None));
    assert_eq!(running.log_start(), 0);
    running.stop().await;
}

/// Time that has passed while nobody ran is made up for at twice the speed, not never.
#[tokio::test(flavor = "multi_thread")]
async fn what_became_old_meanwhile_goes_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let wrong_ms = Arc::new(AtomicI64::new(0));
    let config = config(dir.path(), Duration::from_secs(4));
    let running = Running::start(config.clone(), clock(&wrong_ms)).await;
    running.fill(3).await;
    running.stop().await;
    wrong_ms.store(i64::try_from(HOUR.as_millis()).unwrap(), Ordering::SeqCst);
    let running = Running::start(config, clock(&wrong_ms)).await;
    let last_segment = running.log_end() / SEGMENT * SEGMENT;
    eventually("all segments but the last are too old", || running.log_start() == last_segment).await;
    running.stop().await;
}

/// Its neighbours tell as much.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_checkpoints_keep_no_other_segments() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path(), Duration::from_secs(5)), clock(&Arc::default())).await;
    running.fill(6).await;
    let last_segment = running.log_end() / SEGMENT * SEGMENT;
    let path_of = |start: u64| dir.path().join("checkpoints").join(format!("{start:020}.checkpoint"));
    eventually("the last checkpoint is written", || path_of(last_segment).exists()).await;
    let damage = |start: u64| {
        let path = path_of(start);
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    for start in [SEGMENT, 3 * SEGMENT, last_segment] {
        damage(start);
    }
    eventually("all that ends at a sound checkpoint is too old", || {
        running.log_start() == last_segment - SEGMENT
    })
    .await;
    running.fill(1).await;
    eventually("the next sound checkpoint lets go what the damaged one kept", || {
        last_segment < running.log_start()
    })
    .await;
    running.stop().await;
}
