//! Who belongs to the group, and changing that by order.
//!
//! A replica whose store is lost for good never comes back under its number: it has forgotten what it voted. Another one
//! with an empty store takes its place, under full load. Request code 20001, which is Trireme's own.

mod handler;
mod task;

pub use handler::{addr_of, change, replicas};
pub use task::run;
