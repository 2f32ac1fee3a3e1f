//! `trireme chaos`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use trireme_chaos::damage;
use trireme_chaos::mix::Mix;
use trireme_chaos::run::{ARCHIVE, Plan, Verdict, run};
use trireme_chaos::sum::sum;
use trireme_chaos::world::Impossible;

#[derive(clap::Args)]
pub struct Args {
    /// What faults are drawn by. The same one draws the same faults; what processes make of them differs.
    #[arg(long, default_value_t = rand::random_range(0..1_000_000))]
    seed: u64,
    /// How long faults are made.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Which faults: all, kill, power, pause, clock, network, disk, members, failover, damage (of
    /// files, one at a time) or none.
    #[arg(long, default_value_t = Mix::All)]
    mix: Mix,
    /// Of these, only those whose names begin so, as they are printed; of damage, only of files of such a kind.
    #[arg(long, default_value = "", hide_default_value = true)]
    only: String,
    /// Messages a second that are sent in requests of their own; as many more are sent in batches.
    #[arg(long, default_value_t = 5_000)]
    rate: u32,
    /// Bytes of a segment.
    #[arg(long, default_value_t = 8 << 20)]
    segment_bytes: u64,
    /// Where the report, the history, logs and stores go. Stores are removed when all is well.
    #[arg(long, default_value = "chaos-out")]
    out: PathBuf,
    /// The program under test, if it is not this one.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Keep the stores of the replicas.
    #[arg(long)]
    keep: bool,
    /// Make no run: add up what all runs in --out have shown.
    #[arg(long)]
    sum: bool,
}

impl Args {
    /// Whether networks and disks are to be made.
    pub fn needs_world(&self) -> bool {
        !self.sum
    }
}

/// The exit code where no networks or disks can be made: nothing was tested.
pub const SKIPPED: u8 = 3;

pub async fn run_chaos(args: Args) -> anyhow::Result<ExitCode> {
    if args.sum {
        let (told, failed) = sum(&args.out)?;
        print!("{told}");
        return Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS });
    }
    let known = match args.mix {
        Mix::Damage => damage::KINDS.map(str::to_owned).into(),
        mix => mix.fault_names(),
    };
    if args.mix != Mix::None && !known.iter().any(|name| name.starts_with(&args.only)) {
        anyhow::bail!("the mix {} has nothing that begins with {:?}; it has {known:?}", args.mix, args.only);
    }
    let name = format!("{}-{}", args.mix, args.seed);
    let dir = args.out.join(name);
    if dir.exists() {
        anyhow::bail!("{} is there already: take another --seed or --out", dir.display());
    }
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let dir = dir.canonicalize()?;
    let program = match args.program {
        Some(program) => program.canonicalize().with_context(|| format!("{}", program.display()))?,
        None => std::env::current_exe()?,
    };
    let plan = Plan {
        seed: args.seed,
        lasts: Duration::from_secs_f64(args.minutes * 60.0),
        mix: args.mix,
        only: args.only,
        rate: args.rate,
        segment_bytes: args.segment_bytes,
        dir: dir.clone(),
        program,
    };
    println!("seed {}, mix {}; all of it goes to {}", plan.seed, plan.mix, dir.display());
    let began = std::time::Instant::now();
    let tell = |words: &str| println!("{:7.1} s  {words}", began.elapsed().as_secs_f64());
    let ran = match plan.mix {
        Mix::Damage => run_damage(&plan, args.keep, tell).await,
        _ => run_faults(&plan, args.keep, tell).await,
    };
    match ran {
        Err(error) if error.is::<Impossible>() => {
            eprintln!("trireme: {error:#}");
            Ok(SKIPPED.into())
        }
        ran => ran,
    }
}

async fn run_faults(plan: &Plan, keep: bool, tell: impl Fn(&str)) -> anyhow::Result<ExitCode> {
    let outcome = run(plan, tell).await?;
    println!("{}", outcome.summary);
    outcome.invalid.iter().for_each(|why| println!("invalid: {why}"));
    outcome.violations.iter().for_each(|violation| println!("VIOLATION {violation}"));
    let report = plan.dir.join("report.md");
    if outcome.verdict != Verdict::Failed && !keep {
        remove_disks(&plan.dir)?;
    }
    let faults = outcome.faults.len();
    match outcome.verdict {
        Verdict::Passed => println!("passed: {faults} faults and no violation; {}", report.display()),
        Verdict::Invalid => println!("invalid: it says nothing; {}", report.display()),
        Verdict::Failed => println!("FAILED: {} violations; {}", outcome.violation_count, report.display()),
    }
    Ok(match outcome.verdict {
        Verdict::Passed => ExitCode::SUCCESS,
        Verdict::Failed => ExitCode::from(1),
        Verdict::Invalid => ExitCode::from(2),
    })
}

async fn run_damage(plan: &Plan, keep: bool, tell: impl Fn(&str)) -> anyhow::Result<ExitCode> {
    let outcome = damage::run(plan, tell).await?;
    print!("{outcome}");
    if outcome.violation_count > 0 {
        return Ok(ExitCode::from(1));
    }
    if !keep {
        remove_disks(&plan.dir)?;
    }
    // What was not done shows nothing.
    Ok(if outcome.made.is_empty() { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

fn remove_disks(dir: &Path) -> anyhow::Result<()> {
    trireme_chaos::world::remove_images(dir)?;
    match std::fs::remove_dir_all(dir.join(ARCHIVE)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
