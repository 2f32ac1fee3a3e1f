//! Subscription groups: whether they may consume, how often a message is retried.
//!
//! A group that is not known is made when its first consumer appears, with RocketMQ's defaults.
//! RocketMQ: `SubscriptionGroupManager`, request codes 200, 201, 207, 352.

mod command;
mod handler;
mod state;

pub use command::{DeleteGroup, PutGroup};
pub use handler::{auto_create, delete, get_all, get_one, put};
pub use state::{Group, GroupState};
