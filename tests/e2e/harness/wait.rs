//! Waiting for what a process outside can only be asked about.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Longer than anything takes on a machine that has too much to do.
pub const LONG: Duration = Duration::from_secs(60);

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(10);

/// Asks until there is an answer. Panics when there is none in time.
#[track_caller]
pub fn until<T>(what: &str, mut answer: impl AsyncFnMut() -> Option<T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    let what = what.to_owned();
    async move {
        let deadline = Instant::now() + LONG;
        loop {
            if let Some(answer) = answer().await {
                return answer;
            }
            assert!(Instant::now() < deadline, "{caller}: not within {LONG:?}: {what}");
            sleep(PAUSE).await;
        }
    }
}

/// Asks until it is so. Panics when it is not in time.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    until(what, async move || is_so().await.then_some(()))
}
