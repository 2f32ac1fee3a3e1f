//! Topics: how many queues, who may read and write, made by hand or by the first message.
//!
//! A topic has a number besides its name. The number names its queues on disk and in the log's
//! entries, and is never used again: a topic that is deleted and made anew starts with empty queues.
//! RocketMQ: `TopicConfigManager`, request codes 17, 215, 351, 21.

mod command;
mod handler;
mod state;
#[cfg(test)]
mod tests;

pub use command::{DeleteTopic, PutTopic};
pub use handler::{auto_create, config_json, delete, get_all, get_one, inherited, make, put};
pub use state::{Topic, TopicState, perm};
