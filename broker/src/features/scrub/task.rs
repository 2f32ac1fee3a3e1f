//! Goes through the log, and has what is damaged mended.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use trireme_commitlog::ReadError;
use trireme_raft::mend::Mend;

use super::queue::make_again;
use crate::features::members;
use crate::replica::Shared;

/// Looked at together; then it rests for as long as the setting says.
const STEP: u64 = 1 << 20;
/// From the start of one pass to the next, at least.
const PASS_EVERY: Duration = Duration::from_secs(60 * 60);
/// Before what could not be mended is tried again.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// Of these tries, one is told.
const TELL_EVERY: u32 = 60;

/// Goes through the sealed segments again and again, slowly, and mends what is found there or by anybody else. Until it is
/// aborted.
pub async fn run(shared: Arc<Shared>) {
    let mut pass = Pass { at: 0, began: Instant::now(), next: Instant::now() };
    let scrubs = shared.config.scrub_bytes_per_second > 0;
    let mut failures = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(pass.next), if scrubs => pass.step(&shared).await,
            () = shared.scrub.found.notified() => {}
            () = tokio::time::sleep(RETRY_EVERY), if failures > 0 => {}
        }
        while let Some((queue, from)) = shared.scrub.first_queue() {
            let making = shared.clone();
            let made = tokio::task::spawn_blocking(move || make_again(&making, queue, from)).await;
            match made.map_err(|error| error.to_string()).flatten() {
                Ok(units) => tracing::warn!(%queue, from, units, "units of a ConsumeQueue are made again"),
                Err(reason) => {
                    tracing::error!(%queue, from, reason, "units of a ConsumeQueue cannot be made again");
                    tokio::time::sleep(RETRY_EVERY).await;
                }
            }
            // Whoever comes across it again says so again.
            shared.scrub.is_made_again(queue);
        }
        while let Some(damaged) = shared.scrub.first() {
            let mender = &shared.mender;
            mender.ask(members::replicas(&shared));
            let applied = shared.node.applied().borrow().map_or(0, |applied| applied.index);
            match mender.mend(damaged.clone(), applied).await {
                Ok(frames) => {
                    failures = 0;
                    shared.scrub.is_mended(damaged.start);
                    tracing::warn!(
                        from = damaged.start,
                        to = damaged.end,
                        frames,
                        "the commit log is mended"
                    );
                }
                Err(reason) => {
                    if failures % TELL_EVERY == 0 {
                        tracing::error!(
                            from = damaged.start,
                            to = damaged.end,
                            reason,
                            "the commit log is damaged and no replica can help; trying again"
                        );
                    }
                    failures += 1;
                    break;
                }
            }
        }
    }
}

/// One way through the log.
struct Pass {
    /// The physical offset where it goes on.
    at: u64,
    began: Instant,
    next: Instant,
}

impl Pass {
    async fn step(&mut self, shared: &Arc<Shared>) {
        let (at, reading) = (self.at, shared.clone());
        let looked = tokio::task::spawn_blocking(move || reading.node.log().scrub(at, STEP)).await;
        let rate = shared.config.scrub_bytes_per_second.max(1);
        let rest = |bytes: u64| Duration::from_secs_f64(bytes as f64 / rate as f64);
        match looked {
            Ok(Ok(Some(next))) => {
                let bytes = next.saturating_sub(self.at).min(STEP);
                shared.scrub.scrubbed.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
                (self.at, self.next) = (next, Instant::now() + rest(bytes));
            }
            Ok(Ok(None)) => {
                let now = Instant::now();
                tracing::debug!(
                    up_to = self.at,
                    seconds = self.began.elapsed().as_secs(),
                    "the commit log is whole"
                );
                let next = (self.began + PASS_EVERY).max(now + rest(STEP));
                *self = Self { at: 0, began: next, next };
            }
            // It goes on from here when that is mended, and sees whether it is.
            Ok(Err(error)) => {
                shared.scrub.report(&error);
                if !matches!(error, ReadError::Corrupt(_)) {
                    tracing::error!(from = self.at, %error, "the commit log cannot be read");
                }
                self.next = Instant::now() + RETRY_EVERY;
            }
            Err(error) => {
                tracing::error!(%error, "looking at the commit log failed");
                self.next = Instant::now() + PASS_EVERY;
            }
        }
    }
}
