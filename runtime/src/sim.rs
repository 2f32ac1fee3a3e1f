//! How long things take that are not simulated otherwise.

use std::time::Duration;

/// A disk does something.
pub async fn disk() {
    let slow = rand::random_ratio(1, 200);
    let millis = if slow { rand::random_range(20..100) } else { rand::random_range(0..3) };
    match millis {
        0 => tokio::task::yield_now().await,
        millis => tokio::time::sleep(Duration::from_millis(millis)).await,
    }
}
