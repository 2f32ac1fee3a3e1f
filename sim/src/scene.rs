//! One simulation: hosts, clients, faults, and the verdict.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;
use trireme_broker::clock::Clock;
use trireme_broker::config::{BrokerConfig, NEWEST_VERSION, ReplicaAddr};
use trireme_broker::replica::Broker;
use trireme_chaos::check::Violations;
use trireme_chaos::check::logs::{self, Log};
use trireme_chaos::check::messages::{self, Summary};
use trireme_chaos::group::Group;
use trireme_chaos::load::Load;
use trireme_chaos::watch::{Runs, Watch};
use trireme_chaos::world::GROUP;
use trireme_client::{Client, ClientConfig};
use trireme_namesrv::{NameServer, NameServerOptions};
use trireme_remoting::headers::ElectMasterRequest;
use trireme_remoting::{ClientOptions, Frame, RequestCode};
use trireme_runtime::sim::slow_disks;
use turmoil::{Builder, Sim};

use crate::machine::{self, Disks, EPOCH};
use crate::script::{Fault, REPLICAS};

const HOSTS: [&str; REPLICAS] = ["replica-1", "replica-2", "replica-3"];
const NAMESRV: &str = "namesrv";
const CLIENTS: &str = "clients";
const CLIENT_PORT: u16 = 10911;
const PEER_PORT: u16 = 10912;
const NAMESRV_PORT: u16 = 9876;
const TICK: Duration = Duration::from_millis(1);
/// A new cluster serves by then.
const BEGINS_WITHIN: Duration = Duration::from_secs(60);
/// After the last fault, replicas are the same and readers have everything by then.
const ENDS_WITHIN: Duration = Duration::from_secs(240);

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Everything follows from it.
    pub seed: u64,
    /// How long faults are made.
    pub lasts: Duration,
    /// Messages a second.
    pub rate: u32,
    /// Where files go.
    pub dir: PathBuf,
}

/// What came of it.
pub struct Outcome {
    /// What must not happen and did.
    pub violations: Violations,
    /// What was sent.
    pub summary: Summary,
    /// How many faults were made.
    pub faults: usize,
    /// How much was simulated.
    pub elapsed: Duration,
    /// Bytes that power cuts took.
    pub lost: u64,
}

/// What hosts and script share.
#[derive(Default)]
struct Stage {
    /// The cluster serves, and messages are sent.
    has_begun: Cell<bool>,
    /// No more faults: it is time to come to an end.
    is_over: Cell<bool>,
    /// Replicas that may end by themselves, since their disks fail.
    may_end: Cell<[bool; REPLICAS]>,
    /// Who shall lead, by order; the clients' host gives it.
    shall_lead: Cell<Option<usize>>,
    violations: RefCell<Violations>,
    done: RefCell<Option<(Load, u64)>>,
}

/// Simulates. Errors: the harness has failed.
pub fn play(plan: &Plan) -> anyhow::Result<Outcome> {
    machine::begin(plan.seed);
    machine::use_disks(Disks::new(&plan.dir, &HOSTS)?);
    let played = Scene::new(plan).play(plan);
    machine::end();
    let _ = std::fs::remove_dir_all(&plan.dir);
    played
}

struct Scene<'a> {
    sim: Sim<'a>,
    random: StdRng,
    stage: Rc<Stage>,
    runs: Runs,
    /// How far each replica's clock is ahead, in milliseconds.
    clocks: [Arc<AtomicI64>; REPLICAS],
    clocks_jumped: bool,
    lost: u64,
}

