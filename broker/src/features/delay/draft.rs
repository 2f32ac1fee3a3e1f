//! How a delayed message is stored, and what it becomes when it is due.

use trireme_planted::{self as planted, Defect};
use trireme_remoting::message::{StoredMessage, properties, property};

use crate::features::send::scan;
use crate::names;
use crate::replica::Shared;

/// The levels' delays in milliseconds: 1 s to 2 h (RocketMQ `messageDelayLevel`).
pub const LEVELS: [i64; 18] = {
    const S: i64 = 1000;
    const M: i64 = 60 * S;
    const H: i64 = 60 * M;
    [
        S,
        5 * S,
        10 * S,
        30 * S,
        M,
        2 * M,
        3 * M,
        4 * M,
        5 * M,
        6 * M,
        7 * M,
        8 * M,
        9 * M,
        10 * M,
        20 * M,
        30 * M,
        H,
        2 * H,
    ]
};

/// Where a delayed message waits.
pub struct Delayed {
    /// The schedule topic.
    pub topic_id: u32,
    /// Its queue: level - 1.
    pub queue_id: i32,
    /// When it is due, in milliseconds since 1970: its tags code.
    pub due: i64,
    /// Properties that name where it goes then.
    pub suffix: String,
}

/// Places a message for `topic` and `queue_id` that is stored now. A level beyond the last counts as the last.
///
/// It is due by this replica's clock, and not by its store timestamp: once a clock was ahead, the store timestamps of all
/// replicas are, until time has caught up with them.
pub fn place(shared: &Shared, topic: &str, queue_id: i32, level: i32) -> Delayed {
    let level = usize::try_from(level).unwrap_or(1).clamp(1, LEVELS.len());
    let mut suffix = String::new();
    properties::append(&mut suffix, property::REAL_TOPIC, topic);
    properties::append(&mut suffix, property::REAL_QUEUE_ID, &queue_id.to_string());
    let topic_id = shared.state.read().topics.get(names::SCHEDULE_TOPIC).map(|topic| topic.id);
    Delayed {
        topic_id: topic_id.expect("a system topic cannot be deleted"),
        queue_id: i32::try_from(level - 1).expect("there are 18 levels"),
        due: shared.clock.now_ms().saturating_add(LEVELS[level - 1]),
        suffix,
    }
}

/// Whether a message of a level that says that it is due at `due` is to be delivered. Also if that is longer to wait than the
/// level is: then the clock was ahead that it was placed by, and it would keep all behind it waiting. RocketMQ:
/// `ScheduleMessageService.correctDeliverTimestamp`.
pub fn is_due(level_queue: u32, due: i64, now_ms: i64) -> bool {
    let delay = LEVELS.get(level_queue as usize).copied().unwrap_or(i64::MAX);
    if planted::is(Defect::DelayedEarly) && due <= now_ms + 500 {
        return true;
    }
    due <= now_ms || now_ms.saturating_add(delay) < due
}

/// Where a delayed message goes; `None` if it does not say, which no message of ours does.
pub fn destination<'a>(message: &StoredMessage<'a>) -> Option<(&'a str, i32)> {
    let seen = scan(message.properties);
    Some((seen.real_topic?, seen.real_queue?))
}
