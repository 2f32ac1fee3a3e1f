//! What is done to a cluster, with proof that it was.

use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::history::{Epoch, Micros};
use crate::world::{CLIENT, Canary, Cluster, HostNo, Link, NAMESRVS, REPLICAS, Status, Tracer, can_be_wrong};

/// Who can sync at all does so within this.
const SYNCS_WITHIN: Duration = Duration::from_secs(3);
/// Whoever fills a disk looks so often whether there is room again.
const TAKES_EVERY: Duration = Duration::from_millis(200);
/// Clocks are ahead, or behind, by no more than this.
const WRONG_BY_AT_MOST: Duration = Duration::from_secs(100 * 60 * 60);
/// What a slow disk needs more for a sync.
const SLOWER_BY: Duration = Duration::from_millis(100);
/// A replica with an older store hears of it within this: when it is connected.
const STOPS_WITHIN: Duration = Duration::from_secs(20);
/// A new replica has learnt all that the log holds within this, through the network of a run.
const LEARNS_WITHIN: Duration = Duration::from_secs(120);
/// So often the lead is asked for; each time something else may come between.
const ASKS: usize = 3;

/// A cluster has so long to be whole again when a fault is over.
pub const RECOVERS_WITHIN: Duration = Duration::from_secs(30);

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// SIGKILL; started again later.
    Kill,
    /// The disk loses what was not synced, and the process is killed.
    Power,
    /// SIGSTOP; SIGCONT later.
    Pause,
    /// Every sync fails, then the power is cut: what a replica acknowledged in between would be gone.
    SyncFails,
    /// A follower stands still, the others lose power; it goes on before they come back.
    PausedThenPower,
    /// One after the other is killed and started again at once.
    Storm,
    /// No other replica is reached, clients and name servers are.
    Isolate,
    /// Nobody is reached.
    CutOff,
    /// What it sends to other replicas is lost; what they send arrives.
    Muted,
    /// What other replicas send to it is lost; what it sends arrives.
    Deaf,
    /// One link is cut; the third replica reaches both.
    Bridge,
    /// Frames of everybody are lost, late, repeated and in another order.
    BadNetwork,
    /// Somebody else takes all the room on the disk.
    DiskFull,
    /// Every sync takes a tenth of a second longer.
    SlowDisk,
    /// What it takes for the time of day is wrong by up to some days.
    WrongClock,
    /// It is killed, and an older copy of its store is put back; later the store that it had.
    OldStore,
    /// The lead is handed over by order.
    Transfer,
    /// Name servers are killed.
    NameServers,
    /// It is killed, and its store is lost. A new one takes its place.
    Replace,
    /// The same, and while the new one learns, who leads is killed and started again.
    ReplaceAndKill,
}

/// To whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// The replica that leads.
    Leader,
    /// One that does not. Of name servers, one.
    Follower,
    /// The leader and a follower.
    Majority,
    /// All.
    All,
}

/// A fault that was drawn.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// What is done.
    pub action: Action,
    /// To whom.
    pub whom: Whom,
    /// For how long.
    pub lasts: Duration,
}

/// A fault that was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Made {
    /// What was done to whom.
    pub what: String,
    /// The replicas, by their places from 1: their first numbers in the group. Name servers likewise.
    pub victims: Vec<usize>,
    /// Which replica led before, by its place.
    pub leader: usize,
    /// When it began.
    pub struck: Micros,
    /// When it was over.
    pub healed: Micros,
    /// When there was a leader again that all followed.
    pub recovered: Option<Micros>,
    /// The longest time, until the cluster was whole again, in which nothing was acknowledged: told in the end.
    pub longest_pause: Micros,
    /// Clocks were wrong.
    #[serde(default)]
    pub clocks: bool,
    /// A majority could work on meanwhile.
    pub has_majority: bool,
    /// Whether it took the leader away.
    pub takes_leader: bool,
    /// What shows that it took effect; or what shows that it did not.
    pub proof: Result<String, String>,
}

