//! A cluster of real processes, each with a network and a disk of its own.
//!
//! All of it is seen by this process and its children only, and ends with it: network namespaces, mounts, loop devices.

mod bad_block;
mod clock;
mod cluster;
mod disk;
mod network;
mod process;
mod status;
mod sys;

use anyhow::{Context, ensure};
use tokio::process::Command;

pub use clock::{Clock, can_be_wrong};
pub use cluster::{CLIENT, Cluster, GROUP, NAMESRVS, Options, REPLICAS, Replica};
pub use disk::{Canary, Disk, FileSystem, remove_images};
pub use network::{HostNo, Link, Network, addr};
pub use process::{Process, Tracer, freeze};
pub use status::Status;

/// Set in the process that has namespaces of its own.
const INSIDE: &str = "CHAOS_INSIDE";

/// No world can be made here, so nothing can be said. It is no failure of what was to be tested.
#[derive(Debug)]
pub struct Impossible;

impl std::fmt::Display for Impossible {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no networks and disks can be made here")
    }
}

impl std::error::Error for Impossible {}

/// Goes on in a process that has network and mounts of its own: there it returns, here it does not.
///
/// Errors: [`Impossible`], with the reason. It needs root and util-linux.
pub fn enter() -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt;
    if std::env::var_os(INSIDE).is_some() {
        return Ok(());
    }
    let own = ["--net", "--mount", "--propagation", "private", "--"];
    let tried = std::process::Command::new("unshare").args(own).arg("true").output();
    let tried = tried.context("cannot run unshare (util-linux)").context(Impossible)?;
    if !tried.status.success() {
        let words = String::from_utf8_lossy(&tried.stderr).trim().to_owned();
        return Err(anyhow::anyhow!("{words}; chaos needs root").context(Impossible));
    }
    let error = std::process::Command::new("unshare")
        .args(own)
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    Err(error).context("cannot run unshare (util-linux)").context(Impossible)
}

/// Runs a command to its end. Errors: it fails, with its words.
async fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().await.with_context(|| format!("cannot run {command:?}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", words.trim());
    Ok(())
}
