//! Where topics are: which broker groups have their queues, which replicas a group has, which of them leads.

mod broker;
mod replica;
mod replicas;
mod topic;

pub(crate) use broker::{Broker, Brokers, Leadership};
pub(crate) use replica::{Awaited, Replica, clock_ms};
pub(crate) use topic::{PublishQueue, TopicRoute, provisional, sort};
