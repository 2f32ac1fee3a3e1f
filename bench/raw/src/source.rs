//! Keeps a window of blocks under way and measures, with the output of `trireme bench --json`.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::histogram::Histogram;
use crate::options::Options;
use crate::wire;

/// Starts two followers and a leader, feeds them, and ends them.
pub fn run(options: &Options) -> io::Result<()> {
    let mut replicas = Vec::new();
    let mut followers = Vec::new();
    for name in ["follower-1", "follower-2"] {
        followers.push(start(options, "follower", name, &[], &mut replicas)?);
    }
    let leader = start(options, "leader", "leader", &followers, &mut replicas)?;
    let result = feed(options, &leader);
    for mut replica in replicas {
        // Closing their standard input ends them.
        drop(replica.stdin.take());
        replica.wait()?;
    }
    result
}

/// Starts a replica; returns its address.
fn start(
    options: &Options,
    role: &str,
    name: &str,
    followers: &[String],
    replicas: &mut Vec<Child>,
) -> io::Result<String> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(role).arg("--data").arg(&options.data).args(["--name", name]);
    command.args(["--file", &options.file.to_string()]);
    command.args(followers.iter().flat_map(|follower| ["--follower", follower]));
    let mut replica = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let out = replica.stdout.take().expect("it is piped");
    replicas.push(replica);
    let mut address = String::new();
    BufReader::new(out).read_line(&mut address)?;
    Ok(address.trim().to_owned())
}

/// Measures one connection to `leader`.
pub fn feed(options: &Options, leader: &str) -> io::Result<()> {
    let stream = TcpStream::connect(leader)?;
    stream.set_nodelay(true)?;
    let block: Vec<u8> = (0..options.block).map(|byte| (byte % 251) as u8).collect();
    let begins = Instant::now();
    let measured = begins + Duration::from_secs(options.warmup);
    let ends = measured + Duration::from_secs(options.seconds);
    let mut under_way: VecDeque<Instant> = VecDeque::new();
    let mut latencies = Histogram::default();
    let (mut done, mut blocks) = (0, 0);
    let mut second = Second { number: 1, from: begins, blocks: 0 };
    loop {
        while under_way.len() < options.window && Instant::now() < ends {
            under_way.push_back(Instant::now());
            wire::send_block(&stream, &block)?;
        }
        if under_way.is_empty() {
            break;
        }
        let Some(count) = wire::receive_count(&stream)? else {
            return Err(io::Error::other("the leader is gone"));
        };
        let now = Instant::now();
        for began in under_way.drain(..(count - done) as usize) {
            second.blocks += 1;
            if measured <= now && now < ends {
                blocks += 1;
            }
            if measured <= began && began < ends {
                latencies.add(now - began);
            }
        }
        done = count;
        if begins + Duration::from_secs(second.number) <= now {
            second.tell(options, begins, measured, now);
        }
    }
    let bytes_per_second = (blocks * options.block) as f64 / options.seconds as f64;
    let rate = messages(options, bytes_per_second);
    println!(
        r#"{{"type":"summary","block":{},"window":{},"size":{},"overhead":{},"seconds":{},"bytes_per_second":{bytes_per_second:.0},"send":{{"messages":{:.0},"messages_per_second":{rate:.1},"mib_per_second":{:.3},"latency":{},"errors":{{}}}}}}"#,
        options.block,
        options.window,
        options.size,
        options.overhead,
        options.seconds,
        rate * options.seconds as f64,
        rate * options.size as f64 / f64::from(1 << 20),
        latencies.json(),
    );
    Ok(())
}

/// How many messages so many bytes are.
fn messages(options: &Options, bytes: f64) -> f64 {
    bytes / (options.size + options.overhead) as f64
}

struct Second {
    number: u64,
    from: Instant,
    blocks: usize,
}

impl Second {
    fn tell(&mut self, options: &Options, begins: Instant, measured: Instant, now: Instant) {
        let took = (now - self.from).as_secs_f64();
        let sent = messages(options, (self.blocks * options.block) as f64) / took;
        let phase = if now < measured { "warm_up" } else { "measured" };
        println!(
            r#"{{"type":"second","at":{:.3},"phase":"{phase}","sent":{sent:.1},"received":0.0}}"#,
            (now - begins).as_secs_f64(),
        );
        (self.number, self.from, self.blocks) = ((now - begins).as_secs() + 1, now, 0);
    }
}
