//! One replica of the development cluster: a process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::{Child, Command};
use trireme_remoting::body::KvTable;
use trireme_remoting::{Client, Frame, RequestCode};

use super::Args;

/// Replicas of one group.
const REPLICAS: u16 = 3;
/// A replica has this long to stop in order.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// A replica that does not say how it is by then, is not there.
const ANSWER_WITHIN: Duration = Duration::from_millis(300);

pub struct Replica {
    pub group: String,
    pub node: u64,
    pub addr: SocketAddr,
    pub log: PathBuf,
    pub frozen: bool,
    args: Vec<String>,
    process: Option<Child>,
}

/// What a replica says of itself.
#[derive(Clone, Debug)]
pub struct Status {
    pub role: String,
    pub ready: bool,
    pub term: String,
    pub committed: String,
    pub applied: String,
    pub messages: u64,
}

impl Status {
    pub fn leads(&self) -> bool {
        self.role == "leader" && self.ready
    }
}

impl Replica {
    /// The replicas of the group with this number.
    pub fn group(args: &Args, number: u8, namesrv: SocketAddr) -> anyhow::Result<Vec<Self>> {
        let group = format!("broker-{}", char::from(b'a' + number));
        let first = usize::from(number) * usize::from(REPLICAS);
        let port = |node: u16, above: u16| {
            let step = u16::try_from(first).ok()?.checked_add(node)?.checked_mul(10)?;
            args.port.checked_add(step)?.checked_add(above)
        };
        let mut members = Vec::new();
        for node in 0..REPLICAS {
            let (Some(broker), Some(peer)) = (port(node, 0), port(node, 5)) else {
                bail!("--port {} leaves no ports for the replicas above it", args.port);
            };
            members.push((node + 1, broker, peer));
        }
        let mut common = vec!["broker".into(), "--stop-with-stdin".into(), "--group".into(), group.clone()];
        common.extend(["--namesrv".into(), namesrv.to_string()]);
        common.extend(["--segment-bytes".into(), args.segment_bytes.to_string()]);
        common.extend(["--log-cache-bytes".into(), args.log_cache_bytes.to_string()]);
        for (node, broker, peer) in &members {
            common.extend(["--replica".into(), format!("{node}=127.0.0.1:{broker}/127.0.0.1:{peer}")]);
        }
        Ok(members
            .iter()
            .map(|(node, broker, _)| {
                let name = format!("{group}-{node}");
                let store = args.dir.join(&name);
                let own = ["--node".into(), node.to_string(), "--store".into(), store.display().to_string()];
                Self {
                    group: group.clone(),
                    node: u64::from(*node),
                    addr: ([127, 0, 0, 1], *broker).into(),
                    log: args.dir.join(format!("{name}.log")),
                    frozen: false,
                    args: common.iter().cloned().chain(own).collect(),
                    process: None,
                }
            })
            .collect())
    }

    pub fn name(&self) -> String {
        format!("{}-{}", self.group, self.node)
    }

    pub fn store(&self) -> PathBuf {
        self.log.with_extension("")
    }

    /// Starts the process; its log goes to a file beside its store.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let log = open_log(&self.log)?;
        let out = log.try_clone().context("cannot share the log file")?;
        let process = Command::new(program)
            .args(&self.args)
            // Held open by us: when it closes, the replica ends.
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(log)
            // Ctrl-C is ours; we stop the replicas in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start replica {}", self.name()))?;
        self.process = Some(process);
        Ok(())
    }

    /// SIGKILL: what a crash or the out-of-memory killer does.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let Some(process) = &mut self.process else { bail!("replica {} is not running", self.name()) };
        process.start_kill().context("cannot kill it")?;
        self.frozen = false;
        Ok(())
    }

    /// SIGTERM: what a service manager does before it starts the replica again. A leader hands over first.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        // A process that stands still would not hear it.
        if self.frozen {
            self.thaw()?;
        }
        self.signal(rustix::process::Signal::TERM)
    }

    /// SIGSTOP: what a stalled virtual machine looks like.
    pub fn freeze(&mut self) -> anyhow::Result<()> {
        self.signal(rustix::process::Signal::STOP)?;
        self.frozen = true;
        Ok(())
    }

    /// SIGCONT.
    pub fn thaw(&mut self) -> anyhow::Result<()> {
        self.signal(rustix::process::Signal::CONT)?;
        self.frozen = false;
        Ok(())
    }

    fn signal(&self, signal: rustix::process::Signal) -> anyhow::Result<()> {
        let pid = self.process.as_ref().and_then(Child::id).and_then(|id| i32::try_from(id).ok());
        let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) else {
            bail!("replica {} is not running", self.name());
        };
        rustix::process::kill_process(pid, signal)
            .with_context(|| format!("cannot signal replica {}", self.name()))
    }

    /// How the process ended, if it did without being told to.
    pub fn exited(&mut self) -> anyhow::Result<Option<std::process::ExitStatus>> {
        match &mut self.process {
            Some(process) => process.try_wait().context("cannot ask after a replica"),
            None => Ok(None),
        }
    }

    /// Whether nothing of it runs.
    pub fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.process.is_none() || self.exited()?.is_some())
    }

    pub fn ask_to_stop(&mut self) {
        // An error means that it is gone already.
        let _ = self.signal(rustix::process::Signal::TERM);
    }

    pub async fn wait(&mut self) {
        let Some(process) = &mut self.process else { return };
        if tokio::time::timeout(STOP_WITHIN, process.wait()).await.is_err() {
            eprintln!("replica {} does not stop; killing it, which costs it nothing", self.group);
            let _ = process.kill().await;
        }
    }

    /// Asks the replica how it is.
    pub async fn status(&self, client: &Client) -> Option<Status> {
        let request = Frame::request(RequestCode::GetBrokerRuntimeInfo);
        let answer = client.invoke(&self.addr.to_string(), request, ANSWER_WITHIN).await.ok()?;
        let mut table = KvTable::decode(answer.body.as_slice()).ok()?.table;
        let mut take = |key: &str| table.remove(key).unwrap_or_default();
        Some(Status {
            role: take("raftRole"),
            ready: take("raftReady") == "true",
            term: take("raftTerm"),
            committed: take("raftCommitted"),
            applied: take("raftApplied"),
            messages: take("msgPutTotalTodayNow").parse().unwrap_or(0),
        })
    }
}

fn open_log(path: &Path) -> anyhow::Result<std::fs::File> {
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}
