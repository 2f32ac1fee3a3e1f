//! What each replica had on its disk, remembered by all of them (`docs/decisions/0018-old-stores.md`).
//!
//! A store that is put back from a backup has forgotten what it acknowledged and whom it voted for. When it connects, its
//! peers tell it what it had; if it has less, it stops.

mod command;
mod state;
mod task;

pub use command::{Seen, Witness};
pub use state::WitnessState;
pub use task::run;
