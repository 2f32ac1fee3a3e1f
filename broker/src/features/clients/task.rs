//! Forgets silent clients.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::handler::notify;
use crate::replica::Shared;

/// RocketMQ scans as often.
const SCAN_EVERY: Duration = Duration::from_secs(10);

/// Scans for silent clients until it is aborted.
pub async fn run(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(SCAN_EVERY).await;
        let changes = shared.clients.expire(Instant::now());
        if shared.node.leadership().borrow().ready {
            notify(&shared, &changes);
        }
    }
}
