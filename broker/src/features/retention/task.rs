//! Looks whether the oldest segment may go, and lets the queues follow the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use trireme_planted::{self as planted, Defect};

use super::clock::RetentionClock;
use super::policy::{Order, Point, Policy, Reason, Situation};
use crate::applier;
use crate::features::scrub;
use crate::names;
use crate::queues::consume::QueueId;
use crate::replica::Shared;

/// How often to look. It costs little while nothing may go.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Segments that go at once.
const AT_ONCE: u64 = 4;
/// Before the next ones do.
const BETWEEN: Duration = Duration::from_millis(200);

/// The replica's retention.
pub struct Retention {
    policy: Policy,
    /// One trims at a time.
    known: Mutex<Known>,
}

struct Known {
    started: Instant,
    clock: Option<RetentionClock>,
    /// The place after the oldest segment, and the start of the log for which that is so.
    next: Option<(u64, Point)>,
    /// The start of the log that the queues have followed to.
    followed: u64,
    /// The delayed message that keeps a segment which may go, by its physical offset: told once.
    told: Option<u64>,
}

/// What an order did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trimmed {
    /// Where the log started.
    pub from: u64,
    /// Where it starts now.
    pub to: u64,
    /// Where the delayed message lies that keeps what else was to go, if one does.
    pub held_by: Option<u64>,
}

impl Retention {
    /// Trims nothing before [`run`] runs, or somebody orders it.
    pub fn new(mut policy: Policy) -> Self {
        if planted::is(Defect::TrimsTooMuch) {
            policy.keep_bytes = policy.keep_bytes.map(|bytes| bytes / 8);
        }
        let known = Known { started: Instant::now(), clock: None, next: None, followed: 0, told: None };
        Self { policy, known: Mutex::new(known) }
    }
}

/// Trims what may go, until it is aborted.
pub async fn run(shared: Arc<Shared>) {
    let mut failure = String::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        loop {
            let mut known = shared.retention.known.lock().await;
            let news = match step(&shared, &mut known).await {
                Ok(true) => {
                    drop(known);
                    tokio::time::sleep(BETWEEN).await;
                    continue;
                }
                Ok(false) => String::new(),
                Err(reason) => reason,
            };
            if news != failure && !news.is_empty() {
                tracing::warn!(reason = %news, "old messages could not be trimmed; trying again");
            }
            failure = news;
            break;
        }
    }
}

/// Trims what an order lets go, of what nothing holds.
pub async fn order(shared: &Arc<Shared>, order: Order) -> Result<Trimmed, String> {
    let mut known = shared.retention.known.lock().await;
    let policy = &shared.retention.policy;
    let order = if order == Order::default() {
        Order { before_ms: Some(policy.expired_before(known.now_ms(shared))), ..order }
    } else {
        order
    };
    let (from, tail) = (shared.node.log().min_physical_offset(), shared.node.log().next_physical_offset());
    let (chosen, held_by) = furthest(shared, from, move |point| order.lets_go(point, tail)).await?;
    if let Some(point) = chosen {
        trim(shared, &mut known, point, Reason::Order).await?;
    }
    Ok(Trimmed { from, to: shared.node.log().min_physical_offset(), held_by })
}

/// Lets the oldest segment go if it may. Whether the next one may as well.
async fn step(shared: &Arc<Shared>, known: &mut Known) -> Result<bool, String> {
    let log = shared.node.log();
    let (start, tail) = (log.min_physical_offset(), log.next_physical_offset());
    let now_ms = known.now_ms(shared);
    if known.followed != start {
        // After a start, or after a checkpoint was installed.
        follow(shared, start).await?;
        known.followed = start;
    }
    let Some(point) = known.next_point(shared, start, tail).await? else { return Ok(false) };
    // What was trimmed before gives its room back little by little.
    let wanted = shared.disk.wanted_bytes().saturating_sub(log.leaving_bytes());
    let situation = Situation { tail, now_ms, is_disk_low: wanted > 0 };
    let Some(reason) = shared.retention.policy.lets_go(&point, &situation) else { return Ok(false) };
    let segment_bytes = shared.config.segment_bytes;
    let end = match reason {
        Reason::Disk => start + wanted.next_multiple_of(segment_bytes),
        // To remove large files keeps a disk busy.
        _ => start + AT_ONCE * segment_bytes,
    };
    let policy = shared.retention.policy;
    let lets_go =
        move |point: &Point| point.physical_offset <= end && policy.lets_go(point, &situation).is_some();
    let (chosen, held_by) = furthest(shared, start, lets_go).await?;
    if held_by.is_some() && chosen.is_none() && known.told != held_by {
        known.told = held_by;
        tracing::info!(%reason, held_by, "old messages are kept until the delayed one among them is delivered");
    }
    let Some(point) = chosen else { return Ok(false) };
    trim(shared, known, point, reason).await?;
    // What that gave the disk shows when it is looked at next.
    Ok(reason != Reason::Disk)
}

