//! Who is connected: producers and consumers by group, their subscriptions, and who must be told when a
//! group changes.
//!
//! **Local, not replicated**: it is made of heartbeats and gone with the process. The leader's view is the
//! one that counts: all members of a group must be named to every member alike, or queues would be
//! consumed twice. So a follower keeps what it hears for its own pulls, and passes heartbeats and
//! departures on to the leader, where such members stand without a connection of their own.
//! RocketMQ: `ConsumerManager`, `ProducerManager`, `ClientHousekeepingService`, request codes 34, 35, 38, 46.

mod handler;
mod registry;
mod task;
#[cfg(test)]
mod tests;

pub use handler::{check_config, closed, consumers_of, heartbeat, unregister};
pub use registry::{Change, Clients, Origin};
pub use task::run;
