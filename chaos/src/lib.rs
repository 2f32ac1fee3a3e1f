//! Breaks clusters of real processes under load, and checks what every client was told against what every replica has.
//!
//! A run ([`run`]) makes a small world ([`world`]): each replica in a network and on a file system of its own, with a
//! switch between them that can lose, delay, repeat and reorder. Clients send and read all the time ([`load`]) and take
//! down what they were told ([`history`]). Faults ([`fault`]) are drawn from a [`mix`] by a seed, each with a proof that
//! it took effect. In the end all is healed, and [`check`] compares the histories with the logs of all replicas, read
//! from their files. A run without load, or without a fault that is proved, is invalid, and not a success.

pub mod check;
pub mod damage;
pub mod fault;
pub mod group;
pub mod history;
pub mod load;
pub mod metadata;
pub mod mix;
pub mod outcome;
pub mod run;
pub mod sum;
pub mod watch;
pub mod wire;
pub mod world;

mod archive;
mod chart;
mod mutate;
mod report;
