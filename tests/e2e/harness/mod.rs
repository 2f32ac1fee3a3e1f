//! Starts clusters of real processes and does to them what machines do.

mod cluster;
mod disk;
mod ports;
mod process;
mod wait;

pub use cluster::{Cluster, Options};
pub use disk::Disk;
pub use ports::free_port;
pub use process::Process;
pub use trireme_chaos::world::Status;
pub use wait::{LONG, eventually, until};
