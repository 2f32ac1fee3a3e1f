//! Random histories against a model: a list of entries of which a prefix is durable.
//!
//! What is shown: whatever is done in whatever order, with power cuts that keep any subset of what was not synced and
//! at any step of any operation, the log is a prefix of what was appended and not truncated, and has everything that a
//! flush reported. Each history follows from its seed, which a failure prints.

#![allow(clippy::unwrap_used)]

mod support;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::*;
use trireme_commitlog::faulty::{FaultyDisk, Injection, Op};
use trireme_commitlog::{AppendError, CommitLog, EditError, LogId, MaintainError, OpenError};

/// Histories of one run; `SEEDS=100000` for a long one.
const SEEDS: u64 = 120;
const STEPS: u64 = 120;

/// What the log must be.
#[derive(Clone, Debug, Default)]
struct Model {
    trimmed: Option<LogId>,
    /// Where the entry after `trimmed` lies, after a trim or a reset; entries carry it from there on.
    entries: Vec<Entry>,
    /// Entries from the first that must survive a crash.
    durable: usize,
    /// Entries that must not be truncated: trimming said that they are committed.
    committed: usize,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Entry {
    id: LogId,
    offset: u64,
    payload: Vec<u8>,
}

impl Model {
    fn first_index(&self) -> u64 {
        self.trimmed.map_or(0, |trimmed| trimmed.index + 1)
    }

    fn last(&self) -> Option<LogId> {
        self.entries.last().map(|entry| entry.id).or(self.trimmed)
    }

    fn truncate(&mut self, len: usize) {
        self.entries.truncate(len);
        self.durable = self.durable.min(len);
    }

    fn trim(&mut self, count: usize) {
        self.trimmed = Some(self.entries[count - 1].id);
        self.entries.drain(..count);
        self.durable = self.entries.len();
        self.committed = self.committed.saturating_sub(count).max(1);
    }

    #[track_caller]
    fn assert_is(&self, log: &CommitLog) {
        assert_eq!(log.trimmed(), self.trimmed);
        assert_eq!(log.last(), self.last());
        assert_eq!(read_all(log), self.entries);
    }
}

fn read_all(log: &CommitLog) -> Vec<Entry> {
    all(log)
        .into_iter()
        .map(|frame| Entry { id: frame.id, offset: frame.physical_offset, payload: frame.payload().to_vec() })
        .collect()
}

struct Run {
    rng: StdRng,
    disk: FaultyDisk,
    log: CommitLog,
    model: Model,
    term: u64,
}

impl Run {
    fn new(seed: u64) -> Run {
        let disk = FaultyDisk::new();
        Run { rng: StdRng::seed_from_u64(seed), log: open(&disk), disk, model: Model::default(), term: 0 }
    }

    fn step(&mut self) {
        // One in eight operations meets a power cut somewhere inside, if it changes that much.
        if self.rng.random_ratio(1, 8) {
            self.disk.cut_power_after(self.rng.random_range(0..8));
        }
        let before = self.model.clone();
        let survived = match self.rng.random_range(0..100) {
            0..50 => self.append(),
            50..60 => self.flush(),
            60..65 => self.log.mark_synced().is_ok(),
            65..72 => !matches!(self.log.maintain(), Err(MaintainError::Fault(_))),
            72..79 => self.truncate(),
            79..81 => self.trim(),
            81..82 => self.fail_sync(),
            82..83 => self.fill_up(),
            83..84 => self.reset(),
            84..92 => {
                self.read();
                true
            }
            92..94 => false,
            94..96 => self.kill(),
            _ => {
                self.model.assert_is(&self.log);
                true
            }
        };
        if !survived {
            self.crash(&before);
        }
    }

    fn append(&mut self) -> bool {
        self.term += u64::from(self.rng.random_ratio(1, 20));
        let id = id(self.term, self.model.last().map_or(0, |last| last.index + 1));
        let len = match self.rng.random_range(0..10) {
            0..5 => self.rng.random_range(0..200),
            5..9 => self.rng.random_range(0..5000),
            _ => self.rng.random_range(0..30_000),
        };
        let entry = |offset| Entry { id, offset, payload: payload(id, len) };
        match try_append(&self.log, id, len) {
            Ok(offset) => {
                self.model.entries.push(entry(offset));
                true
            }
            Err(AppendError::Full { .. }) => {
                self.model.assert_is(&self.log);
                true
            }
            Err(_) => {
                // It may or may not have reached the disk, wholly; where it would lie follows from the length.
                let at = self.log.next_physical_offset();
                let fits = at % SEGMENT + trireme_commitlog::frame::frame_len(len as u64) + HEADER <= SEGMENT;
                self.model.entries.push(entry(if fits { at } else { at / SEGMENT * SEGMENT + SEGMENT }));
                false
            }
        }
    }

    fn flush(&mut self) -> bool {
        let Ok(flushed) = self.log.flush() else { return false };
        assert_eq!(flushed, self.model.last());
        self.model.durable = self.model.entries.len();
        true
    }

