//! Pulls: messages of one queue from an offset on, waited for if there are none yet.
//!
//! Any replica answers from what it has applied; nothing above that is visible. An answer is made of
//! slices of the commit log: no decoding, no copy of bodies. What is not in memory for certain is read by
//! threads of their own, so that a consumer far behind holds up nobody else. A pull that finds nothing may wait
//! (long polling): it is parked under its queue, here in memory, and tried again when the applier says
//! that the queue grew. Parked pulls are local: they end with their connection.
//! RocketMQ: `PullMessageProcessor`, `PullRequestHoldService`, request codes 11, 361.

mod filter;
mod handler;
mod parked;
mod read;
mod readers;
mod respond;

pub use filter::Filter;
pub use handler::pull;
pub use parked::{Parked, run};
pub use read::{Found, Limits, Range, message_at, read};
pub use readers::Readers;
