//! Old messages leave the log, a segment at a time: by age, by size, for room on the disk, or by order.
//!
//! Local: each replica trims its own log, for its own disk, and never what the group still needs
//! (`docs/decisions/0011-retention.md`). ConsumeQueues and key index follow. RocketMQ:
//! `CleanCommitLogService`, `CleanConsumeQueueService`, request codes 306 and 329.

mod clock;
mod handler;
mod policy;
mod task;

pub use handler::trim;
pub use policy::Policy;
pub use task::{Retention, run};
