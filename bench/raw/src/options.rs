//! The command line.

use std::path::PathBuf;
use std::process::exit;

pub struct Options {
    /// Directory of the files that are written.
    pub data: PathBuf,
    /// Bytes of a block: one write and one sync at each replica.
    pub block: usize,
    /// Blocks under way.
    pub window: usize,
    /// Bytes of a file; when it is full, writing begins anew at its start.
    pub file: u64,
    /// Bytes of a body, and what storing one costs beside it: to tell bytes in messages.
    pub size: u64,
    pub overhead: u64,
    pub seconds: u64,
    pub warmup: u64,
    /// A leader's followers.
    pub followers: Vec<String>,
    /// A source's leader.
    pub leader: String,
    /// A replica's name: of its file.
    pub name: String,
}

impl Options {
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut options = Self {
            data: PathBuf::from("."),
            block: 256 << 10,
            window: 4,
            file: 512 << 20,
            size: 1024,
            overhead: 0,
            seconds: 10,
            warmup: 2,
            followers: Vec::new(),
            leader: String::new(),
            name: "replica".into(),
        };
        let mut one = false;
        while let Some(name) = arguments.next() {
            if name == "--one" {
                one = true;
                continue;
            }
            let Some(value) = arguments.next() else { usage(&format!("{name} needs a value")) };
            let number = || value.parse().unwrap_or_else(|_| usage(&format!("{name} {value}: not a number")));
            match name.as_str() {
                "--data" => options.data = value.into(),
                "--block" => options.block = number() as usize,
                "--window" => options.window = number() as usize,
                "--file" => options.file = number(),
                "--size" => options.size = number(),
                "--overhead" => options.overhead = number(),
                "--seconds" => options.seconds = number(),
                "--warmup" => options.warmup = number(),
                "--follower" => options.followers.push(value),
                "--leader" => options.leader = value,
                "--name" => options.name = value,
                _ => usage(&format!("unknown option {name}")),
            }
        }
        if one {
            options.block = (options.size + options.overhead) as usize;
            options.window = 1;
        }
        if options.block == 0 || options.window == 0 || options.file < options.block as u64 {
            usage("a block and a window are more than nothing, and a block fits the file");
        }
        options
    }
}

pub fn usage(why: &str) -> ! {
    eprintln!("raw: {why}");
    eprintln!(
        "raw run --data DIR [--block BYTES] [--window BLOCKS] [--one] [--size BYTES] [--overhead BYTES]"
    );
    eprintln!("        [--file BYTES] [--seconds N] [--warmup N]");
    eprintln!("raw follower --data DIR --name NAME [--file BYTES]");
    eprintln!("raw leader --data DIR --name NAME --follower ADDR --follower ADDR [--file BYTES]");
    eprintln!("raw source --leader ADDR [--block BYTES] ...");
    exit(2)
}
