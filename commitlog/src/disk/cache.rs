//! How much of the page cache the log's files take.
//!
//! The kernel would keep all that was ever written until it runs short, and then pushes out what other programs need,
//! or makes a writer wait for room. Memory that was used a moment ago is also faster to write to than memory that was
//! not used yet, which on a virtual machine the host has to find first (`docs/decisions/0008-page-cache.md`).
//!
//! So files are accounted for in granules. A granule enters when it is first written or read, and the one that has gone
//! longest without either goes when there are too many: a clock with a second chance, whose hand only [`Cache::shrink`]
//! moves. Reading and writing take no lock unless a granule is new.

use std::collections::VecDeque;
use std::sync::Weak;
use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;

use super::DiskSegment;

/// Bytes that come and go together. A reader that goes through the log reads this far ahead.
pub(super) const GRANULE: u64 = 4 << 20;

/// Granules that are kept ahead of whoever appends: as far as the log prewrites.
const AHEAD: usize = 4;

/// Not accounted for; perhaps in the page cache all the same, from before this process.
const ABSENT: u8 = 0;
const PRESENT: u8 = 1;
/// Present, and used since the hand passed.
const USED: u8 = 2;

/// What is present of one file.
#[derive(Debug, Default)]
pub(super) struct Granules(Box<[AtomicU8]>);

/// What a use of a granule came to.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Use {
    /// It was present.
    Known,
    /// It was not. `follows`: the one before it was.
    New { follows: bool },
}

impl Granules {
    pub fn of_file(bytes: u64) -> Self {
        Self((0..bytes.div_ceil(GRANULE)).map(|_| AtomicU8::new(ABSENT)).collect())
    }

    /// Marks the granule that holds `pos` as used. Whoever gets `New` tells the cache.
    pub fn touch(&self, pos: u64) -> Use {
        let nth = (pos / GRANULE) as usize;
        let Some(state) = self.0.get(nth) else {
            return Use::Known;
        };
        match state.load(Ordering::Relaxed) {
            USED => Use::Known,
            PRESENT => {
                // If the hand takes it just now, it is new the next time.
                let _ = state.compare_exchange(PRESENT, USED, Ordering::Relaxed, Ordering::Relaxed);
                Use::Known
            }
            _ if state.swap(PRESENT, Ordering::Relaxed) != ABSENT => Use::Known,
            _ => {
                let before = nth.checked_sub(1).and_then(|before| self.0.get(before));
                Use::New { follows: before.is_some_and(|before| before.load(Ordering::Relaxed) != ABSENT) }
            }
        }
    }

    /// Marks what is present of the next granules as used: written ahead of whoever appends at `pos`, who would have to
    /// read it back first.
    pub fn keep_ahead(&self, pos: u64) {
        let next = (pos / GRANULE) as usize + 1;
        for state in self.0.iter().skip(next).take(AHEAD) {
            let _ = state.compare_exchange(PRESENT, USED, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// The hand passes. Whether the granule has to go.
    fn pass(&self, nth: u32) -> bool {
        match self.0.get(nth as usize) {
            Some(state) => state.fetch_sub(1, Ordering::Relaxed) == PRESENT,
            None => false,
        }
    }
}

/// All granules that are present, of all files, in the order in which the hand comes to them.
#[derive(Debug)]
pub(super) struct Cache {
    granules: usize,
    clock: Mutex<VecDeque<(Weak<DiskSegment>, u32)>>,
}

impl Cache {
    pub fn new(bytes: u64) -> Self {
        Self { granules: (bytes / GRANULE).max(1) as usize, clock: Mutex::default() }
    }

    /// Accounts for the granule that holds `pos`, which was new.
    pub fn enter(&self, file: &Weak<DiskSegment>, pos: u64) {
        self.clock.lock().push_back((file.clone(), (pos / GRANULE) as u32));
    }

    /// Lets go of what is too much.
    pub fn shrink(&self) {
        loop {
            let (file, nth) = {
                let mut clock = self.clock.lock();
                if clock.len() <= self.granules {
                    return;
                }
                let Some(next) = clock.pop_front() else {
                    return;
                };
                next
            };
            // A file that is gone has left the page cache with its name, or is going to.
            let Some(segment) = file.upgrade() else {
                continue;
            };
            if segment.granules().is_none_or(|granules| granules.pass(nth)) {
                segment.evict(u64::from(nth) * GRANULE);
            } else {
                self.clock.lock().push_back((file, nth));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present(granules: &Granules) -> Vec<u8> {
        granules.0.iter().map(|state| state.load(Ordering::Relaxed)).collect()
    }

    #[test]
    fn a_granule_is_new_once() {
        let granules = Granules::of_file(3 * GRANULE - 1);
        assert_eq!(granules.touch(GRANULE), Use::New { follows: false });
        assert_eq!(granules.touch(2 * GRANULE - 1), Use::Known);
        assert_eq!(granules.touch(2 * GRANULE), Use::New { follows: true });
        assert_eq!(granules.touch(0), Use::New { follows: false });
        // Behind what the file had when it was first looked at: nobody accounts for it.
        assert_eq!(granules.touch(3 * GRANULE), Use::Known);
        assert_eq!(present(&granules), [PRESENT, USED, PRESENT]);
    }

    #[test]
    fn what_is_used_has_a_second_chance() {
        let granules = Granules::of_file(2 * GRANULE);
        for at in [0, GRANULE, 0] {
            granules.touch(at);
        }
        assert!(!granules.pass(0));
        assert!(granules.pass(1));
        assert!(granules.pass(0));
        assert_eq!(present(&granules), [ABSENT, ABSENT]);
        assert_eq!(granules.touch(0), Use::New { follows: false });
    }
}
