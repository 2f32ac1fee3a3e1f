//! [`LogDir`] in memory, with a disk's bad habits: errors on demand, a size, and a crash that loses what was not synced.
//!
//! ```text
//!   FaultyDisk  --handle()-->  Arc<dyn LogDir>  --create/open-->  Arc<dyn SegmentIo>
//!      | inject, set_capacity, crash, kill, flip, cut, counters
//! ```
//!
//! The disk outlives the process that uses it: [`FaultyDisk::crash`] and [`FaultyDisk::kill`] end that process, so
//! every handle from before fails from then on. Deterministic: the same calls and seeds give the same disk.

mod file;
mod handle;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use self::file::FileData;
use self::handle::Handle;
use crate::dir::LogDir;

/// What can be made to fail.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Op {
    /// [`crate::SegmentIo::write_at`].
    Write,
    /// [`crate::SegmentIo::read_at`], [`crate::SegmentIo::slice`] and [`crate::SegmentIo::load`].
    Read,
    /// [`crate::SegmentIo::sync`]. What was dirty is lost at the next crash, even if a later sync succeeds.
    Sync,
    /// [`LogDir::sync_dir`].
    SyncDir,
    /// [`LogDir::create`].
    Create,
    /// [`LogDir::remove`].
    Remove,
    /// [`crate::SegmentIo::preallocate`].
    Preallocate,
    /// [`crate::SegmentIo::zero_range`].
    Zero,
}

/// A failure to come.
#[derive(Copy, Clone, Debug)]
pub struct Injection {
    /// What fails.
    pub op: Op,
    /// How many of these succeed first.
    pub skip: u64,
    /// How many of these fail then.
    pub times: u64,
    /// With which error. [`io::ErrorKind::StorageFull`] for a full disk; `Other` stands for EIO.
    pub error: io::ErrorKind,
    /// Of a failing write, how many bytes are written nevertheless, from the start.
    pub written: usize,
}

impl Injection {
    /// The `nth` next `op` (from 0) fails once, like a disk that cannot read or write there.
    pub fn eio(op: Op, nth: u64) -> Injection {
        Injection { op, skip: nth, times: 1, error: io::ErrorKind::Other, written: 0 }
    }

    /// The `nth` next `op` (from 0) fails once, for want of space.
    pub fn full(op: Op, nth: u64) -> Injection {
        Injection { error: io::ErrorKind::StorageFull, ..Injection::eio(op, nth) }
    }

    /// Of the failing write, `bytes` are written nevertheless.
    pub fn after_writing(self, bytes: usize) -> Injection {
        Injection { written: bytes, ..self }
    }

    /// Every further one fails too.
    pub fn forever(self) -> Injection {
        Injection { times: u64::MAX, ..self }
    }
}

/// What the disk has been asked to do.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Calls of `read_at` and `slice`.
    pub reads: u64,
    /// Bytes that they returned.
    pub bytes_read: u64,
    /// Calls of `write_at`.
    pub writes: u64,
    /// Bytes that were offered to them.
    pub bytes_written: u64,
    /// Calls of `sync`.
    pub syncs: u64,
    /// Calls of `sync_dir`.
    pub dir_syncs: u64,
}

/// The disk. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct FaultyDisk {
    world: Arc<Mutex<World>>,
}

#[derive(Debug, Default)]
struct World {
    /// The process that uses the disk now; handles of earlier ones are dead.
    process: u64,
    /// Names as the process sees them.
    names: BTreeMap<String, FileId>,
    /// Names as a crash finds them, at worst.
    durable_names: BTreeMap<String, FileId>,
    files: BTreeMap<FileId, FileData>,
    next_file: FileId,
    injections: Vec<Injection>,
    /// How many changing operations are left before the power goes; no end by default.
    power: Option<u64>,
    /// Bytes that all files together may take; no limit by default.
    capacity: Option<u64>,
    counters: Counters,
}

type FileId = u64;

/// How one operation fails.
#[derive(Copy, Clone, Debug)]
struct Failure {
    error: io::ErrorKind,
    /// Bytes of a write that are written nevertheless.
    written: usize,
    /// Whether it is because the power is gone.
    power: bool,
}

impl FaultyDisk {
    /// An empty disk without limits.
    pub fn new() -> FaultyDisk {
        FaultyDisk::default()
    }

    /// The disk as the process that runs now sees it.
    pub fn handle(&self) -> Arc<dyn LogDir> {
        Arc::new(Handle::new(self.world.lock().process, Arc::clone(&self.world)))
    }

    /// Plans a failure. Several may be planned; each counts the operations of its kind by itself.
    pub fn inject(&self, injection: Injection) {
        self.world.lock().injections.push(injection);
    }

    /// Forgets all planned failures: the disk is sound again, what it lost stays lost.
    pub fn heal(&self) {
        self.world.lock().injections.clear();
    }

    /// Lets `operations` more changing operations happen; the next one is under way when the power goes, and it and
    /// every later change fails until [`FaultyDisk::crash`]. (Reads go on; nobody can tell.) To crash at each step of something, count up from 0 until it
    /// no longer fails.
    pub fn cut_power_after(&self, operations: u64) {
        self.world.lock().power = Some(operations);
    }

