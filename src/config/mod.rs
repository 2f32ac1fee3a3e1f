//! Settings of `trireme broker` and `trireme namesrv`: where they come from, what they may be, what they mean.
//!
//! ```text
//!   flags > environment > file (TOML, or RocketMQ's properties) > defaults
//!     \          |           |                                      /
//!      +---------+-----+-----+-------------------------------------+
//!                      v
//!        one table per command (broker, namesrv): key, range, default, effect, RocketMQ's name
//!                      |
//!         +------------+-------------+----------------+
//!         v                          v                v
//!    checked config             --print-config    docs/configuration.md
//! ```
//!
//! The table is the only place that knows a setting; flags, variables, texts and checks follow from it.

mod broker;
mod namesrv;
mod setting;

mod kind;
mod origin;
mod problem;

mod load;

mod environment;
mod flags;
mod nearest;
mod properties;
mod rocketmq;
mod toml_file;

mod print;
#[cfg(test)]
mod reference_test;
#[cfg(test)]
mod sources_test;

pub use flags::Flags;
pub use kind::{Kind, sized};
pub use load::{Sources, effective};
pub use problem::Warning;
pub use setting::Configured;
