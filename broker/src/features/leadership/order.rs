//! Handing the lead over without losing what clients have sent and do not ask after.

use std::io;
use std::time::Duration;

use crate::features::offsets::HandingOver;
use crate::replica::Shared;

/// What has gathered is written within this, or is left to the clients, who will send it again.
const WRITTEN_WITHIN: Duration = Duration::from_millis(50);

/// Hands the lead over to `to`, as [`trireme_raft::node::Node::transfer_leader`] does.
pub async fn hand_over_to(shared: &Shared, to: u64) -> io::Result<()> {
    let _handing_over = last_writes(shared).await;
    shared.node.transfer_leader(to).await
}

/// Hands the lead over to whoever can take it, as [`trireme_raft::node::Node::hand_over`] does.
pub async fn hand_over(shared: &Shared) {
    let _handing_over = last_writes(shared).await;
    shared.node.hand_over().await;
}

/// Writes what has gathered. What comes from then on is the next leader's: the caller keeps what this returns until the term is
/// given up, after which the router passes it on.
async fn last_writes(shared: &Shared) -> HandingOver<'_> {
    let handing_over = shared.gather.hand_over();
    if shared.node.leads() {
        // Too late, or refused: as if it had not been sent.
        let _ = tokio::time::timeout(WRITTEN_WITHIN, shared.gather.flushed()).await;
    }
    handing_over
}
