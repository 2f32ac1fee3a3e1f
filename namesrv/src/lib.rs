//! RocketMQ name server: route table and liveness.
//!
//! ```text
//!   brokers --103 register, 904 heartbeat--> +-------------+ <--105 route, 106 cluster-- clients, tools
//!           --104, connection closed-------> | RouteTable  |
//!   time ---expire-------------------------> +-------------+
//!                                            | KvConfig    | <--100, 101, 102, 219------ tools
//!                                            +-------------+
//! ```
//!
//! Any number of name servers run side by side and know nothing of each other: every broker registers with every
//! one. A name server keeps nothing on disk but the KV configuration; after a restart its routes fill as brokers
//! register again.
//!
//! # Raft groups
//!
//! A RocketMQ broker whose connection closes leaves the routes at once. A group of ours is about to elect another
//! leader then, and a route without id 0 would cost some clients their next 30 seconds, so its last leader stays
//! listed. A replica claims this by the header field [`RAFT_GROUP`], and promises:
//!
//! - It registers with every name server when its role changes, when a topic changes, and every 30 s; as id 0
//!   while it leads, else under its own id, which is not 0.
//! - `stateVersion` of its data version is the term in which it leads; `counter` changes with every change of its
//!   topics, and never goes back within a term.
//! - A leader's registration names all of its topics: those that it does not name leave the routes.

mod config;
mod handler;
mod kv;
mod names;
mod options;
mod routes;
mod server;

pub use kv::KvError;
pub use options::{BadOption, NameServerOptions};
pub use server::{NameServer, StartError};

/// The header field of a registration (103) that says `true` when the broker is a replica of a Raft group.
pub const RAFT_GROUP: &str = "raftGroup";
