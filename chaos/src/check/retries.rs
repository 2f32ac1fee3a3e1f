//! What became of messages that consumers gave back: I11.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Violations;
use crate::history::Id;
use crate::outcome::Told;

/// A message, and how often it had failed when this copy was stored.
pub type Failed = (Id, u32);

/// How often a message may fail before it becomes a dead letter: RocketMQ's `maxReconsumeTimes`.
pub const MOST: u32 = 2;

/// What a log has of messages given back: copies, by how often they had failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// Those that wait, or have waited, to be delivered again.
    pub waiting: BTreeMap<Failed, u32>,
    /// Those that were delivered again.
    pub again: BTreeMap<Failed, u32>,
    /// Dead letters.
    pub dead: BTreeMap<Failed, u32>,
}

/// What a consumer did, and was told.
#[derive(Debug, Default)]
pub struct GivenBack {
    /// How often each was given, and what its giving back was answered with: yes, and perhaps.
    done: HashMap<Failed, [u32; 3]>,
    settled: BTreeSet<Id>,
}

/// How often a message is to fail: some become dead letters.
pub fn fails(id: Id) -> u32 {
    id.seq % (MOST + 3)
}

impl GivenBack {
    /// A consumer was given this copy. Whether it has to give it back.
    pub fn given(&mut self, (id, failed): Failed) -> bool {
        self.done.entry((id, failed)).or_default()[0] += 1;
        let fails = failed < fails(id);
        if !fails {
            self.settled.insert(id);
        }
        fails
    }

    /// It was given back, and this was the answer.
    pub fn back(&mut self, (id, failed): Failed, told: Told) {
        let done = self.done.entry((id, failed)).or_default();
        match told {
            Told::Yes => {
                done[1] += 1;
                if MOST <= failed {
                    self.settled.insert(id);
                }
            }
            Told::Perhaps => done[2] += 1,
            Told::No => {}
        }
    }

    /// Whether a message was consumed, or is a dead letter.
    pub fn is_settled(&self, id: Id) -> bool {
        self.settled.contains(&id)
    }

    /// How many messages are so.
    pub fn settled(&self) -> usize {
        self.settled.len()
    }

    /// That each copy that was given back, and no other one, is stored once more, with one failure more, to be delivered again
    /// once or as a dead letter; and that each copy was given to the consumer, who never goes back. `stored`: the messages
    /// themselves.
    pub fn check(&self, stored: &[Id], copies: &Copies, violations: &mut Violations) {
        let mut wanted: BTreeMap<Failed, u32> = copies.again.clone();
        for id in stored {
            *wanted.entry((*id, 0)).or_default() += 1;
        }
        for failed in self.done.keys() {
            wanted.entry(*failed).or_default();
        }
        for (failed, count) in &wanted {
            let given = self.done.get(failed).map_or(0, |done| done[0]);
            if given != *count {
                violations
                    .add(format!("I11: {failed:?} is stored {count} times, and was given {given} times"));
            }
        }
        let keys = |of: &BTreeMap<Failed, u32>| of.keys().copied().collect::<BTreeSet<_>>();
        let followers: BTreeSet<Failed> = self.done.keys().map(|(id, failed)| (*id, failed + 1)).collect();
        for failed in &(&(&followers | &keys(&copies.waiting)) | &keys(&copies.dead)) | &keys(&copies.again) {
            let (id, times) = failed;
            let [_, yes, perhaps] = times
                .checked_sub(1)
                .and_then(|before| self.done.get(&(id, before)))
                .copied()
                .unwrap_or_default();
            let count = |of: &BTreeMap<Failed, u32>| of.get(&failed).copied().unwrap_or_default();
            let (waiting, again, dead) = (count(&copies.waiting), count(&copies.again), count(&copies.dead));
            let (kept, others) = if times <= MOST { (waiting, dead) } else { (dead, waiting) };
            if !(yes..=yes + perhaps).contains(&kept) || others != 0 {
                violations.add(format!(
                    "I11: {id:?} was given back after {times} failures, {yes} times and perhaps {perhaps} more: \
                     {waiting} copies wait, {dead} are dead letters"
                ));
            }
            if waiting != again {
                violations.add(format!(
                    "I10: {waiting} copies of {id:?} waited after {times} failures, {again} were delivered"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Id = Id { client: 0, seq: MOST + 1 };

    /// A message that fails as often as it may and once more, with what is made of it.
    fn judged(change: impl FnOnce(&mut GivenBack, &mut Copies)) -> Vec<String> {
        let (mut given, mut copies) = (GivenBack::default(), Copies::default());
        for failed in 0..=MOST {
            assert!(given.given((ID, failed)));
            given.back((ID, failed), Told::Yes);
        }
        for failed in 1..=MOST {
            copies.waiting.insert((ID, failed), 1);
            copies.again.insert((ID, failed), 1);
        }
        copies.dead.insert((ID, MOST + 1), 1);
        change(&mut given, &mut copies);
        let mut violations = Violations::default();
        given.check(&[ID], &copies, &mut violations);
        violations.told.iter().map(|told| told[..3].to_owned()).collect()
    }

    #[test]
    fn each_rule_is_looked_after() {
        let none: [&str; 0] = [];
        let dead = |failed, count| {
            judged(move |_, copies| {
                copies.dead.insert((ID, failed), count);
            })
        };
        assert_eq!(judged(|_, _| {}), none);
        let twice = judged(|given, copies| {
            given.back((ID, MOST), Told::Perhaps);
            copies.dead.insert((ID, MOST + 1), 2);
        });
        assert_eq!(twice, none, "nobody knew whether the first was stored");
        assert_eq!(judged(|given, _| given.back((ID, MOST), Told::Perhaps)), none);
        assert_eq!(judged(|_, copies| copies.dead.clear()), ["I11"], "lost");
        assert_eq!(dead(MOST + 1, 2), ["I11"], "twice");
        assert_eq!(dead(MOST, 1), ["I11"], "too early");
        let not_delivered = judged(|_, copies| {
            copies.again.remove(&(ID, 1));
        });
        assert_eq!(not_delivered, ["I11", "I10"], "given, and not delivered");
        let given_twice = judged(|given, _| {
            given.given((ID, 1));
        });
        assert_eq!(given_twice, ["I11"]);
        let never_given = judged(|given, _| {
            given.done.remove(&(ID, 0));
        });
        assert_eq!(never_given, ["I11", "I11"]);
        let other = Id { client: 0, seq: 0 };
        let not_given_back = judged(|given, copies| {
            assert!(!given.given((other, 0)) && given.is_settled(other));
            copies.waiting.insert((other, 1), 1);
        });
        assert_eq!(not_given_back, ["I11", "I11", "I10"]);
    }
}
