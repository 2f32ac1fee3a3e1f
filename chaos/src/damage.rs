//! Damage of one replica's files, one at a time: it is found or mended, and nobody is given what is not so.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::time::{Instant, sleep};
use trireme_client::MessageQueue;
use trireme_remoting::Client;

use crate::check::Violations;
use crate::check::logs::{self, Contents, Log};
use crate::history::Id;
use crate::load::Load;
pub use crate::mutate::KINDS;
use crate::mutate::{Mutation, Target};
use crate::run::Plan;
use crate::wire;
use crate::world::{Cluster, FileSystem, Options, Replica, Status};

/// Before the damage, messages are sent for so long.
const FILLS_FOR: Duration = Duration::from_secs(15);
/// A replica that starts has all that was committed within this.
const SERVES_WITHIN: Duration = Duration::from_secs(20);
/// What was written last has been witnessed within this: the group does so every ten seconds.
const WITNESSED_WITHIN: Duration = Duration::from_secs(30);
/// And has gone through its log within this.
const SCRUBS_WITHIN: Duration = Duration::from_secs(20);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// For each replica's disk.
const DISK_BYTES: u64 = 4 << 30;
/// Small, so that there are many.
const SEGMENT_BYTES: u64 = 2 << 20;

/// What came of one damage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Came {
    /// The replica does not start, and says why.
    Refused(String),
    /// So many frames were fetched from another replica.
    Mended(u64),
    /// What is derived was made again.
    Rebuilt(String),
    /// Nothing was to be done: what it held does not matter.
    Harmless,
}

/// One damage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Made {
    /// What the file is for.
    pub kind: String,
    /// Which.
    pub file: String,
    /// What was done to it.
    pub what: String,
    /// What came of it.
    pub came: Came,
}

/// What came of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// All that was done.
    pub made: Vec<Made>,
    /// What must not happen and did: the first ones.
    pub violations: Vec<String>,
    /// How many in all.
    pub violation_count: usize,
}

/// Fills a cluster, and damages files of a replica that does not lead, one after the other, until the time is over.
pub async fn run(plan: &Plan, tell: impl Fn(&str)) -> anyhow::Result<Outcome> {
    let file_system = FileSystem::with_bad_blocks();
    if file_system != FileSystem::Btrfs {
        tell("skipped, since it cannot be done here: blocks that cannot be read (needs Btrfs and its tools)");
    }
    let args = ["--max-message-bytes", "131072", "--scrub-bytes-per-second", "4GiB"];
    let mut cluster = Cluster::start(Options {
        dir: plan.dir.clone(),
        program: plan.program.clone(),
        disk_bytes: DISK_BYTES,
        file_system,
        segment_bytes: SEGMENT_BYTES,
        seed: plan.seed,
        args: args.map(str::to_owned).into(),
        clocks: false,
    })
    .await?;
    let mut load = Load::start(cluster.new_client(), &cluster.group, plan.rate, plan.seed).await?;
    sleep(FILLS_FOR).await;
    load.stop_sending().await;
    load.deliver(&cluster.group).await;
    load.stop_reading().await;
    // From here on nothing may be written any more: a copy of the store would be an older one then, and rightly refused.
    let last = cluster.group.witnessed(WITNESSED_WITHIN).await?;
    let mut violations = Violations::default();
    let victim = (cluster.group.leader(SERVES_WITHIN).await? + 1) % cluster.replicas.len();
    // It saves what it has, so that a start reads as little as it ever does.
    cluster.replicas[victim].process.stop().await?;
    let store = cluster.store(victim);
    let pristine = plan.dir.join("pristine");
    copy(&store, &pristine).await?;
    let reference = Reference {
        queues: load.queues(),
        contents: load.stored(pristine.as_path().into(), last, &mut violations)?.contents,
        log: Log::read(&pristine, &mut violations)?,
        last,
    };
    let log_end =
        cluster.group.statuses().await.iter().flatten().map(|status| status.log_end).max().unwrap_or(0);
    tell(&format!("{} messages in {last} entries; the damage begins", reference.messages()));
    let mut random = StdRng::seed_from_u64(plan.seed);
    let mut made: Vec<Made> = Vec::new();
    let deadline = Instant::now() + plan.lasts;
    while Instant::now() < deadline {
        fs::remove_dir_all(&store)?;
        copy(&pristine, &store).await?;
        let target = Target::draw(&store, &plan.only, log_end, &mut random)?;
        let mutation = target.mutation(file_system == FileSystem::Btrfs, &mut random);
        let is_done = match mutation {
            Mutation::Unreadable { at } => cluster.replicas[victim].disk.spoil(&target.path, at).await?,
            _ => mutation.apply(&target.path)?,
        };
        if !is_done {
            continue;
        }
        let file = target.path.strip_prefix(&store)?.display().to_string();
        let before = violations.count;
        let mut told = Violations::default();
        let came = reference.look(&mut cluster, victim, &mut told).await?;
        if cluster.group.end().await.is_none_or(|end| end != last) {
            tell("the group has elected again, so the copy is an older one now: this run ends here");
            break;
        }
        if matches!(came, Came::Refused(_)) && target.is_derived() {
            told.add("I15: it does not start, and could make the file again".to_owned());
        }
        for violation in told.told {
            violations.add(format!("damage {}: {file}, {mutation}: {violation}", made.len() + 1));
        }
        let words = serde_json::to_string(&came)?;
        tell(&format!("{:5} {file}, {mutation}: {words}", made.len() + 1));
        if violations.count > before {
            tell(&format!("VIOLATION, {} in all", violations.count));
            let kept = plan.dir.join(format!("violation-{}", made.len() + 1));
            if let Err(error) = copy(&store, &kept).await {
                tell(&format!("not all of it is kept: {error:#}"));
            }
        }
        made.push(Made { kind: target.kind.to_owned(), file, what: mutation.to_string(), came });
    }
    // The others have everything still, and with the store as it was so has this one.
    if cluster.group.end().await == Some(last) {
        fs::remove_dir_all(&store)?;
        copy(&pristine, &store).await?;
        cluster.start_replica(victim)?;
        if let Err(error) = cluster.group.converged(SERVES_WITHIN).await {
            violations.add(format!("I15: {error}"));
        }
    }
    let outcome =
        Outcome { seed: plan.seed, made, violations: violations.told, violation_count: violations.count };
    fs::write(plan.dir.join("damage.json"), serde_json::to_vec_pretty(&outcome)?)?;
    fs::write(plan.dir.join("report.md"), outcome.to_string())?;
    fs::remove_dir_all(&pristine)?;
    Ok(outcome)
}

