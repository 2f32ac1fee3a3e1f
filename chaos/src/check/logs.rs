//! Commit logs of replicas that do not run, read from their files.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use trireme_broker::entry::{self, Entry};
use trireme_broker::names::{self, SCHEDULE_TOPIC};
use trireme_client::MessageQueue;
use trireme_commitlog::DiskDir;
use trireme_commitlog::frame::{FILLER, Header};
use trireme_commitlog::inspect::{self, Item, Slot};
use trireme_raft::inspect::{FrameKind, frame_kind};
use trireme_remoting::message::{StoredMessage, properties, property};

use super::Violations;
use super::retries::Copies;
use crate::history::Id;

/// A replica's log: headers of entries and fillers in their order, with their checksums, which cover the payloads too.
#[derive(Debug, PartialEq, Eq)]
pub struct Log {
    /// In their order.
    pub frames: Vec<Header>,
}

/// What queues hold, from offset 0 on.
pub type Contents = BTreeMap<MessageQueue, Vec<Id>>;

impl Log {
    /// Reads the log of the store at `path`: what is sound of it. Errors: what is not.
    pub fn read(path: &Path, violations: &mut Violations) -> anyhow::Result<Self> {
        let dir = DiskDir::open_to_inspect(path.join("commitlog"))?;
        let mut frames: Vec<Header> = Vec::new();
        let mut last: Option<Header> = None;
        for base in inspect::segments(&dir)? {
            for item in inspect::items(&dir, base, segment_bytes(&dir)?)? {
                match item? {
                    Item::Frame(header) => {
                        if let Some(last) = last {
                            if header.id.index != last.id.index + 1 {
                                violations
                                    .add(format!("I15: {header:?} follows {last:?} in {}", path.display()));
                            }
                            if header.id.term < last.id.term {
                                violations
                                    .add(format!("I12: {header:?} follows {last:?} in {}", path.display()));
                            }
                        }
                        last = Some(header);
                        frames.push(header);
                    }
                    Item::Filler(header) => frames.push(header),
                    Item::End { .. } => {}
                    bad @ Item::Bad { .. } => violations.add(format!("I15: {bad:?} in {}", path.display())),
                }
            }
        }
        Ok(Self { frames })
    }

    /// The physical offset of its first frame.
    pub fn start(&self) -> u64 {
        self.frames.first().map_or(0, |header| header.physical_offset)
    }

    /// The part from a physical offset on, up to an entry.
    fn from(&self, start: u64, index: u64) -> &[Header] {
        let start = self.frames.partition_point(|header| header.physical_offset < start);
        let end = self.frames.partition_point(|header| header.id.index <= index);
        &self.frames[start.min(end)..end]
    }

    /// The term of the entry that a physical offset is in. `None` if there is no such place.
    pub fn term_at(&self, physical_offset: u64) -> Option<u64> {
        let after = self.frames.partition_point(|header| header.physical_offset <= physical_offset);
        self.frames.get(after.checked_sub(1)?).map(|header| header.id.term)
    }

    /// Index of the last entry.
    pub fn last_index(&self) -> u64 {
        self.frames.last().map_or(0, |header| header.id.index)
    }

    /// How many segments are closed.
    pub fn sealed_segments(&self) -> usize {
        self.frames.iter().filter(|header| header.kind == FILLER).count()
    }
}

/// That the logs of all replicas are the same up to an entry, from where the last one begins: each lets go of what is old
/// by itself.
pub fn same(logs: &[Log], index: u64, violations: &mut Violations) {
    let Some((first, others)) = logs.split_first() else { return };
    let start = logs.iter().map(Log::start).max().unwrap_or(0);
    for (number, log) in (2..).zip(others) {
        let (ours, theirs) = (first.from(start, index), log.from(start, index));
        if log.last_index() < index {
            violations.add(format!("I15: replica {number} has {} entries of {index}", log.last_index()));
        }
        let differs = ours.iter().zip(theirs).find(|(ours, theirs)| ours != theirs);
        if let Some((ours, theirs)) = differs {
            violations.add(format!("I3: replica 1 has {ours:?} where replica {number} has {theirs:?}"));
        } else if ours.len() != theirs.len() {
            let lens = [ours.len(), theirs.len()];
            violations.add(format!("I15: replicas 1 and {number} have {lens:?} frames up to {index}"));
        }
    }
}

