//! What `trireme dev` shows: what happened, and a live line per replica.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::replica::{Replica, Status};

/// Lines drawn again in place on a terminal; elsewhere each is printed when it says something new.
pub struct Screen {
    in_place: bool,
    silent: bool,
    drawn: usize,
    last: Vec<String>,
    counts: HashMap<String, u64>,
}

impl Screen {
    pub fn new() -> Self {
        let in_place = std::io::stdout().is_terminal();
        Self { in_place, silent: false, drawn: 0, last: Vec::new(), counts: HashMap::new() }
    }

    /// Shows nothing.
    pub fn silent() -> Self {
        Self { silent: true, ..Self::new() }
    }

    pub fn introduce(&mut self, dir: &Path, namesrv: SocketAddr, replicas: &[Replica]) {
        self.print(&format!("name server   {namesrv}"));
        for replica in replicas {
            self.print(&format!(
                "replica       {:<12} clients on {}   store {}   log {}",
                replica.name(),
                replica.addr,
                replica.store().display(),
                replica.log.display(),
            ));
        }
        self.print(&format!("everything is kept in {}; remove it to start anew", dir.display()));
        self.help();
    }

    pub fn help(&mut self) {
        self.say("type  k  to kill -9 the leader (it comes back after 5 s), k 2 for replica 2 of the list,");
        self.say("      s  to stop it in order (it hands over first, and comes back as well),");
        self.say("      f  to freeze it, t to let it go on, q or Ctrl-C to stop all");
    }

    /// Says something that happened.
    pub fn say(&mut self, text: &str) {
        self.erase();
        self.print(&format!("{} {text}", clock()));
    }

    /// A line per replica. `since` is the time since the last drawing.
    pub fn draw(&mut self, replicas: &[Replica], statuses: &[Option<Status>], since: Duration) {
        let mut lines = vec![format!(
            "{:<12} {:<10} {:>6} {:>12} {:>12} {:>12} {:>9}",
            "replica", "role", "term", "committed", "applied", "messages", "msgs/s"
        )];
        for (replica, status) in replicas.iter().zip(statuses) {
            let name = replica.name();
            lines.push(match status {
                Some(status) => {
                    let before = self.counts.insert(name.clone(), status.messages).unwrap_or(status.messages);
                    let rate = status.messages.saturating_sub(before) as f64 / since.as_secs_f64();
                    format!(
                        "{name:<12} {:<10} {:>6} {:>12} {:>12} {:>12} {rate:>9.0}",
                        status.role, status.term, status.committed, status.applied, status.messages
                    )
                }
                None if replica.frozen => format!("{name:<12} frozen"),
                None => format!("{name:<12} down"),
            });
        }
        if self.in_place {
            self.erase();
            lines.iter().for_each(|line| self.print(line));
            self.drawn = lines.len();
        } else if lines != self.last {
            lines.iter().for_each(|line| self.print(line));
        }
        self.last = lines;
    }

    fn erase(&mut self) {
        if self.drawn > 0 {
            // Up to the first drawn line, and clear from there on.
            print!("\x1b[{}A\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }

    fn print(&self, line: &str) {
        if self.silent {
            return;
        }
        let mut out = std::io::stdout().lock();
        // A closed standard output is no reason to stop a cluster.
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

/// Time of day, UTC: enough to see how far apart two lines are.
fn clock() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (seconds, tenths) = (since.as_secs() % 86_400, since.subsec_millis() / 100);
    format!("{:02}:{:02}:{:02}.{tenths}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
