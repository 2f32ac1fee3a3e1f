//! Whether what clients were told of one register can have been so at all: I14.
//!
//! An operation takes effect at one moment between its call and its answer; one whose outcome nobody knows, at any moment after
//! its call, or never. What was told is possible if there is an order of all effects in which each read gives what was written
//! last. Such an order is searched for: Wing and Gong, Testing and verifying concurrent objects (1993), with the memory of what
//! was tried in vain that Lowe added (Testing for linearizability, 2017).

use std::collections::HashSet;
use std::time::Instant;

/// Bytes of what is remembered before it is given up.
const MOST_BYTES: usize = 256 << 20;

/// What was done to the register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It was written; each value is written once.
    Wrote(u32),
    /// It was read, and had this.
    Read(u32),
}

/// One operation, as its caller saw it.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// Before it was called.
    pub called: Instant,
    /// After it was answered. `None`: its outcome is unknown.
    pub returned: Option<Instant>,
    /// What it did.
    pub what: What,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Possible,
    /// There is none: this operation is the first that fits into none.
    Impossible(What),
    /// Nobody knows. That is not the same as possible.
    Undecided,
}

/// Whether a register that had `first` in the beginning can have behaved so.
pub fn judge(mut operations: Vec<Operation>, first: u32) -> Verdict {
    // What was perhaps written and never read was perhaps not written.
    let read: HashSet<u32> = operations
        .iter()
        .filter_map(|operation| match operation.what {
            What::Read(value) => Some(value),
            What::Wrote(_) => None,
        })
        .collect();
    operations.retain(|operation| match operation.what {
        What::Wrote(value) => operation.returned.is_some() || read.contains(&value),
        What::Read(_) => operation.returned.is_some(),
    });
    operations.sort_by_key(|operation| operation.called);
    Search { operations: &operations, tried: HashSet::new() }.run(first)
}

/// Which operations have taken effect.
type Done = Vec<u64>;

struct Search<'a> {
    /// In the order of their calls.
    operations: &'a [Operation],
    /// Where nothing was found.
    tried: HashSet<(Done, u32)>,
}

/// A choice that was made, and what else could have been chosen.
struct Choice {
    chosen: usize,
    before: u32,
    others: Vec<usize>,
}

impl Search<'_> {
    fn run(&mut self, first: u32) -> Verdict {
        let mut left = self.operations.iter().filter(|operation| operation.returned.is_some()).count();
        let mut done: Done = vec![0; self.operations.len().div_ceil(64)];
        let mut value = first;
        let mut choices: Vec<Choice> = Vec::new();
        let mut deepest = (usize::MAX, What::Read(first));
        let mut next = self.possible(&done, value);
        loop {
            if left == 0 {
                return Verdict::Possible;
            }
            if left < deepest.0
                && let Some(stuck) = self.first_to_return(&done)
            {
                deepest = (left, self.operations[stuck].what);
            }
            let Some(chosen) = next.pop() else {
                // Back to where something else can be chosen.
                let Some(choice) = choices.pop() else { return Verdict::Impossible(deepest.1) };
                done[choice.chosen / 64] &= !(1 << (choice.chosen % 64));
                left += usize::from(self.operations[choice.chosen].returned.is_some());
                value = choice.before;
                next = choice.others;
                continue;
            };
            let operation = &self.operations[chosen];
            let after = match operation.what {
                What::Wrote(written) => written,
                What::Read(_) => value,
            };
            done[chosen / 64] |= 1 << (chosen % 64);
            if !self.tried.insert((done.clone(), after)) {
                done[chosen / 64] &= !(1 << (chosen % 64));
                continue;
            }
            if self.tried.len() * (8 * done.len() + 64) > MOST_BYTES {
                return Verdict::Undecided;
            }
            left -= usize::from(operation.returned.is_some());
            choices.push(Choice { chosen, before: value, others: std::mem::take(&mut next) });
            value = after;
            next = self.possible(&done, value);
        }
    }

    /// What can take effect next: what was called before anything that has not taken effect yet was answered. The most
    /// likely last.
    fn possible(&self, done: &Done, value: u32) -> Vec<usize> {
        let mut found = Vec::new();
        let mut answered: Option<Instant> = None;
        for (at, operation) in self.operations.iter().enumerate().skip(64 * first_word(done)) {
            if answered.is_some_and(|answered| answered < operation.called) {
                break;
            }
            if is_done(done, at) {
                continue;
            }
            answered = [answered, operation.returned].into_iter().flatten().min();
            match operation.what {
                // It changes nothing, so nothing is lost by doing it at once.
                What::Read(read) if read == value => return vec![at],
                What::Read(_) => {}
                What::Wrote(_) => found.push(at),
            }
        }
        // Those that were called last are tried last, and what may never have happened after that.
        found.sort_by_key(|at| {
            let operation = &self.operations[*at];
            std::cmp::Reverse((operation.returned.is_none(), operation.returned, *at))
        });
        found
    }

    fn first_to_return(&self, done: &Done) -> Option<usize> {
        let open = (64 * first_word(done)..self.operations.len()).filter(|at| !is_done(done, *at));
        open.filter(|at| self.operations[*at].returned.is_some())
            .min_by_key(|at| self.operations[*at].returned)
    }
}