impl Action {
    /// How long, in milliseconds, at least and at most.
    pub fn lasts(self) -> (u64, u64) {
        match self {
            Self::Kill | Self::Power | Self::PausedThenPower => (200, 5_000),
            Self::Pause => (200, 8_000),
            Self::SyncFails => (800, 2_500),
            Self::Storm => (6_000, 12_000),
            Self::Isolate | Self::CutOff | Self::Muted | Self::Deaf | Self::Bridge => (1_000, 10_000),
            Self::BadNetwork => (5_000, 10_000),
            Self::DiskFull => (1_000, 6_000),
            Self::SlowDisk => (2_000, 8_000),
            Self::WrongClock => (3_000, 10_000),
            Self::OldStore => (500, 3_000),
            Self::Transfer => (1_000, 1_000),
            Self::NameServers => (1_000, 10_000),
            Self::Replace | Self::ReplaceAndKill => (200, 3_000),
        }
    }
}

/// Whether it can be done here.
pub fn is_possible(action: Action) -> bool {
    static HAS_STRACE: OnceLock<bool> = OnceLock::new();
    let has_strace =
        || std::process::Command::new("strace").arg("-V").output().is_ok_and(|v| v.status.success());
    match action {
        Action::SyncFails | Action::SlowDisk => *HAS_STRACE.get_or_init(has_strace),
        Action::WrongClock => can_be_wrong(),
        _ => true,
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { action, whom, lasts } = self;
        write!(f, "{} for {} ms", name(*action, *whom), lasts.as_millis())
    }
}

/// What people call it.
pub fn name(action: Action, whom: Whom) -> String {
    let action = match action {
        Action::Kill => "kill",
        Action::Power => "power cut",
        Action::Pause => "pause",
        Action::SyncFails => "sync fails",
        Action::PausedThenPower => "pause and power cut",
        Action::Storm => "restart storm",
        Action::Isolate => "isolated from replicas",
        Action::CutOff => "cut off",
        Action::Muted => "sends lost",
        Action::Deaf => "receives lost",
        Action::Bridge => "bridge",
        Action::BadNetwork => "bad network",
        Action::DiskFull => "disk full",
        Action::SlowDisk => "slow disk",
        Action::WrongClock => "wrong clock",
        Action::OldStore => "older store put back",
        Action::Transfer => "transfer",
        Action::NameServers => "name servers killed",
        Action::Replace => "replaced",
        Action::ReplaceAndKill => "replaced while the leader is killed",
    };
    let whom = match whom {
        Whom::Leader => "leader",
        Whom::Follower => "one",
        Whom::Majority => "majority",
        Whom::All => "all",
    };
    format!("{action}: {whom}")
}

/// Counts the runs of each replica.
pub trait Lives {
    /// A replica is about to be started.
    fn begins(&self, replica: usize);
}

impl Fault {
    /// Makes it, holds it, and heals it; returns when the cluster is whole again or has had its time.
    ///
    /// Errors: it could not be made, healed, or looked at: the run is worth nothing.
    pub async fn make(
        self,
        cluster: &mut Cluster,
        leader: usize,
        lives: &impl Lives,
        epoch: Epoch,
        random: &mut StdRng,
    ) -> anyhow::Result<Made> {
        let victims = self.victims(leader, random);
        let struck = epoch.micros();
        let proof = self.strike_and_heal(cluster, lives, leader, &victims, random).await?;
        let healed = epoch.micros();
        let recovered = recovered(cluster).await.then(|| epoch.micros());
        let has_majority = match self.action {
            Action::Storm | Action::BadNetwork | Action::PausedThenPower | Action::ReplaceAndKill => false,
            Action::Bridge
            | Action::Transfer
            | Action::NameServers
            | Action::SlowDisk
            | Action::WrongClock => true,
            // A leader whose disk is full goes on to lead, and refuses.
            Action::DiskFull => self.whom == Whom::Follower,
            _ => victims.len() * 2 < REPLICAS,
        };
        let takes_leader = matches!(
            self.action,
            Action::Kill | Action::Pause | Action::CutOff | Action::Isolate | Action::Power
        ) && self.whom == Whom::Leader;
        Ok(Made {
            what: name(self.action, self.whom),
            victims: victims.iter().map(|at| at + 1).collect(),
            leader: leader + 1,
            struck,
            healed,
            recovered,
            longest_pause: 0,
            clocks: self.action == Action::WrongClock,
            has_majority,
            takes_leader,
            proof,
        })
    }