/// What must be there, whatever was done to one replica.
struct Reference {
    queues: Vec<MessageQueue>,
    contents: Contents,
    log: Log,
    last: u64,
}

impl Reference {
    fn messages(&self) -> usize {
        self.contents.values().map(Vec::len).sum()
    }

    /// Starts the victim, and looks at it from all sides.
    async fn look(
        &self,
        cluster: &mut Cluster,
        victim: usize,
        violations: &mut Violations,
    ) -> anyhow::Result<Came> {
        let said = Said::from_now(cluster.replicas[victim].process.log())?;
        cluster.start_replica(victim)?;
        let Some(_) =
            self.serves(cluster, victim, SERVES_WITHIN, |status| self.last <= status.applied).await?
        else {
            return self.ended(cluster, victim, &said, violations).await;
        };
        let Replica { addr, .. } = cluster.replicas[victim];
        for queue in &self.queues {
            match pull(&cluster.group.remote, addr, queue).await {
                Ok(found) if found == self.contents[queue] => {}
                Ok(found) => {
                    let (have, want) = (found.len(), self.contents[queue].len());
                    violations
                        .add(format!("I3: {queue} was given with {have} messages of {want}, or others"));
                }
                Err(reason) => violations.add(format!("I1: {queue}: {reason}")),
            }
        }
        // All that is sealed, once.
        let sealed = SEGMENT_BYTES * (self.log.sealed_segments() as u64);
        let is_whole = |status: &Status| sealed <= status.scrubbed && status.damaged == 0;
        let Some(status) = self.serves(cluster, victim, SCRUBS_WITHIN, is_whole).await? else {
            return self.ended(cluster, victim, &said, violations).await;
        };
        cluster.replicas[victim].process.stop().await?;
        match Log::read(&cluster.store(victim), violations) {
            Ok(log) => logs::same(&[Log { frames: self.log.frames.clone() }, log], self.last, violations),
            Err(error) => {
                violations.add(format!("I15: its log cannot be read after it was mended: {error:#}"))
            }
        }
        said.has_not_panicked(violations)?;
        let rebuilt = said.line(&["rebuil", "damage", "cannot be read", "is taken away", "not readable"])?;
        Ok(match (status.mended, rebuilt) {
            (0, None) => Came::Harmless,
            (0, Some(line)) => Came::Rebuilt(line),
            (frames, _) => Came::Mended(frames),
        })
    }

