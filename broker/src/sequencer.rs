//! The sequencer: what all requests of a leader go through on their way into the log.
//!
//! Requests encode their messages straight into the entry that is being gathered, under a short lock.
//! One task takes gathered entries and proposes them, a few at a time under way. Whatever arrives while
//! these are being replicated and synced is the next entry, and an idle broker proposes at once. While
//! entries are under way a small one waits for them, or for a moment: an entry costs as much as a hundred
//! messages in it (`docs/decisions/0010-small-entries.md`).
//!
//! Queue offsets are handed out when an entry is *appended* (`Flight::stamp`), not here: an entry that
//! Raft refuses takes none, so a queue has no gaps. The table they come from belongs to one term; a
//! new leader starts with an empty one, after its own first entry is applied, and falls back on what
//! the ConsumeQueues say.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, Semaphore, oneshot, watch};
use tokio::time::Instant;
use trireme_planted::{self as planted, Defect};
use trireme_raft::LogId;
use trireme_raft::node::{Leadership, Node, Role};
use trireme_raft::proposal::{Committed, Proposal, ProposeError, Refusal};
use trireme_remoting::message::{MessageError, StoredMessageFields};
use trireme_remoting::response;

use crate::clock::Clock;
use crate::command::Command;
use crate::disk::Disk;
use crate::entry::{self, EntryBuilder, Extent, Mark};
use crate::features::send::ProducerReply;
use crate::queues::consume::{ConsumeQueues, QueueId};
use crate::queues::keys::MessageKeys;

/// An entry is closed when it has this many bytes of messages.
const ENTRY_BYTES: usize = 1024 * 1024;
/// An entry is closed when it has this many messages.
const ENTRY_MESSAGES: usize = 1024;
/// An entry is closed when it has this many commands.
const ENTRY_COMMANDS: usize = 1024;
/// Entries under way. More would be smaller, and the cost is per entry.
const IN_FLIGHT: usize = 4;
/// An entry with so many bytes of messages is proposed although others are under way.
const ENOUGH_BYTES: usize = 32 * 1024;
/// A smaller one is too, so long after the last: where the disk or the network is slow, and not the processor.
const PAUSE: Duration = Duration::from_millis(1);
/// Messages that wait to be proposed, in bytes, before more are refused.
const PENDING_BYTES: usize = 64 * 1024 * 1024;
/// What is told by a leader that gave its term up, since no quorum answers.
pub const CUT_OFF: &str = "no quorum answers this replica, which led; another may lead by now";
/// How long a request waits for a leader's first entry of its term before it is refused.
const NO_LEADER_FOR: Duration = Duration::from_secs(3);

/// Why something was not proposed, or was but is not known to be committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Refused before it entered the log: this replica does not lead. It may be tried elsewhere.
    #[error("this replica does not lead its group")]
    NotLeader,
    /// Too much waits already.
    #[error("too many messages wait to be stored ({0} bytes)")]
    Busy(usize),
    /// Too many requests wait already.
    #[error("too many requests wait already ({0})")]
    Waiting(usize),
    /// The disk is full.
    #[error("the disk of the group's leader has no room for more messages")]
    Full,
    /// In the log, but leadership was lost before it was known to be committed.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// The message cannot be encoded.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// Committed, and refused by the state.
    #[error("{reason}")]
    Refused {
        /// RocketMQ response code.
        code: i32,
        /// Why.
        reason: String,
    },
}

impl SubmitError {
    /// The response code for it: protocol sheet 6.4. Never "busy" when another try may succeed
    /// elsewhere: Go clients give up on that code.
    pub fn code(&self) -> i32 {
        match self {
            Self::NotLeader | Self::Full | Self::Busy(_) | Self::Waiting(_) => {
                response::SERVICE_NOT_AVAILABLE
            }
            Self::Unknown(_) => response::SYSTEM_ERROR,
            Self::Message(_) => response::MESSAGE_ILLEGAL,
            Self::Refused { code, .. } => *code,
        }
    }
}