impl Scene<'_> {
    fn new(plan: &Plan) -> Self {
        let mut random = StdRng::seed_from_u64(plan.seed);
        let mut sim = Builder::new()
            .simulation_duration(Duration::from_secs(24 * 60 * 60))
            .tick_duration(TICK)
            .epoch(UNIX_EPOCH + Duration::from_secs(EPOCH))
            .min_message_latency(Duration::ZERO)
            .max_message_latency(Duration::from_millis(random.random_range(1..20)))
            .tcp_capacity(1 << 16)
            .enable_random_order()
            .rng_seed(random.random())
            .build();
        let stage = Rc::<Stage>::default();
        let runs = Runs::new(REPLICAS);
        let clocks: [Arc<AtomicI64>; REPLICAS] = Default::default();
        let ips = HOSTS.map(|host| sim.lookup(host));
        let namesrv = SocketAddr::new(sim.lookup(NAMESRV), NAMESRV_PORT);
        sim.host(NAMESRV, move || name_server(namesrv));
        for at in 0..REPLICAS {
            let (stage, runs, ahead) = (stage.clone(), runs.clone(), clocks[at].clone());
            let config = config(at, ips, namesrv, &plan.dir.join(HOSTS[at]).join("store"));
            sim.host(HOSTS[at], move || {
                runs.begins(at);
                replica(config.clone(), clock(&ahead), stage.clone())
            });
        }
        let addrs = ips.map(|ip| SocketAddr::new(ip, CLIENT_PORT)).into();
        sim.client(CLIENTS, clients(namesrv, addrs, plan.clone(), stage.clone(), runs.clone()));
        Self { sim, random, stage, runs, clocks, clocks_jumped: false, lost: 0 }
    }

    fn play(mut self, plan: &Plan) -> anyhow::Result<Outcome> {
        let begun = self.stage.clone();
        let mut faults = 0;
        if self.goes_on_until(BEGINS_WITHIN, || begun.has_begun.get())? {
            let end = self.sim.elapsed() + plan.lasts;
            while self.sim.elapsed() < end && self.is_well() {
                let rest = Fault::rests(&mut self.random);
                self.goes_on(rest)?;
                let fault = Fault::draw(&mut self.random);
                let lasts = Fault::lasts(&mut self.random);
                tracing::info!(%fault, ?lasts, "fault");
                self.make(&fault, lasts)?;
                tracing::info!("healed");
                faults += 1;
            }
        } else {
            self.violation("I16: a new cluster does not serve".to_owned());
        }
        self.stage.is_over.set(true);
        let ended = self.stage.clone();
        if !self.goes_on_until(ENDS_WITHIN, || ended.done.borrow().is_some())? {
            self.violation(format!("I16: clients do not come to an end within {ENDS_WITHIN:?}"));
        }
        self.verdict(plan, faults)
    }

    fn make(&mut self, fault: &Fault, lasts: Duration) -> anyhow::Result<()> {
        match *fault {
            Fault::Kill(at) => {
                self.kill(at)?;
                self.goes_on(lasts)?;
                self.sim.bounce(HOSTS[at]);
            }
            Fault::Power(at, cut) => {
                self.hold(at, true, true);
                self.power(at, cut)?;
                self.goes_on(lasts)?;
                self.sim.bounce(HOSTS[at]);
                self.release(at);
            }
            Fault::PowerAll(cut) => {
                (0..REPLICAS).for_each(|at| self.hold(at, true, true));
                (0..REPLICAS).try_for_each(|at| self.power(at, cut))?;
                self.goes_on(lasts)?;
                (0..REPLICAS).for_each(|at| self.release(at));
                for host in HOSTS {
                    self.sim.bounce(host);
                    let pause = Duration::from_millis(self.random.random_range(0..500));
                    self.goes_on(pause)?;
                }
            }
            Fault::Storm(at, times) => {
                for _ in 0..times {
                    self.kill(at)?;
                    self.sim.bounce(HOSTS[at]);
                    let pause = Duration::from_millis(self.random.random_range(0..400));
                    self.goes_on(pause)?;
                }
            }
            Fault::Alone(at) => {
                self.hold(at, true, true);
                self.goes_on(lasts)?;
                self.release(at);
            }
            Fault::Cut { at, peers } => {
                self.hold(at, peers, !peers);
                self.goes_on(lasts)?;
                self.release(at);
            }
            Fault::Pair(one, other) => {
                self.sim.hold(HOSTS[one], HOSTS[other]);
                self.goes_on(lasts)?;
                self.sim.release(HOSTS[one], HOSTS[other]);
            }
            Fault::Slow(millis) => {
                self.sim.set_max_message_latency(Duration::from_millis(millis));
                self.goes_on(lasts)?;
                self.sim.set_max_message_latency(Duration::from_millis(10));
            }
            Fault::NameServer => {
                self.sim.crash(NAMESRV);
                self.goes_on(lasts)?;
                self.sim.bounce(NAMESRV);
            }
            Fault::SyncFails(at, cut) => {
                self.may_end(at, true);
                let _ = machine::with_disks(|disks| disks.fail(HOSTS[at]));
                self.goes_on(lasts)?;
                self.hold(at, true, true);
                self.power(at, cut)?;
                self.may_end(at, false);
                self.sim.bounce(HOSTS[at]);
                self.release(at);
            }
            Fault::SlowDisks(millis) => {
                slow_disks(millis);
                self.goes_on(lasts)?;
                slow_disks(0);
            }
            Fault::Clock(at, seconds) => {
                self.clocks_jumped = true;
                self.clocks[at].store(1000 * seconds, Ordering::Relaxed);
                self.goes_on(lasts)?;
                self.clocks[at].store(0, Ordering::Relaxed);
            }
            Fault::Transfer(at) => {
                self.stage.shall_lead.set(Some(at));
                self.goes_on(lasts)?;
            }
        }
        Ok(())
    }

    fn may_end(&self, at: usize, may: bool) {
        let mut all = self.stage.may_end.get();
        all[at] = may;
        self.stage.may_end.set(all);
    }

    fn kill(&mut self, at: usize) -> anyhow::Result<()> {
        self.crash(at)?;
        machine::with_disks(|disks| disks.kill(HOSTS[at])).unwrap_or(Ok(()))?;
        Ok(())
    }

    fn power(&mut self, at: usize, cut: machine::Cut) -> anyhow::Result<()> {
        self.crash(at)?;
        let random = &mut self.random;
        let lost = machine::with_disks(|disks| disks.cut(HOSTS[at], cut, random)).unwrap_or(Ok(0))?;
        tracing::info!(host = HOSTS[at], lost, "power cut");
        self.lost += lost;
        Ok(())
    }

    /// What it does when it is dropped reaches no disk.
    fn crash(&mut self, at: usize) -> anyhow::Result<()> {
        let checked = machine::with_disks(|disks| {
            let checked = disks.check(HOSTS[at]);
            disks.stop(HOSTS[at]);
            checked
        });
        checked
            .unwrap_or(Ok(()))
            .map_err(|what| anyhow::anyhow!("the disks are simulated wrongly: {what}"))?;
        self.sim.crash(HOSTS[at]);
        Ok(())
    }

    fn hold(&mut self, at: usize, peers: bool, clients: bool) {
        for other in others(at, peers, clients) {
            self.sim.hold(HOSTS[at], other);
        }
    }

    fn release(&mut self, at: usize) {
        for other in others(at, true, true) {
            self.sim.release(HOSTS[at], other);
        }
    }

    fn goes_on(&mut self, lasts: Duration) -> anyhow::Result<()> {
        self.goes_on_until(lasts, || false).map(drop)
    }

    /// Whether it was so in time.
    fn goes_on_until(&mut self, within: Duration, is_so: impl Fn() -> bool) -> anyhow::Result<bool> {
        let end = self.sim.elapsed() + within;
        while self.sim.elapsed() < end {
            if is_so() {
                return Ok(true);
            }
            machine::set_now(self.sim.elapsed());
            self.sim.step().map_err(|error| anyhow::anyhow!("{error}"))?;
        }
        Ok(is_so())
    }

    fn is_well(&self) -> bool {
        self.stage.violations.borrow().is_empty()
    }

    fn violation(&self, what: String) {
        self.stage.violations.borrow_mut().add(what);
    }

    fn verdict(mut self, plan: &Plan, faults: usize) -> anyhow::Result<Outcome> {
        let elapsed = self.sim.elapsed();
        for at in 0..REPLICAS {
            if self.sim.is_host_running(HOSTS[at]) {
                self.kill(at)?;
            }
        }
        let mut violations = std::mem::take(&mut *self.stage.violations.borrow_mut());
        let done = self.stage.done.borrow_mut().take();
        let stores: Vec<PathBuf> = HOSTS.iter().map(|host| plan.dir.join(host).join("store")).collect();
        let logs: Vec<Log> = stores.iter().map(|store| read_log(store, &mut violations)).collect();
        let mut summary = Summary::default();
        if let Some((load, entries)) = done {
            logs::same(&logs, entries, &mut violations);
            match load.stored(stores[0].as_path().into(), entries, &mut violations) {
                Ok(stored) => {
                    let taken = load.finish(&stored, !self.clocks_jumped);
                    violations.append(taken.violations);
                    summary = messages::check(&taken.attempts, &stored.contents, &mut violations);
                }
                Err(error) => violations.add(format!("I15: the messages cannot be read: {error:#}")),
            }
        }
        let _ = &self.runs;
        Ok(Outcome { violations, summary, faults, elapsed, lost: self.lost })
    }
}

