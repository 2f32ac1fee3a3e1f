//! What readers were told, while they were told it and in the end: I1, I3, I6, I8.

use std::collections::BTreeSet;

use super::Violations;
use super::logs::Contents;
use crate::history::Id;

/// What a reader that goes through the queues was given. It may be given a message again, but no other one instead, and
/// leaves none out.
#[derive(Debug, Default)]
pub struct Pulled {
    queues: Vec<Vec<Id>>,
}

impl Pulled {
    /// Nothing yet.
    pub fn new(queues: usize) -> Self {
        Self { queues: vec![Vec::new(); queues] }
    }

    /// The reader was given this.
    pub fn add(&mut self, queue: usize, offset: u64, id: Id, violations: &mut Violations) {
        let given = &mut self.queues[queue];
        match given.get(offset as usize) {
            Some(before) if *before == id => {}
            Some(before) => violations
                .add(format!("I3: at {offset} of queue {queue} a reader was given {before:?}, then {id:?}")),
            None if offset == given.len() as u64 => given.push(id),
            None => violations.add(format!(
                "I6: a reader was given offset {offset} of queue {queue} after {} messages",
                given.len()
            )),
        }
    }

    /// How many messages it was given.
    pub fn count(&self) -> usize {
        self.queues.iter().map(Vec::len).sum()
    }

    /// That it was given what the queues hold, which are in the order of their numbers.
    pub fn check(&self, contents: &Contents, violations: &mut Violations) {
        for (queue, (given, stored)) in self.queues.iter().zip(contents.values()).enumerate() {
            let differs = given.iter().zip(stored).position(|(given, stored)| given != stored);
            if let Some(offset) = differs {
                let (given, stored) = (given[offset], stored[offset]);
                violations.add(format!(
                    "I3: at {offset} of queue {queue} a reader was given {given:?}, it holds {stored:?}"
                ));
            }
            if given.len() > stored.len() {
                let (given, stored) = (given.len(), stored.len());
                violations
                    .add(format!("I2: queue {queue} holds {stored} messages, a reader was given {given}"));
            }
            if given.len() < stored.len() {
                let (given, stored) = (given.len(), stored.len());
                violations
                    .add(format!("I1: queue {queue} holds {stored} messages, a reader got {given} of them"));
            }
        }
    }
}

/// What a group of consumers was given: at least once each, in any order.
#[derive(Debug, Default)]
pub struct Consumed {
    queues: Vec<Vec<Option<Id>>>,
    count: usize,
}

impl Consumed {
    /// Nothing yet.
    pub fn new(queues: usize) -> Self {
        Self { queues: vec![Vec::new(); queues], count: 0 }
    }

    /// A consumer was given this.
    pub fn add(&mut self, queue: usize, offset: u64, id: Id, violations: &mut Violations) {
        let given = &mut self.queues[queue];
        let at = offset as usize;
        if given.len() <= at {
            given.resize(at + 1, None);
        }
        match given[at].replace(id) {
            None => self.count += 1,
            Some(before) if before == id => {}
            Some(before) => violations.add(format!(
                "I3: at {offset} of queue {queue} a consumer was given {before:?}, then {id:?}"
            )),
        }
    }

    /// How many different messages it was given.
    pub fn count(&self) -> usize {
        self.count
    }

    /// That it was given all that the queues hold, and nothing else.
    pub fn check(&self, contents: &Contents, violations: &mut Violations) {
        for (queue, (given, stored)) in self.queues.iter().zip(contents.values()).enumerate() {
            let mut missing = BTreeSet::new();
            for (offset, id) in stored.iter().enumerate() {
                match given.get(offset).copied().flatten() {
                    Some(given) if given == *id => {}
                    Some(given) => violations.add(format!(
                        "I3: at {offset} of queue {queue} a consumer was given {given:?}, it holds {id:?}"
                    )),
                    None => {
                        missing.insert(offset);
                    }
                }
            }
            if let (Some(first), Some(last)) = (missing.first(), missing.last()) {
                violations.add(format!(
                    "I1: {} messages of queue {queue} were given to no consumer, from {first} to {last}",
                    missing.len()
                ));
            }
            if given.len() > stored.len() {
                let (given, stored) = (given.len(), stored.len());
                violations
                    .add(format!("I2: queue {queue} holds {stored} messages, one at {given} was consumed"));
            }
        }
    }
}

