//! One run: a world, load, faults, and the verdict.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::archive::Archive;
use crate::check::Violations;
use crate::check::logs::{self, Log, Stored, Whole};
use crate::check::messages::{self, Summary};
use crate::check::progress::{self, Window};
use crate::fault::{self, Lives, Made, RECOVERS_WITHIN};
use crate::history::{Attempt, Epoch, Micros};
use crate::load::{Load, Taken};
use crate::mix::Mix;
use crate::report;
use crate::watch::{Runs, Watch};
use crate::world::{Cluster, FileSystem, Options, REPLICAS};

/// Before the first fault, so that a run has a time without.
const WARM_UP: Duration = Duration::from_secs(5);
/// Replicas without load are the same within this.
const CONVERGES_WITHIN: Duration = Duration::from_secs(30);
/// Readers have everything within this.
const DRAINS_WITHIN: Duration = Duration::from_secs(60);
/// As long as anything is waited for once it is known that something is wrong.
const IMPATIENCE: Duration = Duration::from_secs(10);
/// Of what was wanted in the times without a fault, so many percent must have been sent, or the run shows too little.
const LEAST_LOAD: usize = 50;
/// Whoever consumes is never so far behind: of a group in order, a member that goes is missed for a minute.
const CONSUMED_WITHIN: Duration = Duration::from_secs(240);
/// What a message takes in the log, on average.
const MESSAGE_BYTES: u64 = 700;
/// In the directory of a run: segments of the log that replicas may have let go of.
pub const ARCHIVE: &str = "archive";
/// For each replica's disk. Its blocks are taken when they are written.
const DISK_BYTES: u64 = 16 << 30;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Everything that is random follows from it; what processes make of it does not.
    pub seed: u64,
    /// How long faults are made.
    pub lasts: Duration,
    /// Which.
    pub mix: Mix,
    /// Only faults whose names begin so.
    pub only: String,
    /// Messages a second that are sent in requests of their own while all is well; as many more are sent in batches.
    pub rate: u32,
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Where everything goes.
    pub dir: PathBuf,
    /// The program under test.
    pub program: PathBuf,
}

/// What a run says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing that must not happen happened.
    Passed,
    /// Something did.
    Failed,
    /// There was too little load, or a fault that was not proved: it says nothing.
    Invalid,
}

/// What came of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The mix's name.
    pub mix: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is invalid, if it is.
    pub invalid: Vec<String>,
    /// What must not happen and did: the first ones.
    pub violations: Vec<String>,
    /// How many in all.
    pub violation_count: usize,
    /// What was sent.
    pub summary: Summary,
    /// What would have been done, but cannot be here.
    pub skipped: BTreeSet<String>,
    /// What was done.
    pub faults: Vec<Made>,
    /// From a fault that took the leader to the first acknowledgement of a message that was sent after it, in
    /// milliseconds, with the fault's number.
    pub failovers: Vec<(usize, u64)>,
    /// Seconds of load.
    pub seconds: f64,
    /// How often somebody was told where a queue ends.
    pub probes: u64,
    /// How often a group was told how far it is.
    pub positions: u64,
    /// How often topics' configuration was changed or read.
    #[serde(default)]
    pub metadata: usize,
    /// How often members of the group that consumes in order went back, and how many members there were.
    #[serde(default)]
    pub ordered: (u64, u32),
    /// How many messages were given back until they were consumed, or dead letters.
    #[serde(default)]
    pub retried: usize,
    /// How many delayed messages were delivered.
    #[serde(default)]
    pub delayed: usize,
    /// How late the latest of them was, in milliseconds.
    #[serde(default)]
    pub latest_ms: i64,
    /// Entries that all replicas have.
    pub entries: u64,
    /// Segments that were filled, of those that are still there.
    pub segments: usize,
    /// Bytes of the log that the replicas let go of meanwhile, since they were old.
    #[serde(default)]
    pub trimmed_bytes: u64,
}

/// What is written in a time in which whoever consumes must have what was written before.
fn kept_bytes(plan: &Plan) -> u64 {
    (2 * u64::from(plan.rate) * MESSAGE_BYTES * CONSUMED_WITHIN.as_secs()).max(8 * plan.segment_bytes)
}

