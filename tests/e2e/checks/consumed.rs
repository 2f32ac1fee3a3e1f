//! What a consumer was given.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use trireme_client::{MessageQueue, ReceivedMessage};

use crate::harness::LONG;
use crate::wire::Contents;

/// Messages by place. Giving one again is allowed, giving another one at the same place is not.
#[derive(Default)]
pub struct Consumed {
    messages: Mutex<BTreeMap<(MessageQueue, i64), Bytes>>,
    grown: watch::Sender<()>,
}

impl Consumed {
    /// Takes a message down.
    pub fn add(&self, message: &ReceivedMessage) {
        let place = (message.queue.clone(), message.queue_offset);
        let before = self.messages.lock().insert(place, message.body.clone());
        assert!(before.is_none_or(|before| before == message.body), "two messages at one place: {message:?}");
        self.grown.send_replace(());
    }

    /// Waits until every message of `contents` was given, and checks that nothing else was.
    pub async fn everything(&self, contents: &Contents) {
        let mut grown = self.grown.subscribe();
        let total: usize = contents.values().map(Vec::len).sum();
        let all = grown.wait_for(|()| self.messages.lock().len() >= total);
        let in_time = tokio::time::timeout(LONG, all).await.is_ok();
        let messages = self.messages.lock();
        for (queue, bodies) in contents {
            for (offset, body) in (0..).zip(bodies) {
                let given = messages.get(&(queue.clone(), offset));
                assert_eq!(given, Some(body), "the consumer was given at {offset} of {queue}");
            }
        }
        assert!(in_time && messages.len() == total, "{} messages consumed of {total}", messages.len());
    }
}
