//! Goes through the log, and has what is damaged mended.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use trireme_commitlog::ReadError;
use trireme_raft::mend::Mend;

use super::RETRY_EVERY;
use super::queue::make_again;
use crate::features::members;
use crate::replica::Shared;

/// Looked at together; then it rests for as long as the setting says.
const STEP: u64 = 1 << 20;
/// From the start of one pass to the next, at least.
const PASS_EVERY: Duration = Duration::from_secs(60 * 60);
/// Of these tries, one is told.
const TELL_EVERY: u32 = 60;

/// Goes through the sealed segments again and again, slowly, and mends what is found there or by anybody else. Until it is
/// aborted.
pub async fn run(shared: Arc<Shared>) {
    let mut pass = Pass { at: 0, began: Instant::now(), next: Instant::now() };
    let scrubs = shared.config.scrub_bytes_per_second > 0;
    let mut retry = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(pass.next), if scrubs => pass.step(&shared).await,
            () = shared.scrub.found.notified() => {
                make_queues_again(&shared).await;
                mend_log(&shared, Tries::First).await;
                retry.get_or_insert_with(|| Instant::now() + RETRY_EVERY);
            }
            () = tokio::time::sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => {
                mend_log(&shared, Tries::Again).await;
                retry = (shared.scrub.figures().damaged > 0).then(|| Instant::now() + RETRY_EVERY);
            }
        }
    }
}

async fn make_queues_again(shared: &Arc<Shared>) {
    for (queue, from) in shared.scrub.damaged_queues() {
        let making = shared.clone();
        let made = trireme_runtime::blocking(move || make_again(&making, queue, from)).await;
        let made = made.map_err(|error| error.to_string()).flatten();
        match &made {
            Ok(units) => tracing::warn!(%queue, from, units, "units of a ConsumeQueue are made again"),
            Err(reason) => {
                tracing::error!(%queue, from, reason, "units of a ConsumeQueue cannot be made again");
            }
        }
        shared.scrub.was_made_again(queue, made.is_ok());
    }
}

/// Which damage is to be mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tries {
    /// What nobody has tried yet.
    First,
    /// What could not be mended.
    Again,
}

async fn mend_log(shared: &Arc<Shared>, tries: Tries) {
    shared.mender.ask(members::replicas(shared));
    for (damaged, failures) in shared.scrub.damaged() {
        if (failures == 0) != (tries == Tries::First) {
            continue;
        }
        let applied = shared.node.applied().borrow().map_or(0, |applied| applied.index);
        let (from, to) = (damaged.start, damaged.end);
        match shared.mender.mend(damaged, applied).await {
            Ok(frames) => {
                shared.scrub.is_mended(from);
                tracing::warn!(from, to, frames, "the commit log is mended");
            }
            Err(reason) => {
                if failures % TELL_EVERY == 0 {
                    tracing::error!(
                        from,
                        to,
                        reason,
                        "the commit log is damaged and no replica can help; trying again"
                    );
                }
                shared.scrub.is_not_mended(from);
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
        let looked = trireme_runtime::blocking(move || reading.node.log().scrub(at, STEP)).await;
        let rate = shared.config.scrub_bytes_per_second.max(1);
        let rest = |bytes: u64| Duration::from_secs_f64(bytes as f64 / rate as f64);
        match looked {
            Ok(Ok(Some(next))) => {
                let bytes = next.saturating_sub(self.at).min(STEP);
                shared.scrub.scrubbed.fetch_add(bytes, Ordering::Relaxed);
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
            // What lies behind the damage is looked at as well; whether it is mended, by the next pass.
            Ok(Err(error)) => {
                shared.scrub.report(&error);
                let behind = match error {
                    ReadError::Corrupt(found) => found.to,
                    error => {
                        tracing::error!(from = self.at, %error, "the commit log cannot be read");
                        self.at + STEP
                    }
                };
                let bytes = behind.saturating_sub(self.at);
                shared.scrub.scrubbed.fetch_add(bytes, Ordering::Relaxed);
                (self.at, self.next) = (behind, Instant::now() + rest(bytes));
            }
            Err(error) => {
                tracing::error!(%error, "looking at the commit log failed");
                self.next = Instant::now() + PASS_EVERY;
            }
        }
    }
}
