//! `trireme dev`: a whole cluster on this machine, to try things out and to watch a failover.
//!
//! The name server runs in this process; each replica is a process of its own, so that it can be killed
//! like one. They end with this process, however it ends.

mod replica;
mod screen;

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use tokio::sync::mpsc;
use trireme_namesrv::{NameServer, NameServerOptions};
use trireme_remoting::{Client, ClientOptions};

use replica::{Replica, Status};
use screen::Screen;

/// How often replicas are asked how they are.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often the screen is drawn.
const DRAW_EVERY: Duration = Duration::from_secs(1);
/// A replica that `k` killed comes back by itself after this time.
const RESTART_AFTER: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub struct Args {
    /// Where everything is kept; a second start goes on from there.
    #[arg(long, default_value = ".trireme/dev")]
    dir: PathBuf,
    /// Port of the name server.
    #[arg(long, default_value_t = 9876)]
    namesrv_port: u16,
    /// Client port of the first replica; the others follow in steps of 10, peers 5 above each.
    #[arg(long, default_value_t = 10911)]
    port: u16,
    /// Broker groups of three replicas each.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    groups: u8,
    /// Bytes of a commit log segment. Small, for a developer's disk.
    #[arg(long, default_value_t = 64 * 1024 * 1024)]
    segment_bytes: u64,
    /// Bytes of memory that each replica's commit log may take in the page cache. Small, for a developer's machine.
    #[arg(long, default_value_t = 256 * 1024 * 1024)]
    log_cache_bytes: u64,
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.dir).with_context(|| format!("cannot make {}", args.dir.display()))?;
    let namesrv: SocketAddr = ([127, 0, 0, 1], args.namesrv_port).into();
    let options = NameServerOptions {
        listen: namesrv,
        kv_path: Some(args.dir.join("namesrv-kv.json")),
        ..NameServerOptions::default()
    };
    let server = NameServer::start(options).with_context(|| {
        format!("the name server does not start on {namesrv} (--namesrv-port chooses another)")
    })?;
    let mut cluster = Cluster::start(&args, namesrv)?;
    let mut screen = Screen::new();
    screen.introduce(&args.dir, namesrv, &cluster.replicas);
    let result = cluster.run(&mut screen).await;
    screen.say("stopping ...");
    cluster.stop().await;
    server.shutdown().await;
    result
}

/// The replicas, and what has been asked of them.
struct Cluster {
    replicas: Vec<Replica>,
    statuses: Vec<Option<Status>>,
    client: Client,
    /// Replicas that were killed or stopped, by index, and when they come back.
    returning: BTreeMap<usize, Instant>,
    /// Per group: the dead leader and when it went, until another leads.
    lost: BTreeMap<String, (u64, &'static str, Instant)>,
    /// All groups have had a leader.
    ready: bool,
}

impl Cluster {
    fn start(args: &Args, namesrv: SocketAddr) -> anyhow::Result<Self> {
        let mut replicas = Vec::new();
        for group in 0..args.groups {
            replicas.extend(Replica::group(args, group, namesrv)?);
        }
        for replica in &mut replicas {
            replica.start()?;
        }
        let statuses = vec![None; replicas.len()];
        let client = Client::new(ClientOptions::default(), None);
        Ok(Self {
            replicas,
            statuses,
            client,
            returning: BTreeMap::new(),
            lost: BTreeMap::new(),
            ready: false,
        })
    }

