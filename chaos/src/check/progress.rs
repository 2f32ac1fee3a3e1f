//! Whether sends go on: I16.

use std::iter::repeat_n;

use super::Violations;
use crate::history::{Attempt, Epoch, Micros};

/// A majority can talk to each other, and nobody who does stands still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// From here.
    pub from: Micros,
    /// To here.
    pub to: Micros,
    /// What is being done to the others.
    pub during: String,
}

/// Longer than this nothing may be acknowledged to nobody, on the busiest machine.
const PATIENCE: Micros = 10_000_000;

/// When messages were acknowledged, ascending; each message counts.
pub fn acknowledgements(attempts: &[Attempt], epoch: Epoch) -> Vec<Micros> {
    let acknowledged = attempts.iter().filter(|attempt| attempt.place().is_some());
    let each = |attempt: &Attempt| repeat_n(epoch.of(attempt.ended), attempt.messages as usize);
    let mut acked: Vec<Micros> = acknowledged.flat_map(each).collect();
    acked.sort_unstable();
    acked
}

/// The longest time within a window in which nothing was acknowledged.
pub fn longest_pause(acked: &[Micros], from: Micros, to: Micros) -> Micros {
    let first = acked.partition_point(|at| *at < from);
    let last = acked.partition_point(|at| *at < to);
    let (mut before, mut longest) = (from, 0);
    for at in acked[first..last].iter().copied().chain([to]) {
        longest = longest.max(at - before);
        before = at;
    }
    longest
}

/// How long after `since` it was until something was acknowledged that was sent after it. `None` if nothing was.
pub fn until_next(attempts: &[Attempt], epoch: Epoch, since: Micros) -> Option<Micros> {
    let acked = attempts.iter().filter(|attempt| attempt.place().is_some());
    let after = acked.filter(|attempt| since <= epoch.of(attempt.started));
    after.map(|attempt| epoch.of(attempt.ended) - since).min()
}

/// That sends go on in every window.
pub fn check(acked: &[Micros], windows: &[Window], violations: &mut Violations) {
    for Window { from, to, during } in windows {
        let pause = longest_pause(acked, *from, *to);
        if pause > PATIENCE {
            violations.add(format!("I16: nothing was acknowledged for {} ms: {during}", pause / 1000));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_found_at_both_ends_and_between() {
        let acked = [10, 20, 50, 60];
        assert_eq!(longest_pause(&acked, 10, 61), 30);
        assert_eq!(longest_pause(&acked, 10, 100), 40);
        assert_eq!(longest_pause(&acked, 0, 15), 10);
        assert_eq!(longest_pause(&acked, 21, 49), 28);
        let mut violations = Violations::default();
        let window = |to| Window { from: 0, to, during: "nothing".into() };
        check(&[PATIENCE], &[window(2 * PATIENCE)], &mut violations);
        assert!(violations.is_empty());
        check(&[PATIENCE + 1], &[window(2 * PATIENCE)], &mut violations);
        assert_eq!(violations.count, 1);
    }
}