/// Makes a run. Errors: it could not be made, or not be looked at.
pub async fn run(plan: &Plan, tell: impl Fn(&str)) -> anyhow::Result<Outcome> {
    let options = Options {
        dir: plan.dir.clone(),
        program: plan.program.clone(),
        disk_bytes: DISK_BYTES,
        file_system: FileSystem::Ext4,
        segment_bytes: plan.segment_bytes,
        seed: plan.seed,
        args: vec!["--retention-bytes".to_owned(), kept_bytes(plan).to_string()],
        clocks: plan.mix.has_clocks(),
    };
    let mut cluster = Cluster::start(options).await?;
    tell("three replicas serve; the load begins");
    let epoch = Epoch::now();
    let mut load = Load::start(cluster.new_client(), &cluster.group, plan.rate, plan.seed).await?;
    let watch = Watch::start(&cluster.group, Runs::new(REPLICAS));
    let stores = (0..REPLICAS).map(|at| cluster.store(at)).collect();
    let archive = Archive::start(&plan.dir.join(ARCHIVE), &cluster.group, stores, plan.segment_bytes)?;
    sleep(WARM_UP).await;

    let mut random = StdRng::seed_from_u64(plan.seed);
    let mut faults: Vec<Made> = Vec::new();
    let mut invalid = Vec::new();
    let mut violations = Violations::default();
    let deadline = Instant::now() + plan.lasts;
    while Instant::now() < deadline {
        // A quarter of the time or so nothing is done, and it is seen whether all is well.
        sleep(plan.mix.rest(&mut random)).await;
        let Some(fault) = plan.mix.draw(&plan.only, &mut random) else { continue };
        // Before it is killed for the sake of the fault, and nobody sees that it had ended already.
        if !all_run(&mut cluster, &watch, &mut violations)? {
            break;
        }
        let number = faults.len() + 1;
        // Where nobody leads, nothing can be done to who does.
        let leader = match cluster.group.leader(RECOVERS_WITHIN).await {
            Ok(leader) => leader,
            Err(error) => {
                violations.add(format!("I16: before fault {number}: {error:#}"));
                break;
            }
        };
        let made = match fault.make(&mut cluster, leader, &watch, epoch, &mut random).await {
            Ok(made) => made,
            Err(error) => {
                invalid.push(format!("fault {number}, {fault}, could not be made: {error:#}"));
                break;
            }
        };
        let proof = made.proof.as_ref().map_or_else(|bad| format!("NOT PROVED: {bad}"), Clone::clone);
        let (acked, told) = (load.acked(), load.violations());
        let victims = &made.victims;
        tell(&format!("{number:4} {fault}, {victims:?}: {proof}; {acked} acknowledged, {told} violations"));
        if made.recovered.is_none() {
            violations.add(format!(
                "I16: no leader that all follow within {RECOVERS_WITHIN:?} of the end of fault {number}: {}",
                made.what
            ));
        }
        let is_proved = made.proof.is_ok();
        faults.push(made);
        if !is_proved {
            // The run says nothing any more; and what is not as it should be now makes another fault of the next one.
            break;
        }
    }
    let ended = epoch.micros();
    load.stop_sending().await;
    load.deliver(&cluster.group).await;
    tell("the load is over; replicas converge and readers read to the end");
    // Who has failed already is not waited for any longer.
    let patience = |most: Duration| if violations.is_empty() { most } else { most.min(IMPATIENCE) };
    let (converges, drains) = (patience(CONVERGES_WITHIN), patience(DRAINS_WITHIN));
    let entries = match cluster.group.converged(converges).await {
        Ok(index) => index,
        Err(error) => {
            violations.add(format!("I15: {error}"));
            // What the majority has is checked all the same.
            cluster.group.statuses().await.iter().flatten().map(|status| status.committed).min().unwrap_or(0)
        }
    };
    load.drain(drains).await;
    load.stop_reading().await;
    let archive = archive.finish().await;
    violations.append(watch.finish().await);
    all_run(&mut cluster, &Nobody, &mut violations)?;
    for replica in &mut cluster.replicas {
        replica.process.kill().await?;
    }

    tell("reading the logs of all replicas");
    let logs: Vec<Log> = (0..REPLICAS).map(|at| read_log(&cluster, at, &mut violations)).collect();
    logs::same(&logs, entries, &mut violations);
    let stored = stored(&cluster, &archive, &load, entries, &mut violations);
    let Taken { attempts, violations: told, probes, positions, metadata, ordered, retried, late } =
        load.finish(&stored, !faults.iter().any(|fault| fault.clocks));
    violations.append(told);
    let summary = messages::check(&attempts, &stored.contents, &mut violations);
    let acked = progress::acknowledgements(&attempts, epoch);
    progress::check(&acked, &windows(&faults, ended), &mut violations);
    for fault in &mut faults {
        let over = fault.recovered.unwrap_or(fault.healed);
        fault.longest_pause = progress::longest_pause(&acked, fault.struck, over);
    }
    let failovers = failovers(&attempts, epoch, &faults);
    invalid.extend(too_little(plan, &faults, &acked, ended));
    let verdict = match (violations.is_empty(), invalid.is_empty()) {
        (false, _) => Verdict::Failed,
        (true, false) => Verdict::Invalid,
        (true, true) => Verdict::Passed,
    };
    let outcome = Outcome {
        seed: plan.seed,
        mix: plan.mix.name().to_owned(),
        verdict,
        invalid,
        violations: violations.told,
        violation_count: violations.count,
        summary,
        skipped: plan.mix.skipped(),
        faults,
        failovers,
        seconds: ended as f64 / 1e6,
        probes,
        positions,
        metadata,
        ordered,
        retried,
        delayed: late.len(),
        latest_ms: late.last().copied().unwrap_or_default(),
        entries,
        segments: logs[0].sealed_segments(),
        trimmed_bytes: logs.iter().map(Log::start).max().unwrap_or(0),
    };
    report::write(plan, &outcome, &attempts, epoch)?;
    Ok(outcome)
}