/// The last place up to which all may go and nothing has to stay; and the physical offset of the delayed message that keeps
/// more from going, if one does.
async fn furthest(
    shared: &Arc<Shared>,
    start: u64,
    lets_go: impl Fn(&Point) -> bool + Send + 'static,
) -> Result<(Option<Point>, Option<u64>), String> {
    let shared = shared.clone();
    blocking(move || {
        let delayed = oldest_delayed(&shared)?;
        let mut chosen = None;
        for at in points(&shared, start)? {
            // A checkpoint that cannot be read is no place to start from; the next one may be.
            let Ok(Some(point)) = point(&shared, at) else { continue };
            if !lets_go(&point) {
                break;
            }
            if delayed.is_some_and(|delayed| delayed < point.physical_offset) {
                return Ok((chosen, delayed));
            }
            chosen = Some(point);
        }
        Ok((chosen, None))
    })
    .await
}

impl Known {
    fn now_ms(&mut self, shared: &Shared) -> i64 {
        let (wall_ms, uptime) = (shared.clock.now_ms(), self.started.elapsed());
        let clock = self.clock.get_or_insert_with(|| {
            let last_known = shared.state.read().general.last_store_timestamp;
            RetentionClock::new((last_known > 0).then_some(last_known), wall_ms, uptime)
        });
        clock.advance(wall_ms, uptime)
    }

    async fn next_point(
        &mut self,
        shared: &Arc<Shared>,
        start: u64,
        tail: u64,
    ) -> Result<Option<Point>, String> {
        let segment_bytes = shared.config.segment_bytes;
        if tail / segment_bytes <= start / segment_bytes {
            return Ok(None);
        }
        if let Some((of, point)) = self.next
            && of == start
        {
            return Ok(Some(point));
        }
        let asked = shared.clone();
        let found = blocking(move || {
            let readable = |at| match point(&asked, at) {
                Ok(found) => found,
                Err(reason) => {
                    tracing::warn!(%reason, "the log cannot start here; the next place is taken");
                    None
                }
            };
            Ok(points(&asked, start)?.into_iter().find_map(readable))
        });
        let found = found.await?;
        self.next = found.map(|point| (start, point));
        Ok(found)
    }
}

/// Where the oldest delayed message lies that was not delivered yet. Blocks on the disk.
fn oldest_delayed(shared: &Shared) -> Result<Option<u64>, String> {
    let (topic_id, levels) = {
        let state = shared.state.read();
        let Some(topic) = state.topics.get(names::SCHEDULE_TOPIC) else { return Ok(None) };
        let next = |queue_id| (queue_id, state.delay.next(queue_id));
        (topic.id, (0..topic.queues()).map(next).collect::<Vec<_>>())
    };
    let mut units = Vec::new();
    for (queue_id, next) in levels {
        let queue = QueueId { topic_id, queue_id };
        let from = next.max(shared.queues.min_queue_offset(queue));
        scrub::units(shared, queue, from, 1, &mut units).map_err(|error| error.to_string())?;
    }
    Ok(units.iter().map(|unit| unit.physical_offset).min())
}

/// Where the log can be made to start later than at `start`, ascending.
fn points(shared: &Shared, start: u64) -> Result<Vec<u64>, String> {
    let mut points =
        shared.node.trim_points().map_err(|error| format!("cannot list checkpoints: {error}"))?;
    points.retain(|at| start < *at);
    Ok(points)
}

fn point(shared: &Shared, physical_offset: u64) -> Result<Option<Point>, String> {
    let found = shared.node.checkpoint(physical_offset).map_err(|error| error.to_string())?;
    let Some(checkpoint) = found else { return Ok(None) };
    let newest_ms = applier::last_store_timestamp(&checkpoint)
        .map_err(|error| format!("the checkpoint at {physical_offset}: {error}"))?;
    Ok(Some(Point { physical_offset, newest_ms }))
}

async fn trim(shared: &Arc<Shared>, known: &mut Known, point: Point, reason: Reason) -> Result<(), String> {
    let from = shared.node.log().min_physical_offset();
    shared.node.trim(point.physical_offset).await.map_err(|error| error.to_string())?;
    let to = shared.node.log().min_physical_offset();
    known.told = None;
    tracing::info!(%reason, from, to, newest_ms = point.newest_ms, "old messages trimmed");
    follow(shared, to).await?;
    known.followed = to;
    Ok(())
}

/// ConsumeQueues and key index forget what the log has.
async fn follow(shared: &Arc<Shared>, start: u64) -> Result<(), String> {
    let shared = shared.clone();
    blocking(move || {
        let queues = shared.queues.trim(start);
        let keys = shared.keys.trim(start);
        queues.and(keys).map_err(|error| error.to_string())
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    trireme_runtime::blocking(work).await.map_err(|error| error.to_string())?
}
