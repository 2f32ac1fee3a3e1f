//! The messages of one queue between the offset to commit and the offset to pull. Pure.

use std::collections::VecDeque;

/// How much of a queue a consumer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Messages not consumed yet.
    pub(super) messages: usize,
    /// Their bodies' bytes.
    pub(super) bytes: u64,
    /// Offsets between the first and the last of them, where they are consumed in no order.
    pub(super) span: Option<i64>,
}

/// Progress in one queue.
///
/// Invariant: offsets ascend, the first entry is not done, and all are below `next`.
#[derive(Debug)]
pub(super) struct Window {
    entries: VecDeque<Entry>,
    /// Entries not done.
    waiting: usize,
    /// Bytes of entries not done.
    bytes: u64,
    /// The next offset to pull.
    next: i64,
    /// Counts resets: what was pulled before one is not taken into account after it.
    generation: u64,
}

#[derive(Debug)]
struct Entry {
    offset: i64,
    bytes: u32,
    done: bool,
}

impl Window {
    /// Empty, to be pulled from `next` on.
    pub(super) fn new(next: i64) -> Self {
        Self { entries: VecDeque::new(), waiting: 0, bytes: 0, next, generation: 0 }
    }

    /// Takes a pulled message in; false if it is behind the pull offset, being there already.
    pub(super) fn push(&mut self, offset: i64, bytes: usize) -> bool {
        if offset < self.next {
            return false;
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.entries.push_back(Entry { offset, bytes, done: false });
        self.waiting += 1;
        self.bytes += u64::from(bytes);
        self.next = offset + 1;
        true
    }

    /// The pull has seen everything below `next`, wanted or not.
    pub(super) fn advance(&mut self, next: i64) {
        self.next = self.next.max(next);
    }

    /// Marks a message as consumed.
    pub(super) fn done(&mut self, offset: i64) {
        let at = self.entries.partition_point(|entry| entry.offset < offset);
        let Some(entry) = self.entries.get_mut(at).filter(|entry| entry.offset == offset && !entry.done)
        else {
            return;
        };
        entry.done = true;
        self.waiting -= 1;
        self.bytes -= u64::from(entry.bytes);
        while self.entries.front().is_some_and(|entry| entry.done) {
            self.entries.pop_front();
        }
    }

    /// Forgets everything and goes on at `next`.
    pub(super) fn reset(&mut self, next: i64) {
        *self = Self { generation: self.generation + 1, ..Self::new(next) };
    }

    /// The offset below which everything is consumed.
    pub(super) fn commit_offset(&self) -> i64 {
        self.entries.front().map_or(self.next, |entry| entry.offset)
    }

    /// Whether more may be pulled.
    pub(super) fn has_room(&self, limits: &Limits) -> bool {
        self.waiting < limits.messages
            && self.bytes < limits.bytes
            && limits.span.is_none_or(|span| self.next - self.commit_offset() <= span)
    }

    pub(super) fn next(&self) -> i64 {
        self.next
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_message_not_consumed_is_the_offset_to_commit() {
        let mut window = Window::new(5);
        assert_eq!(window.commit_offset(), 5);
        for offset in [5, 6, 8, 9] {
            assert!(window.push(offset, 10));
        }
        window.advance(12);
        for (done, commit, waiting) in [(6, 5, 3), (9, 5, 2), (9, 5, 2), (5, 8, 1), (7, 8, 1), (8, 12, 0)] {
            window.done(done);
            assert_eq!((window.commit_offset(), window.waiting()), (commit, waiting), "after {done}");
            assert_eq!(window.bytes(), 10 * waiting as u64);
        }
        assert_eq!(window.next(), 12);
    }

    #[test]
    fn what_was_pulled_already_is_not_taken_again() {
        let mut window = Window::new(3);
        assert!(!window.push(2, 1));
        assert!(window.push(3, 1));
        assert!(!window.push(3, 1));
        window.advance(1);
        assert_eq!((window.next(), window.waiting()), (4, 1));
    }

    #[test]
    fn limits() {
        let limits = Limits { messages: 2, bytes: 100, span: Some(10) };
        let fill = |offsets: &[i64], bytes| {
            let mut window = Window::new(0);
            offsets.iter().for_each(|offset| assert!(window.push(*offset, bytes)));
            window
        };
        assert!(fill(&[0], 1).has_room(&limits));
        assert!(!fill(&[0, 1], 1).has_room(&limits), "messages");
        assert!(!fill(&[0], 100).has_room(&limits), "bytes");
        let mut window = fill(&[0, 10], 1);
        window.done(10);
        assert!(!window.has_room(&limits), "the first message holds everything up");
        assert!(window.has_room(&Limits { span: None, ..limits }));
        window.done(0);
        assert!(window.has_room(&limits));
    }

    #[test]
    fn a_reset_starts_anew() {
        let mut window = Window::new(0);
        window.push(0, 1);
        window.reset(100);
        assert_eq!((window.commit_offset(), window.waiting(), window.generation()), (100, 0, 1));
        window.done(0);
        assert_eq!(window.commit_offset(), 100);
    }
}
