//! What has to happen from time to time: commits, and renewed locks.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::core::Core;

/// How often locks are renewed. The broker keeps them for 60 s, this member relies on them for 30 s.
const RENEW: Duration = Duration::from_secs(20);

/// Commits progress at the configured interval, until aborted.
pub(super) async fn commits(core: Arc<Core>) {
    let every = core.config.commit_interval;
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        core.stats.sample(Instant::now());
        core.commit_all().await;
    }
}

/// Renews locks every 20 s, and at once when a leader has changed, until aborted.
pub(super) async fn locks(core: Arc<Core>) {
    let mut ticks = interval_at(Instant::now() + RENEW, RENEW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = core.link.relock.notified() => {}
        }
        core.renew_locks().await;
    }
}
