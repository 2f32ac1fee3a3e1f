//! What consumers in order were given, while they were given it and in the end: I7.

use super::Violations;
use super::logs::Contents;
use super::reads::Pulled;
use crate::history::Id;

/// One group's consumption of some queues, over all its members.
pub struct Ordered {
    pulled: Pulled,
    queues: Vec<Queue>,
    /// How often somebody went back to what had been given before.
    pub replays: u64,
}

#[derive(Clone, Copy, Default)]
struct Queue {
    /// What is to be given next, unless it begins again further back.
    next: u64,
    /// Who consumes now, and what.
    busy: Option<(u32, u64)>,
}

impl Ordered {
    /// Nothing yet.
    pub fn new(queues: usize) -> Self {
        Self { pulled: Pulled::new(queues), queues: vec![Queue::default(); queues], replays: 0 }
    }

    /// A member begins to consume a message. `least`: the group had committed so much long before.
    pub fn begin(
        &mut self,
        member: u32,
        (queue, offset, id): (usize, u64, Id),
        least: u64,
        violations: &mut Violations,
    ) {
        self.pulled.add(queue, offset, id, violations);
        let Queue { next, busy } = self.queues[queue];
        if let Some((other, at)) = busy {
            violations.add(format!(
                "I7: member {member} was given {offset} of queue {queue} while member {other} consumed {at}"
            ));
        }
        if next < offset {
            violations.add(format!("I7: member {member} was given {offset} of queue {queue}, not {next}"));
        }
        if offset < next {
            self.replays += 1;
        }
        if offset < least {
            violations.add(format!(
                "I7: member {member} was given {offset} of queue {queue}, {least} was committed long before"
            ));
        }
        self.queues[queue].busy = Some((member, offset));
    }

    /// It has consumed it, or wants to be given it again before any other.
    pub fn end(&mut self, member: u32, queue: usize, offset: u64, is_done: bool) {
        let queue = &mut self.queues[queue];
        if queue.busy == Some((member, offset)) {
            *queue = Queue { next: offset + u64::from(is_done), busy: None };
        }
    }

    /// How many different messages were given.
    pub fn count(&self) -> usize {
        self.pulled.count()
    }

    /// That all was given that the queues hold.
    pub fn check(&self, contents: &Contents, violations: &mut Violations) {
        self.pulled.check(contents, violations);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Step {
        Begin(u32, u64),
        Done(u32, u64),
        Again(u32, u64),
    }
    use Step::{Again, Begin, Done};

    fn judged(least: u64, steps: &[Step]) -> Vec<String> {
        let (mut ordered, mut violations) = (Ordered::new(1), Violations::default());
        for step in steps {
            match *step {
                Begin(member, offset) => {
                    let id = Id { client: 0, seq: offset as u32 };
                    ordered.begin(member, (0, offset, id), least, &mut violations);
                }
                Done(member, offset) => ordered.end(member, 0, offset, true),
                Again(member, offset) => ordered.end(member, 0, offset, false),
            }
        }
        violations.told.iter().map(|told| told[..2].to_owned()).collect()
    }

    #[test]
    fn each_rule_is_looked_after() {
        let none: [&str; 0] = [];
        let begins = || [Begin(1, 0), Done(1, 0), Begin(1, 1)];
        let then = |steps: Vec<Step>| begins().into_iter().chain(steps).collect::<Vec<_>>();
        assert_eq!(judged(0, &then(vec![Done(1, 1), Begin(2, 2)])), none);
        assert_eq!(judged(0, &then(vec![Again(1, 1), Begin(1, 1), Done(1, 1), Begin(1, 2)])), none);
        assert_eq!(judged(0, &then(vec![Done(1, 1), Begin(2, 0), Done(2, 0), Begin(2, 1)])), none);
        assert_eq!(judged(0, &then(vec![Begin(2, 1)])), ["I7"], "two at the same time");
        assert_eq!(
            judged(0, &then(vec![Again(1, 1), Begin(1, 2)])),
            ["I7"],
            "what is to come again is left out"
        );
        let skips = then(vec![Done(1, 1), Begin(2, 0), Done(2, 0), Begin(1, 2)]);
        assert_eq!(judged(0, &skips), ["I7"], "not repeated in order");
        assert_eq!(
            judged(1, &then(vec![Done(1, 1), Begin(2, 0)])),
            ["I7", "I7"],
            "before what was committed"
        );
    }
}
