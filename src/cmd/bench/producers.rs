//! The sending side: each producer has lanes, each lane one send under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use trireme_client::{ClientError, Message, Producer, SendStatus};

use super::body::{Body, Maker};
use super::errors;
use super::meter::Meter;
use super::pace::Pace;
use super::sequences::Sequences;

/// Before a lane whose send failed sends again, so that refusals are not asked for as fast as they come.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// What all producers have in common.
pub struct Load {
    pub run: u64,
    /// When the run began; times in bodies count from here.
    pub epoch: Instant,
    pub topic: Arc<str>,
    /// Messages of one request.
    pub batch: u32,
    pub bodies: Maker,
    pub body_bytes: u64,
    pub meter: Meter,
}

/// One producer.
pub struct Sending {
    pub load: Arc<Load>,
    pub number: u32,
    pub producer: Producer,
    pub pace: Pace,
    pub lanes: u32,
    /// What was acknowledged.
    pub acknowledged: Arc<Mutex<Sequences>>,
}

impl Sending {
    /// Sends until the pace ends, and returns when no send is under way.
    pub async fn run(self) {
        let next = AtomicU64::new(0);
        let mut lanes: FuturesUnordered<_> = (0..self.lanes).map(|_| self.lane(&next)).collect();
        while lanes.next().await.is_some() {}
    }

    async fn lane(&self, next: &AtomicU64) {
        let load = &*self.load;
        let batch = u64::from(load.batch);
        while let Some(began) = self.pace.next().await {
            let first = next.fetch_add(batch, Ordering::Relaxed);
            let sent = self.send(first, began).await;
            let now = Instant::now();
            match sent {
                Ok(status) => {
                    load.meter.done(began, now, batch, batch * load.body_bytes);
                    if let Some(kind) = errors::status(status) {
                        load.meter.remark(batch, kind);
                    }
                    let mut acknowledged = self.acknowledged.lock();
                    for sequence in first..first + batch {
                        acknowledged.insert(sequence);
                    }
                }
                Err(error) => {
                    load.meter.failed(began, now, batch, errors::kind(&error));
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
            }
        }
    }

    async fn send(&self, first: u64, began: Instant) -> Result<SendStatus, ClientError> {
        let load = &*self.load;
        let sent_us = began.saturating_duration_since(load.epoch).as_micros() as u64;
        let message = |sequence| {
            let body = Body { run: load.run, producer: self.number, sequence, sent_us };
            Message::new(load.topic.clone(), load.bodies.make(body))
        };
        if load.batch == 1 {
            return Ok(self.producer.send(message(first)).await?.status);
        }
        let messages = (first..first + u64::from(load.batch)).map(message).collect();
        Ok(self.producer.send_batch(messages).await?.status)
    }
}
