//! Starts clusters of real processes and does to them what machines do.

mod cluster;
mod disk;
mod ports;
mod process;
mod status;
mod wait;

pub use cluster::{Cluster, Options};
pub use disk::Disk;
pub use ports::free_port;
pub use process::Process;
pub use status::Status;
pub use wait::{LONG, eventually, until};
