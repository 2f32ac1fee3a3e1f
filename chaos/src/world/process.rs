//! One process of the program under test.

use std::fs::{self, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// The longest call that a process is in when it is told to stand still ends within this.
const STANDS_STILL_WITHIN: Duration = Duration::from_secs(20);

/// A process, and where its output goes. Killed when dropped, and when this process ends.
pub struct Process {
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// One that does not run.
    pub fn new(log: PathBuf) -> Self {
        Self { log, child: None }
    }

    /// Starts it.
    pub fn start(&mut self, command: &mut Command) -> anyhow::Result<()> {
        ensure!(self.child.is_none(), "it runs already: {command:?}");
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let errors = log.try_clone()?;
        let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).kill_on_drop(true).spawn();
        self.child = Some(child.with_context(|| format!("cannot start {command:?}"))?);
        Ok(())
    }

    /// SIGKILL; it is gone when this returns. Whether that is what ended it.
    pub async fn kill(&mut self) -> anyhow::Result<bool> {
        let Some(mut child) = self.child.take() else { return Ok(false) };
        child.start_kill()?;
        let status = child.wait().await?;
        Ok(status.signal() == Some(Signal::KILL.as_raw()))
    }

    /// SIGTERM; it is gone when this returns.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        kill_process(self.pid()?, Signal::TERM)?;
        if let Some(mut child) = self.child.take() {
            child.wait().await?;
        }
        Ok(())
    }

    /// SIGSTOP; as [`freeze`].
    pub async fn freeze(&self) -> anyhow::Result<()> {
        freeze(self.pid()?).await
    }

    /// SIGCONT.
    pub fn thaw(&self) -> anyhow::Result<()> {
        Ok(kill_process(self.pid()?, Signal::CONT)?)
    }

    /// Lets every sync fail from now on, until it is ended.
    pub async fn fail_syncs(&self) -> anyhow::Result<Tracer> {
        self.trace("error=EIO").await
    }

    /// Lets every sync take so much longer from now on, until the tracer lets go of it.
    pub async fn slow_syncs(&self, by: Duration) -> anyhow::Result<Tracer> {
        self.trace(&format!("delay_enter={}", by.as_micros())).await
    }

    async fn trace(&self, inject: &str) -> anyhow::Result<Tracer> {
        let output = self.log.with_extension("strace");
        let pid = self.pid()?.as_raw_nonzero().to_string();
        let mut command = Command::new("strace");
        let inject = format!("inject=fsync,fdatasync:{inject}");
        command.args(["-f", "-qq", "-e", "trace=fsync,fdatasync", "-e", &inject]);
        command.args(["-p", &pid, "-o"]).arg(&output).kill_on_drop(true);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let tracer = Tracer { child: child.context("cannot run strace")?, output };
        for _ in 0..200 {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            if status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|by| by.trim() != "0")) {
                return Ok(tracer);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bail!("strace does not attach to process {pid}")
    }

    /// Whether it stands still.
    pub fn stands_still(&self) -> anyhow::Result<bool> {
        stands_still(self.pid()?)
    }

    /// Whether it was started and has ended by itself.
    pub fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.as_mut().map(Child::try_wait).transpose()?.flatten().is_some())
    }

    /// How it ended, if it did so by itself.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
        if ended.is_some() {
            self.child = None;
        }
        Ok(ended)
    }

    /// Whether it was started, and not killed since.
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    fn pid(&self) -> anyhow::Result<Pid> {
        let id = self.child.as_ref().and_then(Child::id).context("it does not run")?;
        Pid::from_raw(i32::try_from(id)?).context("a process has a number")
    }
}

/// SIGSTOP. Returns when it stands still: a thread that is in a system call ends that first, and what it is sent until
/// then is done.
///
/// Errors: it is gone, or does not stand still in time.
pub async fn freeze(pid: Pid) -> anyhow::Result<()> {
    kill_process(pid, Signal::STOP)?;
    for _ in 0..STANDS_STILL_WITHIN.as_millis() {
        if stands_still(pid)? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bail!("process {} does not stand still", pid.as_raw_nonzero())
}

/// Whether all of its threads do.
fn stands_still(pid: Pid) -> anyhow::Result<bool> {
    for thread in fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()))? {
        // A thread that has ended meanwhile does nothing any more.
        let Ok(stat) = fs::read_to_string(thread?.path().join("stat")) else { continue };
        if !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T')) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What makes syncs fail, until the process has ended; or slow.
pub struct Tracer {
    child: Child,
    output: PathBuf,
}

impl Tracer {
    /// Whether it has made one fail by now.
    pub fn has_injected(&self) -> anyhow::Result<bool> {
        Ok(fs::read_to_string(&self.output)?.contains("(INJECTED)"))
    }

    /// Lets go of the process, which runs on. How many syncs were slow.
    pub async fn let_go(mut self) -> anyhow::Result<usize> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        kill_process(pid.context("strace has ended by itself")?, Signal::INT)?;
        if tokio::time::timeout(Duration::from_secs(5), self.child.wait()).await.is_err() {
            self.child.start_kill()?;
        }
        let slow = fs::read_to_string(&self.output)?.matches("(DELAYED)").count();
        fs::remove_file(&self.output)?;
        Ok(slow)
    }

    /// Waits for its end, when the process has ended, and tells whether it has made a sync fail.
    pub async fn finish(mut self) -> anyhow::Result<bool> {
        // It ends with what it traces.
        if tokio::time::timeout(Duration::from_secs(5), self.child.wait()).await.is_err() {
            self.child.start_kill()?;
        }
        let injected = self.has_injected()?;
        fs::remove_file(&self.output)?;
        Ok(injected)
    }
}