fn others(at: usize, peers: bool, clients: bool) -> Vec<&'static str> {
    let peers = HOSTS.into_iter().enumerate().filter(move |(other, _)| peers && *other != at);
    let others = clients.then_some([NAMESRV, CLIENTS]).into_iter().flatten();
    peers.map(|(_, host)| host).chain(others).collect()
}

fn read_log(store: &Path, violations: &mut Violations) -> Log {
    Log::read(store, violations).unwrap_or_else(|error| {
        violations.add(format!("I15: the log in {} cannot be read: {error:#}", store.display()));
        Log { frames: Vec::new() }
    })
}

fn config(at: usize, ips: [IpAddr; REPLICAS], namesrv: SocketAddr, store: &Path) -> BrokerConfig {
    let addr = |ip| ReplicaAddr {
        broker: SocketAddr::new(ip, CLIENT_PORT),
        peer: SocketAddr::new(ip, PEER_PORT).to_string(),
    };
    BrokerConfig {
        joins: false,
        scrub_bytes_per_second: 1 << 20,
        cluster: "DefaultCluster".into(),
        group: GROUP.into(),
        node: at as u64 + 1,
        replicas: (1..).zip(ips.map(addr)).collect(),
        listen: SocketAddr::new(ips[at], CLIENT_PORT),
        peer_listen: SocketAddr::new(ips[at], PEER_PORT),
        store: store.to_owned(),
        namesrv: vec![namesrv.to_string()],
        segment_bytes: 1280 << 10,
        log_cache_bytes: 16 << 20,
        format_version: NEWEST_VERSION,
        timing: Default::default(),
        auto_create_topic: true,
        auto_create_group: true,
        default_topic_queues: 8,
        max_message_bytes: 128 << 10,
        permission: 6,
        vip_port: false,
        retention: Duration::from_secs(72 * 60 * 60),
        retention_bytes: None,
        disk_trim_bytes: 0,
        disk_reserve_bytes: 0,
    }
}

