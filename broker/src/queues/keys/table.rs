//! Entries in memory, with hash chains through them.

use super::entry::Entry;

/// Marks the end of a chain; a table never grows to so many entries.
const END: u32 = u32::MAX;

/// Appended entries, each linked to the one before it in its hash slot: RocketMQ's index file in small. Found
/// newest first without sorting, and shared as it is once it is full.
pub(super) struct Table {
    links: Vec<Link>,
    slots: Box<[u32]>,
}

struct Link {
    entry: Entry,
    previous: u32,
}

impl Table {
    /// A table for about `entries` entries. It takes more: all keys of a message stay together.
    pub fn new(entries: usize) -> Table {
        let slots = vec![END; entries.next_power_of_two()].into_boxed_slice();
        Table { links: Vec::with_capacity(entries), slots }
    }

    pub fn push(&mut self, entry: Entry) {
        let index = u32::try_from(self.links.len()).expect("a table is frozen long before 4 Gi entries");
        let slot = self.slot(entry.hash);
        let previous = std::mem::replace(&mut self.slots[slot], index);
        self.links.push(Link { entry, previous });
    }

    pub fn len(&self) -> usize {
        self.links.len()
    }

    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// All entries in the order of appending.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry> {
        self.links.iter().map(|link| link.entry)
    }

    /// The entries under `hash`, newest first.
    pub fn with_hash(&self, hash: u64) -> impl Iterator<Item = Entry> {
        let newest = self.links.get(self.slots[self.slot(hash)] as usize);
        std::iter::successors(newest, |link| self.links.get(link.previous as usize))
            .map(|link| link.entry)
            .filter(move |entry| entry.hash == hash)
    }

    pub fn first_physical_offset(&self) -> Option<u64> {
        self.links.first().map(|link| link.entry.physical_offset)
    }

    pub fn last(&self) -> Option<Entry> {
        self.links.last().map(|link| link.entry)
    }

    /// The slots' number is a power of two; folding the hash lets its better high half count, too.
    fn slot(&self, hash: u64) -> usize {
        (hash ^ hash >> 32) as usize & (self.slots.len() - 1)
    }
}
