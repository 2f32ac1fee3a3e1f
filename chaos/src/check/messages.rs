//! What senders were told, against what the queues hold in the end: I1, I2, I3, I5.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use trireme_client::MessageQueue;

use super::Violations;
use super::logs::Contents;
use crate::history::{Attempt, Id, Outcome};

/// What a history was made of. A run that acknowledged little shows little.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Acknowledged messages; all are stored.
    pub acked: usize,
    /// Messages of unknown outcome that are stored.
    pub unknown_stored: usize,
    /// Messages of unknown outcome that are not stored.
    pub unknown_lost: usize,
    /// Messages that were refused; none is stored.
    pub refused: usize,
    /// Further copies of messages whose client tried again.
    pub copies: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acked, unknown_stored, unknown_lost, refused, copies } = self;
        let unknown = unknown_stored + unknown_lost;
        write!(
            f,
            "{acked} acknowledged, {unknown} of unknown outcome ({unknown_stored} stored), {refused} refused, {copies} copies"
        )
    }
}

/// Checks every rule.
pub fn check(attempts: &[Attempt], contents: &Contents, violations: &mut Violations) -> Summary {
    let mut summary = Summary::default();
    let stored = stored(contents);
    for attempt in attempts {
        // Where its first message is: the others follow it.
        let first = stored.get(&attempt.id).map(Vec::as_slice).unwrap_or_default();
        for (nth, id) in (0..).zip(attempt.ids()) {
            let places = stored.get(&id).map(Vec::as_slice).unwrap_or_default();
            check_one(attempt, (nth, id), places, &mut summary, violations);
            let follow = |((queue, at), (first, begins)): (&(_, u64), &(_, u64))| {
                (queue, *at) == (first, begins + nth)
            };
            if places.len() != first.len() || !places.iter().zip(first).all(follow) {
                violations.add(format!(
                    "I2: {id:?} is at {places:?}, {:?}, {nth} before it in one request, at {first:?}",
                    attempt.id
                ));
            }
        }
    }
    let attempted: HashSet<Id> = attempts.iter().flat_map(Attempt::ids).collect();
    for (id, places) in &stored {
        if !attempted.contains(id) {
            violations.add(format!("I2: {id:?} was never sent, it is at {places:?}"));
        }
    }
    order(attempts, violations);
    summary
}

/// That one message, the `nth` of its request, is where its sender was told.
fn check_one(
    attempt: &Attempt,
    (nth, id): (u64, Id),
    places: &[(&MessageQueue, u64)],
    summary: &mut Summary,
    violations: &mut Violations,
) {
    match &attempt.outcome {
        Outcome::Acked(place) => {
            summary.acked += 1;
            if !places.contains(&(&place.queue, place.offset + nth)) {
                violations.add(format!(
                    "I1: {id:?}, {nth} behind the first, was acknowledged at {place:?}, it is at {places:?}"
                ));
            }
        }
        Outcome::Unknown if places.is_empty() => summary.unknown_lost += 1,
        Outcome::Unknown => summary.unknown_stored += 1,
        Outcome::Refused => {
            summary.refused += 1;
            if !places.is_empty() {
                violations.add(format!("I2: {id:?} was refused, it is at {places:?}"));
            }
        }
    }
    if places.len() > 1 {
        summary.copies += places.len() - 1;
        if attempt.is_single {
            violations.add(format!("I2: {id:?} was sent once, it is at {places:?}"));
        }
    }
}

/// Where each message is.
fn stored(contents: &Contents) -> HashMap<Id, Vec<(&MessageQueue, u64)>> {
    let mut stored: HashMap<Id, Vec<_>> = HashMap::new();
    for (queue, ids) in contents {
        for (offset, id) in (0..).zip(ids) {
            stored.entry(*id).or_default().push((queue, offset));
        }
    }
    stored
}

