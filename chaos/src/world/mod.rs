//! A cluster of real processes, each with a network and a disk of its own.
//!
//! All of it is seen by this process and its children only, and ends with it: network namespaces, mounts, loop devices.

mod cluster;
mod disk;
mod network;
mod process;
mod status;
mod sys;

use anyhow::{Context, ensure};
use tokio::process::Command;

pub use cluster::{CLIENT, Cluster, GROUP, NAMESRVS, Options, REPLICAS, Replica};
pub use disk::{Canary, Disk};
pub use network::{HostNo, Link, Network, addr};
pub use process::Process;
pub use status::Status;

/// Set in the process that has namespaces of its own.
const INSIDE: &str = "CHAOS_INSIDE";

/// Goes on in a process that has network and mounts of its own: there it returns, here it does not.
///
/// Errors: that cannot be had here. It needs root and util-linux.
pub fn enter() -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt;
    if std::env::var_os(INSIDE).is_some() {
        return Ok(());
    }
    ensure!(rustix::process::geteuid().is_root(), "chaos makes networks and mounts: it needs root");
    let error = std::process::Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private", "--"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    Err(error).context("cannot run unshare (util-linux)")
}

/// Runs a command to its end. Errors: it fails, with its words.
async fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().await.with_context(|| format!("cannot run {command:?}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", words.trim());
    Ok(())
}
