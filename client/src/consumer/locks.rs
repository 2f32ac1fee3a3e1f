//! Locks on queues that are consumed in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};
use trireme_remoting::body::{LockBatchBody, LockBatchResponse};
use trireme_remoting::{Frame, RequestCode};

use super::core::Core;
use crate::error::ClientError;
use crate::message::MessageQueue;

/// Until then it is tried to give locks back: longer than a failover.
const UNLOCK_WITHIN: Duration = Duration::from_secs(3);
/// Between two tries.
const UNLOCK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// What brokers said of locks.
#[derive(Debug, Default)]
pub(super) struct Locked {
    /// This member's now.
    pub(super) held: BTreeSet<MessageQueue>,
    /// Somebody else's. A queue in neither was not answered for.
    pub(super) refused: BTreeSet<MessageQueue>,
}

impl Core {
    /// Asks for locks, or renews them.
    pub(super) async fn lock(&self, queues: impl IntoIterator<Item = MessageQueue>) -> Locked {
        let requests = by_broker(queues).into_values().map(|queues| async move {
            let answer = self.ask_lock(RequestCode::LockBatchMq, &queues).await;
            (queues, answer)
        });
        let mut locked = Locked::default();
        for (queues, answer) in join_all(requests).await {
            let held = answer.and_then(|frame| {
                LockBatchResponse::decode(frame.body.as_slice())
                    .map_err(|error| ClientError::answer(RequestCode::LockBatchMq, "the leader", error))
            });
            match held {
                Ok(body) => {
                    let held: BTreeSet<MessageQueue> =
                        body.lock_ok_mq_set.into_iter().map(Into::into).collect();
                    for queue in queues {
                        if held.contains(&queue) { &mut locked.held } else { &mut locked.refused }
                            .insert(queue);
                    }
                }
                Err(error) => warn!(group = self.group(), %error, "queues not locked"),
            }
        }
        locked
    }

    /// Gives locks back. What nobody takes back within a failover runs out by itself, but only after a minute, in which nobody
    /// consumes.
    pub(super) async fn unlock(&self, queues: impl IntoIterator<Item = MessageQueue>) {
        let deadline = Instant::now() + UNLOCK_WITHIN;
        let requests = by_broker(queues).into_values().map(|queues| async move {
            while let Err(error) = self.ask_lock(RequestCode::UnlockBatchMq, &queues).await {
                debug!(group = self.group(), %error, "queues not unlocked");
                if deadline < Instant::now() + UNLOCK_AGAIN_AFTER {
                    return;
                }
                sleep(UNLOCK_AGAIN_AFTER).await;
            }
        });
        join_all(requests).await;
    }

    /// Renews the locks of all queues that this member has. Those that are lost have to be let go of.
    pub(super) async fn renew_locks(&self) {
        let asked = Instant::now();
        let queues = self.queues();
        let locked = self.lock(queues.iter().map(|queue| queue.queue.clone())).await;
        let mut lost = false;
        for queue in queues {
            if locked.held.contains(&queue.queue) {
                queue.lock_confirmed(asked);
            } else if locked.refused.contains(&queue.queue) {
                warn!(queue = %queue.queue, "lock lost");
                queue.lock_lost();
            }
            lost |= queue.is_lock_lost();
        }
        if lost {
            self.link.rebalance.notify_one();
        }
    }

    async fn ask_lock(
        &self,
        code: RequestCode,
        queues: &BTreeSet<MessageQueue>,
    ) -> Result<Frame, ClientError> {
        let Some(first) = queues.first() else { return Ok(Frame::response(0)) };
        let broker = self.instance.broker_of(first).await?;
        let body = LockBatchBody {
            consumer_group: self.group().to_owned(),
            client_id: self.instance.client_id.clone(),
            only_this_broker: false,
            mq_set: queues.iter().map(MessageQueue::to_wire).collect(),
        };
        self.instance
            .leader_success(&broker, code, self.instance.request(code).with_body(body.encode()))
            .await
    }
}

fn by_broker(queues: impl IntoIterator<Item = MessageQueue>) -> BTreeMap<Arc<str>, BTreeSet<MessageQueue>> {
    let mut groups: BTreeMap<Arc<str>, BTreeSet<MessageQueue>> = BTreeMap::new();
    for queue in queues {
        groups.entry(queue.broker_name.clone()).or_default().insert(queue);
    }
    groups
}