/// Orders that a replica shall lead. Whether it does then is another matter: anything may come between.
async fn lead(group: Group, at: usize) {
    let Some(leader) = group.leads().await else { return };
    let header = ElectMasterRequest { broker_id: i64::try_from(at + 1).ok(), ..Default::default() };
    let request = Frame::request(RequestCode::ControllerElectMaster).with_ext(header.to_ext());
    let _ = group.remote.invoke(&group.addrs[leader].to_string(), request, Duration::from_secs(5)).await;
}

async fn name_server(listen: SocketAddr) -> turmoil::Result {
    let _running = NameServer::start(NameServerOptions { listen, ..NameServerOptions::default() })?;
    std::future::pending().await
}

/// The system's clock, and so much ahead.
fn clock(ahead: &Arc<AtomicI64>) -> Clock {
    let (system, ahead) = (Clock::system(), ahead.clone());
    Clock::new(move || system.now_ms() + ahead.load(Ordering::Relaxed))
}

/// A replica, as long as the host is there. That it ends by itself is a violation, unless its disk fails.
async fn replica(config: BrokerConfig, clock: Clock, stage: Rc<Stage>) -> turmoil::Result {
    let node = config.node;
    let ended = match Broker::start(config, clock, rand::random()).await {
        Ok(broker) => {
            broker.stopped().await;
            "ended by itself".to_owned()
        }
        Err(error) => format!("does not start: {error}"),
    };
    if !stage.may_end.get()[node as usize - 1] {
        stage.violations.borrow_mut().add(format!("I16: replica {node} {ended}"));
    }
    std::future::pending().await
}

async fn clients(
    namesrv: SocketAddr,
    addrs: Vec<SocketAddr>,
    plan: Plan,
    stage: Rc<Stage>,
    runs: Runs,
) -> turmoil::Result {
    let remote = trireme_remoting::Client::new(ClientOptions::default(), None);
    let group = Group { remote, addrs };
    group.leader(BEGINS_WITHIN).await?;
    let new_client = Arc::new(move || Client::new(ClientConfig::new(&namesrv.to_string())));
    let mut load = Load::start(new_client, &group, plan.rate, plan.seed).await?;
    let watch = Watch::start(&group, runs);
    stage.has_begun.set(true);
    while !stage.is_over.get() {
        sleep(10 * TICK).await;
        if let Some(at) = stage.shall_lead.take() {
            tokio::spawn(lead(group.clone(), at));
        }
    }
    load.stop_sending().await;
    load.deliver(&group).await;
    let entries = match group.converged(ENDS_WITHIN / 8).await {
        Ok(entries) => entries,
        Err(error) => {
            stage.violations.borrow_mut().add(format!("I15: {error}"));
            0
        }
    };
    load.drain(ENDS_WITHIN / 8).await;
    load.stop_reading().await;
    stage.violations.borrow_mut().append(watch.finish().await);
    *stage.done.borrow_mut() = Some((load, entries));
    std::future::pending().await
}
