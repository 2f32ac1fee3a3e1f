//! Sending: from a producer's request to messages in the entry being gathered.
//!
//! The handler checks everything that can be checked without the log, encodes the message once into the
//! buffer that will be written, and returns; the answer is sent from where the entry is applied.
//! RocketMQ: `SendMessageProcessor`, request codes 10, 310, 320.

mod handler;
mod properties;
mod reply;

pub use handler::send;
pub use properties::{Seen, scan};
pub use reply::ProducerReply;
