//! Records in words.

use std::fmt::{self, Display, Formatter};

use trireme_broker::command::Command;
use trireme_broker::features::locks::Locking;
use trireme_broker::features::witness::Seen;

use super::record::{
    Carries, Checkpoint, Damage, Frame, Hard, Id, Mark, Members, Message, Part, Queue, Record, Segment,
    SegmentIs, Store, Topic, Vote,
};
use super::time::Utc;

impl Display for Record {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(store) => store.fmt(f),
            Self::Mark(mark) => mark.fmt(f),
            Self::Segment(segment) => segment.fmt(f),
            Self::Frame(frame) => frame.fmt(f),
            Self::Command(command) => write!(f, "  command: {}", InWords(&command.command)),
            Self::Message(message) => message.fmt(f),
            Self::Tail(tail) => write!(f, "tail {}..{}: {}", tail.from, tail.to, tail.reason),
            Self::Hard(hard) => hard.fmt(f),
            Self::Topic(topic) => topic.fmt(f),
            Self::Group(group) => {
                let settings = &group.settings;
                write!(f, "group {}: {} retries", group.group, settings.retry_max_times)?;
                f.write_str(if settings.consume_enable { "" } else { ", may not consume" })?;
                f.write_str(if settings.consume_orderly { ", ordered" } else { "" })
            }
            Self::Offset(offset) => {
                write!(
                    f,
                    "offset of group {} in {}/{}: {}",
                    offset.group, offset.topic, offset.queue, offset.next
                )
            }
            Self::Delay(delay) => write!(f, "delay level {} delivered up to {}", delay.level, delay.next),
            Self::Queue(queue) => queue.fmt(f),
            Self::Unit(unit) => write!(
                f,
                "  unit {}/{} {}: {} bytes at {}, tags code {}",
                name(unit.topic.as_deref(), unit.topic_id),
                unit.queue,
                unit.queue_offset,
                unit.bytes,
                unit.physical_offset,
                unit.tags_code,
            ),
            Self::Checkpoint(checkpoint) => checkpoint.fmt(f),
            Self::Note(note) => write!(f, "note: {}", note.text),
            Self::Damage(damage) => damage.fmt(f),
        }
    }
}

impl Display for Id {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.term, self.index)
    }
}

/// A value, or that there is none.
struct Or<'a, T>(&'a Option<T>, &'static str);

impl<T: Display> Display for Or<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str(self.1),
        }
    }
}

/// A topic's name, or its number where the name is not known.
fn name(topic: Option<&str>, id: u32) -> String {
    topic.map_or_else(|| format!("topic number {id}"), str::to_owned)
}

impl Display for Store {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "store {}", self.path.display())?;
        match self.in_use_by {
            Some(pid) => {
                write!(f, ", in use by process {pid}: what follows may change while it is looked at")
            }
            None => Ok(()),
        }
    }
}

impl Display for Mark {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "mark {}: synced up to {} (offset {}), trimmed up to {} (log begins at {}), segments of {} bytes",
            self.generation,
            Or(&self.synced, "nothing"),
            self.synced_end,
            Or(&self.trimmed, "nothing"),
            self.base,
            self.segment_bytes,
        )?;
        f.write_str(if self.resetting { ", a reset is under way" } else { "" })
    }
}

impl Display for Segment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.first_physical_offset, self.next_physical_offset);
        write!(f, "segment {from}: ")?;
        match self.is {
            SegmentIs::Sealed => write!(f, "sealed")?,
            SegmentIs::Active => write!(f, "active")?,
            SegmentIs::Prepared => return write!(f, "prepared, nothing written yet"),
            SegmentIs::Trimmed => return write!(f, "trimmed, its file is going to be removed"),
            SegmentIs::Unreadable => write!(f, "no frame can be read")?,
        }
        if let (Some(first), Some(last)) = (self.first, self.last) {
            write!(f, ", entries {first} to {last}, {} frames, {} bytes to {to}", self.frames, to - from)?;
        }
        match self.damaged_bytes {
            0 => Ok(()),
            bytes => write!(f, ", {bytes} BYTES DAMAGED"),
        }
    }
}

impl Display for Frame {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "frame {} at {}, {} bytes, checksum right: ",
            self.log_id, self.physical_offset, self.bytes
        )?;
        match &self.carries {
            Carries::Blank => write!(f, "a new leader's first entry"),
            Carries::Membership(members) => write!(f, "members {members}"),
            Carries::Proposal => write!(f, "{} commands, {} messages", self.commands, self.messages),
        }
    }
}

impl Display for Message {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "  message {}/{} {}: {} bytes at {}, body {}, stored {}",
            self.topic,
            self.queue,
            self.queue_offset,
            self.bytes,
            self.physical_offset,
            self.body_bytes,
            Utc(self.stored_ms),
        )?;
        for (what, value) in [("tags", &self.tags), ("keys", &self.keys), ("id", &self.unique_key)] {
            if let Some(value) = value {
                write!(f, ", {what} {value}")?;
            }
        }
        match self.reconsume_times {
            0 => Ok(()),
            times => write!(f, ", consumed in vain {times} times"),
        }
    }
}

