//! One process of the program under test.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, Command};

/// A process that was asked to stop has this long.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// A process and how to start it again. Killed when dropped.
pub struct Process {
    program: PathBuf,
    args: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
    /// Held open: a replica ends when it closes, so that none outlives its test.
    stdin: Option<ChildStdin>,
}

impl Process {
    /// A process of `trireme` with these arguments that is not running; what it prints goes to `log`.
    pub fn new(args: Vec<String>, log: PathBuf) -> Self {
        let program = env!("CARGO_BIN_EXE_trireme").into();
        Self { program, args, log, child: None, stdin: None }
    }

    /// The next start is one of another program, or with other arguments.
    pub fn change(&mut self, program: Option<&Path>, args: Vec<String>) {
        self.program = program.map_or(env!("CARGO_BIN_EXE_trireme").into(), Path::to_owned);
        self.args = args;
    }

    /// Starts it.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "it runs already: {:?}", self.args);
        let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let mut child = Command::new(&self.program)
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        self.stdin = child.stdin.take();
        self.child = Some(child);
    }

    /// SIGKILL. Returns when the signal was sent; the process is gone when this returns.
    pub async fn kill(&mut self) -> Instant {
        let mut child = self.child.take().expect("it runs");
        child.start_kill().unwrap();
        let killed = Instant::now();
        child.wait().await.unwrap();
        killed
    }

    /// SIGTERM, and waits for the end, which must be a good one. Returns how long it took.
    pub async fn stop(&mut self) -> Duration {
        self.signal(Signal::TERM);
        let asked = Instant::now();
        let status = self.ended().await;
        assert!(status.success(), "{status} after SIGTERM; its log: {}", self.log.display());
        asked.elapsed()
    }

    /// Waits for the end.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        let status = tokio::time::timeout(STOP_WITHIN, child.wait()).await;
        status.unwrap_or_else(|_| panic!("it does not stop; its log: {}", self.log.display())).unwrap()
    }

    /// SIGSTOP. Returns when the signal was sent; the process stands still when this returns.
    pub async fn freeze(&self) -> Instant {
        let told = Instant::now();
        trireme_chaos::world::freeze(self.pid()).await.unwrap();
        told
    }

    /// SIGCONT.
    pub fn thaw(&self) -> Instant {
        self.signal(Signal::CONT);
        Instant::now()
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        let id = self.child.as_ref().and_then(Child::id).expect("it runs");
        Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
    }

    /// Whether it was started, and neither stopped by us nor ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid().as_raw_nonzero())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of Linux");
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    }

    /// Open file descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid().as_raw_nonzero())).unwrap().count()
    }

    /// Everything that it has printed so far.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How it is started.
    pub fn args(&self) -> &[String] {
        &self.args
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }
}
