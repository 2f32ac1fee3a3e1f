//! What replicas say of themselves again and again: I13.

use super::Violations;
use crate::world::Status;

/// What a replica has said so far.
///
/// A term that it has heard of may be forgotten by a crash, as long as it was not acted upon. An entry that it applied
/// was on its disk, and the vote for the entry's term before it.
#[derive(Debug, Default)]
pub struct Marks {
    /// The latest term that it cannot have forgotten.
    durable_term: u64,
    /// Who that is: another one may have taken its place.
    node: u64,
    /// Since it was started last.
    life: u32,
    term: u64,
    committed: u64,
    applied: u64,
}

impl Marks {
    /// It says this, in its `life`th run.
    pub fn add(&mut self, replica: usize, life: u32, status: &Status, violations: &mut Violations) {
        if self.node != status.node {
            *self = Self { node: status.node, life, ..Self::default() };
        }
        if self.life != life {
            let (node, durable_term) = (self.node, self.durable_term);
            *self = Self { node, life, term: durable_term, durable_term, ..Self::default() };
        }
        if status.term < self.term {
            violations.add(format!("I13: replica {replica} is in term {} after {}", status.term, self.term));
        }
        self.term = self.term.max(status.term);
        self.durable_term = self.durable_term.max(status.applied_term);
        let marks = [
            ("committed", status.committed, &mut self.committed),
            ("applied", status.applied, &mut self.applied),
        ];
        for (name, now, before) in marks {
            if now < *before {
                violations.add(format!("I13: replica {replica} has {name} {now} after {before}"));
            }
            *before = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry of the term before is the last one applied.
    fn status(term: u64, applied: u64) -> Status {
        Status {
            node: 1,
            role: "follower".into(),
            ready: false,
            term,
            clock_ms: 0,
            log_start: 0,
            log_end: 0,
            disk_free: 0,
            last_log: applied,
            committed: applied,
            applied,
            applied_term: term - 1,
            witnessed: 0,
            format_version: 2,
            damaged: 0,
            mended: 0,
            scrubbed: 0,
        }
    }

    #[test]
    fn a_restart_forgets_marks_and_no_terms_that_were_acted_upon() {
        let mut violations = Violations::default();
        let mut marks = Marks::default();
        for (life, term, applied) in [(0, 3, 10), (0, 4, 12), (1, 3, 5), (1, 4, 6)] {
            marks.add(1, life, &status(term, applied), &mut violations);
        }
        assert!(violations.is_empty(), "{violations:?}");
        marks.add(1, 1, &status(3, 7), &mut violations);
        assert_eq!(violations.count, 1, "a term fell");
        marks.add(1, 2, &status(2, 7), &mut violations);
        assert_eq!(violations.count, 2, "a durable term is gone");
        marks.add(1, 2, &status(4, 6), &mut violations);
        assert_eq!(violations.count, 4, "marks fell");
    }
}
