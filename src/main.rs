//! The one binary `trireme`.

mod cmd;
mod config;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A RocketMQ that cannot lose its master.
#[derive(Parser)]
#[command(version, about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A whole cluster on this machine, to try things out: a name server and three replicas.
    Dev(cmd::dev::Args),
    /// A name server.
    Namesrv(cmd::namesrv::Args),
    /// One replica of a broker group.
    Broker(cmd::broker::Args),
    /// What is in a replica's store, in words or as JSON.
    Dump(cmd::dump::Args),
    /// How many messages a cluster takes, and how long each one waits.
    Bench(cmd::bench::Args),
    /// Topics, groups, and how the cluster is.
    Admin(cmd::admin::Args),
    /// Send messages.
    Send(cmd::send::Args),
    /// Consume messages and print them.
    Consume(cmd::consume::Args),
    /// Break a cluster again and again, and see whether anything is lost. Needs root.
    Chaos(cmd::chaos::Args),
}

/// Tokio's own variable: how many threads run tasks.
const WORKERS: &str = "TOKIO_WORKER_THREADS";

/// Half of the cores: the others are for the threads that write, sync and read, and for the kernel's part of the network.
/// Most tasks of a replica wait for one another, and to wake one on another thread costs more than it gains
/// (`docs/decisions/0012-workers.md`).
fn broker_workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = |()| ExitCode::SUCCESS;
    if let Command::Chaos(args) = &args.command
        && args.needs_world()
        && let Err(error) = trireme_chaos::world::enter()
    {
        eprintln!("trireme: {}", told(&error));
        return cmd::chaos::SKIPPED.into();
    }
    cmd::log::start(match args.command {
        Command::Namesrv(_) | Command::Broker(_) => "info",
        // What clients tell of each other's failures is what faults are for.
        Command::Chaos(_) => "warn,trireme_client=error",
        // What these print shows what matters; a development cluster's replicas log to files.
        _ => "warn",
    });
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if matches!(args.command, Command::Broker(_)) && std::env::var_os(WORKERS).is_none() {
        runtime.worker_threads(broker_workers());
    }
    let result = runtime.enable_all().build().map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            match args.command {
                Command::Dev(args) => cmd::dev::run(args).await.map(done),
                Command::Namesrv(args) => cmd::namesrv::run(args).await.map(done),
                Command::Broker(args) => cmd::broker::run(args).await.map(done),
                Command::Dump(args) => Ok(cmd::dump::run(args)),
                Command::Bench(args) => cmd::bench::run(args).await.map(done),
                Command::Admin(args) => cmd::admin::run(args).await.map(done),
                Command::Send(args) => cmd::send::run(args).await.map(done),
                Command::Consume(args) => cmd::consume::run(args).await.map(done),
                Command::Chaos(args) => cmd::chaos::run_chaos(args).await,
            }
        })
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("trireme: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error with its causes, without those that an error above tells already.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told.contains(&cause) {
        _ if told.is_empty() => cause,
        true => told,
        false => format!("{told}: {cause}"),
    })
}