    async fn run(&mut self, screen: &mut Screen) -> anyhow::Result<()> {
        let mut orders = orders();
        let stop = super::signal::stop();
        tokio::pin!(stop);
        let mut drawn = Instant::now();
        loop {
            tokio::select! {
                stopped = &mut stop => return stopped,
                // Without a terminal, as in a script, there are no orders; the cluster runs on.
                Some(order) = orders.recv() => {
                    if !self.obey(&order, screen) {
                        return Ok(());
                    }
                }
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            self.bring_back(screen)?;
            self.look(screen).await;
            if drawn.elapsed() >= DRAW_EVERY {
                screen.draw(&self.replicas, &self.statuses, drawn.elapsed());
                drawn = Instant::now();
            }
        }
    }

    /// Does what was typed; `false` to end.
    fn obey(&mut self, order: &str, screen: &mut Screen) -> bool {
        let mut words = order.split_whitespace();
        let (verb, number) = (words.next().unwrap_or_default(), words.next());
        let chosen = match number.map(str::parse::<usize>) {
            Some(Ok(number)) if (1..=self.replicas.len()).contains(&number) => Some(number - 1),
            Some(_) => {
                screen.say(&format!("there is no replica {:?}", number.unwrap_or_default()));
                return true;
            }
            None => None,
        };
        match verb {
            "q" => return false,
            "k" => self.with(chosen.or_else(|| self.leader()), "killed", screen, Replica::kill),
            "s" => self.with(chosen.or_else(|| self.leader()), "stopped", screen, Replica::stop),
            "f" => self.with(chosen.or_else(|| self.leader()), "frozen", screen, Replica::freeze),
            "t" => self.thaw(screen),
            "" => {}
            _ => screen.help(),
        }
        true
    }

    fn with(
        &mut self,
        chosen: Option<usize>,
        done: &'static str,
        screen: &mut Screen,
        act: fn(&mut Replica) -> anyhow::Result<()>,
    ) {
        let Some(index) = chosen else { return screen.say("nobody leads now; name a replica, as in: k 1") };
        let was_leader = self.statuses[index].as_ref().is_some_and(|status| status.leads());
        let replica = &mut self.replicas[index];
        if let Err(error) = act(replica) {
            return screen.say(&format!("{error:#}"));
        }
        screen.say(&format!("replica {} {done}{}", replica.name(), if was_leader { ", it led" } else { "" }));
        if was_leader {
            self.lost.insert(replica.group.clone(), (replica.node, done, Instant::now()));
        }
        if done != "frozen" {
            self.returning.insert(index, Instant::now() + RESTART_AFTER);
        }
        self.statuses[index] = None;
    }

    fn thaw(&mut self, screen: &mut Screen) {
        for replica in self.replicas.iter_mut().filter(|replica| replica.frozen) {
            match replica.thaw() {
                Ok(()) => screen.say(&format!("replica {} goes on", replica.name())),
                Err(error) => screen.say(&format!("{error:#}")),
            }
        }
    }

    fn leader(&self) -> Option<usize> {
        self.statuses.iter().position(|status| status.as_ref().is_some_and(Status::leads))
    }

    fn bring_back(&mut self, screen: &mut Screen) -> anyhow::Result<()> {
        let now = Instant::now();
        let due: Vec<usize> =
            self.returning.iter().filter(|(_, at)| **at <= now).map(|(index, _)| *index).collect();
        for index in due {
            if !self.replicas[index].has_ended()? {
                // It has much to write down.
                continue;
            }
            self.returning.remove(&index);
            self.replicas[index].start()?;
            screen.say(&format!("replica {} started again", self.replicas[index].name()));
        }
        for (index, replica) in self.replicas.iter_mut().enumerate() {
            if !self.returning.contains_key(&index)
                && let Some(status) = replica.exited()?
            {
                bail!(
                    "replica {} ended by itself ({status}); its log: {}",
                    replica.name(),
                    replica.log.display()
                );
            }
        }
        Ok(())
    }

    async fn look(&mut self, screen: &mut Screen) {
        for (index, replica) in self.replicas.iter().enumerate() {
            if self.returning.contains_key(&index) || replica.frozen {
                self.statuses[index] = None;
                continue;
            }
            let status = replica.status(&self.client).await;
            let leads = status.as_ref().is_some_and(Status::leads);
            if leads
                && let Some((node, how, since)) = self.lost.get(&replica.group).copied()
                && node != replica.node
            {
                self.lost.remove(&replica.group);
                let after = since.elapsed().as_secs_f64();
                screen.say(&format!(
                    "replica {} leads, {after:.1} s after replica {node} was {how}",
                    replica.name()
                ));
            }
            self.statuses[index] = status;
        }
        if !self.ready && self.leaders() == self.replicas.iter().map(|replica| &replica.group).collect() {
            self.ready = true;
            screen.say("ready: every group has a leader, clients can connect");
        }
    }

    /// The groups that have a leader.
    fn leaders(&self) -> BTreeSet<&String> {
        let leading = self.statuses.iter().map(|status| status.as_ref().is_some_and(Status::leads));
        self.replicas
            .iter()
            .zip(leading)
            .filter(|(_, leads)| *leads)
            .map(|(replica, _)| &replica.group)
            .collect()
    }

    async fn stop(&mut self) {
        self.thaw(&mut Screen::silent());
        for replica in &mut self.replicas {
            replica.ask_to_stop();
        }
        for replica in &mut self.replicas {
            replica.wait().await;
        }
        self.client.shutdown();
    }
}

/// Lines typed, until standard input ends.
fn orders() -> mpsc::Receiver<String> {
    let (tx, rx) = mpsc::channel(8);
    // A thread of its own: one of the runtime's keeps a process that was told to stop from ending while it reads.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if tx.blocking_send(line).is_err() {
                return;
            }
        }
    });
    rx
}