/// A committed and applied submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The entry.
    pub log_id: LogId,
    /// Physical offset of the submission's first message.
    pub physical_offset: u64,
    /// Its queue offset; the others follow it.
    pub queue_offset: u64,
}

/// Who hears of the outcome.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are producers; a box would be an allocation per message"
)]
pub enum Waiter {
    /// A producer's request: answered from where the entry is applied.
    Producer(ProducerReply),
    /// A task of ours.
    Task(oneshot::Sender<Result<Receipt, SubmitError>>),
}

/// Adds one submission to the entry being gathered.
pub struct Submission<'a> {
    builder: &'a mut EntryBuilder,
    scratch: &'a mut String,
    /// When it is stored: not earlier than anything before it.
    pub store_timestamp: i64,
}

impl Submission<'_> {
    /// Encodes a message, which is found by `keys`. `suffix` is appended to its properties, and holds no keys.
    pub fn message(
        &mut self,
        topic_id: u32,
        tags_code: i64,
        keys: MessageKeys<'_>,
        fields: &StoredMessageFields<'_>,
        suffix: &str,
    ) -> Result<(), MessageError> {
        self.scratch.clear();
        self.scratch.push_str(fields.properties);
        if !fields.properties.is_empty() && !fields.properties.ends_with('\u{2}') {
            self.scratch.push('\u{2}');
        }
        self.scratch.push_str(suffix);
        let fields = StoredMessageFields {
            properties: self.scratch,
            store_timestamp: self.store_timestamp,
            ..*fields
        };
        self.builder.message(topic_id, tags_code, keys, &fields)
    }

    /// Adds a command.
    pub fn command(&mut self, command: Command) {
        self.builder.command(command);
    }
}

/// Which part of an entry is whose.
struct Share {
    waiter: Waiter,
    messages: std::ops::Range<usize>,
    commands: std::ops::Range<usize>,
}

struct Gathered {
    builder: EntryBuilder,
    shares: Vec<Share>,
}

/// What there is to propose.
enum Next {
    Entry(Gathered),
    /// It may grow.
    Small,
    Nothing,
}

#[derive(Default)]
struct Pending {
    entries: VecDeque<Gathered>,
    bytes: usize,
    scratch: String,
    last_store_timestamp: i64,
    /// How large the entry was that was proposed last.
    last_taken: Extent,
    /// The term that is served; submissions are refused while there is none.
    term: Option<u64>,
}

/// Takes submissions. Cheap to clone.
#[derive(Clone)]
pub struct Sequencer {
    shared: Arc<Shared>,
}

struct Shared {
    pending: Mutex<Pending>,
    arrived: Notify,
    clock: Clock,
}

impl Sequencer {
    /// Takes nothing before [`Sequencer::run`] serves a term.
    pub fn new(clock: Clock) -> Self {
        Self { shared: Arc::new(Shared { pending: Mutex::default(), arrived: Notify::new(), clock }) }
    }

