//! Attempts against what the queues hold in the end.
//!
//! | rule | |
//! |---|---|
//! | acknowledged | a message is at its acknowledged queue and offset, with its body |
//! | phantom | everything stored was attempted, whole, and not refused |
//! | repeated | what was sent once is stored once at most |
//! | order | of two messages in one queue, the one acknowledged before the other was sent has the lower offset |
//!
//! That offsets are dense from 0 on is checked where queues are pulled: each message must say the offset itself.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use trireme_client::MessageQueue;

use crate::history::{Attempt, Id, Outcome};
use crate::wire::Contents;

/// What a history was made of. A run that acknowledged little shows little.
#[derive(Debug, Default, PartialEq, Eq)]
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
        write!(
            f,
            "{acked} acknowledged, {} of unknown outcome ({unknown_stored} stored), {refused} refused, {copies} copies",
            unknown_stored + unknown_lost
        )
    }
}

/// Checks every rule. Errors: the violations, in words.
pub fn check(attempts: &[Attempt], contents: &Contents) -> Result<Summary, Vec<String>> {
    let mut violations = Vec::new();
    let mut summary = Summary::default();
    let stored = stored(contents, &mut violations);
    for attempt in attempts {
        let places = stored.get(&attempt.id).map(Vec::as_slice).unwrap_or_default();
        let id = attempt.id;
        match &attempt.outcome {
            Outcome::Acked(place) => {
                summary.acked += 1;
                if !places.contains(&(&place.queue, place.offset)) {
                    violations
                        .push(format!("lost: {id:?} was acknowledged at {place:?}, it is at {places:?}"));
                }
            }
            Outcome::Unknown if places.is_empty() => summary.unknown_lost += 1,
            Outcome::Unknown => summary.unknown_stored += 1,
            Outcome::Refused => {
                summary.refused += 1;
                if !places.is_empty() {
                    violations.push(format!("phantom: {id:?} was refused, it is at {places:?}"));
                }
            }
        }
        if places.len() > 1 {
            summary.copies += places.len() - 1;
            if attempt.is_single {
                violations.push(format!("repeated: {id:?} was sent once, it is at {places:?}"));
            }
        }
    }
    let attempted: HashMap<Id, ()> = attempts.iter().map(|attempt| (attempt.id, ())).collect();
    for (id, places) in &stored {
        if !attempted.contains_key(id) {
            violations.push(format!("phantom: {id:?} was never sent, it is at {places:?}"));
        }
    }
    order(attempts, &mut violations);
    if violations.is_empty() { Ok(summary) } else { Err(violations) }
}

/// Where each message is.
fn stored<'a>(
    contents: &'a Contents,
    violations: &mut Vec<String>,
) -> HashMap<Id, Vec<(&'a MessageQueue, i64)>> {
    let mut stored: HashMap<Id, Vec<_>> = HashMap::new();
    for (queue, bodies) in contents {
        for (offset, body) in (0..).zip(bodies) {
            match Id::of(body) {
                Ok(id) => stored.entry(id).or_default().push((queue, offset)),
                Err(what) => violations.push(format!("phantom: {what} at {offset} of {queue}")),
            }
        }
    }
    stored
}

/// The real-time rule, for each queue in one pass over sends and acknowledgements in the order of their times.
fn order(attempts: &[Attempt], violations: &mut Vec<String>) {
    let mut queues: BTreeMap<&MessageQueue, Vec<(&Attempt, i64)>> = BTreeMap::new();
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
        let mut highest: Option<(&Attempt, i64)> = None;
        for (attempt, offset) in sent {
            while let Some(earlier) = ended.next_if(|(earlier, _)| earlier.ended < attempt.started) {
                if highest.is_none_or(|(_, offset)| offset < earlier.1) {
                    highest = Some(earlier);
                }
            }
            if let Some((earlier, high)) = highest.filter(|(_, high)| *high >= offset) {
                violations.push(format!(
                    "order: {:?} was acknowledged at {high} of {queue} before {:?} was sent, which is at {offset}",
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

    fn queue() -> MessageQueue {
        MessageQueue::new("t", "broker-a", 0)
    }

    fn id(seq: u32) -> Id {
        Id { client: 1, seq }
    }

    /// Sent at `at` ms, answered 1 ms later.
    fn attempt(seq: u32, at: u64, outcome: Outcome, epoch: Instant) -> Attempt {
        let started = epoch + Duration::from_millis(at);
        Attempt { id: id(seq), is_single: true, started, ended: started + Duration::from_millis(1), outcome }
    }

    fn acked(offset: i64) -> Outcome {
        let stored_by = ([127, 0, 0, 1], 1).into();
        Outcome::Acked(Place { queue: queue(), offset, physical_offset: 0, stored_by })
    }

    fn contents(seqs: &[u32]) -> Contents {
        [(queue(), seqs.iter().map(|seq| id(*seq).body(3)).collect())].into()
    }

    /// Name, attempts in the order of time as `(seq, at ms, outcome)`, the queue, the rule that is broken.
    type Case = (&'static str, Vec<(u32, u64, Outcome)>, &'static [u32], Option<&'static str>);

    /// Each violation is found, and only where there is one.
    #[test]
    fn violations_are_found() {
        use Outcome::{Refused, Unknown};
        let epoch = Instant::now();
        let cases: [Case; 9] = [
            ("as it should be", vec![(0, 0, acked(0)), (1, 5, Refused), (2, 9, acked(1))], &[0, 2], None),
            ("unknown and stored", vec![(0, 0, Unknown), (1, 5, acked(1))], &[0, 1], None),
            ("unknown and lost", vec![(0, 0, Unknown), (1, 5, acked(0))], &[1], None),
            ("lost at the end", vec![(0, 0, acked(0)), (1, 5, acked(1))], &[0], Some("lost")),
            ("at another offset", vec![(0, 0, acked(1)), (1, 0, acked(0))], &[0, 1], Some("lost")),
            ("refused and stored", vec![(0, 0, Refused)], &[0], Some("phantom")),
            ("never sent", vec![(0, 0, acked(0))], &[0, 7], Some("phantom")),
            ("stored twice", vec![(0, 0, acked(0))], &[0, 0], Some("repeated")),
            ("overtaken", vec![(0, 0, acked(1)), (1, 5, acked(0))], &[1, 0], Some("order")),
        ];
        for (name, attempts, queue, expected) in cases {
            let attempts: Vec<Attempt> =
                attempts.into_iter().map(|(seq, at, outcome)| attempt(seq, at, outcome, epoch)).collect();
            match (check(&attempts, &contents(queue)), expected) {
                (Ok(_), None) => {}
                (Err(violations), Some(rule)) => assert!(
                    violations.iter().all(|violation| violation.starts_with(rule)),
                    "{name}: {violations:?}"
                ),
                (result, expected) => panic!("{name}: {result:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn a_damaged_body_is_nobodys() {
        let mut body = id(5).body(20).to_vec();
        assert_eq!(Id::of(&body), Ok(id(5)));
        body[10] ^= 1;
        let contents = Contents::from([(queue(), vec![body.into()])]);
        assert!(check(&[], &contents).unwrap_err()[0].starts_with("phantom"));
    }
}
