//! How long things take that are not simulated otherwise.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Milliseconds, at most, that everything on a disk takes longer.
static SLOWER: AtomicU64 = AtomicU64::new(0);

/// From now on disks take up to so many milliseconds longer.
pub fn slow_disks(millis: u64) {
    SLOWER.store(millis, Ordering::Relaxed);
}

/// A disk does something.
pub async fn disk() {
    let slow = rand::random_ratio(1, 200);
    let millis: u64 = if slow { rand::random_range(20..100) } else { rand::random_range(0..3) };
    let slower = SLOWER.load(Ordering::Relaxed);
    let millis = if slower > 0 { millis + rand::random_range(0..=slower) } else { millis };
    match millis {
        0 => tokio::task::yield_now().await,
        millis => tokio::time::sleep(Duration::from_millis(millis)).await,
    }
}