    fn victims(self, leader: usize, random: &mut StdRng) -> Vec<usize> {
        if self.action == Action::NameServers {
            let one = random.random_range(0..NAMESRVS);
            return if self.whom == Whom::All { (0..NAMESRVS).collect() } else { vec![one] };
        }
        let mut others: Vec<usize> = (0..REPLICAS).filter(|at| *at != leader).collect();
        others.shuffle(random);
        match self.whom {
            Whom::Leader => vec![leader],
            Whom::Follower => vec![others[0]],
            Whom::Majority => vec![leader, others[0]],
            Whom::All => (0..REPLICAS).collect(),
        }
    }

    async fn strike_and_heal(
        self,
        cluster: &mut Cluster,
        lives: &impl Lives,
        leader: usize,
        victims: &[usize],
        random: &mut StdRng,
    ) -> anyhow::Result<Result<String, String>> {
        let others: Vec<HostNo> = (0..REPLICAS).filter(|at| !victims.contains(at)).collect();
        match self.action {
            Action::Kill => {
                let killed = kill(cluster, victims).await?;
                sleep(self.lasts).await;
                start(cluster, lives, victims)?;
                Ok(killed)
            }
            Action::Power => {
                let canaries = power_off(cluster, victims).await?;
                sleep(self.lasts).await;
                power_on(cluster, lives, victims, canaries).await
            }
            Action::SyncFails => {
                let mut tracers = Vec::new();
                for at in victims {
                    tracers.push(cluster.replicas[*at].process.fail_syncs().await?);
                }
                sleep(self.lasts).await;
                // A busy machine may not have come to it yet.
                let most = Instant::now() + SYNCS_WITHIN;
                while !any_injected(&tracers)? && Instant::now() < most {
                    sleep(Duration::from_millis(20)).await;
                }
                let canaries = power_off(cluster, victims).await?;
                let cut = power_on(cluster, lives, victims, canaries).await?;
                // When two have ended because of it, the third has nothing to sync any more.
                let mut failed = 0;
                for tracer in tracers {
                    failed += usize::from(tracer.finish().await?);
                }
                let good = format!("a sync failed at {failed} of {}; power cut after", victims.len());
                Ok(cut.and(claim(failed > 0, &good, "no sync was made")))
            }
            Action::PausedThenPower => {
                let still = others.first().copied().context("a replica that stands still")?;
                cluster.replicas[still].process.freeze().await?;
                sleep(Duration::from_millis(300)).await;
                let canaries = power_off(cluster, victims).await?;
                cluster.replicas[still].process.thaw()?;
                sleep(self.lasts).await;
                power_on(cluster, lives, victims, canaries).await
            }
            Action::Pause => {
                for at in victims {
                    cluster.replicas[*at].process.freeze().await?;
                }
                sleep(self.lasts).await;
                let mut stand_still = true;
                for at in victims {
                    stand_still &= cluster.replicas[*at].process.stands_still()?;
                    cluster.replicas[*at].process.thaw()?;
                }
                Ok(claim(stand_still, "all stood still to the end", "one did not stand still"))
            }
            Action::Storm => {
                let mut left = self.lasts;
                let (mut kills, mut killed) = (0, true);
                while left > Duration::ZERO {
                    let at = random.random_range(0..REPLICAS);
                    killed &= kill(cluster, &[at]).await?.is_ok();
                    start(cluster, lives, &[at])?;
                    kills += 1;
                    let pause = Duration::from_millis(random.random_range(100..2_000)).min(left);
                    sleep(pause).await;
                    left -= pause;
                }
                Ok(claim(killed, &format!("{kills} killed by the signal"), "one was not killed"))
            }
            Action::Isolate | Action::CutOff | Action::Muted | Action::Deaf | Action::Bridge => {
                let ways = self.ways(leader, victims, &others);
                let cut = Link { cut: true, ..Link::default() };
                self.on_network(cluster, &ways, cut).await
            }
            Action::BadNetwork => {
                let link = Link {
                    cut: false,
                    loss: random.random_range(5..100),
                    twice: random.random_range(0..50),
                    delay: Duration::from_micros(random.random_range(0..20_000)),
                    jitter: Duration::from_micros(random.random_range(0..20_000)),
                };
                let hosts = (0..REPLICAS).chain([CLIENT]);
                let ways: Vec<_> = hosts
                    .clone()
                    .flat_map(|from| hosts.clone().map(move |to| (from, to)))
                    .filter(|(from, to)| from != to)
                    .collect();
                self.on_network(cluster, &ways, link).await
            }
            Action::DiskFull => {
                // Replicas give up room that they have kept; that is taken, too.
                let over = Instant::now() + self.lasts;
                let mut taken = 0;
                while Instant::now() < over {
                    taken = 0;
                    for at in victims {
                        taken += cluster.replicas[*at].disk.fill()?;
                    }
                    sleep(TAKES_EVERY.min(over.saturating_duration_since(Instant::now()))).await;
                }
                let mut is_full = true;
                for at in victims {
                    is_full &= cluster.replicas[*at].disk.free()? < 1 << 20;
                    cluster.replicas[*at].disk.drain()?;
                }
                Ok(claim(is_full, &format!("{taken} bytes taken, none free at the end"), "there was room"))
            }
            Action::SlowDisk => {
                let mut tracers = Vec::new();
                for at in victims {
                    tracers.push(cluster.replicas[*at].process.slow_syncs(SLOWER_BY).await?);
                }
                sleep(self.lasts).await;
                let mut slow = Vec::new();
                for tracer in tracers {
                    slow.push(tracer.let_go().await?);
                }
                let told = format!("syncs that took {} ms longer: {slow:?}", SLOWER_BY.as_millis());
                Ok(claim(!slow.contains(&0), &told, "no sync was made"))
            }
            Action::WrongClock => {
                let most = i64::try_from(WRONG_BY_AT_MOST.as_secs())?;
                let mut wrong = Vec::new();
                for at in victims {
                    let seconds = random.random_range(-most..=most);
                    cluster.replicas[*at].clock.set_wrong(seconds)?;
                    wrong.push(seconds);
                }
                sleep(self.lasts).await;
                let statuses = cluster.group.statuses().await;
                let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
                let ahead = |at: &usize| statuses[*at].as_ref().map(|status| (status.clock_ms - now) / 1000);
                let told: Vec<Option<i64>> = victims.iter().map(ahead).collect();
                for at in victims {
                    cluster.replicas[*at].clock.set_wrong(0)?;
                }
                let is_so =
                    |(told, wrong): (&Option<i64>, &i64)| told.is_some_and(|told| (told - wrong).abs() <= 5);
                let are_wrong = told.iter().zip(&wrong).all(is_so);
                let words = format!("told to be ahead by {told:?} s");
                Ok(claim(are_wrong, &words, &format!("{words}, not by {wrong:?} s")))
            }
            Action::OldStore => {
                let at = victims.first().copied().context("a replica whose store is put back")?;
                self.put_back(cluster, lives, at).await
            }
            Action::Transfer => {
                let to = (leader + random.random_range(1..REPLICAS)) % REPLICAS;
                let (mut leads, mut asked) = (Some(leader), 0);
                while let Some(at) = leads
                    && at != to
                    && asked < ASKS
                {
                    asked += 1;
                    cluster.group.hand_over(at, cluster.replicas[to].node).await;
                    leads = cluster.group.leader(RECOVERS_WITHIN).await.ok();
                }
                sleep(self.lasts).await;
                let who =
                    leads.map_or_else(|| "nobody".to_owned(), |at| cluster.replicas[at].node.to_string());
                let wanted = cluster.replicas[to].node;
                let told = format!("{who} leads, {wanted} was asked for {asked} times");
                Ok(claim(leads == Some(to), &told, &told))
            }
            Action::NameServers => {
                let mut killed = true;
                for number in victims {
                    killed &= cluster.namesrvs[*number].kill().await?;
                }
                sleep(self.lasts).await;
                for number in victims {
                    cluster.start_namesrv(*number)?;
                }
                Ok(claim(killed, "killed by the signal", "one was not killed"))
            }
            Action::Replace | Action::ReplaceAndKill => {
                let at = victims.first().copied().context("a replica that goes")?;
                self.replace(cluster, lives, at).await
            }
        }
    }

