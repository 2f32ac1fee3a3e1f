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
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};

use parking_lot::Mutex;

use super::DiskSegment;

/// Bytes that come and go together.
pub(super) const GRANULE: u64 = 4 << 20;

/// Bytes that are read from the disk at once for somebody who waits for them. Whoever syncs meanwhile waits for them too.
pub(super) const PIECE: u64 = 256 << 10;

/// Bytes that are asked for when somebody goes through the log. The kernel by itself may take what it is set to, some
/// megabytes, and a sync then waits behind all of them.
pub(super) const READ_AHEAD: u64 = 4 * PIECE;

/// Granules that are kept ahead of whoever appends: as far as the log prewrites.
const AHEAD: usize = 4;

/// Not accounted for; perhaps in the page cache all the same, from before this process.
const ABSENT: u8 = 0;
const PRESENT: u8 = 1;
/// Present, and used since the hand passed.
const USED: u8 = 2;

/// What is present of one file.
#[derive(Debug, Default)]
pub(super) struct Granules {
    states: Box<[AtomicU8]>,
    /// A bit for each piece that was read, and has not gone since.
    loaded: Box<[AtomicU16]>,
}

impl Granules {
    pub fn of_file(bytes: u64) -> Self {
        let granules = bytes.div_ceil(GRANULE);
        Self {
            states: (0..granules).map(|_| AtomicU8::new(ABSENT)).collect(),
            loaded: (0..granules).map(|_| AtomicU16::new(0)).collect(),
        }
    }

    /// Whether the piece that holds `pos` was read, and nobody has let go of it since. The kernel may have, which costs
    /// whoever reads it a wait.
    pub fn is_loaded(&self, pos: u64) -> bool {
        let (loaded, bit) = self.piece(pos);
        loaded.is_some_and(|loaded| loaded.load(Ordering::Relaxed) & bit != 0)
    }

    /// The piece that holds `pos` was read.
    pub fn is_loaded_now(&self, pos: u64) {
        if let (Some(loaded), bit) = self.piece(pos) {
            loaded.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// The granule that holds `pos` is in memory no more.
    pub fn gone(&self, pos: u64) {
        if let (Some(loaded), _) = self.piece(pos) {
            loaded.store(0, Ordering::Relaxed);
        }
    }

    fn piece(&self, pos: u64) -> (Option<&AtomicU16>, u16) {
        (self.loaded.get((pos / GRANULE) as usize), 1 << (pos % GRANULE / PIECE))
    }

    /// Marks the granule that holds `pos` as used. Whether it was not present: whoever gets that tells the cache.
    pub fn touch(&self, pos: u64) -> bool {
        let nth = (pos / GRANULE) as usize;
        let Some(state) = self.states.get(nth) else {
            return false;
        };
        match state.load(Ordering::Relaxed) {
            USED => false,
            PRESENT => {
                // If the hand takes it just now, it is new the next time.
                let _ = state.compare_exchange(PRESENT, USED, Ordering::Relaxed, Ordering::Relaxed);
                false
            }
            _ => state.swap(PRESENT, Ordering::Relaxed) == ABSENT,
        }
    }

    /// Marks what is present of the next granules as used: written ahead of whoever appends at `pos`, who would have to
    /// read it back first.
    pub fn keep_ahead(&self, pos: u64) {
        let next = (pos / GRANULE) as usize + 1;
        for state in self.states.iter().skip(next).take(AHEAD) {
            let _ = state.compare_exchange(PRESENT, USED, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// The hand passes. Whether the granule has to go.
    fn pass(&self, nth: u32) -> bool {
        match self.states.get(nth as usize) {
            Some(state) => state.fetch_sub(1, Ordering::Relaxed) == PRESENT,
            None => false,
        }
    }
}

/// Where the pieces begin that a range touches.
pub(super) fn pieces(pos: u64, len: u64) -> impl Iterator<Item = u64> {
    (pos / PIECE..(pos + len).div_ceil(PIECE)).map(|nth| nth * PIECE)
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
        granules.states.iter().map(|state| state.load(Ordering::Relaxed)).collect()
    }

    #[test]
    fn a_granule_is_new_once() {
        let granules = Granules::of_file(3 * GRANULE - 1);
        assert!(granules.touch(GRANULE));
        assert!(!granules.touch(2 * GRANULE - 1));
        assert!(granules.touch(2 * GRANULE));
        assert!(granules.touch(0));
        // Behind what the file had when it was first looked at: nobody accounts for it.
        assert!(!granules.touch(3 * GRANULE));
        granules.is_loaded_now(3 * GRANULE);
        assert!(!granules.is_loaded(3 * GRANULE));
        assert_eq!(present(&granules), [PRESENT, USED, PRESENT]);
    }

    #[test]
    fn pieces_go_with_their_granule() {
        let granules = Granules::of_file(2 * GRANULE);
        [PIECE, GRANULE - 1, GRANULE].into_iter().for_each(|at| granules.is_loaded_now(at));
        let loaded = |at| granules.is_loaded(at);
        assert!(!loaded(0) && loaded(PIECE) && loaded(2 * PIECE - 1) && !loaded(2 * PIECE));
        assert!(loaded(GRANULE - PIECE) && loaded(GRANULE) && !loaded(2 * GRANULE));
        granules.gone(GRANULE - 1);
        assert!(!loaded(PIECE) && !loaded(GRANULE - 1) && loaded(GRANULE));
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
        assert!(granules.touch(0));
    }
}
