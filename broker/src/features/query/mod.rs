//! Finding single messages: by key, by the client's id, by place in the log.
//!
//! Any replica answers. The key index gives candidates by hash; each is read and its keys compared.
//! RocketMQ: `QueryMessageProcessor`, request codes 12, 33.

mod handler;

pub use handler::{by_key, by_offset};
