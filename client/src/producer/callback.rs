//! Sends whose outcome goes to a callback: one task drives them all.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{Semaphore, mpsc};
use tracing::error;

use crate::error::ClientError;

type Send = Pin<Box<dyn Future<Output = ()> + std::marker::Send>>;

/// Accepts sends, a bounded number at a time.
pub(super) struct Callbacks {
    submit: mpsc::UnboundedSender<Send>,
    slots: Arc<Semaphore>,
    max: u32,
}

impl Callbacks {
    /// With its task, which ends when this is dropped and all that was accepted is done.
    pub(super) fn new(max: usize) -> Self {
        let max = max.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        // Unbounded in form only: every entry holds one of the slots.
        let (submit, accepted) = mpsc::unbounded_channel();
        tokio::spawn(drive(accepted));
        Self { submit, slots: Arc::new(Semaphore::new(max)), max: max as u32 }
    }

    /// Hands a send to the task once there is a slot. Errors: [`ClientError::Closed`] after a drain.
    pub(super) async fn submit(
        &self,
        send: impl Future<Output = ()> + std::marker::Send + 'static,
    ) -> Result<(), ClientError> {
        let slot = self.slots.clone().acquire_owned().await.map_err(|_| ClientError::Closed)?;
        let send = async move {
            if AssertUnwindSafe(send).catch_unwind().await.is_err() {
                error!("send callback panicked");
            }
            drop(slot);
        };
        self.submit.send(Box::pin(send)).map_err(|_| ClientError::Closed)
    }

    /// Waits until all that was accepted is done; accepts no more.
    pub(super) async fn drain(&self) {
        // All slots at once are free only when no send is under way. Fails if another drain was quicker.
        let all = self.slots.acquire_many(self.max).await;
        self.slots.close();
        drop(all);
    }
}

async fn drive(mut accepted: mpsc::UnboundedReceiver<Send>) {
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            send = accepted.recv() => match send {
                Some(send) => under_way.push(send),
                None => break,
            },
            Some(()) = under_way.next() => {}
        }
    }
    while under_way.next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn bounded_drained_and_not_stopped_by_a_panic() {
        let callbacks = Arc::new(Callbacks::new(2));
        let (gate, done) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        callbacks.submit(async { panic!("a callback's own fault") }).await.unwrap();
        for _ in 0..2 {
            let (gate, done) = (gate.clone(), done.clone());
            let send = async move {
                gate.notified().await;
                done.fetch_add(1, Ordering::SeqCst);
            };
            callbacks.submit(send).await.unwrap();
        }
        let mut third = Box::pin(callbacks.submit(async {}));
        assert!((&mut third).now_or_never().is_none(), "both slots are taken");
        gate.notify_one();
        third.await.unwrap();
        gate.notify_one();
        callbacks.drain().await;
        assert_eq!(done.load(Ordering::SeqCst), 2);
        assert!(matches!(callbacks.submit(async {}).await, Err(ClientError::Closed)));
    }
}
