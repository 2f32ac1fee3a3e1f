//! How long a group is without a leader: three replica processes on this machine, real files, default
//! timing, under a light load. Prints, for leaders that are stopped in order and for leaders that are
//! killed, the time until another is ready and until it acknowledges a proposal.
//!
//! `cargo run --release -p trireme-raft --example failover [ROUNDS]`

#![allow(clippy::unwrap_used)]

#[path = "../tests/harness/mod.rs"]
mod harness;

use std::time::{Duration, Instant};

use harness::configs;
use harness::process::{Process, ROLE, replica, wait_any};
use trireme_raft::config::Timing;

fn main() {
    if let Ok(spec) = std::env::var(ROLE) {
        return replica(&spec);
    }
    let rounds = std::env::args().nth(1).map_or(10, |rounds| rounds.parse().unwrap());
    let root = tempfile::tempdir().unwrap();
    let configs = configs(root.path(), 3, 64 << 20, Timing::default());
    let start = |config| {
        let mut process = Process::start(config);
        process.tell("load");
        process
    };
    let since = Instant::now();
    let mut running: Vec<Process> = configs.iter().map(start).collect();
    let mut leader = wait_any(&running, "a first leader", |said| !said.acks.is_empty());
    println!("first acknowledgement {:?} after the start of three empty replicas", since.elapsed());
    for (how, kill) in [("stopped", false), ("killed", true)] {
        let (mut ready, mut served) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let term = running[leader].said().leads.unwrap().0;
            let old = running.remove(leader);
            let node = old.node;
            let since = Instant::now();
            drop(if kill { old.kill() } else { old.stop() });
            leader = wait_any(&running, "a new leader", |said| {
                said.leads.is_some_and(|(now, _)| term < now)
                    && said.acks.iter().any(|(_, id, _)| term < id.term)
            });
            let said = running[leader].said();
            ready.push(said.leads.unwrap().1 - since);
            served.push(said.acks.iter().find(|(_, id, _)| term < id.term).unwrap().2 - since);
            let config = configs.iter().find(|config| config.node == node).unwrap();
            running.push(start(config));
            catch_up(&mut running, leader);
        }
        report(&format!("{how}: ready"), &mut ready);
        report(&format!("{how}: acknowledges"), &mut served);
    }
    running.into_iter().for_each(|process| drop(process.stop()));
}

/// Waits until all replicas have applied what is acknowledged now: the next leader needs them.
fn catch_up(running: &mut [Process], leader: usize) {
    let (_, last, _) = *running[leader].said().acks.last().unwrap();
    for process in running {
        process.tell(&format!("reach {}", last.index));
        process.wait("all that is acknowledged", |said| last.index <= said.reached);
    }
}

fn report(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_millis();
    println!(
        "{what:24} n {:2}  min {:4} ms  median {:4} ms  p90 {:4} ms  max {:4} ms",
        times.len(),
        at(0.0),
        at(0.5),
        at(0.9),
        at(1.0)
    );
}
