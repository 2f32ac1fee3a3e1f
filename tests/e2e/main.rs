//! The whole through its front doors: real processes, real sockets, a real disk.
//!
//! ```text
//!   harness   starts, kills, freezes and asks replicas          load      producers and a consumer
//!      \                                                          |
//!       +--------> failover, members, retention, ... <--------- history   what was attempted
//!                                                                 |
//!                                                               checks    what must hold, and logs on disk
//! ```
//!
//! `TRIREME_E2E_OLD` names the program of a release before, for `versions`; without it, this one pretends to be one.
//! `TRIREME_E2E_KILLS` sets how often `failover::kill_leader_under_load` and `failover::freeze_leader` strike.
#![allow(clippy::unwrap_used)]

mod harness;

mod checks;
mod history;
mod load;
mod wire;

mod bad_input;
mod copies;
mod damage;
mod failover;
mod locks;
mod members;
mod namesrvs;
mod retention;
mod state;

mod two_groups;
mod versions;
