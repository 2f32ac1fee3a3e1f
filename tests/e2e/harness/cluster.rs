//! A name server and groups of three replicas.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};
use trireme_client::{Admin, Client, ClientConfig, TopicSpec};
use trireme_remoting::body::ClusterInfo;
use trireme_remoting::{ClientOptions, Frame, RequestCode};

use super::{Process, Status, eventually, free_port, until};

/// A name server that has not answered by then is not there.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// Groups that run at the same time, over all tests: the machine is small, and elections have deadlines.
static GROUPS: Semaphore = Semaphore::const_new(2);

/// How to build a cluster.
pub struct Options {
    /// Broker groups of three replicas each.
    pub groups: u8,
    /// Name servers, which know nothing of each other.
    pub namesrvs: usize,
    /// Bytes of a commit log segment.
    pub segment_bytes: u64,
    /// Where the stores are, if not beside the logs.
    pub stores: Option<PathBuf>,
    /// Further arguments for every replica.
    pub args: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { groups: 1, namesrvs: 1, segment_bytes: 16 << 20, stores: None, args: Vec::new() }
    }
}

/// One replica of one group.
pub struct Replica {
    /// The group's name.
    pub group: String,
    /// Its number in the group, from 1.
    pub node: u64,
    /// Where it serves clients.
    pub addr: SocketAddr,
    /// Where it serves the other replicas.
    pub peer_addr: SocketAddr,
    /// Its store.
    pub store: PathBuf,
    /// The process; killed when the cluster is dropped.
    pub process: Process,
}

/// A name server.
pub struct Namesrv {
    /// Where it serves.
    pub addr: SocketAddr,
    /// The process; killed when the cluster is dropped.
    pub process: Process,
}

impl Namesrv {
    fn start(log: PathBuf) -> Self {
        let addr: SocketAddr = ([127, 0, 0, 1], free_port()).into();
        let args = ["namesrv", "--listen", &addr.to_string()].map(str::to_owned);
        let mut process = Process::new(args.into(), log);
        process.start();
        Self { addr, process }
    }

    /// The master that it names for a group; `None` if it names none, or does not answer.
    pub async fn master(&self, client: &trireme_remoting::Client, group: &str) -> Option<String> {
        let request = Frame::request(RequestCode::GetBrokerClusterInfo);
        let answer = client.invoke(&self.addr.to_string(), request, ANSWERS_WITHIN).await.ok()?;
        let info = ClusterInfo::decode(answer.body.as_slice()).unwrap();
        info.broker_addr_table.get(group)?.broker_addrs.get(&0).cloned()
    }
}

/// A cluster under test. When a test fails, its logs and stores stay, and their place is printed.
pub struct Cluster {
    /// All replicas, group by group, each in the order of its numbers.
    pub replicas: Vec<Replica>,
    /// The name servers, at least one.
    pub namesrvs: Vec<Namesrv>,
    /// For requests to single replicas.
    pub remote: trireme_remoting::Client,
    /// Logs, and stores unless they are elsewhere.
    dir: TempDir,
    _permit: SemaphorePermit<'static>,
}

impl Cluster {
    /// Starts one group with the default options.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// Starts a cluster and waits until every group has a leader that the name server knows.
    pub async fn start_with(options: Options) -> Self {
        Self::start_of(options, None).await
    }

