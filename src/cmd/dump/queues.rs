//! ConsumeQueues: their bounds, and every record checked.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use trireme_broker::queues::consume::inspect::{self, ChunkFile, Record as Found};
use trireme_broker::queues::consume::{QueueId, Unit};

use super::entries::Filter;
use super::hard::Saved;
use super::out::Out;
use super::range::Range;
use super::record::{self, Part, Record};

/// What is asked of the ConsumeQueues, and what is known of them.
pub struct What<'a> {
    pub filter: &'a Filter,
    /// Write the units of these queue offsets, one by one.
    pub units: Option<Range>,
    /// The hard state, if it can be read.
    pub saved: Option<&'a Saved>,
    /// Where the commit log begins.
    pub log_begins: u64,
}

/// Writes what is asked of the ConsumeQueues below `path`.
pub fn dump(path: &Path, what: &What<'_>, out: &mut Out<'_>) -> io::Result<()> {
    if !path.exists() {
        return out.note(format!("there are no ConsumeQueues in {}", path.display()));
    }
    let files = match inspect::queues(path) {
        Ok(files) => files,
        Err(error) => return out.damage(Part::ConsumeQueue, path, None, error),
    };
    let saved: BTreeMap<QueueId, (u64, u64)> = what
        .saved
        .into_iter()
        .flat_map(|saved| &saved.queues)
        .map(|position| (position.queue, (position.min_queue_offset, position.next_queue_offset)))
        .collect();
    let empty = |queue: &QueueId| saved.get(queue).is_none_or(|(min, next)| min == next);
    let all: BTreeSet<QueueId> =
        files.keys().copied().chain(saved.keys().copied().filter(|queue| !empty(queue))).collect();
    for queue in all {
        let topic = what.saved.and_then(|saved| saved.topics.get(&queue.topic_id).cloned());
        let wanted_topic = what.filter.topic.as_ref().is_none_or(|wanted| Some(wanted) == topic.as_ref());
        if !wanted_topic || what.filter.queue.is_some_and(|wanted| wanted != queue.queue_id) {
            continue;
        }
        let chunks = files.get(&queue).map_or(&[][..], Vec::as_slice);
        Walk::new(queue, topic, saved.get(&queue).copied(), path, what).run(chunks, out)?;
    }
    Ok(())
}

/// One queue, while its files are walked.
struct Walk<'a> {
    queue: QueueId,
    topic: Option<String>,
    saved: Option<(u64, u64)>,
    path: &'a Path,
    what: &'a What<'a>,
    /// Records from here on were never promised to be there.
    promised: u64,
    /// The next queue offset that must be there, once one was.
    next: Option<u64>,
    min: Option<u64>,
    last_physical_offset: Option<u64>,
    /// Queue offsets that are not as written, while they follow one another.
    run: Option<(u64, u64)>,
    bad: u64,
}

impl<'a> Walk<'a> {
    fn new(
        queue: QueueId,
        topic: Option<String>,
        saved: Option<(u64, u64)>,
        path: &'a Path,
        what: &'a What<'a>,
    ) -> Self {
        let promised = match (what.saved, saved) {
            (Some(_), Some((_, next))) => next,
            // Made after the state was saved: the next start removes it and makes it anew.
            (Some(_), None) => 0,
            (None, _) => u64::MAX,
        };
        let (next, min, last_physical_offset, run) = (None, None, None, None);
        Self { queue, topic, saved, path, what, promised, next, min, last_physical_offset, run, bad: 0 }
    }

    fn run(mut self, chunks: &[ChunkFile], out: &mut Out<'_>) -> io::Result<()> {
        for chunk in chunks {
            if let Err(error) = self.chunk(chunk, out)? {
                match error.kind() {
                    io::ErrorKind::NotFound => {
                        out.note(format!("{} went away while it was looked at", chunk.path.display()))?;
                    }
                    _ => {
                        out.damage(Part::ConsumeQueue, &chunk.path, None, format!("cannot be read: {error}"))?
                    }
                }
            }
        }
        let (min, end) = self.saved.unwrap_or_default();
        let there = self.next.unwrap_or(min);
        if there < end {
            self.wrong(there, end);
        }
        // What nothing sound follows, where nothing is known of what must be there, is a torn end.
        if self.what.saved.is_some() {
            self.end_run(out)?;
        }
        out.put(&Record::Queue(record::Queue {
            topic: self.topic,
            topic_id: self.queue.topic_id,
            queue: self.queue.queue_id,
            min: self.min.or(self.next).unwrap_or(min),
            next: self.next.unwrap_or(min),
            saved: self.saved,
            files: chunks.len(),
            bytes: chunks.iter().map(|chunk| chunk.bytes).sum(),
            bad: self.bad,
        }))
    }

    /// The outer error is of writing, the inner one of reading.
    fn chunk(&mut self, chunk: &ChunkFile, out: &mut Out<'_>) -> io::Result<io::Result<()>> {
        let records = match inspect::records(self.queue, chunk) {
            Ok(records) => records,
            Err(error) => return Ok(Err(error)),
        };
        for record in records {
            match record {
                Ok((at, Found::Unit(unit))) => self.unit(at, unit, out)?,
                // Before its first unit a queue's file has a hole: it began later.
                Ok((_, Found::Hole)) if self.next.is_none() && self.saved.is_none() => {}
                Ok((at, Found::Hole | Found::Bad)) => self.wrong(at, at + 1),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    fn unit(&mut self, at: u64, unit: Unit, out: &mut Out<'_>) -> io::Result<()> {
        let first = self.saved.map_or(at, |(min, _)| min);
        let due = self.next.unwrap_or(first);
        // A head that is missing was trimmed if the log now begins behind this unit's message.
        let trimmed = self.next.is_none() && unit.physical_offset < self.what.log_begins;
        if due < at && !trimmed && self.run.is_none_or(|(_, to)| to < at) {
            self.wrong(due, at);
        }
        if self.last_physical_offset.is_some_and(|last| unit.physical_offset <= last) {
            self.wrong(at, at + 1);
            return Ok(());
        }
        self.end_run(out)?;
        self.next = Some(at + 1);
        self.last_physical_offset = Some(unit.physical_offset);
        if self.what.log_begins <= unit.physical_offset && first <= at {
            self.min.get_or_insert(at);
        }
        if self.what.units.is_some_and(|range| range.contains(at)) {
            out.put(&Record::Unit(record::Unit {
                topic: self.topic.clone(),
                topic_id: self.queue.topic_id,
                queue: self.queue.queue_id,
                queue_offset: at,
                physical_offset: unit.physical_offset,
                bytes: unit.size,
                tags_code: unit.tags_code,
            }))?;
        }
        Ok(())
    }

    /// Takes down that `from..to` are not as they were written, as far as they were promised to be there.
    fn wrong(&mut self, from: u64, to: u64) {
        let from = from.max(self.saved.map_or(0, |(min, _)| min));
        let to = to.min(self.promised);
        if from < to {
            let began = self.run.map_or(from, |(began, _)| began.min(from));
            self.run = Some((began, self.run.map_or(to, |(_, ended)| ended.max(to))));
        }
    }

    fn end_run(&mut self, out: &mut Out<'_>) -> io::Result<()> {
        let Some((from, to)) = self.run.take() else { return Ok(()) };
        self.bad += to - from;
        let name = self.topic.as_deref().unwrap_or("a topic without a name");
        let reason = format!("queue {} ({name}): units are missing or not as they were written", self.queue);
        out.damage(Part::ConsumeQueue, self.path, Some((from, to)), reason)
    }
}
