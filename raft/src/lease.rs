//! Who still uses a store: so that stopping a replica can wait until nobody does.
//!
//! openraft's tasks end by themselves some time after it was shut down, and each holds a part of the
//! store. A store that is opened again while one of them lives is locked.

use tokio::sync::mpsc;

/// Held by every user of the store. Never sent through; its end is the message.
#[derive(Clone, Debug)]
pub struct Lease(#[allow(dead_code, reason = "held, not used")] mpsc::Sender<()>);

/// Waits for the end of all leases.
#[derive(Debug)]
pub struct Leases(mpsc::Receiver<()>);

/// A first lease, to be cloned, and who waits for it and its clones.
pub fn leases() -> (Lease, Leases) {
    let (lease, leases) = mpsc::channel(1);
    (Lease(lease), Leases(leases))
}

impl Leases {
    /// Returns when every lease has been dropped.
    pub async fn ended(&mut self) {
        while self.0.recv().await.is_some() {}
    }
}