    /// The same, of replicas of another program.
    pub async fn start_of(options: Options, program: Option<&Path>) -> Self {
        let permit = GROUPS.acquire_many(options.groups.into()).await.unwrap();
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let namesrvs: Vec<Namesrv> = (1..=options.namesrvs)
            .map(|number| Namesrv::start(dir.path().join(format!("namesrv-{number}.log"))))
            .collect();
        let stores = options.stores.clone().unwrap_or_else(|| dir.path().to_owned());
        let mut replicas = Vec::new();
        for group in 0..options.groups {
            let name = format!("broker-{}", char::from(b'a' + group));
            let addrs: Vec<[SocketAddr; 2]> = (0..3)
                .map(|_| [free_port(), free_port()].map(|port| ([127, 0, 0, 1], port).into()))
                .collect();
            for node in 1..=3 {
                let mut args: Vec<String> =
                    ["broker", "--stop-with-stdin", "--group", &name].map(Into::into).into();
                args.extend(["--node".into(), node.to_string()]);
                args.extend(["--namesrv".into(), addresses(&namesrvs)]);
                args.extend(["--segment-bytes".into(), options.segment_bytes.to_string()]);
                for (at, [addr, peer]) in addrs.iter().enumerate() {
                    args.extend(["--replica".into(), format!("{}={addr}/{peer}", at + 1)]);
                }
                let store = stores.join(format!("{name}-{node}"));
                args.extend(["--store".into(), store.display().to_string()]);
                args.extend(options.args.iter().cloned());
                let log = dir.path().join(format!("{name}-{node}.log"));
                let [addr, peer_addr] = addrs[node - 1];
                let mut process = Process::new(args.clone(), log);
                process.change(program, args);
                replicas.push(Replica {
                    group: name.clone(),
                    node: node as u64,
                    addr,
                    peer_addr,
                    store,
                    process,
                });
            }
        }
        let remote = trireme_remoting::Client::new(ClientOptions::default(), None);
        let mut cluster = Self { replicas, namesrvs, remote, dir, _permit: permit };
        for at in 0..cluster.replicas.len() {
            cluster.replicas[at].process.start();
        }
        for at in 0..cluster.replicas.len() {
            cluster.serves(at).await;
        }
        for group in 0..options.groups.into() {
            cluster.leader_of(group).await;
        }
        let admin = cluster.client().admin();
        eventually("the name server knows every group's leader", async || {
            let Ok(info) = admin.cluster_info().await else { return false };
            let led = info.broker_addr_table.values().filter(|group| group.broker_addrs.contains_key(&0));
            led.count() == usize::from(options.groups)
        })
        .await;
        cluster
    }

    /// Waits until a replica that was started answers. Panics with its words if it ends instead.
    pub async fn serves(&mut self, at: usize) {
        let Self { replicas, remote, .. } = self;
        let Replica { addr, process, .. } = &mut replicas[at];
        eventually("a replica serves", async || {
            assert!(process.is_running(), "replica {} does not start: {}", at + 1, process.output());
            Status::ask(remote, *addr).await.is_some()
        })
        .await;
    }

    /// A new client of the cluster.
    pub fn client(&self) -> Client {
        Client::new(ClientConfig::new(&addresses(&self.namesrvs))).unwrap()
    }

    /// Makes a topic with so many queues in every group, and waits until it is routed.
    pub async fn topic(&self, name: &str, queues: i32) -> Arc<str> {
        let admin: Admin = self.client().admin();
        let spec = TopicSpec { read_queues: queues, write_queues: queues, ..TopicSpec::new(name) };
        // While a machine is busy, an election can be in the way; making a topic twice is harmless.
        eventually("the topic is made", async || admin.create_topic(&spec, None).await.is_ok()).await;
        let groups = self.replicas.len() / 3;
        eventually("the topic is routed", async || {
            let route = admin.topic_route(name).await.ok().flatten();
            route.is_some_and(|route| route.queue_datas.len() == groups)
        })
        .await;
        name.into()
    }

    /// What a replica says of itself, if it answers.
    pub async fn status(&self, at: usize) -> Option<Status> {
        Status::ask(&self.remote, self.replicas[at].addr).await
    }

    /// Waits for the leader of the first group.
    pub async fn leader(&self) -> usize {
        self.leader_of(0).await
    }

    /// Waits for the leader of a group. Two replicas may think that they lead for a moment: the later term counts.
    pub async fn leader_of(&self, group: usize) -> usize {
        let members = group * 3..group * 3 + 3;
        until("a leader that is ready", async || {
            let asked = members.clone().map(async |at| (at, self.status(at).await));
            let answers = futures_util::future::join_all(asked).await;
            let leading = answers.into_iter().filter_map(|(at, status)| Some((at, status?)));
            leading
                .filter(|(_, status)| status.leads())
                .max_by_key(|(_, status)| status.term)
                .map(|(at, _)| at)
        })
        .await
    }

    /// Waits until a replica has applied everything that its group's leader has committed by now.
    pub async fn caught_up(&self, at: usize) {
        let leader = self.leader_of(at / 3).await;
        let goal = until("the leader's marks", async || self.status(leader).await).await.committed;
        eventually("a replica catches up", async || {
            self.status(at).await.is_some_and(|status| status.applied >= goal)
        })
        .await;
    }

