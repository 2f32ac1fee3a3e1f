//! The hard state: identity, vote, members and the saved state.
//!
//! sled locks what it opens, tidies it, and takes some damage for a reason to panic. So a copy is opened, on a thread of
//! its own that may fail in any way.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use trireme_broker::inspect::saved_queues;
use trireme_broker::queues::consume::Position;
use trireme_broker::state::State;
use trireme_commitlog::LogId;
use trireme_raft::inspect::{Members, Vote, members, vote};
use trireme_raft::{HardState, HardStateError, Identity, StoredState};

use super::entries::Filter;
use super::out::Out;
use super::record::{self, Delay, Group, Hard, Offset, Part, Record, Topic};

/// A copy of a database that is written meanwhile may not fit together; the next one may.
const TRIES_IN_USE: u32 = 5;
/// A database of kilobytes is open by then, or never.
const OPEN_WITHIN: Duration = Duration::from_secs(60);

/// What the hard state says of the rest of the store.
#[derive(Default)]
pub struct Saved {
    /// Topics by number.
    pub topics: BTreeMap<u32, String>,
    pub queues: Vec<Position>,
}

/// Everything that is in a hard state.
struct Found {
    identity: Identity,
    vote: Option<Vote>,
    committed: Option<LogId>,
    members_since: Option<LogId>,
    members: Members,
    state: StoredState,
}

/// What is to be written.
pub struct What<'a> {
    /// The summary.
    pub summary: bool,
    /// Topics, groups and positions one by one.
    pub details: bool,
    pub filter: &'a Filter,
    pub in_use: bool,
}

/// Writes what is asked of the hard state in `path`. Returns what it says of other parts, if it can be read.
pub fn dump(path: &Path, what: &What<'_>, out: &mut Out<'_>) -> io::Result<Option<Saved>> {
    if !path.exists() {
        out.note(format!("there is no hard state in {}", path.display()))?;
        return Ok(None);
    }
    let found = match read(path, what.in_use) {
        Ok(found) => found,
        Err(reason) if what.in_use => {
            let text = format!("the hard state is in use, and no copy of it can be read: {reason}");
            out.note(text)?;
            return Ok(None);
        }
        Err(reason) => {
            out.damage(Part::HardState, path, None, reason)?;
            return Ok(None);
        }
    };
    // A store that was saved nothing yet has no state to decode.
    let decoded = match found.state.log_id {
        Some(_) => State::restore(&found.state.parts)
            .and_then(|state| Ok((state, saved_queues(&found.state.parts)?)))
            .map_err(|error| error.to_string()),
        None => Ok((State::default(), Vec::new())),
    };
    let (state, queues) = match decoded {
        Ok(decoded) => decoded,
        Err(reason) => {
            out.damage(Part::HardState, path, None, format!("the saved state: {reason}"))?;
            return Ok(None);
        }
    };
    if what.summary {
        out.put(&Record::Hard(summary(found, &state, &queues)))?;
    }
    if what.details {
        details(&state, what.filter, out)?;
    }
    let topics = state.topics.iter().map(|topic| (topic.id, topic.name.to_string())).collect();
    Ok(Some(Saved { topics, queues }))
}

fn summary(found: Found, state: &State, queues: &[Position]) -> Hard {
    let Identity { version, store_id, node, settings } = found.identity;
    Hard {
        cluster: settings.cluster,
        group: settings.group,
        node,
        store_id: format!("{store_id:032x}"),
        segment_bytes: settings.segment_bytes,
        layout_version: version,
        vote: found.vote.map(|Vote { term, node, committed }| record::Vote { term, node, committed }),
        committed: found.committed.map(Into::into),
        members_since: found.members_since.map(Into::into),
        members: found.members.into(),
        state: found.state.log_id.map(Into::into),
        topics: state.topics.iter().len(),
        groups: state.groups.iter().len(),
        queues: queues.len(),
        last_store_ms: state.general.last_store_timestamp,
    }
}

fn details(state: &State, filter: &Filter, out: &mut Out<'_>) -> io::Result<()> {
    let wanted = |topic: &str| filter.topic.as_ref().is_none_or(|wanted| wanted == topic);
    for topic in state.topics.iter().filter(|topic| wanted(&topic.name)) {
        out.put(&Record::Topic(Topic {
            topic: topic.name.to_string(),
            topic_id: topic.id,
            read_queues: topic.read_queues,
            write_queues: topic.write_queues,
            perm: topic.perm,
            sys_flag: topic.sys_flag,
            order: topic.order,
            attributes: topic.attributes.clone(),
        }))?;
    }
    for (group, settings) in state.groups.iter() {
        out.put(&Record::Group(Group { group: group.clone(), settings: settings.clone() }))?;
    }
    for (topic, group, queue, next) in state.offsets.iter().filter(|(topic, ..)| wanted(topic)) {
        out.put(&Record::Offset(Offset { group: group.into(), topic: topic.into(), queue, next }))?;
    }
    for (queue_id, next) in state.delay.iter() {
        out.put(&Record::Delay(Delay { level: queue_id.saturating_add(1), next }))?;
    }
    Ok(())
}

fn read(path: &Path, in_use: bool) -> Result<Found, String> {
    let mut left = if in_use { TRIES_IN_USE } else { 1 };
    loop {
        left -= 1;
        match copy_and_read(path) {
            Err(_) if left > 0 => {}
            done => return done,
        }
    }
}

fn copy_and_read(path: &Path) -> Result<Found, String> {
    let copy = tempfile::tempdir().map_err(|error| format!("no room for a copy: {error}"))?;
    copy_files(path, copy.path()).map_err(|error| format!("cannot be copied: {error}"))?;
    apart(copy.path().to_owned())
}

/// Copies a directory's files and directories. What goes away meanwhile is left out.
fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    let there = |result: io::Result<()>| match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            fs::create_dir(&target)?;
            there(copy_files(&source, &target))?;
        } else if kind.is_file() {
            there(fs::copy(&source, &target).map(drop))?;
        }
    }
    Ok(())
}

/// Reads the database on a thread of its own, whose panics are answers and whose silence is one too.
fn apart(copy: PathBuf) -> Result<Found, String> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let (sender, answer) = mpsc::channel();
    let reader = thread::spawn(move || {
        let found = open(&copy).map_err(|error| in_words(&error, &copy));
        // Nobody waits any more only if it took too long.
        let _ = sender.send(found);
    });
    let answer = answer.recv_timeout(OPEN_WITHIN);
    let result = match answer {
        Ok(found) => found,
        Err(mpsc::RecvTimeoutError::Timeout) => {
            Err(format!("the database does not open within {OPEN_WITHIN:?}"))
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => match reader.join() {
            Ok(()) => Err("the database was not read".to_owned()),
            Err(panic) => Err(format!("the database is damaged: {}", panic_words(&*panic))),
        },
    };
    std::panic::set_hook(hook);
    result
}

fn open(copy: &Path) -> Result<Found, HardStateError> {
    let hard = HardState::inspect(copy)?;
    let (members_since, members) = members(&hard)?;
    Ok(Found {
        identity: hard.identity().clone(),
        vote: vote(&hard)?,
        committed: hard.committed()?,
        members_since,
        members,
        state: hard.load_state()?,
    })
}

/// The error without the copy's path, which means nothing to anybody.
fn in_words(error: &HardStateError, copy: &Path) -> String {
    error.to_string().replace(&format!(" in {}", copy.display()), "")
}

fn panic_words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panics").to_owned()
}