impl Display for Hard {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "hard state of node {} of group {} in cluster {}: store {}, segments of {} bytes, layout {}\n  vote: {}\n  \
             committed at least: {}\n  members since {}: {}\n  state saved at {}: {} topics, {} groups, {} queues, last \
             stored {}",
            self.node,
            self.group,
            self.cluster,
            self.store_id,
            self.segment_bytes,
            self.layout_version,
            Or(&self.vote, "none"),
            Or(&self.committed, "nothing"),
            Or(&self.members_since, "nothing"),
            self.members,
            Or(&self.state, "nothing"),
            self.topics,
            self.groups,
            self.queues,
            Utc(self.last_store_ms),
        )
    }
}

impl Display for Vote {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let certain = if self.committed { ", which leads it" } else { "" };
        write!(f, "term {} for node {}{certain}", self.term, self.node)
    }
}

impl Display for Members {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.members.is_empty() {
            return f.write_str("none");
        }
        for (nth, (node, member)) in self.members.iter().enumerate() {
            let separator = if nth == 0 { "" } else { ", " };
            let learns = if self.voters.iter().any(|set| set.contains(node)) { "" } else { " (learner)" };
            write!(f, "{separator}{node}={}{learns}", member.peer_addr)?;
        }
        match self.voters.len() {
            0 | 1 => Ok(()),
            _ => write!(f, ", changing from voters {:?}", self.voters),
        }
    }
}

impl Display for Topic {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "topic {} (number {}): {} read and {} write queues, perm {}",
            self.topic, self.topic_id, self.read_queues, self.write_queues, self.perm
        )?;
        f.write_str(if self.order { ", ordered" } else { "" })?;
        self.attributes.iter().try_for_each(|(key, value)| write!(f, ", {key}={value}"))
    }
}

impl Display for Queue {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "queue {}/{}: {}..{} in {} files of {} bytes",
            name(self.topic.as_deref(), self.topic_id),
            self.queue,
            self.min,
            self.next,
            self.files,
            self.bytes,
        )?;
        match self.saved {
            Some((min, next)) => write!(f, ", saved as {min}..{next}")?,
            None => write!(f, ", not in the saved state")?,
        }
        match self.bad {
            0 => Ok(()),
            bad => write!(f, ", {bad} BAD UNITS"),
        }
    }
}

impl Display for Checkpoint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "checkpoint at {}, up to {}: {} topics, {} groups, {} positions, {} queues with {} messages, {} bytes, \
             members {}",
            self.physical_offset,
            self.log_id,
            self.topics,
            self.groups,
            self.offsets,
            self.queues,
            self.messages,
            self.state_bytes,
            self.members,
        )
    }
}

impl Display for Damage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (part, unit) = match self.part {
            Part::Mark => ("synced mark", "bytes"),
            Part::CommitLog => ("commit log", "physical offsets"),
            Part::HardState => ("hard state", "bytes"),
            Part::ConsumeQueue => ("ConsumeQueue", "queue offsets"),
            Part::Checkpoint => ("checkpoint", "bytes"),
        };
        write!(f, "DAMAGE in the {part} {}", self.path.display())?;
        if let Some((from, to)) = self.range {
            write!(f, ", {unit} {from}..{to}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// A command of the log.
struct InWords<'a>(&'a Command);

impl Display for InWords<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Command::PutTopic(put) => {
                let unless = if put.only_if_missing { " unless it is there" } else { "" };
                write!(
                    f,
                    "put topic {} with {} read and {} write queues, perm {}{unless}",
                    put.name, put.read_queues, put.write_queues, put.perm
                )
            }
            Command::DeleteTopic(delete) => write!(f, "delete topic {}", delete.name),
            Command::PutGroup(put) => {
                let unless = if put.only_if_missing { " unless it is there" } else { "" };
                write!(f, "put group {} with {} retries{unless}", put.name, put.group.retry_max_times)
            }
            Command::DeleteGroup(delete) => {
                let also = if delete.forget_offsets { " and its positions" } else { "" };
                write!(f, "delete group {}{also}", delete.name)
            }
            Command::CommitOffsets(commit) => {
                write!(f, "commit positions")?;
                for (nth, at) in commit.positions.iter().enumerate() {
                    let separator = if nth == 0 { " " } else { ", " };
                    write!(f, "{separator}{} in {}/{}: {}", at.group, at.topic, at.queue_id, at.next)?;
                }
                Ok(())
            }
            Command::AdvanceDelay(advance) => write!(
                f,
                "delay level {} delivered {}..{}",
                u64::from(advance.queue_id) + 1,
                advance.from,
                advance.next
            ),
            Command::RaiseVersion(raise) => write!(f, "raise the format version to {}", raise.version),
            Command::Witness(witness) => {
                write!(f, "witness")?;
                for (nth, Seen { node, term, index, .. }) in witness.seen.iter().enumerate() {
                    let separator = if nth == 0 { " " } else { ", " };
                    write!(f, "{separator}node {node} has {term}-{index} on disk")?;
                }
                Ok(())
            }
            Command::Lock(locking) => write_locking(f, "takes", locking),
            Command::Unlock(locking) => write_locking(f, "gives back", locking),
        }
    }
}

fn write_locking(f: &mut fmt::Formatter<'_>, does: &str, locking: &Locking) -> fmt::Result {
    let Locking { group, client_id, queues } = locking;
    write!(f, "{client_id} of {group} {does}")?;
    for (nth, (topic, ids)) in queues.iter().enumerate() {
        let separator = if nth == 0 { " " } else { ", " };
        write!(f, "{separator}queues {ids:?} of {topic}")?;
    }
    Ok(())
}
