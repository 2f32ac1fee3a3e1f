//! A name server through its front door: real sockets on loopback, requests as brokers, clients and tools send
//! them.

#![allow(clippy::unwrap_used)]

mod admin;
mod bad_input;
mod brokers;
mod captured;
mod kv;
mod liveness;
mod peer;