    /// Waits until all replicas of a group, without load, have applied the same last entry. Returns its index.
    pub async fn converged(&self, group: usize) -> u64 {
        let members = group * 3..group * 3 + 3;
        until("replicas converge", async || {
            let asked = members.clone().map(|at| self.status(at));
            let all: Vec<Status> =
                futures_util::future::join_all(asked).await.into_iter().collect::<Option<_>>()?;
            let first = &all[0];
            let same = |status: &Status| {
                let marks = [status.last_log, status.committed, status.applied];
                marks == [first.applied; 3] && status.term == first.term
            };
            (all.iter().all(same) && all.iter().any(Status::leads)).then_some(first.applied)
        })
        .await
    }

    /// SIGKILL. Returns when the signal was sent.
    pub async fn kill(&mut self, at: usize) -> Instant {
        self.replicas[at].process.kill().await
    }

    /// SIGKILL to all at once, as a power failure does.
    pub async fn kill_all(&mut self) {
        let kills = self.replicas.iter_mut().map(|replica| replica.process.kill());
        futures_util::future::join_all(kills).await;
    }

    /// Starts a replica that was killed or stopped.
    pub fn restart(&mut self, at: usize) {
        self.replicas[at].process.start();
    }

    /// Puts a new replica where one has gone for good, with its store: at the same addresses, with a number and a store of
    /// its own. It waits until the group takes it in.
    pub fn renew(&mut self, at: usize, node: u64) {
        let Replica { group, addr, peer_addr, store, process, .. } = &self.replicas[at];
        let old = process.args();
        let own = format!("{node}={addr}/{peer_addr}");
        let store_of = |node: u64| format!("{group}-{node}");
        let store = store.with_file_name(store_of(node));
        let mut args = vec![old[0].clone()];
        // Of the others it is told nothing.
        let mut rest = old[1..].iter().peekable();
        while let Some(arg) = rest.next() {
            let replaced = match arg.as_str() {
                "--node" => Some(node.to_string()),
                "--store" => Some(store.display().to_string()),
                "--replica" | "--join" => None,
                _ => {
                    args.push(arg.clone());
                    continue;
                }
            };
            if arg != "--join" {
                rest.next();
            }
            args.extend(replaced.map(|value| [arg.clone(), value]).into_iter().flatten());
        }
        args.extend(["--replica".to_owned(), own, "--join".to_owned()]);
        let log = process.log().with_file_name(format!("{}.log", store_of(node)));
        let replica = &mut self.replicas[at];
        (replica.node, replica.store, replica.process) = (node, store, Process::new(args, log));
    }

    /// `trireme admin`, with these arguments: what it prints, or the words with which it fails.
    pub fn admin(&self, args: &[&str]) -> impl Future<Output = Result<String, String>> + Send + use<> {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_trireme"));
        command.args(["admin", "--namesrv", &addresses(&self.namesrvs)]).args(args).kill_on_drop(true);
        async move {
            let output = tokio::time::timeout(super::LONG, command.output()).await.unwrap().unwrap();
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
        }
    }

    /// The end of a good test: every process that should run does, and none has panicked.
    pub fn assert_healthy(&mut self) {
        for namesrv in &mut self.namesrvs {
            assert!(namesrv.process.is_running(), "the name server at {} ended by itself", namesrv.addr);
        }
        let namesrvs = self.namesrvs.iter().map(|namesrv| &namesrv.process);
        for process in self.replicas.iter().map(|replica| &replica.process).chain(namesrvs) {
            let output = process.output();
            let panicked = output.lines().find(|line| line.contains("panicked at"));
            assert_eq!(panicked, None, "in {}", process.log().display());
        }
        for replica in &mut self.replicas {
            assert!(
                replica.process.is_running(),
                "replica {} of {} ended by itself",
                replica.node,
                replica.group
            );
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.dir.disable_cleanup(true);
            eprintln!("logs and stores of the failed test: {}", self.dir.path().display());
        }
    }
}

/// As clients and brokers are told them.
fn addresses(namesrvs: &[Namesrv]) -> String {
    namesrvs.iter().map(|namesrv| namesrv.addr.to_string()).collect::<Vec<_>>().join(";")
}
