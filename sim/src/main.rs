//! A whole cluster in one thread, from one seed: name server, three replicas and their clients, over a network (turmoil) and
//! disks that are simulated. The same seed does the same again, to the last log line.
//!
//! It is built by `sim/run.sh`; any other build of this program does nothing.

#[cfg(trireme_sim)]
mod cli;
#[cfg(trireme_sim)]
mod clients;
#[cfg(trireme_sim)]
mod hosts;
#[cfg(trireme_sim)]
mod machine;
#[cfg(trireme_sim)]
mod scene;
#[cfg(trireme_sim)]
mod script;
#[cfg(trireme_sim)]
mod trace;

#[cfg(trireme_sim)]
fn main() -> std::process::ExitCode {
    cli::main()
}

#[cfg(not(trireme_sim))]
fn main() {
    eprintln!("this build simulates nothing: use sim/run.sh");
    std::process::exit(2);
}
