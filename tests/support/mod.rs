//! A development cluster as its users have it: the binary, started on a directory of its own.

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Reserve for machines that do ten other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test.
pub fn trireme() -> Command {
    Command::new(env!("CARGO_BIN_EXE_trireme"))
}

/// `trireme dev`: a name server and three replicas. Dropping it kills them all.
pub struct Dev {
    process: Child,
    pub dir: TempDir,
    pub namesrv: String,
}

#[allow(dead_code, reason = "each test program uses a part of it")]
impl Dev {
    /// Starts a cluster with small segments; returns when it has a leader.
    pub fn start() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let port = free_ports();
        let log = std::fs::File::create(dir.path().join("dev.out")).expect("a file for its output");
        let mut command = trireme();
        command.args(["dev", "--segment-bytes", "8388608", "--namesrv-port", &port.to_string()]);
        command.args(["--port", &(port + 10).to_string(), "--dir"]).arg(dir.path());
        // Its standard input stays open, and its replicas end with it.
        command.stdin(Stdio::piped()).stdout(log);
        let process = command.spawn().expect("the binary was built for this test");
        let dev = Self { process, dir, namesrv: format!("127.0.0.1:{port}") };
        dev.waits_until_it_says("ready", 1);
        dev
    }

    /// Types an order.
    pub fn told(&mut self, order: &str) {
        let stdin = self.process.stdin.as_mut().expect("it was started with one");
        writeln!(stdin, "{order}").expect("it reads what is typed");
    }

    /// Waits until it has said that so often.
    pub fn waits_until_it_says(&self, text: &str, times: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.says().matches(text).count() < times {
            assert!(Instant::now() < deadline, "no {text:?} within {PATIENCE:?}: {}", self.says());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn says(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("dev.out")).unwrap_or_default()
    }

    /// The directory of a replica, from 1.
    pub fn store(&self, node: u32) -> PathBuf {
        self.dir.path().join(format!("broker-a-{node}"))
    }

    /// Stops all in order; the files stay. Its standard input stays open meanwhile, as a terminal's does.
    pub fn stop(&mut self) {
        let _stdin = self.process.stdin.take();
        let pid = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw);
        let pid = pid.expect("a running process has a number");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is ours to signal");
        let deadline = Instant::now() + PATIENCE;
        while self.process.try_wait().expect("it is our child").is_none() {
            assert!(Instant::now() < deadline, "it does not stop: {}", self.says());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The first of 50 neighbouring ports that were free a moment ago, below those that the system gives to clients.
fn free_ports() -> u16 {
    let begin = 12_000 + (std::process::id() % 300) as u16 * 50;
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (begin..30_000)
        .step_by(50)
        .find(|first| (*first..first + 50).step_by(5).all(|port| free(&port)))
        .expect("a machine with ports")
}

/// Runs `trireme dump --store STORE ARGS`.
#[allow(
    dead_code,
    reason = "each test binary has its own copy of this module, and one of them dumps nothing"
)]
pub fn dump(store: &Path, args: &[&str]) -> Output {
    trireme().arg("dump").arg("--store").arg(store).args(args).output().expect("the binary was built")
}
