//! What must hold whatever was done to the replicas. Each check takes (nearly) linear time.
//!
//! | invariant | where |
//! |---|---|
//! | I1 an acknowledged message is where its sender was told, and every consumer gets it | [`messages`], [`reads`] |
//! | I2 nothing is stored that nobody sent, nor what was refused; what was sent once is stored once at most | [`messages`] |
//! | I3 a place holds one message: for whoever was told, whoever read it, and on every replica | [`messages`], [`reads`], [`logs`] |
//! | I4 queue offsets are dense from 0 on | [`logs`] |
//! | I5 who sends after an acknowledgement gets a higher offset | [`messages`] |
//! | I6 pulls are contiguous; a queue's end is never told lower than what was acknowledged before, nor lower than told before | [`reads`] |
//! | I7 a queue that is consumed in order is: one member at a time, nothing left out, never behind what was committed | [`order`] |
//! | I8 a group's committed offset is never told lower than what was committed | [`reads`] |
//! | I11 what a consumer gives back comes again, once, and is a dead letter after as many failures as it may have | [`retries`] |
//! | I12 a term has one leader, and terms never fall along the log | [`logs`] |
//! | I13 while a replica runs, neither its term nor its marks fall; a restart forgets no term of an entry that was applied | [`marks`] |
//! | I10 a delayed message is delivered once, and not before its time | [`delays`] |
//! | I14 a topic's configuration is read as it was written last | [`linear`] |
//! | I15 replicas have the same log, byte for byte | [`logs`] |
//! | I16 sends go on whenever a majority can talk to each other | [`progress`] |
//!
//! I3 to I6 together are linearizability of a log whose entries differ.

pub mod delays;
pub mod linear;
pub mod logs;
pub mod marks;
pub mod messages;
pub mod order;
pub mod progress;
pub mod reads;
pub mod retries;

/// Something that must never happen, in words. It begins with the invariant.
pub type Violation = String;

/// As many as anybody reads.
const TOLD: usize = 50;

/// Violations of one kind of check: the first ones, and how many.
#[derive(Clone, Debug, Default)]
pub struct Violations {
    /// The first ones.
    pub told: Vec<Violation>,
    /// How many in all.
    pub count: usize,
}

impl Violations {
    /// Takes one down.
    pub fn add(&mut self, violation: Violation) {
        tracing::warn!(%violation, "violation");
        self.count += 1;
        if self.told.len() < TOLD {
            self.told.push(violation);
        }
    }

    /// Takes those of another check along.
    pub fn append(&mut self, other: Self) {
        self.count += other.count;
        self.told.extend(other.told);
        self.told.truncate(TOLD);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}