    /// Limits the bytes that all files together may take; `None` lifts the limit. A write that does not fit is done
    /// in part.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.world.lock().capacity = capacity;
    }

    /// Bytes that all files together take.
    pub fn used(&self) -> u64 {
        self.world.lock().used()
    }

    /// A power cut. Of what was not synced, each 512-byte sector, each file's length and each name is kept or lost by
    /// itself, as `seed` decides (some seeds keep most of it, some little); `None` loses all. Ends the process.
    pub fn crash(&self, seed: Option<u64>) {
        self.world.lock().crash(Fate::new(seed));
    }

    /// The process is killed, the machine goes on: everything written stays, synced or not, and is lost or kept by a
    /// later crash as before.
    pub fn kill(&self) {
        self.world.lock().process += 1;
    }

    /// Inverts the bits of `mask` in one byte, behind everybody's back. Panics if there is no such file.
    pub fn flip(&self, name: &str, pos: u64, mask: u8) {
        let mut byte = [0];
        let mut world = self.world.lock();
        let file = world.file_mut(name);
        file.read(pos, &mut byte);
        file.overwrite(pos, &[byte[0] ^ mask]);
    }

    /// The page of 4096 bytes that holds `pos` cannot be read any more (EIO), until all of it is written again. Panics if
    /// there is no such file.
    pub fn spoil(&self, name: &str, pos: u64) {
        self.world.lock().file_mut(name).spoil(pos);
    }

    /// Puts `bytes` at `pos`, behind everybody's back. Panics if there is no such file.
    pub fn overwrite(&self, name: &str, pos: u64, bytes: &[u8]) {
        self.world.lock().file_mut(name).overwrite(pos, bytes);
    }

    /// Shortens a file, behind everybody's back. Panics if there is no such file.
    pub fn cut(&self, name: &str, len: u64) {
        self.world.lock().file_mut(name).cut(len);
    }

    /// Removes a file at once and durably, behind everybody's back. Panics if there is no such file.
    pub fn lose(&self, name: &str) {
        let mut world = self.world.lock();
        world.names.remove(name).expect("the file exists");
        world.durable_names.remove(name);
    }

    /// All names, ascending.
    pub fn names(&self) -> Vec<String> {
        self.world.lock().names.keys().cloned().collect()
    }

    /// A file's bytes as the process sees them. Panics if there is no such file.
    pub fn contents(&self, name: &str) -> Vec<u8> {
        let mut world = self.world.lock();
        let file = world.file_mut(name);
        let mut bytes = vec![0; file.len as usize];
        file.read(0, &mut bytes);
        bytes
    }

    /// A disk of its own with the same bytes, names and unsynced state, but no planned failures.
    pub fn fork(&self) -> FaultyDisk {
        let world = self.world.lock();
        let copy = World {
            process: world.process,
            names: world.names.clone(),
            durable_names: world.durable_names.clone(),
            files: world.files.clone(),
            next_file: world.next_file,
            injections: Vec::new(),
            power: None,
            capacity: world.capacity,
            counters: Counters::default(),
        };
        FaultyDisk { world: Arc::new(Mutex::new(copy)) }
    }

    /// What the disk has been asked to do since the last call.
    pub fn take_counters(&self) -> Counters {
        std::mem::take(&mut self.world.lock().counters)
    }
}

impl World {
    fn file_mut(&mut self, name: &str) -> &mut FileData {
        let id = self.names.get(name).unwrap_or_else(|| panic!("there is no file {name}"));
        self.files.get_mut(id).expect("names lead to files")
    }

    fn used(&self) -> u64 {
        self.names.values().map(|id| self.files[id].allocated).sum()
    }

    /// Bytes that may still be allocated.
    fn room(&self) -> u64 {
        self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()))
    }

    /// Whether this operation fails, and how.
    fn failure(&mut self, op: Op) -> Option<Failure> {
        if let Some(left) = self.power.as_mut().filter(|_| op != Op::Read) {
            if *left == 0 {
                return Some(Failure { error: io::ErrorKind::Other, written: usize::MAX, power: true });
            }
            *left -= 1;
        }
        let mut failure = None;
        for injection in self.injections.iter_mut().filter(|injection| injection.op == op) {
            if 0 < injection.skip {
                injection.skip -= 1;
            } else if 0 < injection.times {
                injection.times = injection.times.saturating_sub(1);
                let Injection { error, written, .. } = *injection;
                failure.get_or_insert(Failure { error, written, power: false });
            }
        }
        self.injections.retain(|injection| 0 < injection.times);
        failure
    }

    fn crash(&mut self, mut fate: Fate) {
        self.process += 1;
        self.power = None;
        let mut found = BTreeMap::new();
        let all: std::collections::BTreeSet<&String> =
            self.names.keys().chain(self.durable_names.keys()).collect();
        for name in all {
            let (now, durable) = (self.names.get(name), self.durable_names.get(name));
            let id = if now == durable || fate.keeps() { now } else { durable };
            if let Some(&id) = id {
                found.insert(name.clone(), id);
            }
        }
        self.files.retain(|id, _| found.values().any(|kept| kept == id));
        for file in self.files.values_mut() {
            file.crash(&mut fate);
        }
        self.names = found.clone();
        self.durable_names = found;
    }
}

/// Decides what of the unsynced survives a crash.
#[derive(Debug)]
struct Fate {
    /// State of a SplitMix64 generator: enough to choose sectors by. Source: Steele, Lea, Flood, "Fast Splittable
    /// Pseudorandom Number Generators", OOPSLA '14.
    state: u64,
    /// Of four, how many are kept.
    odds: u64,
}

impl Fate {
    fn new(seed: Option<u64>) -> Fate {
        let mut fate = Fate { state: seed.unwrap_or_default(), odds: 0 };
        fate.odds = seed.map_or(0, |_| fate.next() % 5);
        fate
    }

    fn keeps(&mut self) -> bool {
        self.next() % 4 < self.odds
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