    async fn put_back(
        self,
        cluster: &mut Cluster,
        lives: &impl Lives,
        at: usize,
    ) -> anyhow::Result<Result<String, String>> {
        let killed = kill(cluster, &[at]).await?;
        let old = cluster.copy_store(at)?;
        start(cluster, lives, &[at])?;
        // With nothing new it is no older copy.
        let before = cluster.group.statuses().await.iter().flatten().map(|status| status.committed).max();
        let is_whole = recovered(cluster).await;
        sleep(self.lasts).await;
        let has_more = || async {
            let status = cluster.group.statuses().await.into_iter().nth(at).flatten();
            status.is_some_and(|status| before < Some(status.committed))
        };
        if !is_whole || !has_more().await {
            return Ok(Err("nothing was written since the copy was made".to_owned()));
        }
        let killed = killed.and(kill(cluster, &[at]).await?);
        cluster.swap_store(at, &old)?;
        start(cluster, lives, &[at])?;
        let most = Instant::now() + STOPS_WITHIN;
        let mut ended = cluster.replicas[at].process.ended()?;
        while ended.is_none() && Instant::now() < most {
            sleep(Duration::from_millis(20)).await;
            ended = cluster.replicas[at].process.ended()?;
        }
        if ended.is_none() {
            kill(cluster, &[at]).await?.map_err(anyhow::Error::msg)?;
        }
        cluster.swap_store(at, &old)?;
        std::fs::remove_dir_all(&old)?;
        start(cluster, lives, &[at])?;
        let is_refused = ended.is_some_and(|status| !status.success());
        Ok(killed.and(claim(is_refused, "the older store was not used", "the older store was used")))
    }