    /// Begins a submission. Holds the lock on the entry being gathered until it is finished or dropped, so
    /// whatever can be prepared before is. Does not wait for anything else.
    pub fn begin(&self) -> Result<Gathering<'_>, SubmitError> {
        self.begin_if(|_term| true)
    }

    fn begin_if(&self, serves: impl FnOnce(u64) -> bool) -> Result<Gathering<'_>, SubmitError> {
        let mut pending = self.shared.pending.lock();
        if !pending.term.is_some_and(serves) {
            return Err(SubmitError::NotLeader);
        }
        if pending.bytes >= PENDING_BYTES {
            return Err(SubmitError::Busy(pending.bytes));
        }
        if pending.entries.back().is_none_or(Gathered::is_full) {
            let next = Gathered::like(pending.last_taken);
            pending.entries.push_back(next);
        }
        let store_timestamp = self.shared.clock.now_ms().max(pending.last_store_timestamp);
        pending.last_store_timestamp = store_timestamp;
        let before = pending.last().builder.mark();
        Ok(Gathering { pending, before, store_timestamp, arrived: &self.shared.arrived, finished: false })
    }

    /// Submits commands and waits until they are applied.
    pub async fn propose(&self, commands: Vec<Command>) -> Result<Receipt, SubmitError> {
        self.propose_with(|submission| {
            commands.into_iter().for_each(|command| submission.command(command));
            Ok(())
        })
        .await
    }

    /// Submits what `add` adds and waits until it is applied.
    pub async fn propose_with(
        &self,
        add: impl FnOnce(&mut Submission<'_>) -> Result<(), MessageError>,
    ) -> Result<Receipt, SubmitError> {
        submit(self.begin(), add)?.await.unwrap_or_else(stopping)
    }

    /// As [`Sequencer::propose_with`], but refused unless `term` is still served: for what follows from
    /// state that was read in that term, and would be wrong after another leader's entries.
    pub async fn propose_in(
        &self,
        term: u64,
        add: impl FnOnce(&mut Submission<'_>) -> Result<(), MessageError>,
    ) -> Result<Receipt, SubmitError> {
        self.submit_in(term, add)?.await
    }

    /// The first half of [`Sequencer::propose_in`]: when it returns, what is submitted later comes later in the log. The
    /// future waits until it is applied.
    pub fn submit_in(
        &self,
        term: u64,
        add: impl FnOnce(&mut Submission<'_>) -> Result<(), MessageError>,
    ) -> Result<Proposed, SubmitError> {
        submit(self.begin_if(|served| served == term), add).map(Proposed)
    }

    /// Serves every term that this replica leads, until `node` stops.
    pub async fn run(
        self,
        node: Node,
        queues: ConsumeQueues,
        disk: Disk,
        last_store_timestamp: impl Fn() -> i64,
    ) {
        let mut leadership = node.leadership();
        loop {
            let ready = leadership.wait_for(|now| now.ready).await.map(|now| now.term);
            let Ok(term) = ready else { return };
            self.open(term, last_store_timestamp());
            let under_way = self.serve(term, &node, &queues, &disk, &mut leadership).await;
            self.close();
            // What is under way has its outcome soon, from this leader or the next; unless nobody can reach it.
            let outcome = |now: &Leadership| now.cut_off || now.role != Role::Leader || now.term != term;
            if leadership.wait_for(outcome).await.is_ok_and(|now| now.cut_off) {
                under_way.iter().for_each(|flight| flight.is_cut_off());
            }
        }
    }

    fn open(&self, term: u64, last_store_timestamp: i64) {
        let mut pending = self.shared.pending.lock();
        pending.term = Some(term);
        pending.last_store_timestamp = last_store_timestamp;
    }

    /// Refuses what was not proposed.
    fn close(&self) {
        let entries = {
            let mut pending = self.shared.pending.lock();
            pending.term = None;
            pending.bytes = 0;
            std::mem::take(&mut pending.entries)
        };
        for share in entries.into_iter().flat_map(|gathered| gathered.shares) {
            share.waiter.tell(Err(SubmitError::NotLeader));
        }
    }

    /// Returns when the term is over for this replica: what is under way then.
    async fn serve(
        &self,
        term: u64,
        node: &Node,
        queues: &ConsumeQueues,
        disk: &Disk,
        leadership: &mut watch::Receiver<Leadership>,
    ) -> VecDeque<Arc<Flight>> {
        let mut under_way: VecDeque<Arc<Flight>> = VecDeque::with_capacity(2 * IN_FLIGHT);
        let offsets = Arc::new(Mutex::new(QueueOffsets { queues: queues.clone(), next: HashMap::new() }));
        let offsets = match planted::is(Defect::OffsetsOfAnOldTerm) {
            true => {
                static OLD: OnceLock<Arc<Mutex<QueueOffsets>>> = OnceLock::new();
                OLD.get_or_init(|| offsets).clone()
            }
            false => offsets,
        };
        let slots = Arc::new(Semaphore::new(IN_FLIGHT));
        let still = |now: &Leadership| now.ready && now.term == term;
        let mut last = Instant::now();
        loop {
            let slot = slots.clone().acquire_owned();
            let slot = tokio::select! {
                slot = slot => slot.expect("the semaphore is never closed"),
                _ = leadership.wait_for(|now| !still(now)) => return under_way,
            };
            let gathered = loop {
                if !still(&leadership.borrow()) {
                    return under_way;
                }
                let alone = slots.available_permits() + 1 == IN_FLIGHT;
                let small = match self.take(alone || PAUSE <= last.elapsed()) {
                    Next::Entry(gathered) => break gathered,
                    Next::Small => true,
                    Next::Nothing => false,
                };
                tokio::select! {
                    () = self.shared.arrived.notified() => {}
                    () = tokio::time::sleep_until(last + PAUSE), if small => {}
                    _ = leadership.wait_for(|now| !still(now)) => return under_way,
                }
            };
            let (frame, marks) = gathered.builder.finish(node.peers().group_version());
            // Its real size: an entry for which there is no room, here or in a message to a peer, would stop
            // the group if it were appended.
            if disk.is_full() || !node.makes_room(frame.payload().len() as u64).await {
                gathered.shares.into_iter().for_each(|share| share.waiter.tell(Err(SubmitError::Full)));
                continue;
            }
            let flight = Arc::new(Flight {
                marks,
                queue_offsets: OnceLock::new(),
                shares: Mutex::new(gathered.shares),
            });
            while under_way.front().is_some_and(|first| first.has_landed()) {
                under_way.pop_front();
            }
            under_way.push_back(flight.clone());
            let stamping = flight.clone();
            let offsets = offsets.clone();
            let stamp = Box::new(move |payload: &mut [u8], at: u64| stamping.stamp(payload, at, &offsets));
            let landed = self.clone();
            last = Instant::now();
            node.propose(term, Proposal::new(frame, stamp), move |result| {
                flight.land(result);
                drop(slot);
                landed.shared.arrived.notify_one();
            })
            .await;
        }
    }

    /// The next entry, unless it is small and `any` is false.
    fn take(&self, any: bool) -> Next {
        let mut pending = self.shared.pending.lock();
        // A submission that failed leaves an entry with nothing in it, for the next one.
        if pending.entries.front().is_none_or(|next| next.shares.is_empty()) {
            return Next::Nothing;
        }
        if !any && pending.bytes < ENOUGH_BYTES {
            return Next::Small;
        }
        let Some(gathered) = pending.entries.pop_front() else { return Next::Nothing };
        pending.last_taken = gathered.builder.mark();
        pending.bytes -= pending.last_taken.bytes.min(pending.bytes);
        Next::Entry(gathered)
    }

    /// How long callers hold a request for a leader to appear.
    pub const fn patience() -> Duration {
        NO_LEADER_FOR
    }
}

/// Fills a submission, and lets go of the lock that it holds. The outcome is told later.
fn submit(
    gathering: Result<Gathering<'_>, SubmitError>,
    add: impl FnOnce(&mut Submission<'_>) -> Result<(), MessageError>,
) -> Result<oneshot::Receiver<Result<Receipt, SubmitError>>, SubmitError> {
    let mut gathering = gathering?;
    gathering.add(add)?;
    let (tx, rx) = oneshot::channel();
    gathering.finish(Waiter::Task(tx));
    Ok(rx)
}

/// What was submitted, and is not applied yet. Dropped, it goes its way all the same.
pub struct Proposed(oneshot::Receiver<Result<Receipt, SubmitError>>);

impl Future for Proposed {
    type Output = Result<Receipt, SubmitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|told| told.unwrap_or_else(stopping))
    }
}

fn stopping<E>(_: E) -> Result<Receipt, SubmitError> {
    Err(SubmitError::Unknown("the replica is stopping".into()))
}

/// A submission under way: all of it becomes part of the entry, or nothing.
pub struct Gathering<'a> {
    pending: MutexGuard<'a, Pending>,
    before: Extent,
    store_timestamp: i64,
    arrived: &'a Notify,
    finished: bool,
}

