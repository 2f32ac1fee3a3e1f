//! One simulation: hosts, clients, faults, and the verdict.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use trireme_broker::replica::Broker;
use trireme_chaos::check::Violations;
use trireme_chaos::check::logs::{self, Log};
use trireme_chaos::check::messages::{self, Summary};
use trireme_chaos::load::Load;
use trireme_chaos::watch::Runs;
use trireme_runtime::sim::slow_disks;
use turmoil::{Builder, Sim};

use crate::clients;
use crate::hosts::{self, Addrs, HOSTS, NAMESRV};
use crate::machine::{self, Disks, EPOCH};
use crate::script::{Fault, REPLICAS};

/// The simulation goes on by so much at a time.
pub const TICK: Duration = Duration::from_millis(1);
/// A new cluster serves by then.
pub const BEGINS_WITHIN: Duration = Duration::from_secs(60);
/// After the last fault, replicas are the same and readers have everything by then.
pub const ENDS_WITHIN: Duration = Duration::from_secs(240);
/// Who ends because its disk was full does so by then.
const FAILS_WITHIN: Duration = Duration::from_millis(500);
/// The host of the clients.
const CLIENTS: &str = "clients";
/// Replicas keep so much of their logs, if they do not keep all of it: more than the load writes in a run.
const KEEP_BYTES: u64 = 8 << 20;
/// What is there before the load begins is nobody's, and is let go of.
const OLD_BYTES: u64 = 7 << 20;

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

impl Plan {
    fn store(&self, at: usize) -> PathBuf {
        self.dir.join(HOSTS[at]).join("store")
    }
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
    /// Replicas that another one took the place of.
    pub replaced: u64,
    /// Bytes of the log that replicas have let go of.
    pub trimmed: u64,
}

/// A replica that takes the place of one whose store is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// Where it is.
    pub at: usize,
    /// Its number in the group.
    pub node: u64,
    /// The number of the one that is lost.
    pub instead_of: u64,
}

/// What hosts and script share.
pub struct Stage {
    /// The cluster serves, and messages are sent.
    pub has_begun: Cell<bool>,
    /// No more faults: it is time to come to an end.
    pub is_over: Cell<bool>,
    /// Replicas that may end by themselves, since their disks fail.
    pub may_end: Cell<[bool; REPLICAS]>,
    /// Those that did.
    pub ended: Cell<[bool; REPLICAS]>,
    /// The replicas' numbers in the group.
    pub nodes: Cell<[u64; REPLICAS]>,
    /// Who shall lead, by order; the clients' host gives it.
    pub shall_lead: Cell<Option<usize>>,
    /// Who is to be taken in; the clients' host asks for it until it is so.
    pub newcomer: Cell<Option<Newcomer>>,
    /// Those that run.
    pub replicas: RefCell<[Weak<Broker>; REPLICAS]>,
    /// What must not happen and did.
    pub violations: RefCell<Violations>,
    /// What clients have seen, when they are done, and how many entries there are.
    pub done: RefCell<Option<(Load, u64)>>,
}

impl Stage {
    fn new() -> Self {
        Self {
            has_begun: Cell::new(false),
            is_over: Cell::new(false),
            may_end: Cell::new([false; REPLICAS]),
            ended: Cell::new([false; REPLICAS]),
            nodes: Cell::new(std::array::from_fn(|at| at as u64 + 1)),
            shall_lead: Cell::new(None),
            newcomer: Cell::new(None),
            replicas: RefCell::default(),
            violations: RefCell::default(),
            done: RefCell::default(),
        }
    }

    /// Whether a replica has ended since it was started.
    pub fn has_ended(&self, at: usize, has: bool) {
        let mut all = self.ended.get();
        all[at] = has;
        self.ended.set(all);
    }

    /// Whether all replicas have applied the same entries, and which parts of their state are not the same then.
    pub fn differences(&self) -> Option<Vec<String>> {
        let replicas = self.replicas.borrow();
        let digest = |replica: &Weak<Broker>| replica.upgrade()?.digest();
        let digests: Vec<_> = replicas.iter().map(digest).collect::<Option<_>>()?;
        let ((first, ours), others) = digests.split_first()?;
        if others.iter().any(|(at, _)| at != first) {
            return None;
        }
        let is_same = |part: &&String| others.iter().all(|(_, theirs)| theirs.get(*part) == ours.get(*part));
        Some(ours.keys().filter(|part| !is_same(part)).cloned().collect())
    }

    /// Another replica is at this place from now on.
    fn renew(&self, at: usize) {
        let mut nodes = self.nodes.get();
        let node = nodes.iter().max().map_or(1, |last| last + 1);
        let instead_of = std::mem::replace(&mut nodes[at], node);
        self.nodes.set(nodes);
        self.newcomer.set(Some(Newcomer { at, node, instead_of }));
    }
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
    /// How far each replica's clock is ahead, in milliseconds.
    clocks: [Arc<AtomicI64>; REPLICAS],
    clocks_jumped: bool,
    lost: u64,
    replaced: u64,
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
        let stage = Rc::new(Stage::new());
        let runs = Runs::new(REPLICAS);
        let clocks: [Arc<AtomicI64>; REPLICAS] = Default::default();
        let addrs = Addrs::of(&sim);
        // Half of the clusters have run for long.
        let is_old: bool = random.random();
        let (old_bytes, keeps) = if is_old { (OLD_BYTES, Some(KEEP_BYTES)) } else { (0, None) };
        sim.host(NAMESRV, move || hosts::name_server(addrs.namesrv));
        for at in 0..REPLICAS {
            let (stage, runs, ahead) = (stage.clone(), runs.clone(), clocks[at].clone());
            let store = plan.store(at);
            sim.host(HOSTS[at], move || {
                runs.begins(at);
                let config = hosts::config(&addrs, at, stage.nodes.get()[at], &store, keeps);
                hosts::replica(at, config, hosts::clock(&ahead), stage.clone())
            });
        }
        sim.client(CLIENTS, clients::run(addrs, plan.clone(), old_bytes, stage.clone(), runs));
        Self { sim, random, stage, clocks, clocks_jumped: false, lost: 0, replaced: 0 }
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
            Fault::Full(at) => {
                self.may_end(at, true);
                let _ = machine::with_disks(|disks| disks.fill(HOSTS[at]));
                self.goes_on(lasts)?;
                let _ = machine::with_disks(|disks| disks.make_room(HOSTS[at]));
                // What had failed by then may show only now.
                self.goes_on(FAILS_WITHIN)?;
                self.may_end(at, false);
                if self.stage.ended.get()[at] {
                    tracing::info!(host = HOSTS[at], "it has ended, and is started again");
                    self.kill(at)?;
                    self.sim.bounce(HOSTS[at]);
                }
            }
            Fault::Lost(at) => {
                self.kill(at)?;
                self.goes_on(lasts)?;
                // A second store that is lost before another replica has all of the first one may be one too many.
                if self.stage.newcomer.get().is_none() {
                    machine::with_disks(|disks| disks.wipe(HOSTS[at])).unwrap_or(Ok(()))?;
                    self.stage.renew(at);
                    self.replaced += 1;
                }
                self.sim.bounce(HOSTS[at]);
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
        let stores: Vec<PathBuf> = (0..REPLICAS).map(|at| plan.store(at)).collect();
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
        let trimmed = logs.iter().map(Log::start).max().unwrap_or(0);
        let Self { lost, replaced, .. } = self;
        Ok(Outcome { violations, summary, faults, elapsed, lost, replaced, trimmed })
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
