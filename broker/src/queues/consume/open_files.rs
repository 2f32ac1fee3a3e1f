//! A bounded cache of open chunk files.
//!
//! Ten thousand queues must not mean ten thousand descriptors. Eviction is second chance (clock): a use is
//! one flag written under a short lock, and the files in steady use stay. A file evicted while somebody
//! reads from it closes when the last reader drops it.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use parking_lot::Mutex;

/// Names a chunk file's content. The incarnation (see `queue::State`) makes a handle that was cached just
/// before its file was replaced unreachable afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ChunkKey {
    pub incarnation: u64,
    pub chunk: u64,
}

pub(super) struct OpenFiles {
    capacity: usize,
    clock: Mutex<Clock>,
}

#[derive(Default)]
struct Clock {
    slots: Vec<Slot>,
    index: HashMap<ChunkKey, usize>,
    hand: usize,
}

struct Slot {
    key: ChunkKey,
    file: Arc<File>,
    used: bool,
}

impl OpenFiles {
    /// A cache of at most `capacity` files; at least 1.
    pub fn new(capacity: usize) -> OpenFiles {
        OpenFiles { capacity: capacity.max(1), clock: Mutex::default() }
    }

    pub fn get(&self, key: ChunkKey) -> Option<Arc<File>> {
        let mut clock = self.clock.lock();
        let at = *clock.index.get(&key)?;
        clock.slots[at].used = true;
        Some(clock.slots[at].file.clone())
    }

    /// Caches `file`, unless another call was first: then that one's handle is kept and returned.
    pub fn insert(&self, key: ChunkKey, file: File) -> Arc<File> {
        let mut guard = self.clock.lock();
        let clock = &mut *guard;
        if let Some(&at) = clock.index.get(&key) {
            return clock.slots[at].file.clone();
        }
        let file = Arc::new(file);
        let slot = Slot { key, file: file.clone(), used: false };
        if clock.slots.len() < self.capacity {
            clock.index.insert(key, clock.slots.len());
            clock.slots.push(slot);
            return file;
        }
        let at = clock.victim();
        clock.index.remove(&clock.slots[at].key);
        clock.index.insert(key, at);
        let evicted = std::mem::replace(&mut clock.slots[at], slot);
        // Closing can be slow; do not make readers wait for it.
        drop(guard);
        drop(evicted);
        file
    }

    pub fn remove(&self, key: ChunkKey) {
        let mut guard = self.clock.lock();
        let clock = &mut *guard;
        let Some(at) = clock.index.remove(&key) else { return };
        let removed = clock.slots.swap_remove(at);
        if let Some(moved) = clock.slots.get(at) {
            clock.index.insert(moved.key, at);
        }
        drop(guard);
        drop(removed);
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.clock.lock().slots.len()
    }
}

impl Clock {
    /// The slot to reuse: the next one that was not used since the hand last passed. The slots are not empty.
    fn victim(&mut self) -> usize {
        loop {
            let at = self.hand % self.slots.len();
            self.hand = at + 1;
            if !std::mem::take(&mut self.slots[at].used) {
                return at;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key(chunk: u64) -> ChunkKey {
        ChunkKey { incarnation: 1, chunk }
    }

    /// The bound holds whatever is inserted or removed, and a file in use outlives one that is not.
    #[test]
    fn stays_in_bounds_and_keeps_what_is_used() {
        let cache = OpenFiles::new(3);
        for chunk in 0..100 {
            cache.insert(key(chunk), tempfile::tempfile().unwrap());
            assert!(cache.get(key(0)).is_some(), "the file used all along was evicted at {chunk}");
            assert!(cache.len() <= 3);
        }
        cache.remove(key(0));
        cache.remove(key(0));
        assert!(cache.get(key(0)).is_none());
        assert_eq!(cache.len(), 2);
        assert!(cache.get(key(99)).is_some());
    }

    /// Two openers of one file end up with the same handle, whoever came second.
    #[test]
    fn second_insert_returns_the_first_handle() {
        let cache = OpenFiles::new(2);
        let first = cache.insert(key(1), tempfile::tempfile().unwrap());
        let second = cache.insert(key(1), tempfile::tempfile().unwrap());
        assert!(Arc::ptr_eq(&first, &second));
    }
}