impl Gathering<'_> {
    /// Encodes what `add` adds.
    pub fn add(
        &mut self,
        add: impl FnOnce(&mut Submission<'_>) -> Result<(), MessageError>,
    ) -> Result<(), SubmitError> {
        let Pending { entries, scratch, .. } = &mut *self.pending;
        let builder = &mut entries.back_mut().expect("begin made sure of one").builder;
        let mut submission = Submission { builder, scratch, store_timestamp: self.store_timestamp };
        Ok(add(&mut submission)?)
    }

    /// Makes it part of the entry. The waiter hears of it, once.
    pub fn finish(mut self, waiter: Waiter) {
        self.finished = true;
        let before = self.before;
        let last = self.pending.last();
        let after = last.builder.mark();
        last.shares.push(Share {
            waiter,
            messages: before.messages..after.messages,
            commands: before.commands..after.commands,
        });
        let waited = self.pending.bytes;
        self.pending.bytes += after.bytes - before.bytes;
        // Of what comes in between, whoever takes entries has heard, and waits for more.
        if waited == 0 || (waited < ENOUGH_BYTES && ENOUGH_BYTES <= self.pending.bytes) {
            self.arrived.notify_one();
        }
    }
}

impl Drop for Gathering<'_> {
    fn drop(&mut self) {
        if !self.finished {
            let before = self.before;
            self.pending.last().builder.rewind(before);
        }
    }
}

