//! Feeds the key index from the log, behind the applier and off its path.
//!
//! The index is a function of the committed log. This task reads entries that are applied, takes the hashes of their
//! messages' keys, and hands sorting and writing to a blocking thread. It may lag under load; a
//! query waits a moment for it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use trireme_remoting::message::{StoredMessage, peek_store_timestamp};

use crate::entry::{Entry, Keys};
use crate::queues;
use crate::queues::keys::{Backlog, MessageKeys, Work};
use crate::replica::Shared;

/// Bytes of the log read at a time.
const READ_BYTES: u64 = 4 * 1024 * 1024;
/// When what is applied is not in the log yet.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(10);
/// After a failure.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// Damage of the index that somebody came across and that is to be mended: the index is derived, so what
/// is damaged is thrown away and fed again.
#[derive(Default)]
pub struct Damage {
    /// The lowest physical offset that is affected.
    from: Mutex<Option<u64>>,
    found: Notify,
}

impl Damage {
    /// Tells of an error of the index, if it is one that feeding it again mends.
    pub fn report(&self, error: &queues::Error) {
        if let queues::Error::DamagedRun { first_physical_offset, .. } = error {
            self.note(*first_physical_offset);
        }
    }

    fn note(&self, from: u64) {
        let mut lowest = self.from.lock();
        *lowest = Some(lowest.map_or(from, |known| known.min(from)));
        self.found.notify_one();
    }

    fn take(&self) -> Option<u64> {
        self.from.lock().take()
    }
}

/// Indexes what is applied, until it is aborted.
pub async fn run(shared: Arc<Shared>) {
    let mut applied = shared.node.applied();
    let mut next = loop {
        match first_index(&shared) {
            Ok(next) => break next,
            Err(reason) => rest(&reason).await,
        }
    };
    loop {
        let up_to = tokio::select! {
            reached = applied.wait_for(|id| id.is_some_and(|id| id.index >= next)) => match reached {
                Ok(id) => id.map_or(next, |id| id.index + 1),
                Err(_) => return,
            },
            () = shared.index_damage.found.notified() => next,
        };
        let reached = match shared.index_damage.take() {
            Some(from) => mend(&shared, from).await,
            None => {
                // After a checkpoint was installed the log starts later.
                let first = shared.node.log().trimmed().map_or(0, |id| id.index + 1);
                let from = next.max(first);
                let reached = step(&shared, from, up_to).await;
                if reached.as_ref().is_ok_and(|reached| *reached == from && from < up_to) {
                    // A checkpoint is installed, and where the log starts is only just being written down.
                    tokio::time::sleep(LOOK_AGAIN_AFTER).await;
                }
                reached
            }
        };
        match reached {
            Ok(reached) => next = reached,
            Err(reason) => rest(&reason).await,
        }
        shared.indexed.send_replace(next);
    }
}

async fn rest(reason: &str) {
    tracing::error!(reason, "the key index cannot be fed; trying again");
    tokio::time::sleep(RETRY_EVERY).await;
}

/// Throws away what is damaged; says from which entry on the index is to be fed again.
async fn mend(shared: &Arc<Shared>, from: u64) -> Result<u64, String> {
    tracing::warn!(from, "the key index is damaged; it is fed again from here");
    let keys = shared.keys.clone();
    let cut = trireme_runtime::blocking(move || keys.truncate_after(from)).await;
    let cut = cut.map_err(|error| error.to_string()).and_then(|cut| cut.map_err(|error| error.to_string()));
    // Until both are done there would be a gap.
    cut.and_then(|_| first_index(shared)).inspect_err(|_| shared.index_damage.note(from))
}

/// Waits until everything that is applied now is indexed, or the time is over.
pub async fn caught_up(shared: &Shared, within: Duration) {
    let wanted = shared.node.applied().borrow().map_or(0, |id| id.index + 1);
    let mut indexed = shared.indexed.subscribe();
    // Late is better than never: the query then finds what is indexed.
    let _ = tokio::time::timeout(within, indexed.wait_for(|next| *next >= wanted)).await;
}

/// The first entry that the index does not contain.
fn first_index(shared: &Shared) -> Result<u64, String> {
    let log = shared.node.log();
    let from = shared.keys.indexed_up_to().max(log.min_physical_offset());
    if from >= log.next_physical_offset() {
        return Ok(log.last().map_or(0, |id| id.index));
    }
    let found = log.index_at(from).map_err(|error| error.to_string())?;
    Ok(found.unwrap_or_else(|| log.trimmed().map_or(0, |id| id.index + 1)))
}

async fn step(shared: &Arc<Shared>, from: u64, to: u64) -> Result<u64, String> {
    let frames = shared.node.log().read(from, to, READ_BYTES).map_err(|error| error.to_string())?;
    let mut next = from;
    for frame in frames {
        next = frame.id.index + 1;
        if frame.kind == trireme_raft::proposal::KIND {
            let entry = Entry::parse(&frame.payload()).map_err(|error| error.to_string())?;
            for keyed in entry.keyed() {
                let (stored, keys) = keyed.map_err(|error| error.to_string())?;
                let physical_offset = frame.payload_physical_offset() + u64::from(stored.at);
                // A step that failed half-way is done again from its start.
                if shared.keys.last_indexed().is_some_and(|last| physical_offset <= last.physical_offset) {
                    continue;
                }
                let message = &entry.messages[stored.at as usize..];
                match keys {
                    Keys::Hashes(hashes) => {
                        let store_timestamp =
                            peek_store_timestamp(message).ok_or("a message is cut short in its entry")?;
                        index(shared, hashes, physical_offset, store_timestamp).await?;
                    }
                    Keys::InMessage => {
                        let message = StoredMessage::parse(message).map_err(|error| error.to_string())?;
                        let hashes = MessageKeys::of(message.properties).hashes(message.topic);
                        index(shared, hashes, physical_offset, message.store_timestamp).await?;
                    }
                }
            }
        }
        // Gives way: many entries may wait, and producers come first.
        tokio::task::yield_now().await;
    }
    write(shared).await?;
    Ok(next)
}

async fn index(
    shared: &Arc<Shared>,
    hashes: impl Iterator<Item = u64>,
    physical_offset: u64,
    store_timestamp: i64,
) -> Result<(), String> {
    for hash in hashes {
        while let Err(Backlog { .. }) = shared.keys.append(hash, physical_offset, store_timestamp) {
            write(shared).await?;
        }
    }
    Ok(())
}

/// Sorts and writes what has gathered, on a blocking thread.
async fn write(shared: &Arc<Shared>) -> Result<(), String> {
    while let Some(work) = shared.keys.take_work() {
        let done = trireme_runtime::blocking(move || Work::run(work)).await;
        match done.map_err(|error| error.to_string())? {
            Ok(()) => {}
            Err(error) => {
                shared.index_damage.report(&error);
                return Err(error.to_string());
            }
        }
    }
    Ok(())
}
