//! Where a group is in each queue: kept by brokers when clustering, in a file when broadcasting.

mod local;
mod remote;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use tracing::warn;

use super::config::ConsumeFrom;
use super::core::Core;
use crate::error::ClientError;
use crate::instance::Instance;
use crate::message::MessageQueue;
use crate::validate::RETRY_PREFIX;

pub(super) use local::LocalOffsets;
pub(super) use remote::{commit, committed, max_offset, min_offset, search_offset};

/// Who keeps the offsets.
pub(super) enum Offsets {
    /// The brokers.
    Remote,
    /// A file here.
    Local(LocalOffsets),
}

impl Core {
    /// Where to begin in a queue that this member has just got.
    ///
    /// Errors: that cannot be told now; the queue must not be begun anywhere else.
    pub(super) async fn first_offset(&self, queue: &MessageQueue) -> Result<i64, ClientError> {
        let kept = match &self.offsets {
            Offsets::Remote => committed(&self.instance, self.group(), queue).await?,
            Offsets::Local(file) => file.get(queue),
        };
        match kept {
            Some(offset) => Ok(offset),
            None => start(&self.instance, queue, self.config.consume_from).await,
        }
    }

    /// Commits the progress of all queues that this member has.
    ///
    /// Unchanged offsets too: a broker that lost some learns them again, and a leader that is silent is noticed
    /// while nothing else is going on.
    pub(super) async fn commit_all(&self) {
        let progress = self.queues().into_iter().map(|queue| (queue.queue.clone(), queue.commit_offset()));
        self.commit(progress.collect()).await;
    }

    /// Commits offsets of one broker group, one after the other: RocketMQ can lose one of two first commits of a
    /// topic that come together, and when one fails the others would only fail after it.
    async fn commit_to_group(&self, progress: Vec<(MessageQueue, i64)>) {
        for (queue, offset) in progress {
            if let Err(error) = commit(&self.instance, self.group(), &queue, offset).await {
                warn!(group = self.group(), %queue, offset, %error, "offset not committed");
                return;
            }
        }
    }

    /// Commits these offsets. Failures are logged: the next commit makes up for them.
    pub(super) async fn commit(&self, progress: Vec<(MessageQueue, i64)>) {
        match &self.offsets {
            Offsets::Remote => {
                let mut groups: BTreeMap<Arc<str>, Vec<(MessageQueue, i64)>> = BTreeMap::new();
                for (queue, offset) in progress {
                    groups.entry(queue.broker_name.clone()).or_default().push((queue, offset));
                }
                join_all(groups.into_values().map(|progress| self.commit_to_group(progress))).await;
            }
            Offsets::Local(file) => {
                if let Err(error) = file.update(progress).await {
                    warn!(%error, "offsets not saved");
                }
            }
        }
    }
}

/// Where a group begins in a queue that nobody has an offset for.
async fn start(instance: &Instance, queue: &MessageQueue, from: ConsumeFrom) -> Result<i64, ClientError> {
    let is_retry = queue.topic.starts_with(RETRY_PREFIX);
    match from {
        // Messages come to a retry topic only after the group has begun.
        ConsumeFrom::Last if is_retry => Ok(0),
        ConsumeFrom::Last => max_offset(instance, queue).await,
        ConsumeFrom::First => Ok(0),
        ConsumeFrom::Timestamp(_) if is_retry => max_offset(instance, queue).await,
        ConsumeFrom::Timestamp(timestamp) => search_offset(instance, queue, timestamp).await,
    }
}
