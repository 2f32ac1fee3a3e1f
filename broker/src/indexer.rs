//! Feeds the key index from the log, behind the applier and off its path.
//!
//! The index is a function of the committed log. This task reads entries that are applied, parses their
//! messages for keys, and hands sorting and writing to a blocking thread. It may lag under load; a
//! query waits a moment for it.

use std::sync::Arc;
use std::time::Duration;

use trireme_remoting::message::{StoredMessage, property};

use crate::entry::Entry;
use crate::queues::keys::{Backlog, Work};
use crate::replica::Shared;

/// Bytes of the log read at a time.
const READ_BYTES: u64 = 4 * 1024 * 1024;

/// Indexes what is applied, until it is aborted.
pub async fn run(shared: Arc<Shared>) {
    let mut applied = shared.node.applied();
    let mut next = match first_index(&shared) {
        Ok(next) => next,
        Err(reason) => {
            return tracing::error!(%reason, "the key index is not fed; queries by key find nothing new");
        }
    };
    loop {
        let up_to = match applied.wait_for(|id| id.is_some_and(|id| id.index >= next)).await {
            Ok(id) => id.map_or(next, |id| id.index + 1),
            Err(_) => return,
        };
        // After a checkpoint was installed the log starts later.
        next = next.max(shared.node.log().trimmed().map_or(0, |id| id.index + 1));
        match step(&shared, next, up_to).await {
            Ok(reached) => next = reached,
            Err(reason) => {
                tracing::error!(%reason, index = next, "the key index cannot be fed; trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        shared.indexed.send_replace(next);
    }
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
            for stored in entry.stored() {
                let stored = stored.map_err(|error| error.to_string())?;
                let physical_offset = frame.payload_physical_offset() + u64::from(stored.at);
                let message = StoredMessage::parse(&entry.messages[stored.at as usize..])
                    .map_err(|error| error.to_string())?;
                index(shared, &message, physical_offset).await?;
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
    message: &StoredMessage<'_>,
    physical_offset: u64,
) -> Result<(), String> {
    let unique = message.property(property::UNIQ_KEY);
    let keys = message.property(property::KEYS).unwrap_or_default();
    let keys = keys.split(' ').filter(|key| !key.is_empty());
    for key in unique.into_iter().chain(keys) {
        while let Err(Backlog { .. }) =
            shared.keys.append(message.topic, key, physical_offset, message.store_timestamp)
        {
            write(shared).await?;
        }
    }
    Ok(())
}

/// Sorts and writes what has gathered, on a blocking thread.
async fn write(shared: &Arc<Shared>) -> Result<(), String> {
    while let Some(work) = shared.keys.take_work() {
        let done = tokio::task::spawn_blocking(move || Work::run(work)).await;
        done.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    }
    Ok(())
}