impl Pending {
    fn last(&mut self) -> &mut Gathered {
        self.entries.back_mut().expect("called while a submission is under way, which began with one")
    }
}

impl Gathered {
    fn like(extent: Extent) -> Self {
        let shares = Vec::with_capacity(extent.messages + extent.messages / 4);
        Self { builder: EntryBuilder::like(extent), shares }
    }

    fn is_full(&self) -> bool {
        self.builder.message_bytes() >= ENTRY_BYTES
            || self.builder.message_count() >= ENTRY_MESSAGES
            || self.builder.command_count() >= ENTRY_COMMANDS
    }
}

impl Waiter {
    fn tell(self, result: Result<Receipt, SubmitError>) {
        match self {
            Self::Producer(reply) => reply.answer(result, std::iter::empty()),
            // The task may have given up; then nobody misses the answer.
            Self::Task(waiting) => drop(waiting.send(result)),
        }
    }
}

/// The next queue offsets of one term.
struct QueueOffsets {
    queues: ConsumeQueues,
    next: HashMap<QueueId, u64>,
}

impl QueueOffsets {
    /// A queue that this term has not appended to yet has all its messages applied: the leader's first
    /// entry was behind them, and that is applied.
    fn take(&mut self, queue: QueueId) -> u64 {
        let queues = &self.queues;
        let next = self.next.entry(queue).or_insert_with(|| queues.next_queue_offset(queue));
        let taken = *next;
        *next += 1;
        taken
    }
}

/// An entry under way.
struct Flight {
    marks: Vec<Mark>,
    queue_offsets: OnceLock<Vec<u64>>,
    /// Who is to hear of it; nobody once they have.
    shares: Mutex<Vec<Share>>,
}

impl Flight {
    fn has_landed(&self) -> bool {
        self.shares.lock().is_empty()
    }

    /// Nobody will hear of it in time: it may be committed, or not.
    fn is_cut_off(&self) {
        self.land(Err(ProposeError::Unknown { reason: CUT_OFF.into() }));
    }

    fn stamp(&self, payload: &mut [u8], payload_offset: u64, offsets: &Mutex<QueueOffsets>) {
        let mut offsets = offsets.lock();
        let taken = self
            .marks
            .iter()
            .map(|mark| {
                let queue_offset = offsets.take(mark.queue);
                entry::stamp(payload, *mark, payload_offset, queue_offset);
                queue_offset
            })
            .collect();
        self.queue_offsets.set(taken).expect("an entry is appended once");
    }