    /// Waits until it says so. `None` if it has ended, or not in time.
    async fn serves(
        &self,
        cluster: &mut Cluster,
        victim: usize,
        within: Duration,
        is_so: impl Fn(&Status) -> bool,
    ) -> anyhow::Result<Option<Status>> {
        let deadline = Instant::now() + within;
        loop {
            if cluster.replicas[victim].process.has_ended()? || Instant::now() > deadline {
                return Ok(None);
            }
            let status = Status::ask(&cluster.group.remote, cluster.replicas[victim].addr).await;
            if let Some(status) = status.filter(&is_so) {
                return Ok(Some(status));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// It does not serve: then it must have ended, and said why.
    async fn ended(
        &self,
        cluster: &mut Cluster,
        victim: usize,
        said: &Said,
        violations: &mut Violations,
    ) -> anyhow::Result<Came> {
        let status = Status::ask(&cluster.group.remote, cluster.replicas[victim].addr).await;
        let how = cluster.replicas[victim].process.ended()?;
        if how.is_none() {
            violations.add(format!("I16: it neither serves all of its log nor ends: {status:?}"));
            cluster.replicas[victim].process.kill().await?;
        }
        said.has_not_panicked(violations)?;
        let words = said.line(&["trireme: "])?.unwrap_or_default();
        if words.is_empty() {
            violations.add(format!("it ended and did not say why: {how:?}"));
        }
        Ok(Came::Refused(words))
    }
}

/// What a process has printed since.
struct Said {
    log: PathBuf,
    from: usize,
}

impl Said {
    fn from_now(log: &Path) -> anyhow::Result<Self> {
        Ok(Self { log: log.to_owned(), from: fs::read(log)?.len() })
    }

    /// Without the directory of the run: reports are kept, and read elsewhere.
    fn text(&self) -> anyhow::Result<String> {
        let text = String::from_utf8_lossy(&fs::read(&self.log)?[self.from..]).into_owned();
        let dir = self.log.parent().map(|dir| format!("{}/", dir.display())).unwrap_or_default();
        Ok(text.replace(&dir, ""))
    }

    /// The last line with one of these.
    fn line(&self, marks: &[&str]) -> anyhow::Result<Option<String>> {
        let text = self.text()?;
        let line = text.lines().rev().find(|line| marks.iter().any(|mark| line.contains(mark)));
        Ok(line.map(|line| line.chars().take(300).collect()))
    }

    fn has_not_panicked(&self, violations: &mut Violations) -> anyhow::Result<()> {
        if let Some(line) = self.line(&["panicked at"])? {
            violations.add(format!("it panicked: {line}"));
        }
        Ok(())
    }
}

/// All messages of a queue, as one replica gives them.
async fn pull(remote: &Client, addr: SocketAddr, queue: &MessageQueue) -> Result<Vec<Id>, String> {
    let given = wire::pull_from(remote, addr, queue, 0).await?;
    given.iter().map(|given| Id::of(&given.body)).collect()
}

async fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let copied = Command::new("cp").args(["-a", "--"]).args([from, to]).output().await?;
    let words = String::from_utf8_lossy(&copied.stderr);
    copied.status.success().then_some(()).with_context(|| format!("cannot copy {}: {words}", from.display()))
}

/// What came of damages, by what the files are for, as Markdown.
pub fn table<'a>(made: impl Iterator<Item = &'a Made>) -> String {
    let mut kinds: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for made in made {
        let nth = match made.came {
            Came::Refused(_) => 0,
            Came::Mended(_) => 1,
            Came::Rebuilt(_) => 2,
            Came::Harmless => 3,
        };
        kinds.entry(&made.kind).or_default()[nth] += 1;
    }
    let mut text = String::from(
        "| file | damaged | does not start | mended | rebuilt | harmless |\n|---|---:|---:|---:|---:|---:|\n",
    );
    for kind in KINDS {
        let [refused, mended, rebuilt, harmless] = kinds.get(kind).copied().unwrap_or_default();
        let all = refused + mended + rebuilt + harmless;
        let _ = writeln!(text, "| {kind} | {all} | {refused} | {mended} | {rebuilt} | {harmless} |");
    }
    text
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let table = table(self.made.iter());
        writeln!(f, "# Damage, seed {}\n\n{} violations\n\n{table}", self.seed, self.violation_count)?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "- {violation}"))
    }
}
