//! The machine under the simulated cluster: its clocks, its randomness, and disks that forget what was not synced.
//!
//! The program defines the functions of the C library that clocks, randomness and files go through ([`calls`]), so that
//! everything in it is simulated, libraries included, and nothing had to be written for it. Files are real files below one
//! directory, so that they can be mapped; what a power cut would leave of them is kept beside ([`disk`]).

#![allow(unsafe_code)]

mod calls;
mod disk;
mod raw;

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

pub use disk::{Cut, Disks};

/// What time the simulation begins at, in seconds since 1970.
pub const EPOCH: u64 = 1_767_225_600;

/// Nanoseconds since the simulation began.
static NOW: AtomicU64 = AtomicU64::new(0);

/// The disks; `None` as long as nothing is simulated.
static DISKS: Mutex<Option<Disks>> = Mutex::new(None);

thread_local! {
    /// Whether this is the thread that is simulated, and its randomness. Others (sled's) have the system's.
    static RANDOM: Cell<Option<u64>> = const { Cell::new(None) };
    /// Whether calls of this thread are the harness's own.
    static IS_OURS: Cell<bool> = const { Cell::new(false) };
}

/// From now on this thread is simulated. Before anything in it has asked for randomness, such as a map.
pub fn begin(seed: u64) {
    RANDOM.set(Some(seed));
}

/// From now on files are simulated.
pub fn use_disks(disks: Disks) {
    *DISKS.lock() = Some(disks);
}

/// This thread is an ordinary one again.
pub fn end() {
    RANDOM.set(None);
    *DISKS.lock() = None;
}

/// Sets the clocks.
pub fn set_now(elapsed: Duration) {
    let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
    NOW.store(nanos, Ordering::Relaxed);
}

/// Since the simulation began.
pub fn now() -> Duration {
    Duration::from_nanos(NOW.load(Ordering::Relaxed))
}

/// Does something with the disks that is not simulated itself.
pub fn with_disks<T>(work: impl FnOnce(&mut Disks) -> T) -> Option<T> {
    IS_OURS.set(true);
    let done = DISKS.lock().as_mut().map(work);
    IS_OURS.set(false);
    done
}

/// SplitMix64. Source: Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014.
fn next_random() -> Option<u64> {
    let state = RANDOM.get()?.wrapping_add(0x9e37_79b9_7f4a_7c15);
    RANDOM.set(Some(state));
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Some(mixed ^ (mixed >> 31))
}
