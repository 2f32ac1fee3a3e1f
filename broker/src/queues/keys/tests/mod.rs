//! The key index as its users see it: a model under random operations, damage, work, concurrency.
#![allow(clippy::unwrap_used)]

mod damage;
mod large;
mod model;
mod working;

use std::path::{Path, PathBuf};

use super::*;
use crate::queues::Error;

/// Small enough that tables, runs, ranges and merges all turn over within a few dozen entries.
const SMALL: Options = Options {
    range_bytes: 1000,
    table_entries: 4,
    run_entries: 8,
    pending_entries_max: 24,
    merge_fan_in: 3,
    merge_step_entries: 5,
};

/// Runs what is due until nothing is.
#[track_caller]
fn run_all_work(index: &KeyIndex) {
    while let Some(work) = index.take_work() {
        work.run().unwrap();
    }
}

/// Appends one message with one key, working off a backlog as an applier does.
#[track_caller]
fn append(index: &KeyIndex, key: &str, physical_offset: u64, store_time_ms: i64) {
    if index.append(key_hash("topic", key), physical_offset, store_time_ms).is_err() {
        index.take_work().expect("a backlog means that work is due").run().unwrap();
        index.append(key_hash("topic", key), physical_offset, store_time_ms).unwrap();
    }
}

/// All messages of `topic` with `key`, newest first.
#[track_caller]
fn find(index: &KeyIndex, key: &str) -> Vec<u64> {
    index.query("topic", key, i64::MIN, i64::MAX, usize::MAX).unwrap()
}

/// The run files, oldest first.
fn run_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}