    fn land(&self, result: Result<Committed, ProposeError>) {
        let shares = std::mem::take(&mut *self.shares.lock());
        let committed = match result {
            Ok(committed) => committed,
            Err(error) => {
                let told = match error {
                    ProposeError::NotLeader { .. } => SubmitError::NotLeader,
                    ProposeError::Unknown { reason } => SubmitError::Unknown(reason),
                };
                return shares.into_iter().for_each(|share| share.waiter.tell(Err(told.clone())));
            }
        };
        let queue_offsets = self.queue_offsets.get().map(Vec::as_slice).unwrap_or_default();
        for share in shares {
            let refused = committed.outcome.refusals.iter().find(|refusal| share.owns(refusal));
            let result = match refused {
                Some(Refusal { code, reason, .. }) => {
                    Err(SubmitError::Refused { code: *code, reason: reason.clone() })
                }
                None => {
                    let at = self.marks.get(share.messages.start).map_or(0, |mark| u64::from(mark.at));
                    Ok(Receipt {
                        log_id: committed.log_id,
                        physical_offset: committed.outcome.physical_offset + at,
                        queue_offset: queue_offsets.get(share.messages.start).copied().unwrap_or(0),
                    })
                }
            };
            match share.waiter {
                Waiter::Producer(reply) => {
                    let marks = &self.marks[share.messages];
                    let each =
                        marks.iter().map(|mark| committed.outcome.physical_offset + u64::from(mark.at));
                    reply.answer(result, each);
                }
                waiter => waiter.tell(result),
            }
        }
    }
}

impl Share {
    fn owns(&self, refusal: &Refusal) -> bool {
        self.commands.contains(&(refusal.ordinal as usize))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::entry::plain_fields;

    fn submit_one(sequencer: &Sequencer, body: usize) -> Result<(), SubmitError> {
        let body = vec![1; body];
        let fields = plain_fields("topic", &body);
        // Nobody waits for the outcome.
        submit(sequencer.begin(), |submission| submission.message(1, 0, MessageKeys::default(), &fields, ""))
            .map(drop)
    }

    /// Whoever takes entries and waits is woken for the first submission, and when there is enough; in between he
    /// would find nothing new.
    #[tokio::test]
    async fn a_small_entry_waits_until_it_is_large_enough() {
        let sequencer = Sequencer::new(Clock::new(|| 0));
        sequencer.open(1, 0);
        let woken = || tokio::time::timeout(Duration::ZERO, sequencer.shared.arrived.notified());
        assert!(matches!(sequencer.take(true), Next::Nothing));
        submit_one(&sequencer, 1000).unwrap();
        assert!(woken().await.is_ok());
        assert!(matches!(sequencer.take(false), Next::Small));
        submit_one(&sequencer, 1000).unwrap();
        assert!(woken().await.is_err());
        submit_one(&sequencer, ENOUGH_BYTES).unwrap();
        assert!(woken().await.is_ok());
        assert!(matches!(sequencer.take(false), Next::Entry(entry) if entry.shares.len() == 3));
        assert!(matches!(sequencer.take(true), Next::Nothing));
        // From the beginning again.
        submit_one(&sequencer, 1).unwrap();
        assert!(woken().await.is_ok());
        assert!(matches!(sequencer.take(true), Next::Entry(_)));
    }

    #[tokio::test]
    async fn a_failed_submission_is_nothing_to_propose() {
        let sequencer = Sequencer::new(Clock::new(|| 0));
        sequencer.open(1, 0);
        drop(sequencer.begin().unwrap());
        assert!(matches!(sequencer.take(true), Next::Nothing));
        submit_one(&sequencer, 1).unwrap();
        assert!(matches!(sequencer.take(true), Next::Entry(entry) if entry.shares.len() == 1));
    }
}