/// What is looked for in a log.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Whose messages; of all queues of each topic.
    pub queues: &'a [MessageQueue],
    /// The topic of delayed messages.
    pub delayed: &'a str,
    /// The group that gives messages back.
    pub gives_back: &'a str,
}

/// What a log holds of it.
#[derive(Debug, Default)]
pub struct Stored {
    /// Messages.
    pub contents: Contents,
    /// Delayed ones.
    pub delays: Delays,
    /// What was given back.
    pub copies: Copies,
}

/// What became of delayed messages of one topic, in the order of the log. Times are in milliseconds, by the leaders' clocks.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// Those that wait, or have waited, and when each is due.
    pub scheduled: Vec<(Id, i64)>,
    /// Those that were delivered, and when.
    pub delivered: Vec<(Id, i64)>,
}

/// Where the whole of a log is to be read.
#[derive(Clone, Copy, Debug)]
pub struct Whole<'a> {
    /// The store of a replica.
    pub store: &'a Path,
    /// Copies of the segments that it has no more. Without them, what is left is the whole.
    pub archive: Option<&'a Path>,
}

impl<'a> From<&'a Path> for Whole<'a> {
    fn from(store: &'a Path) -> Self {
        Self { store, archive: None }
    }
}

/// What a log has of what is wanted, up to an entry. Checks that offsets are dense, and that one replica stored all messages of
/// a term.
pub fn stored(
    whole: Whole<'_>,
    wanted: Wanted<'_>,
    up_to: u64,
    violations: &mut Violations,
) -> anyhow::Result<Stored> {
    let Wanted { queues, delayed, gives_back } = wanted;
    let (retry_topic, dead_topic) = (names::retry_topic(gives_back), names::dlq_topic(gives_back));
    let mut found = Stored {
        contents: queues.iter().map(|queue| (queue.clone(), Vec::new())).collect(),
        ..Stored::default()
    };
    let mut leaders: BTreeMap<u64, SocketAddr> = BTreeMap::new();
    each_message(whole, up_to, |header, stored, message| {
        let leader = *leaders.entry(header.id.term).or_insert(message.store_host);
        if leader != message.store_host {
            let other = message.store_host;
            violations.add(format!("I12: {leader} and {other} stored messages in term {}", header.id.term));
        }
        let is_its =
            |queue: &&MessageQueue| *queue.topic == *message.topic && queue.queue_id == message.queue_id;
        if let Some(queue) = queues.iter().find(is_its) {
            take(found.contents.entry(queue.clone()).or_default(), message, violations);
            return;
        }
        if queues.iter().any(|queue| *queue.topic == *message.topic) {
            violations.add(format!("I2: a message lies in queue {}, which nobody made", message.queue_id));
        }
        let waits_for = match message.topic {
            SCHEDULE_TOPIC => properties::get(message.properties, property::REAL_TOPIC),
            _ => None,
        };
        let topic = waits_for.unwrap_or(message.topic);
        if ![delayed, retry_topic.as_str(), dead_topic.as_str()].contains(&topic) {
            return;
        }
        let id = match Id::of(message.body) {
            Ok(id) => id,
            Err(what) => return violations.add(format!("I2: {what} is in {}, for {topic}", message.topic)),
        };
        let failed = (id, u32::try_from(message.reconsume_times).unwrap_or(u32::MAX));
        let Copies { waiting, again, dead } = &mut found.copies;
        match waits_for {
            Some(topic) if topic == delayed => found.delays.scheduled.push((id, stored.tags_code)),
            None if topic == delayed => found.delays.delivered.push((id, message.store_timestamp)),
            Some(_) => *waiting.entry(failed).or_default() += 1,
            None if topic == retry_topic => *again.entry(failed).or_default() += 1,
            None => *dead.entry(failed).or_default() += 1,
        }
    })?;
    Ok(found)
}

