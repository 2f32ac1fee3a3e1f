//! How replicas of a group talk: TCP, our own framing, one connection per purpose.
//!
//! Heartbeats and votes have a connection of their own (*control*), so that they never wait behind
//! log entries (*bulk*), a checkpoint (*snapshot*) or a disk. Replies on the bulk lane come in the order of
//! the requests, which lets several requests be under way. A connection starts with a *hello* in which
//! both sides compare who they are and the cluster-wide settings; a difference is refused in words.

mod client;
#[cfg(fuzzing)]
pub mod fuzzing;
mod link;
mod requests;
mod server;
pub mod wire;

use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use client::Network;
pub use link::{Caller, Told};
pub use server::{PeerServer, Served};

use crate::config::ReplicaConfig;
use crate::peers::Peers;
use crate::types::NodeId;

/// How this replica introduces itself.
pub fn caller(config: &ReplicaConfig, store_id: u128, peers: Arc<Peers>) -> Caller {
    Caller { settings: config.settings.clone(), node: config.node, store_id, peers }
}

/// Asks the replica at `addr` who it is.
pub async fn probe(us: &Caller, node: NodeId, addr: &str, limit: Duration) -> io::Result<Told> {
    link::probe(us, &link::Callee { node, addr: addr.to_owned(), store_id: None }, limit).await
}
