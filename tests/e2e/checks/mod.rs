//! What must hold whatever was done to the replicas.

mod consumed;
mod messages;

pub use consumed::Consumed;
pub use messages::{Summary, check};