/// Whether at least one replica runs that should. Those that do not are told, and started again.
fn all_run(cluster: &mut Cluster, lives: &impl Lives, violations: &mut Violations) -> anyhow::Result<bool> {
    let ended = fault::ended_by_themselves(cluster, lives)?;
    let some_ran = ended.len() < REPLICAS;
    ended.into_iter().for_each(|told| violations.add(told));
    Ok(some_ran)
}

fn read_log(cluster: &Cluster, at: usize, violations: &mut Violations) -> Log {
    Log::read(&cluster.store(at), violations).unwrap_or_else(|error| {
        violations.add(format!("I15: the log of replica {} cannot be read: {error:#}", at + 1));
        Log { frames: Vec::new() }
    })
}

/// What is stored: of the first replica whose log can be read.
fn stored(cluster: &Cluster, archive: &Path, load: &Load, up_to: u64, violations: &mut Violations) -> Stored {
    for at in 0..REPLICAS {
        let log = Whole { store: &cluster.store(at), archive: Some(archive) };
        match load.stored(log, up_to, violations) {
            Ok(stored) => return stored,
            Err(error) => {
                violations.add(format!("I15: the messages of replica {} cannot be read: {error:#}", at + 1));
            }
        }
    }
    Stored::default()
}

/// From the end of the fault before to the end of each fault that left a majority; and the quiet times.
fn windows(faults: &[Made], ended: Micros) -> Vec<Window> {
    let mut windows = Vec::new();
    let mut from = 0;
    for (number, fault) in (1..).zip(faults) {
        let over = fault.recovered.unwrap_or(fault.healed);
        let during = format!("fault {number}, {}", fault.what);
        if fault.has_majority {
            windows.push(Window { from, to: over, during });
        } else {
            windows.push(Window { from, to: fault.struck, during: format!("before {during}") });
        }
        from = over;
    }
    windows.push(Window { from, to: ended, during: "after the last fault".into() });
    windows
}

fn failovers(attempts: &[Attempt], epoch: Epoch, faults: &[Made]) -> Vec<(usize, u64)> {
    let taken = faults.iter().enumerate().filter(|(_, fault)| fault.takes_leader);
    let until = |(number, fault): (usize, &Made)| {
        Some((number + 1, progress::until_next(attempts, epoch, fault.struck)? / 1000))
    };
    taken.filter_map(until).collect()
}

/// What there is too little of for the run to say something.
fn too_little(plan: &Plan, faults: &[Made], acked: &[Micros], ended: Micros) -> Vec<String> {
    let mut invalid = Vec::new();
    if faults.is_empty() && plan.mix != Mix::None {
        invalid.push("no fault was made".to_owned());
    }
    for (number, fault) in (1..).zip(faults) {
        if let Err(bad) = &fault.proof {
            invalid.push(format!("fault {number}, {}, is not proved: {bad}", fault.what));
        }
    }
    let (mut from, mut quiet, mut sent) = (0, 0, 0);
    let mut count = |from: Micros, to: Micros| {
        quiet += to.saturating_sub(from);
        sent += acked.partition_point(|at| *at < to) - acked.partition_point(|at| *at < from);
    };
    for fault in faults {
        count(from, fault.struck);
        from = fault.recovered.unwrap_or(fault.healed);
    }
    count(from, ended);
    let wanted = 2 * plan.rate as usize * usize::try_from(quiet / 1_000_000).unwrap_or(usize::MAX);
    if sent * 100 < wanted * LEAST_LOAD {
        invalid.push(format!("{sent} messages were sent in quiet times, of {wanted} that were wanted"));
    }
    invalid
}

impl Lives for Watch {
    fn begins(&self, replica: usize) {
        self.runs.begins(replica);
    }
}

struct Nobody;

impl Lives for Nobody {
    fn begins(&self, _: usize) {}
}
