//! Delivers what is due, on the leader.

use std::sync::Arc;
use std::time::Duration;

use trireme_remoting::message::{StoredMessage, StoredMessageFields, tags_code};

use super::{AdvanceDelay, draft};
use crate::command::Command;
use crate::features::send::scan;
use crate::names;
use crate::queues::consume::{QueueId, Unit};
use crate::replica::Shared;
use crate::sequencer::Submission;

/// How often the levels are looked at. The shortest delay is one second.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Messages delivered by one entry.
const AT_ONCE: usize = 128;

/// Delivers due messages while this replica leads, until it is aborted.
pub async fn run(shared: Arc<Shared>) {
    let mut leadership = shared.node.leadership();
    while leadership.wait_for(|now| now.ready).await.is_ok() {
        let Some(topic_id) = shared.state.read().topics.get(names::SCHEDULE_TOPIC).map(|topic| topic.id)
        else {
            return tracing::error!("the schedule topic is missing: delayed messages are not delivered");
        };
        for level in 0..draft::LEVELS.len() {
            let queue_id = u32::try_from(level).expect("there are 18 levels");
            while deliver(&shared, QueueId { topic_id, queue_id }).await {}
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Delivers a level's next due messages by one entry. Whether there may be more.
async fn deliver(shared: &Arc<Shared>, queue: QueueId) -> bool {
    let from = shared.state.read().delay.next(queue.queue_id).max(shared.queues.min_queue_offset(queue));
    let mut units = Vec::new();
    if let Err(error) = shared.queues.read(queue, from, AT_ONCE, &mut units) {
        tracing::error!(%queue, %error, "a delay queue cannot be read");
        return false;
    }
    let now = shared.clock.now_ms();
    let due = units.iter().take_while(|unit| unit.tags_code <= now).count();
    if due == 0 {
        return false;
    }
    let from_state = shared.state.read().delay.next(queue.queue_id);
    let next = from + due as u64;
    let command = AdvanceDelay { queue_id: queue.queue_id, from: from_state, next };
    let delivered = shared.sequencer.propose_with(|submission| {
        submission.command(Command::AdvanceDelay(command));
        for unit in &units[..due] {
            deliver_one(shared, unit, submission)?;
        }
        Ok(())
    });
    match delivered.await {
        Ok(_) => due == AT_ONCE,
        Err(error) => {
            // Nothing of it happened, or all of it: whoever leads goes on from what is applied.
            tracing::info!(%queue, %error, "delayed messages were not delivered now");
            false
        }
    }
}

fn deliver_one(
    shared: &Shared,
    unit: &Unit,
    submission: &mut Submission<'_>,
) -> Result<(), trireme_remoting::message::MessageError> {
    let bytes = match shared.node.log().slice(unit.physical_offset, unit.size) {
        Ok(bytes) => bytes,
        Err(error) => {
            tracing::error!(physical_offset = unit.physical_offset, %error, "a delayed message cannot be read");
            return Ok(());
        }
    };
    let message = StoredMessage::parse(&bytes)?;
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
    submission.message(topic_id, tags_code(scan(message.properties).tags), &fields, "")
}
