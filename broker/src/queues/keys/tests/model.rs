//! Random operations against a list that cannot be wrong, crashes included.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

/// One key of one message, as appended.
#[derive(Clone, Copy)]
struct Appended {
    topic: usize,
    key: usize,
    physical_offset: u64,
    store_time_ms: i64,
}

const TOPICS: [&str; 2] = ["orders", "%RETRY%orders"];
const KEYS: [&str; 5] = ["a", "b", "c", "0A0B", ""];

struct World {
    rng: StdRng,
    dir: tempfile::TempDir,
    options: Options,
    index: KeyIndex,
    /// In log order.
    log: Vec<Appended>,
    log_start: u64,
    next_physical_offset: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = StdRng::seed_from_u64(seed);
        let dir = tempfile::tempdir().unwrap();
        let run_entries = rng.random_range(1..40);
        let options = Options {
            range_bytes: rng.random_range(50..3000),
            table_entries: rng.random_range(1..10),
            run_entries,
            pending_entries_max: run_entries + rng.random_range(0..40),
            merge_fan_in: rng.random_range(2..5),
            merge_step_entries: rng.random_range(1..50),
        };
        let index = KeyIndex::open(dir.path(), options).unwrap();
        World { rng, dir, options, index, log: Vec::new(), log_start: 0, next_physical_offset: 0 }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..1000) {
            0..600 => self.append_message(),
            600..800 => self.query(),
            800..940 => {
                if let Some(work) = self.index.take_work() {
                    work.run().unwrap();
                }
            }
            940..960 => self.flush(),
            960..975 => self.trim(),
            975..985 => self.crash(),
            985..995 => self.truncate_after(),
            995..998 => self.index.verify().unwrap(),
            _ => {
                self.index.reset().unwrap();
                assert_eq!(self.index.indexed_up_to(), 0);
                self.feed_from(0);
            }
        }
    }

    /// A message with several keys, perhaps one of them twice.
    fn append_message(&mut self) {
        let physical_offset = self.next_physical_offset;
        self.next_physical_offset += self.rng.random_range(1..200);
        let topic = self.rng.random_range(0..TOPICS.len());
        let store_time_ms = (physical_offset / 50) as i64;
        for _ in 0..self.rng.random_range(0..5) {
            let key = self.rng.random_range(0..KEYS.len());
            let appended = Appended { topic, key, physical_offset, store_time_ms };
            self.feed(appended);
            self.log.push(appended);
        }
    }

    fn feed(&mut self, Appended { topic, key, physical_offset, store_time_ms }: Appended) {
        while self.index.append(key_hash(TOPICS[topic], KEYS[key]), physical_offset, store_time_ms).is_err() {
            self.index.take_work().expect("a backlog means that work is due").run().unwrap();
        }
    }

    fn feed_from(&mut self, physical_offset: u64) {
        let again: Vec<_> =
            self.log.iter().copied().filter(|appended| appended.physical_offset >= physical_offset).collect();
        again.into_iter().for_each(|appended| self.feed(appended));
    }

    fn query(&mut self) {
        let (topic, key) = (self.rng.random_range(0..TOPICS.len()), self.rng.random_range(0..KEYS.len()));
        let end = (self.next_physical_offset / 50) as i64 + 2;
        let (begin_ms, end_ms) = match self.rng.random_range(0..3) {
            0 => (i64::MIN, i64::MAX),
            _ => (self.rng.random_range(-1..end), self.rng.random_range(-1..end)),
        };
        let max = [0, 1, 3, usize::MAX][self.rng.random_range(0..4)];
        let mut found = self.index.query(TOPICS[topic], KEYS[key], begin_ms, end_ms, max).unwrap();
        // Trimmed messages may still be found; being the oldest they take no other's place.
        found.retain(|&physical_offset| physical_offset >= self.log_start);
        let mut expect: Vec<_> = self
            .log
            .iter()
            .filter(|a| a.topic == topic && a.key == key && (begin_ms..=end_ms).contains(&a.store_time_ms))
            .map(|a| a.physical_offset)
            .filter(|&physical_offset| physical_offset >= self.log_start)
            .rev()
            .collect();
        expect.dedup();
        expect.truncate(max);
        assert_eq!(found, expect);
    }

    fn flush(&mut self) {
        self.index.flush().unwrap();
        let last = self.log.last().map_or(0, |appended| appended.physical_offset + 1);
        assert!(self.index.indexed_up_to() >= last.min(self.next_physical_offset));
        assert_eq!(self.index.last_indexed().map_or(0, |last| last.physical_offset + 1), last);
    }

    fn trim(&mut self) {
        self.log_start = self.rng.random_range(self.log_start..=self.next_physical_offset);
        self.index.trim(self.log_start).unwrap();
    }

    /// Opens the index anew and feeds the log: from where it says, or from further back as an applier would
    /// whose own checkpoint is older.
    fn crash(&mut self) {
        let durable_before = self.index.indexed_up_to();
        self.index = KeyIndex::open(self.dir.path(), self.options).unwrap();
        self.index.verify().unwrap();
        let from = self.index.indexed_up_to();
        assert!(from <= durable_before);
        let lost = |a: &&Appended| (from.max(self.log_start)..durable_before).contains(&a.physical_offset);
        assert_eq!(self.log.iter().filter(lost).count(), 0, "what was called durable was not");
        let from = if self.rng.random() { from } else { self.rng.random_range(0..=from) };
        self.feed_from(from.max(self.log_start));
    }

    fn truncate_after(&mut self) {
        let end = self.rng.random_range(0..self.next_physical_offset + 100);
        let feed_from = self.index.truncate_after(end).unwrap();
        assert!(feed_from <= end);
        assert!(self.index.indexed_up_to() <= feed_from);
        // Nothing above is found, whatever ranges the runs had.
        for (topic, key) in TOPICS.iter().flat_map(|topic| KEYS.iter().map(move |key| (topic, key))) {
            let found = self.index.query(topic, key, i64::MIN, i64::MAX, 1).unwrap();
            assert!(found.iter().all(|&physical_offset| physical_offset < end));
        }
        self.feed_from(feed_from.max(self.log_start));
    }
}

/// Whatever is appended, worked, trimmed, cut and crashed in whatever order, queries answer what the list
/// says. A failing seed prints itself.
#[test]
fn random_operations_agree_with_the_model() {
    for seed in 0..12 {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..700 {
                world.step();
            }
            run_all_work(&world.index);
            world.flush();
            world.crash();
            (0..50).for_each(|_| world.query());
        });
        assert!(run.is_ok(), "seed {seed} fails");
    }
}