/// Shows each message of a log, up to an entry.
fn each_message(
    Whole { store, archive }: Whole<'_>,
    up_to: u64,
    mut show: impl FnMut(&Header, &entry::Stored, &StoredMessage<'_>),
) -> anyhow::Result<()> {
    let store = DiskDir::open_to_inspect(store.join("commitlog"))?;
    let segment_bytes = segment_bytes(&store)?;
    let mut segments: Vec<(u64, &DiskDir)> =
        inspect::segments(&store)?.into_iter().map(|base| (base, &store)).collect();
    let first = segments.first().map_or(0, |(base, _)| *base);
    let archive = archive.map(DiskDir::open_to_inspect).transpose()?;
    if let Some(archive) = &archive {
        let gone = inspect::segments(archive)?.into_iter().filter(|base| *base < first);
        segments.splice(..0, gone.map(|base| (base, archive)));
    }
    // Where nobody kept what is gone, who asks knows that it was none of what is wanted.
    let begin = if archive.is_some() { 0 } else { first };
    for ((base, dir), expected) in segments.into_iter().zip((begin..).step_by(segment_bytes as usize)) {
        ensure!(base == expected, "the segment at {expected} is nowhere, the next one is at {base}");
        let mut items = inspect::items(dir, base, segment_bytes)?;
        while let Some(item) = items.next() {
            let Item::Frame(header) = item? else { continue };
            if frame_kind(header.kind) != Some(FrameKind::Proposal) || up_to < header.id.index {
                continue;
            }
            let payload = Bytes::from(items.payload(&header)?);
            let entry = Entry::parse(&payload).with_context(|| format!("entry {}", header.id))?;
            for stored in entry.stored() {
                let stored = stored?;
                let bytes = &payload[stored.at as usize..][..stored.bytes as usize];
                let message = StoredMessage::parse(bytes).with_context(|| format!("entry {}", header.id))?;
                show(&header, &stored, &message);
            }
        }
    }
    Ok(())
}

fn take(queue: &mut Vec<Id>, message: &StoredMessage<'_>, violations: &mut Violations) {
    let (queue_id, offset) = (message.queue_id, message.queue_offset);
    if u64::try_from(offset) != Ok(queue.len() as u64) {
        violations.add(format!("I4: offset {offset} of queue {queue_id} follows {} messages", queue.len()));
    }
    match Id::of(message.body) {
        Ok(id) => queue.push(id),
        Err(what) => {
            violations.add(format!("I2: {what} at {offset} of queue {queue_id}"));
            queue.push(Id { client: u32::MAX, seq: u32::MAX });
        }
    }
}

fn segment_bytes(dir: &DiskDir) -> anyhow::Result<u64> {
    let slots = inspect::marks(dir)?;
    let sound = slots.iter().filter_map(|slot| match slot {
        Slot::Sound(generation, mark) => Some((*generation, *mark)),
        Slot::Bad | Slot::Later(_) => None,
    });
    let newest = sound.max_by_key(|(generation, _)| *generation);
    let Some((_, mark)) = newest else { bail!("the log has no mark that can be read") };
    ensure!(mark.segment_bytes > 0, "the log's mark names no segment size");
    Ok(mark.segment_bytes)
}

#[cfg(test)]
mod tests {
    use trireme_commitlog::LogId;

    use super::*;

    /// Frames of 100 bytes, from the entry `first` on, with these checksums.
    fn log(first: u64, crcs: &[u32]) -> Log {
        let frame = |(index, crc): (u64, &u32)| Header {
            kind: 1,
            length: 60,
            crc: *crc,
            id: LogId { term: 1, index },
            physical_offset: 100 * index,
        };
        Log { frames: (first..).zip(crcs).map(frame).collect() }
    }

    fn broken(logs: &[Log], index: u64) -> Vec<String> {
        let mut violations = Violations::default();
        same(logs, index, &mut violations);
        violations.told.iter().map(|told| told[..2].to_owned()).collect()
    }

    /// Replicas let go of what is old each by itself; what all of them have must be the same.
    #[test]
    fn logs_are_compared_where_all_have_them() {
        let none: [&str; 0] = [];
        assert_eq!(broken(&[log(0, &[1, 2, 3, 4]), log(2, &[3, 4]), log(1, &[2, 3, 4])], 3), none);
        assert_eq!(broken(&[log(0, &[1, 2, 3, 4]), log(1, &[2, 3, 5])], 2), none, "not committed");
        assert_eq!(broken(&[log(0, &[1, 2, 3, 4]), log(1, &[2, 7, 4])], 3), ["I3"]);
        assert_eq!(broken(&[log(2, &[3, 4]), log(0, &[1, 2, 9, 4])], 3), ["I3"]);
        assert_eq!(broken(&[log(0, &[1, 2, 3, 4]), log(1, &[2, 3])], 3), ["I1", "I1"], "one is shorter");
    }
}
