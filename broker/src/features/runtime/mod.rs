//! What a replica is doing: RocketMQ's runtime table, and Raft's marks beside it.
//!
//! RocketMQ: `AdminBrokerProcessor#prepareRuntimeInfo`, request code 28.

mod handler;

pub use handler::runtime_info;