/// The real-time rule, for each queue in one pass over sends and acknowledgements in the order of their times.
fn order(attempts: &[Attempt], violations: &mut Violations) {
    let mut queues: BTreeMap<&MessageQueue, Vec<(&Attempt, u64)>> = BTreeMap::new();
    for attempt in attempts {
        if let Some(place) = attempt.place() {
            queues.entry(&place.queue).or_default().push((attempt, place.offset));
        }
    }
    for (queue, mut sent) in queues {
        let mut ended = sent.clone();
        sent.sort_by_key(|(attempt, _)| attempt.started);
        ended.sort_by_key(|(attempt, _)| attempt.ended);
        let mut ended = ended.into_iter().peekable();
        let mut highest: Option<(&Attempt, u64)> = None;
        for (attempt, offset) in sent {
            while let Some(earlier) = ended.next_if(|(earlier, _)| earlier.ended < attempt.started) {
                let last = earlier.1 + u64::from(earlier.0.messages.saturating_sub(1));
                if highest.is_none_or(|(_, offset)| offset < last) {
                    highest = Some((earlier.0, last));
                }
            }
            if let Some((earlier, high)) = highest.filter(|(_, high)| *high >= offset) {
                violations.add(format!(
                    "I5: {:?} was acknowledged at {high} of {queue} before {:?} was sent, which is at {offset}",
                    earlier.id, attempt.id
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::history::Place;

    fn id(seq: u32) -> Id {
        Id { client: 1, seq }
    }

    fn queue() -> MessageQueue {
        MessageQueue::new("t", "broker-a", 0)
    }

    /// Sent at `at` ms, answered 1 ms later.
    fn attempt(epoch: Instant, (seq, at, outcome): (u32, u64, Outcome)) -> Attempt {
        let started = epoch + Duration::from_millis(at);
        Attempt {
            id: id(seq),
            is_single: true,
            messages: 1,
            started,
            ended: started + Duration::from_millis(1),
            outcome,
        }
    }

    fn acked(offset: u64) -> Outcome {
        let stored_by = ([127, 0, 0, 1], 1).into();
        Outcome::Acked(Place { queue: queue(), offset, physical_offset: 0, stored_by })
    }

    /// Name, attempts as `(seq, at ms, outcome)`, the queue, the rule that is broken.
    type Case = (&'static str, Vec<(u32, u64, Outcome)>, &'static [u32], Option<&'static str>);

    /// A request with three messages, and what the queue holds after message 9.
    #[test]
    fn a_batch_stays_together() {
        let three = [0, 1, 2].map(id);
        let cases: [(&str, Outcome, &[Id], &[&str]); 7] = [
            ("as it should be", acked(1), &three, &[]),
            ("unknown and stored", Outcome::Unknown, &three, &[]),
            ("unknown and lost", Outcome::Unknown, &[], &[]),
            ("the last one lost", acked(1), &three[..2], &["I1", "I2"]),
            ("unknown and half of it stored", Outcome::Unknown, &three[..2], &["I2"]),
            ("turned round", Outcome::Unknown, &[2, 1, 0].map(id), &["I2", "I2"]),
            ("somebody between", Outcome::Unknown, &[0, 8, 1, 2].map(id), &["I2", "I2"]),
        ];
        let now = Instant::now();
        for (name, outcome, stored, expected) in cases {
            let batch = Attempt { messages: 3, ..attempt(now, (0, 0, outcome)) };
            let others = [8, 9].map(|seq| attempt(now, (seq, 0, Outcome::Unknown)));
            let attempts: Vec<Attempt> = [batch].into_iter().chain(others).collect();
            let contents = Contents::from([(queue(), [&[id(9)], stored].concat())]);
            let mut violations = Violations::default();
            check(&attempts, &contents, &mut violations);
            let rules: Vec<&str> = violations.told.iter().map(|told| &told[..2]).collect();
            assert_eq!(rules, expected, "{name}: {violations:?}");
        }
    }

    /// The last of a batch counts for who sends after it.
    #[test]
    fn who_sends_after_a_batch_is_behind_all_of_it() {
        let now = Instant::now();
        let batch = Attempt { messages: 3, ..attempt(now, (0, 0, acked(0))) };
        let attempts = [batch, attempt(now, (5, 10, acked(2)))];
        let contents = Contents::from([(queue(), [0, 1, 5, 2].map(id).to_vec())]);
        let mut violations = Violations::default();
        check(&attempts, &contents, &mut violations);
        assert!(violations.told.iter().any(|told| told.starts_with("I5")), "{violations:?}");
    }

    /// Each violation is found, and only where there is one.
    #[test]
    fn violations_are_found() {
        use Outcome::{Refused, Unknown};
        let cases: [Case; 9] = [
            ("as it should be", vec![(0, 0, acked(0)), (1, 5, Refused), (2, 9, acked(1))], &[0, 2], None),
            ("unknown and stored", vec![(0, 0, Unknown), (1, 5, acked(1))], &[0, 1], None),
            ("unknown and lost", vec![(0, 0, Unknown), (1, 5, acked(0))], &[1], None),
            ("lost at the end", vec![(0, 0, acked(0)), (1, 5, acked(1))], &[0], Some("I1")),
            ("at another offset", vec![(0, 0, acked(1)), (1, 0, acked(0))], &[0, 1], Some("I1")),
            ("refused and stored", vec![(0, 0, Refused)], &[0], Some("I2")),
            ("never sent", vec![(0, 0, acked(0))], &[0, 7], Some("I2")),
            ("stored twice", vec![(0, 0, acked(0))], &[0, 0], Some("I2")),
            ("overtaken", vec![(0, 0, acked(1)), (1, 5, acked(0))], &[1, 0], Some("I5")),
        ];
        let epoch = Instant::now();
        for (name, attempts, stored, expected) in cases {
            let attempts: Vec<Attempt> = attempts.into_iter().map(|sent| attempt(epoch, sent)).collect();
            let contents = Contents::from([(queue(), stored.iter().map(|seq| id(*seq)).collect())]);
            let mut violations = Violations::default();
            check(&attempts, &contents, &mut violations);
            match expected {
                None => assert!(violations.is_empty(), "{name}: {violations:?}"),
                Some(rule) => assert!(
                    !violations.is_empty()
                        && violations.told.iter().all(|violation| violation.starts_with(rule)),
                    "{name}: {violations:?}"
                ),
            }
        }
    }
}