    async fn replace(
        self,
        cluster: &mut Cluster,
        lives: &impl Lives,
        at: usize,
    ) -> anyhow::Result<Result<String, String>> {
        let old = cluster.replicas[at].node;
        let killed = kill(cluster, &[at]).await?;
        sleep(self.lasts).await;
        let new = cluster.renew(at)?;
        start(cluster, lives, &[at])?;
        if self.action == Action::ReplaceAndKill {
            // It is taken in by then, or will be after that; and learns, or will.
            ask_to_replace(cluster, at, old).await;
            sleep(self.lasts / 4).await;
            if let Some(leader) = cluster.group.leads().await {
                kill(cluster, &[leader]).await?.map_err(anyhow::Error::msg)?;
                start(cluster, lives, &[leader])?;
            }
        }
        let most = Instant::now() + LEARNS_WITHIN;
        let mut is_replaced = ask_to_replace(cluster, at, old).await;
        while !is_replaced && Instant::now() < most {
            sleep(Duration::from_millis(100)).await;
            is_replaced = ask_to_replace(cluster, at, old).await;
        }
        let good = format!("the store of {old} is lost, {new} votes in its place");
        Ok(killed.and(claim(is_replaced, &good, &format!("{new} has not taken the place of {old}"))))
    }

    /// The ways that a cut takes.
    fn ways(self, leader: usize, victims: &[usize], others: &[HostNo]) -> Vec<(HostNo, HostNo)> {
        let between = |froms: &[HostNo], tos: &[HostNo]| -> Vec<_> {
            froms.iter().flat_map(|from| tos.iter().map(move |to| (*from, *to))).collect()
        };
        let all: Vec<HostNo> = (0..=CLIENT).filter(|host| !victims.contains(host)).collect();
        match self.action {
            Action::CutOff => [between(victims, &all), between(&all, victims)].concat(),
            Action::Muted => between(victims, others),
            Action::Deaf => between(others, victims),
            // A follower and the leader do not hear each other; the other follower hears both.
            Action::Bridge => [between(victims, &[leader]), between(&[leader], victims)].concat(),
            _ => [between(victims, others), between(others, victims)].concat(),
        }
    }

