//! Messages that a consumer gives back: retried later, in the end put aside.
//!
//! A message given back is stored again in the group's retry topic, after a delay that grows with each
//! time; after the last time it goes to the group's dead-letter topic.
//! RocketMQ: `SendMessageProcessor#consumerSendMsgBack`, request code 36.

mod handler;

pub use handler::send_back;
