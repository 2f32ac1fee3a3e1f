//! `trireme dump`: what is in a replica's store, in words or as JSON lines.
//!
//! Works on the store of a stopped replica as it was left, and beside a running one: nothing is locked, and nothing below
//! the store is changed. What is damaged is named with its range; what stands behind it is not passed over. Memory does
//! not grow with the store: a frame and the saved state are the largest things held.
//!
//! Exit codes: 0 all that was looked at is sound, 1 damage, 2 it could not be looked at.

mod checkpoints;
mod entries;
mod hard;
mod in_use;
mod log;
mod out;
mod queues;
mod range;
mod record;
mod time;
mod words;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use entries::Filter;
use out::Out;
use range::Range;
use record::{Record, Store};

/// Without a choice: mark, segments, hard state, queues and checkpoints, in short.
#[derive(clap::Args)]
pub struct Args {
    /// The replica's directory.
    #[arg(long)]
    store: PathBuf,
    /// Segments of the commit log; reads and checks every frame.
    #[arg(long)]
    segments: bool,
    /// Frames of the commit log with their commands and messages, those with indexes FROM..TO.
    #[arg(long, value_name = "FROM..TO", num_args = 0..=1, default_missing_value = "..")]
    frames: Option<Range>,
    /// Messages of the commit log.
    #[arg(long)]
    messages: bool,
    /// ConsumeQueues; reads and checks every unit.
    #[arg(long)]
    queues: bool,
    /// Hard state and saved state: identity, vote, members, topics, groups, positions.
    #[arg(long)]
    hard: bool,
    /// Checkpoints.
    #[arg(long)]
    checkpoints: bool,
    /// Only what belongs to this topic.
    #[arg(long)]
    topic: Option<String>,
    /// Only what belongs to this queue of the topic.
    #[arg(long, requires = "topic")]
    queue: Option<u32>,
    /// Only messages with these queue offsets; with --queues, the units themselves.
    #[arg(long, value_name = "FROM..TO", requires = "queue")]
    offset: Option<Range>,
    /// Show frames behind damage too. Whether they belong to the log cannot be known.
    #[arg(long)]
    follow_damage: bool,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
}

/// Writes the dump to standard output.
pub fn run(args: Args) -> ExitCode {
    let mut sink = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let mut out = Out::new(&mut sink, args.json);
    let done = dump(args, &mut out);
    let damaged = out.damaged;
    match done.and_then(|()| sink.flush()) {
        // Whoever reads has read enough, as `head` does.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("trireme: {error}");
            ExitCode::from(2)
        }
        _ if damaged => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

fn dump(args: Args, out: &mut Out<'_>) -> io::Result<()> {
    let store = &args.store;
    std::fs::read_dir(store).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot look into {}: {error}", store.display()))
    })?;
    let chosen = args.segments || args.frames.is_some() || args.messages || args.queues;
    let overview = !chosen && !args.hard && !args.checkpoints && args.topic.is_none();
    let in_use_by = in_use::by(&store.join("commitlog"));
    let in_use = in_use_by.is_some();
    out.put(&Record::Store(Store { path: store.clone(), in_use_by }))?;

    // A topic alone asks for its messages.
    let only_topic = args.topic.is_some() && !chosen && !args.hard && !args.checkpoints;
    let log = log::What {
        segments: args.segments || overview,
        frames: args.frames,
        messages: args.messages || only_topic,
        filter: Filter { topic: args.topic, queue: args.queue, offsets: args.offset.unwrap_or(Range::ALL) },
        follow_damage: args.follow_damage,
        in_use,
    };
    let log_begins = log::dump(&store.join("commitlog"), &log, out)?;

    if args.hard || args.queues || overview {
        let summary = args.hard || overview;
        let hard = hard::What { summary, details: args.hard, filter: &log.filter, in_use };
        let saved = hard::dump(&store.join("hardstate"), &hard, out)?;
        if args.queues || overview {
            let queues = queues::What {
                filter: &log.filter,
                units: args.offset,
                saved: saved.as_ref(),
                log_begins: log_begins.unwrap_or(0),
            };
            queues::dump(&store.join("consumequeue"), &queues, out)?;
        }
    }
    if args.checkpoints || overview {
        checkpoints::dump(&store.join("checkpoints"), out)?;
    }
    Ok(())
}
