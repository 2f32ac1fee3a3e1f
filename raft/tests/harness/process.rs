//! Replicas as processes of their own, to be killed.
//!
//! The program that uses this starts itself again, with `ROLE` set, and calls [`replica`] then. A replica
//! process says on its output what happens, a line each:
//!
//! ```text
//! leads TERM              it leads and is ready
//! ack TAG TERM INDEX      its proposal was committed and applied
//! state TAG TERM INDEX PHYSICAL_OFFSET CRC
//! end                     after the last `state`
//! reached INDEX           so much is applied
//! ```
//!
//! and takes on its input `load` (propose from now on), `reach INDEX` (wait until so much is applied),
//! `dump INDEX` (then tell the state, too) and `stop`. It ends with its input, so none is left when a test fails.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use trireme_commitlog::LogId;
use trireme_raft::config::ReplicaConfig;
use trireme_raft::node::{Node, Store};
use trireme_raft::peers::NEWEST_VERSION;

use super::{Echo, PATIENCE, logging, proposal};

/// Set for a process that is a replica: where its part of the configuration is.
pub const ROLE: &str = "TRIREME_TEST_REPLICA";

/// Proposals under way.
const IN_FLIGHT: usize = 16;

/// What a replica process said so far.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// The last term that it led, and when it said so.
    pub leads: Option<(u64, Instant)>,
    pub acks: Vec<(u64, LogId, Instant)>,
    /// Log id, tag, physical offset, checksum.
    pub state: Vec<(LogId, u64, u64, u64)>,
    pub end: bool,
    /// The highest index that it was asked for and has applied.
    pub reached: u64,
    pub gone: bool,
}

/// A replica process, seen from the test.
pub struct Process {
    pub node: u64,
    child: Child,
    input: ChildStdin,
    said: Arc<(Mutex<Said>, Condvar)>,
}

