//! Three replicas of a group, two name servers, and this process as their clients.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use trireme_client::{Client, ClientConfig};
use trireme_remoting::ClientOptions;

use super::{Clock, Disk, FileSystem, HostNo, Impossible, Network, Process, addr};
use crate::group::Group;
use crate::load::NewClient;

/// Replicas of the group.
pub const REPLICAS: usize = 3;
/// Name servers.
pub const NAMESRVS: usize = 2;
/// The host that this process is.
pub const CLIENT: HostNo = REPLICAS + NAMESRVS;
/// The group's name.
pub const GROUP: &str = "broker-a";

const CLIENT_PORT: u16 = 10911;
const PEER_PORT: u16 = 10912;
const NAMESRV_PORT: u16 = 9876;
/// Of the log, what is copied: the segment that is written, those that are prepared, the mark.
const LAST_FILES: usize = 8;

/// How to make a cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where all of it goes.
    pub dir: PathBuf,
    /// The program under test.
    pub program: PathBuf,
    /// Bytes of each replica's disk.
    pub disk_bytes: u64,
    /// What it is formatted with.
    pub file_system: FileSystem,
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// For what is random in the network.
    pub seed: u64,
    /// Further arguments for every replica.
    pub args: Vec<String>,
    /// Replicas have clocks that can be set wrong, if that is possible here.
    pub clocks: bool,
}

/// One replica.
pub struct Replica {
    /// Its host.
    pub host: HostNo,
    /// Its number in the group, from 1.
    pub node: u64,
    /// Where it serves clients.
    pub addr: SocketAddr,
    /// What its store lies on.
    pub disk: Disk,
    /// What time it is there.
    pub clock: Clock,
    /// The process.
    pub process: Process,
}

/// The cluster under test.
pub struct Cluster {
    /// The replicas.
    pub replicas: Vec<Replica>,
    /// The name servers, on the hosts behind the replicas.
    pub namesrvs: Vec<Process>,
    /// What they are joined by.
    pub network: Network,
    /// The replicas, as clients see them.
    pub group: Group,
    options: Options,
    /// The last number that a replica was given.
    last_node: u64,
}

