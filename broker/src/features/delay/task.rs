//! Delivers what is due, on the leader.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use trireme_planted::{self as planted, Defect};
use trireme_remoting::message::{MessageError, StoredMessage, StoredMessageFields, tags_code};

use super::{AdvanceDelay, draft};
use crate::command::Command;
use crate::features::scrub;
use crate::features::send::scan;
use crate::names;
use crate::queues::consume::QueueId;
use crate::replica::Shared;
use crate::sequencer::Submission;

/// How often the levels are looked at. The shortest delay is one second.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Messages delivered by one entry.
const AT_ONCE: usize = 128;
/// Bytes delivered by one entry; one message is delivered however large. More would not fit in an entry.
const BYTES_AT_ONCE: usize = 1024 * 1024;

/// Delivers due messages while this replica leads, until it is aborted.
pub async fn run(shared: Arc<Shared>) {
    let mut leadership = shared.node.leadership();
    loop {
        let ready = leadership.wait_for(|now| now.ready).await.map(|now| now.term);
        let Ok(term) = ready else { return };
        let Some(topic_id) = shared.state.read().topics.get(names::SCHEDULE_TOPIC).map(|topic| topic.id)
        else {
            return tracing::error!("the schedule topic is missing: delayed messages are not delivered");
        };
        for level in 0..draft::LEVELS.len() {
            let queue_id = u32::try_from(level).expect("there are 18 levels");
            while deliver(&shared, term, QueueId { topic_id, queue_id }).await {}
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Delivers a level's next due messages by one entry. Whether there may be more.
///
/// Where the level stands was read while `term` was led: all earlier terms' deliveries are applied, and in
/// this term nobody else delivers. In another term it may stand elsewhere, so the entry may not enter that.
async fn deliver(shared: &Arc<Shared>, term: u64, queue: QueueId) -> bool {
    let stands = shared.state.read().delay.next(queue.queue_id);
    let from = stands.max(shared.queues.min_queue_offset(queue));
    if from >= shared.queues.next_queue_offset(queue) {
        return false;
    }
    let from = match planted::is(Defect::DelayedTwice) {
        true => from.saturating_sub(1),
        false => from,
    };
    // Who was delayed for long may not be in memory any more, and this thread has producers to answer.
    let asked = shared.clone();
    let due = trireme_runtime::blocking(move || due(&asked, queue, from)).await;
    let due = match due.map_err(|error| error.to_string()).flatten() {
        Ok(due) => due,
        Err(error) => {
            tracing::error!(%queue, %error, "a delay queue cannot be read");
            return false;
        }
    };
    if due.is_empty() {
        return false;
    }
    let next = from + due.len() as u64;
    let command = AdvanceDelay { queue_id: queue.queue_id, from: stands, next };
    let delivered = shared.sequencer.propose_in(term, |submission| {
        submission.command(Command::AdvanceDelay(command));
        due.iter().try_for_each(|message| deliver_one(shared, message, submission))
    });
    match delivered.await {
        // The next one may be due as well; if it is not, that costs a look.
        Ok(_) => true,
        Err(error) => {
            // Nothing of it happened, or all of it: whoever leads goes on from what is applied.
            tracing::info!(%queue, %error, "delayed messages were not delivered now");
            false
        }
    }
}

/// The messages from `from` on, as far as they are due and fit in one entry. One that cannot be read ends them: it is
/// tried again, for to pass over it would lose it. Waits for the disk.
fn due(shared: &Shared, queue: QueueId, from: u64) -> Result<Vec<Bytes>, String> {
    let mut units = Vec::new();
    scrub::units(shared, queue, from, AT_ONCE, &mut units).map_err(|error| error.to_string())?;
    let (now, log) = (shared.clock.now_ms(), shared.node.log());
    let mut messages = Vec::new();
    let mut bytes = 0;
    for unit in units.iter().take_while(|unit| draft::is_due(queue.queue_id, unit.tags_code, now)) {
        bytes += unit.size as usize;
        if bytes > BYTES_AT_ONCE && !messages.is_empty() {
            break;
        }
        let (physical_offset, size) = (unit.physical_offset, unit.size);
        match scrub::load(shared, physical_offset, size).and_then(|()| log.slice(physical_offset, size)) {
            Ok(message) => messages.push(message),
            Err(error) => {
                tracing::error!(physical_offset, %error, "a delayed message cannot be read; trying again");
                break;
            }
        }
    }
    Ok(messages)
}

fn deliver_one(shared: &Shared, bytes: &[u8], submission: &mut Submission<'_>) -> Result<(), MessageError> {
    let message = StoredMessage::parse(bytes)?;
    let Some((topic, queue_id)) = draft::destination(&message) else { return Ok(()) };
    let Some((topic_id, queues)) =
        shared.state.read().topics.get(topic).map(|topic| (topic.id, topic.queues()))
    else {
        tracing::warn!(topic, "a delayed message is dropped: its topic was deleted");
        return Ok(());
    };
    let last = i32::try_from(queues).unwrap_or(i32::MAX) - 1;
    let fields = StoredMessageFields {
        topic,
        // The topic may have shrunk meanwhile.
        queue_id: queue_id.clamp(0, last.max(0)),
        store_host: shared.config.broker_addr(),
        ..StoredMessageFields::from(message)
    };
    let seen = scan(fields.properties);
    submission.message(topic_id, tags_code(seen.tags), seen.message_keys(), &fields, "")
}