impl Process {
    pub fn start(config: &ReplicaConfig) -> Self {
        // As lines, in the order of `Spec::read`.
        let mut spec =
            vec![config.node.to_string(), config.store.display().to_string(), config.listen.to_string()];
        spec.push(config.settings.segment_bytes.to_string());
        let timing = &config.timing;
        spec.extend(
            [timing.heartbeat, timing.election_min, timing.election_max].map(|d| d.as_millis().to_string()),
        );
        spec.extend(config.peers.iter().map(|(node, addr)| format!("{node}={addr}")));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(ROLE, spec.join("\n"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let said = Arc::new((Mutex::new(Said::default()), Condvar::new()));
        let hear = said.clone();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let now = Instant::now();
                let words: Vec<&str> = line.split(' ').collect();
                let number = |n: usize| words[n].parse::<u64>().unwrap();
                let mut said = hear.0.lock();
                match words[0] {
                    "leads" => said.leads = Some((number(1), now)),
                    "ack" => said.acks.push((number(1), LogId { term: number(2), index: number(3) }, now)),
                    "state" => {
                        let log_id = LogId { term: number(2), index: number(3) };
                        said.state.push((log_id, number(1), number(4), number(5)));
                    }
                    "end" => said.end = true,
                    "reached" => said.reached = said.reached.max(number(1)),
                    // A log line, with RUST_LOG.
                    _ => eprintln!("{line}"),
                }
                hear.1.notify_all();
            }
            hear.0.lock().gone = true;
            hear.1.notify_all();
        });
        Self { node: config.node, child, input, said }
    }

    pub fn tell(&mut self, order: &str) {
        writeln!(self.input, "{order}").unwrap();
    }

    pub fn said(&self) -> Said {
        self.said.0.lock().clone()
    }

    /// Waits until what it said satisfies `holds`.
    #[track_caller]
    pub fn wait(&self, what: &str, holds: impl Fn(&Said) -> bool) -> Said {
        let deadline = Instant::now() + PATIENCE;
        let mut said = self.said.0.lock();
        while !holds(&said) {
            assert!(!said.gone, "node {} ended before: {what}", self.node);
            let late = self.said.1.wait_until(&mut said, deadline).timed_out();
            assert!(!late || holds(&said), "node {}: not in time: {what}", self.node);
        }
        said.clone()
    }

    /// SIGKILL. Returns everything that it said before.
    pub fn kill(mut self) -> Said {
        self.child.kill().unwrap();
        self.finish()
    }

    /// Asks it to stop in order.
    pub fn stop(mut self) -> Said {
        self.tell("stop");
        self.finish()
    }

    fn finish(&mut self) -> Said {
        self.child.wait().unwrap();
        let mut said = self.said.0.lock();
        while !said.gone {
            self.said.1.wait(&mut said);
        }
        said.clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A failing test leaves nothing behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until one of `processes` satisfies `holds`: its place.
#[track_caller]
pub fn wait_any(processes: &[Process], what: &str, holds: impl Fn(&Said) -> bool) -> usize {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = processes.iter().position(|process| holds(&process.said.0.lock())) {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The main function of a replica process.
pub fn replica(spec: &str) {
    logging();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(config(spec)));
}

fn config(spec: &str) -> ReplicaConfig {
    let lines: Vec<&str> = spec.lines().collect();
    let millis = |n: usize| Duration::from_millis(lines[n].parse().unwrap());
    let peers = lines[7..].iter().map(|line| line.split_once('=').unwrap());
    ReplicaConfig {
        settings: super::settings(lines[3].parse().unwrap()),
        node: lines[0].parse().unwrap(),
        store: Path::new(lines[1]).to_owned(),
        listen: lines[2].parse().unwrap(),
        peers: peers.map(|(node, addr)| (node.parse().unwrap(), addr.to_owned())).collect(),
        client_addrs: Default::default(),
        joins: false,
        timing: trireme_raft::config::Timing {
            heartbeat: millis(4),
            election_min: millis(5),
            election_max: millis(6),
        },
        replication_window: 2,
        log_cache_bytes: 64 << 20,
        format_version: NEWEST_VERSION,
    }
}

async fn run(config: ReplicaConfig) {
    let me = config.node;
    let store = Store::open(&config, rand::random()).unwrap();
    let echo = Echo::default();
    let node = Node::start(store, Box::new(echo.clone())).await.unwrap();
    let loading = Arc::new(AtomicBool::new(false));
    tokio::spawn(lead(node.clone(), me, loading.clone()));
    let (orders, mut ordered) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| orders.send(line)).ok();
    });
    while let Some(order) = ordered.recv().await {
        match order.split_once(' ') {
            Some(("reach", index)) => {
                reach(&node, index).await;
                println!("reached {index}");
            }
            Some(("dump", index)) => {
                reach(&node, index).await;
                for record in echo.records() {
                    let LogId { term, index } = record.log_id;
                    println!("state {} {term} {index} {} {}", record.tag, record.physical_offset, record.crc);
                }
                println!("end");
            }
            _ if order == "load" => loading.store(true, Ordering::Release),
            _ => break,
        }
    }
    node.shutdown().await;
}

async fn reach(node: &Node, index: &str) {
    let index: u64 = index.parse().unwrap();
    node.applied().wait_for(|id| id.is_some_and(|id| index <= id.index)).await.unwrap();
}

/// Proposes as long as it leads and was told to.
async fn lead(node: Node, me: u64, loading: Arc<AtomicBool>) {
    let permits = Arc::new(tokio::sync::Semaphore::new(IN_FLIGHT));
    // Unlike those of any other process of the test.
    let tags = AtomicU64::new(me << 60 | (rand::random::<u64>() >> 4));
    let mut leadership = node.leadership();
    loop {
        let Ok(now) = leadership.wait_for(|now| now.ready).await.map(|now| now.clone()) else { return };
        println!("leads {}", now.term);
        while *leadership.borrow() == now {
            if !loading.load(Ordering::Acquire) {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            let permit = permits.clone().acquire_owned().await.unwrap();
            let tag = tags.fetch_add(1, Ordering::Relaxed);
            let done = move |result: Result<trireme_raft::proposal::Committed, _>| {
                if let Ok(committed) = result {
                    println!("ack {tag} {} {}", committed.log_id.term, committed.log_id.index);
                }
                drop(permit);
            };
            node.propose(now.term, proposal(tag, 200 + (tag % 800) as usize), done).await;
            // Some hundreds a second are enough to be in the middle of something at any time.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