impl Cluster {
    /// Makes the hosts and disks, starts everything, and waits until the group has a leader.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let network = Network::make(CLIENT + 1, options.seed).await.context(Impossible)?;
        let mut replicas = Vec::new();
        for host in 0..REPLICAS {
            let name = format!("replica-{}", host + 1);
            let disk = Disk::make(&options.dir, &name, options.disk_bytes, options.file_system);
            let disk = disk.await.context(Impossible)?;
            let process = Process::new(options.dir.join(format!("{name}.log")));
            let addr = SocketAddr::from((addr(host), CLIENT_PORT));
            let clock = Clock::make(&options.dir, &name)?;
            replicas.push(Replica { host, node: host as u64 + 1, addr, disk, clock, process });
        }
        let namesrv = |number| Process::new(options.dir.join(format!("namesrv-{}.log", number + 1)));
        let namesrvs = (0..NAMESRVS).map(namesrv).collect();
        let remote = trireme_remoting::Client::new(ClientOptions::default(), None);
        let group = Group { remote, addrs: replicas.iter().map(|replica: &Replica| replica.addr).collect() };
        let last_node = REPLICAS as u64;
        let mut cluster = Self { replicas, namesrvs, network, group, options, last_node };
        for number in 0..NAMESRVS {
            cluster.start_namesrv(number)?;
        }
        for at in 0..REPLICAS {
            cluster.start_replica(at)?;
        }
        cluster.group.leader(Duration::from_secs(30)).await.context("a new cluster")?;
        Ok(cluster)
    }

    /// Puts a new replica in the place of one whose store is lost: with the next number, and an empty store. It is to be
    /// started, and to be taken in. Returns its number.
    pub fn renew(&mut self, at: usize) -> anyhow::Result<u64> {
        std::fs::remove_dir_all(self.store(at))?;
        self.last_node += 1;
        self.replicas[at].node = self.last_node;
        Ok(self.last_node)
    }

    /// Makes a copy of the store of a replica that does not run, and says where it is. Files of the log that are not written
    /// any more are not copied but named twice.
    pub fn copy_store(&self, at: usize) -> anyhow::Result<PathBuf> {
        let copy = self.replicas[at].disk.path().join("copy");
        copy_dir(&self.store(at), &copy)?;
        Ok(copy)
    }

    /// Lets another store and a replica's own, which does not run, change places.
    pub fn swap_store(&self, at: usize, with: &Path) -> anyhow::Result<()> {
        let aside = with.with_extension("aside");
        fs::rename(self.store(at), &aside)?;
        fs::rename(with, self.store(at))?;
        fs::rename(&aside, with)?;
        Ok(())
    }

    /// Where clients and where peers reach a replica, as orders have it.
    pub fn addr_of(&self, at: usize) -> String {
        let addr = addr(self.replicas[at].host);
        format!("{addr}:{CLIENT_PORT}/{addr}:{PEER_PORT}")
    }

    /// Starts a replica that does not run.
    pub fn start_replica(&mut self, at: usize) -> anyhow::Result<()> {
        let addrs: Vec<String> = (0..REPLICAS).map(|at| self.addr_of(at)).collect();
        let replica = &mut self.replicas[at];
        let mut command = self.network.command(replica.host, &self.options.program);
        if self.options.clocks {
            replica.clock.give(&mut command);
        }
        command.args(["broker", "--group", GROUP, "--node", &replica.node.to_string()]);
        command.args(["--namesrv", &namesrv_addrs()]);
        command.args(["--segment-bytes", &self.options.segment_bytes.to_string()]);
        if replica.node <= REPLICAS as u64 {
            for (at, addr) in addrs.iter().enumerate() {
                command.args(["--replica", &format!("{}={addr}", at + 1)]);
            }
        } else {
            // Who came in later is told of itself alone.
            command.args(["--join", "--replica", &format!("{}={}", replica.node, addrs[at])]);
        }
        command.args([
            "--disk-reserve-bytes",
            "64MiB",
            "--disk-trim-bytes",
            "0",
            "--log-cache-bytes",
            "64MiB",
        ]);
        command.args(&self.options.args);
        command.arg("--store").arg(replica.disk.path().join("store"));
        replica.process.start(&mut command)
    }

    /// Starts a name server that does not run.
    pub fn start_namesrv(&mut self, number: usize) -> anyhow::Result<()> {
        let mut command = self.network.command(REPLICAS + number, &self.options.program);
        let listen = format!("{}:{NAMESRV_PORT}", addr(REPLICAS + number));
        self.namesrvs[number].start(command.args(["namesrv", "--listen", &listen]))
    }

    /// What makes clients that ask the cluster's name servers.
    pub fn new_client(&self) -> NewClient {
        Arc::new(|| Client::new(ClientConfig::new(&namesrv_addrs())))
    }

    /// Where a replica's store is.
    pub fn store(&self, at: usize) -> PathBuf {
        self.replicas[at].disk.path().join("store")
    }
}

/// Files that are still written to are the last ones of each directory, by their names or because of what they are.
fn copy_dir(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir(to)?;
    let mut entries = fs::read_dir(from)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let is_log = from.file_name().is_some_and(|name| name == "commitlog");
    let last = entries.len().saturating_sub(LAST_FILES);
    for (nth, entry) in entries.iter().enumerate() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_dir(&source, &target)?;
        } else if is_log && nth < last && source.extension().is_some_and(|kind| kind == "log") {
            fs::hard_link(&source, &target)?;
        } else {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

/// As clients and brokers are told them.
fn namesrv_addrs() -> String {
    let addr_of = |number| format!("{}:{NAMESRV_PORT}", addr(REPLICAS + number));
    (0..NAMESRVS).map(addr_of).collect::<Vec<_>>().join(";")
}
