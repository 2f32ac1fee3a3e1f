//! Delayed messages, by RocketMQ's 18 levels: what retries wait in before they come back.
//!
//! A message with property `DELAY` is stored in `SCHEDULE_TOPIC_XXXX`, queue = level - 1, where its tags
//! code is the time at which it is due. A task on the leader reads each queue in order and delivers
//! what is due. Delivery is one entry: the message in its real queue, and the command that moves the
//! level on. So a crash neither loses a delayed message nor delivers it twice.
//! RocketMQ: `ScheduleMessageService`.

mod command;
mod draft;
mod state;
mod task;

pub use command::AdvanceDelay;
pub use draft::place;
pub use state::DelayState;
pub use task::run;
