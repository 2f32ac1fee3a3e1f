//! The subcommands, one file each.

pub mod admin;
pub mod bench;
pub mod broker;
pub mod chaos;
mod client;
pub mod consume;
pub mod dev;
pub mod dump;
pub mod log;
pub mod namesrv;
pub mod send;
mod settings;
pub mod signal;
mod table;