    /// A sync fails. The log must stop; what it held in memory is not lost if only the process ends.
    fn fail_sync(&mut self) -> bool {
        self.disk.inject(Injection::eio(Op::Sync, 0));
        if self.log.flush().is_ok() {
            self.disk.heal();
            return self.flush();
        }
        self.disk.heal();
        assert!(self.log.flush().is_err() && self.log.mark_synced().is_err() && self.log.maintain().is_err());
        let next = id(self.term, self.model.last().map_or(0, |last| last.index + 1));
        assert!(matches!(try_append(&self.log, next, 10), Err(AppendError::Fault(_))));
        self.rng.random_bool(0.5) && self.kill()
    }

    /// The disk fills up, and is freed again by the next crash, or by the next of these.
    fn fill_up(&mut self) -> bool {
        let some = self.disk.used() + self.rng.random_range(0..SEGMENT);
        self.disk.set_capacity(self.rng.random_bool(0.7).then_some(some));
        true
    }

    fn truncate(&mut self) -> bool {
        if self.model.entries.len() < self.model.committed {
            return true;
        }
        let len = self.rng.random_range(self.model.committed..=self.model.entries.len());
        let kept = (self.model.first_index() + len as u64).checked_sub(1);
        let done = self.log.truncate_after(kept).is_ok();
        if done {
            self.model.truncate(len);
        } else {
            self.model.durable = self.model.durable.min(len);
        }
        done
    }

    fn trim(&mut self) -> bool {
        if self.model.entries.is_empty() {
            return true;
        }
        let count = self.rng.random_range(1..=self.model.entries.len());
        match self.log.trim(self.model.entries[count - 1].id) {
            Ok(()) => {
                self.model.trim(count);
                true
            }
            Err(EditError::Fault(_)) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn reset(&mut self) -> bool {
        let index = self.model.first_index() + self.rng.random_range(0..1000);
        self.term += 1;
        let trimmed = id(self.term, index);
        let base = self.rng.random_range(0..20) * SEGMENT;
        let done = self.log.reset(trimmed, base).is_ok();
        if done {
            assert_eq!(self.log.next_physical_offset(), base);
            self.model = Model { trimmed: Some(trimmed), ..Model::default() };
        }
        done
    }

    fn read(&mut self) {
        let entries = &self.model.entries;
        let from = self.rng.random_range(0..=entries.len());
        let to = self.rng.random_range(from..=entries.len() + 2);
        let max_bytes = self.rng.random_range(0..20_000);
        let first = self.model.first_index();
        let frames = self.log.read(first + from as u64, first + to as u64, max_bytes).unwrap();
        let want = &entries[from..to.min(entries.len())];
        assert!(!frames.is_empty() || want.is_empty(), "at least one if there is one");
        let bytes: u64 = frames.iter().map(|frame| frame.frame.len() as u64).sum();
        assert!(bytes <= max_bytes || frames.len() == 1);
        for (frame, want) in frames.iter().zip(want) {
            assert_eq!((frame.id, frame.physical_offset), (want.id, want.offset));
            assert_eq!(frame.payload(), want.payload);
            let inside = want.offset + self.rng.random_range(0..frame.frame.len() as u64);
            assert_eq!(self.log.index_at(inside).unwrap(), Some(want.id.index));
            assert_eq!(self.log.id_of(want.id.index).unwrap(), Some(want.id));
        }
    }

    /// A power cut, then: an acceptable log.
    fn crash(&mut self, before: &Model) {
        // Recovery too may meet a power cut, and another one.
        self.log = loop {
            self.disk.set_capacity(None);
            self.disk.crash(if self.rng.random_ratio(1, 4) { None } else { Some(self.rng.random()) });
            if self.rng.random_ratio(1, 3) {
                self.disk.cut_power_after(self.rng.random_range(0..10));
            }
            match try_open(&self.disk) {
                Ok(log) => break log,
                Err(OpenError::Io { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        };
        let (trimmed, found) = (self.log.trimmed(), read_all(&self.log));
        // An interrupted trim or reset has happened, or has not.
        if trimmed != self.model.trimmed {
            let count = before.entries.iter().position(|entry| Some(entry.id) == trimmed);
            match count {
                Some(at) => self.model.trim(at + 1),
                None => {
                    assert!(found.is_empty(), "only a reset begins at an entry that was not there");
                    self.model = Model { trimmed, ..Model::default() };
                }
            }
        }
        assert!(self.model.durable <= found.len(), "{} flushed, {} found", self.model.durable, found.len());
        self.model.truncate(found.len());
        assert_eq!(found, self.model.entries, "a prefix of what was appended");
        self.model.durable = found.len();
        assert_eq!(self.log.flushed(), self.model.last());
    }

    /// The process dies, the machine does not: nothing written is lost, unless the power goes during recovery.
    fn kill(&mut self) -> bool {
        self.disk.kill();
        match try_open(&self.disk) {
            Ok(log) => self.log = log,
            Err(OpenError::Io { .. }) => return false,
            Err(error) => panic!("{error}"),
        }
        self.model.assert_is(&self.log);
        self.model.durable = self.model.entries.len();
        true
    }
}

#[test]
fn random_histories() {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seeds = number("SEED").map_or(0..number("SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    for seed in seeds {
        let run = std::panic::catch_unwind(|| {
            let mut run = Run::new(seed);
            for _ in 0..STEPS {
                run.step();
            }
        });
        assert!(run.is_ok(), "history with SEED={seed} failed");
    }
}
