//! Replicas that are killed under load, by SIGKILL: what was acknowledged is everywhere, under the log id
//! that was told.

#![allow(clippy::unwrap_used)]

mod harness;

use std::collections::BTreeMap;

use harness::process::{Process, ROLE, Said, replica, wait_any};
use harness::{configs, logging};
use trireme_commitlog::LogId;
use trireme_raft::config::{ReplicaConfig, Timing};

/// Not libtest's: this program is the replicas, too.
fn main() {
    match std::env::var(ROLE) {
        Ok(spec) => replica(&spec),
        // Nextest and the like ask for a list first; there is one test.
        Err(_) if std::env::args().any(|argument| argument == "--list") => {
            println!("killed_replicas_lose_nothing_acknowledged: test");
        }
        Err(_) => {
            killed_replicas_lose_nothing_acknowledged();
            println!("test killed_replicas_lose_nothing_acknowledged ... ok");
        }
    }
}

struct Group {
    configs: Vec<ReplicaConfig>,
    running: Vec<Process>,
    acknowledged: BTreeMap<LogId, u64>,
}

impl Group {
    fn start_missing(&mut self) {
        for config in &self.configs {
            if self.running.iter().all(|process| process.node != config.node) {
                let mut process = Process::start(config);
                process.tell("load");
                self.running.push(process);
            }
        }
    }

    /// Kills the process at `at`, and remembers what it had acknowledged.
    fn kill(&mut self, at: usize) {
        let said = self.running.remove(at).kill();
        self.remember(&said);
    }

    fn remember(&mut self, said: &Said) {
        for (tag, log_id, _) in &said.acks {
            let other = self.acknowledged.insert(*log_id, *tag);
            assert!(other.is_none_or(|other| other == *tag), "{log_id} was given to {other:?} and {tag}");
        }
    }

    /// Waits until somebody has acknowledged so many in a term of its own: where it is among the running.
    fn under_load(&self, acks: usize) -> usize {
        let newest = self.acknowledged.keys().last().map_or(0, |id| id.term);
        let many = move |said: &Said| {
            let of_term = |term| said.acks.iter().filter(|(_, id, _)| id.term == term).count();
            said.leads.is_some_and(|(term, _)| newest < term && acks <= of_term(term))
        };
        wait_any(&self.running, "a leader under load", many)
    }
}

fn killed_replicas_lose_nothing_acknowledged() {
    logging();
    let root = tempfile::tempdir().unwrap();
    let configs = configs(root.path(), 3, 1 << 20, Timing::default());
    let mut group = Group { configs, running: Vec::new(), acknowledged: BTreeMap::new() };
    group.start_missing();
    for round in 0..5 {
        let leader = group.under_load(100);
        let follower = (leader + 1) % 3;
        match round {
            0 | 3 => group.kill(leader),
            1 => {
                group.kill(follower);
                // It is not missed; the leader is, later, while the follower is catching up.
                group.start_missing();
                let leader = group.under_load(200);
                group.kill(leader);
            }
            2 => {
                // A majority: nobody can lead until one is back.
                let (first, second) = (leader.max(follower), leader.min(follower));
                group.kill(first);
                group.kill(second);
            }
            _ => (0..3).rev().for_each(|at| group.kill(at)),
        }
        if group.running.len() == 2 {
            group.under_load(20);
        }
        group.start_missing();
    }
    group.under_load(50);
    (0..3).rev().for_each(|at| group.kill(at));

    // All at once, and quiet this time.
    let last = group.acknowledged.keys().map(|id| id.index).max().unwrap();
    let mut quiet: Vec<Process> = group.configs.iter().map(Process::start).collect();
    let states: Vec<Said> = quiet
        .iter_mut()
        .map(|process| {
            process.tell(&format!("dump {last}"));
            process.wait("its state", |said| said.end)
        })
        .collect();
    for (process, said) in quiet.iter().zip(&states) {
        let held: BTreeMap<LogId, u64> = said.state.iter().map(|(id, tag, ..)| (*id, *tag)).collect();
        for (log_id, tag) in &group.acknowledged {
            assert_eq!(held.get(log_id), Some(tag), "node {} lost {tag} at {log_id}", process.node);
        }
        let common = said.state.len().min(states[0].state.len());
        assert!(said.state[..common] == states[0].state[..common], "node {} differs", process.node);
    }
    println!("{} acknowledged entries over 6 rounds of kills", group.acknowledged.len());
    for process in quiet {
        process.stop();
    }
}
