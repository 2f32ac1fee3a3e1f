//! One replica of a broker group: router, sequencer, applier, queues, features.

pub mod queues;