    async fn on_network(
        self,
        cluster: &Cluster,
        ways: &[(HostNo, HostNo)],
        link: Link,
    ) -> anyhow::Result<Result<String, String>> {
        let network = &cluster.network;
        let lost = || ways.iter().map(|(from, to)| network.lost(*from, *to)).sum::<u64>();
        let before = lost();
        for (from, to) in ways {
            network.set(*from, *to, link);
        }
        sleep(self.lasts).await;
        network.heal();
        let lost = lost() - before;
        Ok(claim(lost > 0, &format!("{lost} frames lost"), "nothing went that way"))
    }
}

fn claim(is_so: bool, good: &str, bad: &str) -> Result<String, String> {
    if is_so { Ok(good.to_owned()) } else { Err(bad.to_owned()) }
}

async fn kill(cluster: &mut Cluster, victims: &[usize]) -> anyhow::Result<Result<String, String>> {
    let replicas = cluster.replicas.iter_mut().enumerate();
    let kills = replicas.filter(|(at, _)| victims.contains(at)).map(|(_, replica)| replica.process.kill());
    let killed: Vec<bool> =
        futures_util::future::join_all(kills).await.into_iter().collect::<Result<_, _>>()?;
    Ok(claim(killed.iter().all(|killed| *killed), "killed by the signal", "one had ended before"))
}

fn start(cluster: &mut Cluster, lives: &impl Lives, victims: &[usize]) -> anyhow::Result<()> {
    for at in victims {
        lives.begins(*at);
        cluster.start_replica(*at)?;
    }
    Ok(())
}

/// All at once: first the disks, so that nobody hears from one whose disk is dead that something is stored.
async fn power_off(cluster: &mut Cluster, victims: &[usize]) -> anyhow::Result<Vec<Canary>> {
    let canaries =
        victims.iter().map(|at| cluster.replicas[*at].disk.power_off()).collect::<Result<_, _>>()?;
    // Who had ended by then did so because of its disk.
    let _ = kill(cluster, victims).await?;
    Ok(canaries)
}

async fn power_on(
    cluster: &mut Cluster,
    lives: &impl Lives,
    victims: &[usize],
    canaries: Vec<Canary>,
) -> anyhow::Result<Result<String, String>> {
    for at in victims {
        cluster.replicas[*at].disk.power_on().await?;
    }
    let dead = canaries.iter().all(Canary::is_dead);
    start(cluster, lives, victims)?;
    Ok(claim(dead, "what was written and not synced is gone", "what was not synced is there"))
}

/// Asks a leader to let the replica at a place take the place of another. Whether it has.
async fn ask_to_replace(cluster: &Cluster, at: usize, old: u64) -> bool {
    cluster.group.replace(old, cluster.replicas[at].node, &cluster.addr_of(at)).await
}

fn any_injected(tracers: &[Tracer]) -> anyhow::Result<bool> {
    for tracer in tracers {
        if tracer.has_injected()? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether, in time, there is a leader whose entries all replicas have applied.
async fn recovered(cluster: &mut Cluster) -> bool {
    let waiting = async {
        loop {
            let statuses = cluster.group.statuses().await;
            let goal = statuses.iter().flatten().find(|status| status.leads()).map(|status| status.committed);
            if let Some(goal) = goal {
                // Under load the goal moves: about there is enough for one that just came back.
                let near = |status: &Status| goal <= status.applied + 2_000;
                if statuses.iter().all(|status| status.as_ref().is_some_and(near)) {
                    return;
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(RECOVERS_WITHIN, waiting).await.is_ok()
}

/// Whether every replica that should run does. Those that ended by themselves are told, and started again.
///
/// Errors: one cannot be started.
pub fn ended_by_themselves(cluster: &mut Cluster, lives: &impl Lives) -> anyhow::Result<Vec<String>> {
    let mut told = Vec::new();
    for at in 0..REPLICAS {
        if let Some(status) = cluster.replicas[at].process.ended()? {
            let log = cluster.replicas[at].process.log().display().to_string();
            told.push(format!("I16: replica {} ended by itself ({status}); its log is {log}", at + 1));
            start(cluster, lives, &[at])?;
        }
    }
    Ok(told)
}
