//! The loops of an instance: routes are kept fresh, brokers are told of our groups, the silent are watched.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Instance, Signals, watch};

/// The least time between two refreshes that failures ask for. A new leader is registered within some hundreds
/// of milliseconds, and a thousand failing sends must not become a thousand requests.
const REFRESH_GAP: Duration = Duration::from_millis(200);

/// The least time between two heartbeats that events ask for.
const HEARTBEAT_GAP: Duration = Duration::from_millis(200);

/// Starts them; they end with the instance.
pub(super) fn spawn(instance: &Arc<Instance>, signals: Arc<Signals>) {
    tokio::spawn(refresh(Arc::downgrade(instance), signals.clone(), instance.config.route_refresh_interval));
    tokio::spawn(watch::watch(Arc::downgrade(instance), signals.clone()));
    tokio::spawn(heartbeat(Arc::downgrade(instance), signals, instance.config.heartbeat_interval));
}

async fn refresh(instance: Weak<Instance>, signals: Arc<Signals>, interval: Duration) {
    let mut last = Instant::now();
    loop {
        tokio::select! {
            () = signals.stopped() => return,
            // A timeout means that the interval has passed without a signal.
            _ = timeout_at(last + interval, signals.refresh.notified()) => {}
        }
        sleep_until(last + REFRESH_GAP).await;
        last = Instant::now();
        let Some(instance) = instance.upgrade() else { return };
        instance.refresh_routes().await;
    }
}

async fn heartbeat(instance: Weak<Instance>, signals: Arc<Signals>, interval: Duration) {
    let mut last = Instant::now();
    loop {
        tokio::select! {
            () = signals.stopped() => return,
            _ = timeout_at(last + interval, signals.heartbeat.notified()) => {}
        }
        sleep_until(last + HEARTBEAT_GAP).await;
        last = Instant::now();
        let Some(instance) = instance.upgrade() else { return };
        instance.heartbeat().await;
    }
}
