//! `trireme-sim`: one seed, or many, each in a process of its own.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;

use crate::scene::{self, Plan};
use crate::trace::Trace;

/// As much as a main thread has.
const STACK_BYTES: usize = 8 << 20;

/// Simulates a cluster of three replicas, its name server and its clients in one thread, from a seed.
#[derive(Clone, Debug, Parser)]
#[command(name = "trireme-sim")]
struct Args {
    /// The seed, or the first one.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many, one after the other.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// How many at the same time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Of so many seeds one is simulated twice: both must log the same lines. 0: none.
    #[arg(long, default_value_t = 100)]
    twice_every: u64,
    /// Seconds of faults, in simulated time.
    #[arg(long, default_value_t = 15.0)]
    seconds: f64,
    /// Messages a second in requests of their own; as many more are sent in batches.
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Where log lines go.
    #[arg(long)]
    log: Option<PathBuf>,
    /// What is logged, and summed up to compare runs.
    #[arg(long, default_value = "info,sled=off")]
    filter: String,
    /// Where files go: some ten MiB for each seed at a time.
    #[arg(long, default_value_os_t = default_dir())]
    dir: PathBuf,
}

/// In memory, where that can be had.
fn default_dir() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

pub fn main() -> ExitCode {
    let args = Args::parse();
    let done = if args.seeds == 1 { one(&args) } else { many(&args) };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn one(args: &Args) -> anyhow::Result<bool> {
    let file = args.log.as_ref().map(File::create).transpose()?;
    let trace = Trace::begin(file, &args.filter)?;
    let plan = Plan {
        seed: args.seed,
        lasts: Duration::from_secs_f64(args.seconds),
        rate: args.rate,
        dir: args.dir.join(format!("trireme-sim-{}", args.seed)),
    };
    // A thread of its own: what is random in a thread is settled when it first asks for it.
    let playing = std::thread::Builder::new().name("simulated".to_owned()).stack_size(STACK_BYTES);
    let outcome = playing.spawn(move || scene::play(&plan))?.join();
    let outcome = outcome.map_err(|_| anyhow::anyhow!("the simulation panicked"))??;
    let (sum, lines) = trace.sum();
    println!(
        "seed {}: {} violations; {} faults, {:.1} s, {}; {} bytes lost, {} trimmed; {} replicas replaced; trace {sum:08x} of {lines} lines",
        args.seed,
        outcome.violations.count,
        outcome.faults,
        outcome.elapsed.as_secs_f64(),
        outcome.summary,
        outcome.lost,
        outcome.trimmed,
        outcome.replaced,
    );
    for violation in &outcome.violations.told {
        println!("  {violation}");
    }
    Ok(outcome.violations.is_empty())
}

/// Each seed in a process of its own: what a process has done before must not matter.
fn many(args: &Args) -> anyhow::Result<bool> {
    let program = std::env::current_exe()?;
    let next = std::sync::atomic::AtomicU64::new(args.seed);
    let failed = parking_lot::Mutex::new(Vec::new());
    let began = std::time::Instant::now();
    let end = args.seed + args.seeds;
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    if let Err(words) = run_seed(&program, args, seed) {
                        println!("seed {seed} FAILED: {}\n  {words}", again(args, seed));
                        failed.lock().push(seed);
                    }
                    let done = seed - args.seed + 1;
                    if done.is_multiple_of(100) {
                        let (seconds, failed) = (began.elapsed().as_secs(), failed.lock().len());
                        println!("{done} of {} seeds, {failed} failed, {seconds} s", args.seeds);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    println!("{} seeds, {} failed: {failed:?}; {:?}", args.seeds, failed.len(), began.elapsed());
    Ok(failed.is_empty())
}

/// Errors: its words.
fn run_seed(program: &std::path::Path, args: &Args, seed: u64) -> Result<(), String> {
    let run = || {
        let mut command = Command::new(program);
        command.args(["--seed", &seed.to_string(), "--seconds", &args.seconds.to_string()]);
        command.args(["--rate", &args.rate.to_string(), "--filter", &args.filter]);
        let output = command.arg("--dir").arg(&args.dir).output().map_err(|error| error.to_string())?;
        let words = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let reasons = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if output.status.success() { Ok(words) } else { Err(format!("{words}\n  {reasons}")) }
    };
    let first = run()?;
    if args.twice_every > 0 && seed.is_multiple_of(args.twice_every) {
        let second = run()?;
        if first != second {
            return Err(format!("it is not the same again:\n  {first}\n  {second}"));
        }
    }
    Ok(())
}

fn again(args: &Args, seed: u64) -> String {
    format!(
        "sim/run.sh --seed {seed} --seconds {} --rate {} --filter {} --log sim.log",
        args.seconds, args.rate, args.filter
    )
}
