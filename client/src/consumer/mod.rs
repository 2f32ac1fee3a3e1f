//! Consuming messages.
//!
//! ```text
//!   rebalance: who is in the group? -> my share of the queues -> per queue:
//!
//!     pull loop --messages--> window (what is not consumed yet) --> listener --> done / given back
//!        ^                      |                                                   |
//!        +---- room again <-----+---- commit offset: the first that is not done <---+
//! ```
//! A queue's progress is the smallest offset that is not consumed, so that a consumer that dies loses nothing;
//! what it had consumed behind that offset is consumed again.

mod allocate;
mod concurrent;
mod config;
mod core;
mod events;
mod fetch;
mod give_back;
mod keeper;
mod listener;
mod locks;
mod offsets;
mod ordered;
mod process_queue;
mod pull;
mod pull_loop;
mod push;
mod rebalance;
mod stats;
mod subscription;
mod window;

pub use allocate::AllocateStrategy;
pub use config::{ConsumeFrom, PushConsumerConfig};
pub use listener::{ConcurrentListener, ConsumeOutcome, MessageBatch, OrderOutcome, OrderedListener};
pub use pull::{PullConsumer, PullConsumerConfig, PullResult, PullStatus};
pub use push::PushConsumer;
pub use trireme_remoting::body::MessageModel;
