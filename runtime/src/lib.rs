//! What a broker asks of the machine beside files and clocks: sockets, threads of its own, work that waits for a disk.
//!
//! In a build with `--cfg trireme_sim` all of it is simulated: sockets are turmoil's, and what is a thread otherwise is a
//! task that waits as long as a disk might. A whole cluster then runs in one thread, and the same seed does the same again
//! (`sim/`). In any other build these are tokio's sockets and the system's threads, and this crate costs nothing.

mod blocking;
pub mod net;
mod pool;
#[cfg(trireme_sim)]
pub mod sim;
mod worker;

pub use blocking::blocking;
pub use pool::{Job, Place, Pool};
pub use worker::Worker;

/// Whether this build simulates.
pub const IS_SIMULATED: bool = cfg!(trireme_sim);
