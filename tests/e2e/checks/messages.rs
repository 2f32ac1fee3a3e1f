//! Attempts against what the queues hold in the end.

use trireme_chaos::check::{Violations, logs, messages};
use trireme_chaos::history::{Attempt, Id};

use crate::wire::Contents;

pub use trireme_chaos::check::messages::Summary;

/// Checks every rule of `trireme_chaos::check::messages`. Errors: the violations, in words.
pub fn check(attempts: &[Attempt], contents: &Contents) -> Result<Summary, Vec<String>> {
    let mut violations = Violations::default();
    let mut ids = logs::Contents::new();
    for (queue, bodies) in contents {
        for (offset, body) in bodies.iter().enumerate() {
            match Id::of(body) {
                Ok(id) => ids.entry(queue.clone()).or_default().push(id),
                Err(what) => violations.add(format!("{what} at {offset} of {queue}")),
            }
        }
    }
    let summary = messages::check(attempts, &ids, &mut violations);
    if violations.is_empty() { Ok(summary) } else { Err(violations.told) }
}