fn is_done(done: &Done, at: usize) -> bool {
    done[at / 64] & (1 << (at % 64)) != 0
}

/// The first word in which something is left.
fn first_word(done: &Done) -> usize {
    done.iter().take_while(|word| **word == u64::MAX).count()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// From when to when, in steps, and what.
    fn history(of: &[(u64, Option<u64>, What)]) -> Vec<Operation> {
        let begin = Instant::now();
        let at = |step: u64| begin + Duration::from_millis(step);
        of.iter()
            .map(|(called, returned, what)| Operation {
                called: at(*called),
                returned: returned.map(at),
                what: *what,
            })
            .collect()
    }

    #[test]
    fn what_cannot_be_is_told() {
        use What::{Read, Wrote};
        let possible = |of: &[_]| judge(history(of), 0) == Verdict::Possible;
        assert!(possible(&[]));
        assert!(possible(&[(0, Some(1), Read(0)), (2, Some(3), Wrote(1)), (4, Some(5), Read(1))]));
        // A read that is told what was there before an answered write.
        assert!(!possible(&[(0, Some(1), Wrote(1)), (2, Some(3), Read(0))]));
        assert_eq!(
            judge(history(&[(0, Some(1), Wrote(1)), (2, Some(3), Read(0))]), 0),
            Verdict::Impossible(Read(0))
        );
        // While it is written, either will do; but not the new one first.
        assert!(possible(&[(0, Some(9), Wrote(1)), (1, Some(2), Read(0)), (3, Some(4), Read(1))]));
        assert!(!possible(&[(0, Some(9), Wrote(1)), (1, Some(2), Read(1)), (3, Some(4), Read(0))]));
        // Two at once have an order, the same for everybody.
        let two = [(0, Some(9), Wrote(1)), (0, Some(9), Wrote(2))];
        let then = |a, b| [&two[..], &[(10, Some(11), Read(a)), (12, Some(13), Read(b))]].concat();
        assert!(possible(&then(1, 1)) && possible(&then(2, 2)) && !possible(&then(1, 2)));
        // What is of unknown outcome may come late, or never, but not go again.
        let late = [(0, None, Wrote(1)), (1, Some(2), Read(0)), (3, Some(4), Wrote(2))];
        assert!(possible(&late));
        assert!(possible(&[&late[..], &[(5, Some(6), Read(1))]].concat()));
        assert!(!possible(&[&late[..], &[(5, Some(6), Read(1)), (7, Some(8), Read(2))]].concat()));
        // What nobody wrote.
        assert!(!possible(&[(0, Some(1), Read(7))]));
    }

    /// By trying every order.
    fn is_possible(operations: &[Operation], first: u32) -> bool {
        fn go(left: &[Operation], value: u32) -> bool {
            if left.iter().all(|operation| operation.returned.is_none()) {
                return true;
            }
            (0..left.len()).any(|at| {
                let one = left[at];
                let others = [&left[..at], &left[at + 1..]].concat();
                let comes_too_early =
                    others.iter().any(|other| other.returned.is_some_and(|answered| answered < one.called));
                !comes_too_early
                    && match one.what {
                        What::Read(read) => read == value && go(&others, value),
                        What::Wrote(written) => go(&others, written),
                    }
            })
        }
        let known =
            |operation: &&Operation| operation.returned.is_some() || matches!(operation.what, What::Wrote(_));
        go(&operations.iter().filter(known).copied().collect::<Vec<_>>(), first)
    }

    #[test]
    fn it_says_what_trying_all_orders_says() {
        let mut random = StdRng::seed_from_u64(14);
        let mut found = [0, 0];
        for _ in 0..3_000 {
            let count = random.random_range(1..7);
            let of: Vec<_> = (0..count)
                .map(|nth| {
                    let called = random.random_range(0..12);
                    let returned = called + random.random_range(1..6);
                    let what = match random.random() {
                        true => What::Wrote(nth + 1),
                        false => What::Read(random.random_range(0..count)),
                    };
                    (called, random.random_ratio(4, 5).then_some(returned), what)
                })
                .collect();
            let operations = history(&of);
            let expected = is_possible(&operations, 0);
            found[usize::from(expected)] += 1;
            assert_eq!(judge(operations, 0) == Verdict::Possible, expected, "{of:?}");
        }
        assert!(found.iter().all(|count| *count > 300), "{found:?}");
    }

    #[test]
    fn a_long_history_is_no_trouble() {
        let mut of = Vec::new();
        for nth in 0..5_000_u64 {
            let value = u32::try_from(nth).unwrap_or_default() + 1;
            // Each overlaps its neighbours, and of every hundredth write nobody knows whether it was.
            of.push((10 * nth, (nth % 100 != 0).then_some(10 * nth + 25), What::Wrote(value)));
            of.push((10 * nth + 26, Some(10 * nth + 29), What::Read(value)));
        }
        // The last one to be read there is the one that was written last.
        let verdict = judge(history(&of), 0);
        assert_ne!(verdict, Verdict::Undecided);
    }
}
