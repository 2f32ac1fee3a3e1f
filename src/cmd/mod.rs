//! The subcommands, one file each.

pub mod bench;
pub mod broker;
pub mod dev;
pub mod dump;
pub mod log;
pub mod namesrv;
mod settings;
pub mod signal;
