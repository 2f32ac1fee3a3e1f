//! What must hold whatever was done to the replicas.

mod consumed;
mod logs;
mod messages;

pub use consumed::Consumed;
pub use logs::Log;
pub use messages::{Summary, check};