/// A number that may only grow, by what its askers know: what was told or acknowledged before a question was asked is
/// the least that the answer may be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Floor {
    acknowledged: u64,
    /// The least that was asked for and may still happen.
    pending: Option<u64>,
}

impl Floor {
    /// So much was acknowledged, or told.
    pub fn raise(&mut self, to: u64) {
        self.acknowledged = self.acknowledged.max(to);
    }

    /// Whoever asked for this does not know whether it happened, or will.
    pub fn unknown(&mut self, value: u64) {
        self.pending = Some(self.pending.map_or(value, |pending| pending.min(value)));
    }

    /// The least that may be told from now on.
    pub fn least(&self) -> u64 {
        self.pending.map_or(self.acknowledged, |pending| pending.min(self.acknowledged))
    }
}

#[cfg(test)]
mod tests {
    use trireme_client::MessageQueue;

    use super::*;

    fn id(seq: u32) -> Id {
        Id { client: 1, seq }
    }

    fn broken(act: impl FnOnce(&mut Violations)) -> Vec<String> {
        let mut violations = Violations::default();
        act(&mut violations);
        violations.told.iter().map(|told| told[..2].to_owned()).collect()
    }

    #[test]
    fn a_reader_goes_on_without_gaps() {
        let contents = Contents::from([(MessageQueue::new("t", "g", 0), vec![id(0), id(1), id(2)])]);
        let read = |given: &[(u64, u32)]| {
            broken(|violations| {
                let mut pulled = Pulled::new(1);
                given.iter().for_each(|(offset, seq)| pulled.add(0, *offset, id(*seq), violations));
                pulled.check(&contents, violations);
            })
        };
        assert!(read(&[(0, 0), (1, 1), (0, 0), (1, 1), (2, 2)]).is_empty());
        assert_eq!(read(&[(0, 0), (1, 1)]), ["I1"]);
        assert_eq!(read(&[(0, 0), (2, 2)]), ["I6", "I1"]);
        assert_eq!(read(&[(0, 0), (1, 1), (1, 7), (2, 2)]), ["I3"]);
        assert_eq!(read(&[(0, 0), (1, 7), (2, 2)]), ["I3"]);
        assert_eq!(read(&[(0, 0), (1, 1), (2, 2), (3, 3)]), ["I2"]);
    }

    #[test]
    fn consumers_get_everything_in_any_order() {
        let contents = Contents::from([(MessageQueue::new("t", "g", 0), vec![id(0), id(1), id(2)])]);
        let consume = |given: &[(u64, u32)]| {
            broken(|violations| {
                let mut consumed = Consumed::new(1);
                given.iter().for_each(|(offset, seq)| consumed.add(0, *offset, id(*seq), violations));
                consumed.check(&contents, violations);
            })
        };
        assert!(consume(&[(2, 2), (0, 0), (1, 1), (2, 2)]).is_empty());
        assert_eq!(consume(&[(2, 2), (0, 0)]), ["I1"]);
        assert_eq!(consume(&[(0, 0), (1, 1), (2, 7)]), ["I3"]);
        assert_eq!(consume(&[(0, 0), (1, 1), (2, 2), (5, 5)]), ["I2"]);
    }

    #[test]
    fn what_may_still_happen_lowers_the_floor() {
        let mut floor = Floor::default();
        floor.raise(10);
        floor.raise(7);
        assert_eq!(floor.least(), 10);
        floor.unknown(20);
        floor.raise(30);
        assert_eq!(floor.least(), 20);
    }
}
