//! Random operations against maps that cannot be wrong, crashes included.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

/// A queue as it should be.
#[derive(Clone, Debug, Default)]
struct ModelQueue {
    /// The queue offset of `units[0]`.
    start: u64,
    units: Vec<Unit>,
    min: u64,
}

impl ModelQueue {
    fn next(&self) -> u64 {
        self.start + self.units.len() as u64
    }

    fn get(&self, range: std::ops::Range<u64>) -> &[Unit] {
        &self.units[(range.start - self.start) as usize..(range.end - self.start) as usize]
    }

    fn trim(&mut self, min_physical_offset: u64) {
        let below = self.units.partition_point(|unit| unit.physical_offset < min_physical_offset) as u64;
        self.min = self.min.max(self.start + below);
    }
}

/// What the last checkpoint recorded, and what was true at that moment.
#[derive(Clone, Default)]
struct Checkpoint {
    positions: Vec<Position>,
    model: BTreeMap<QueueId, ModelQueue>,
    physical_offset: u64,
}

struct World {
    rng: StdRng,
    dir: tempfile::TempDir,
    options: Options,
    queues: ConsumeQueues,
    model: BTreeMap<QueueId, ModelQueue>,
    checkpoint: Checkpoint,
    next_physical_offset: u64,
    log_start: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = StdRng::seed_from_u64(seed);
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            units_per_chunk: rng.random_range(1..20),
            spill_units: rng.random_range(1..12),
            tail_bytes_max: rng.random_range(0..2000),
            open_files_max: rng.random_range(1..5),
        };
        let queues = open(dir.path(), options, &[], 0);
        let (model, checkpoint) = Default::default();
        World { rng, dir, options, queues, model, checkpoint, next_physical_offset: 1, log_start: 0 }
    }

    fn any_queue(&mut self) -> QueueId {
        QueueId { topic_id: self.rng.random_range(0..3), queue_id: self.rng.random_range(0..3) }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..1000) {
            0..700 => self.append(),
            700..900 => self.read(),
            900..930 => self.partition_point(),
            930..950 => self.queues.flush().unwrap(),
            950..965 => self.trim(),
            965..980 => self.checkpoint(),
            980..988 => self.crash(),
            988..993 => self.truncate(),
            993..996 => self.reset_queue(),
            996..999 => self.remove_topic(),
            _ => {
                self.queues.reset().unwrap();
                self.model.clear();
                self.checkpoint();
            }
        }
    }

    fn append(&mut self) {
        let q = self.any_queue();
        for _ in 0..self.rng.random_range(1..8) {
            self.next_physical_offset += self.rng.random_range(1..100);
            let unit = Unit {
                physical_offset: self.next_physical_offset,
                size: self.rng.random_range(1..1 << 22),
                tags_code: self.rng.random(),
            };
            let queue = self.model.entry(q).or_default();
            self.queues.append(q, queue.next(), unit).unwrap();
            queue.units.push(unit);
        }
    }

    fn read(&mut self) {
        let q = self.any_queue();
        let queue = self.model.get(&q).cloned().unwrap_or_default();
        let from = self.rng.random_range(queue.min.saturating_sub(3)..queue.next() + 3);
        let max_units = self.rng.random_range(0..60);
        let mut units = vec![unit(1)];
        let bounds = self.queues.read(q, from, max_units, &mut units).unwrap();
        assert_eq!(bounds, Bounds { min_queue_offset: queue.min, next_queue_offset: queue.next() });
        let end = queue.next().min(from + max_units as u64);
        let expect = if queue.min <= from && from < end { queue.get(from..end) } else { &[] };
        assert_eq!(units[0], unit(1), "what was in the caller's vector stays");
        assert_eq!(&units[1..], expect);
    }

    fn partition_point(&mut self) {
        let q = self.any_queue();
        let queue = self.model.get(&q).cloned().unwrap_or_default();
        let wanted = self.rng.random_range(0..self.next_physical_offset + 2);
        let found =
            self.queues.partition_point::<Error>(q, |unit| Ok(unit.physical_offset < wanted)).unwrap();
        let mut expect = queue.clone();
        expect.trim(wanted);
        assert_eq!(found, expect.min);
    }

    /// The log is trimmed up to the last checkpoint at most.
    fn trim(&mut self) {
        self.log_start = self.rng.random_range(self.log_start..=self.checkpoint.physical_offset);
        self.queues.trim(self.log_start).unwrap();
        self.model.values_mut().for_each(|queue| queue.trim(self.log_start));
    }

    /// Also follows whatever rewrites history: an older checkpoint would promise units that are gone.
    fn checkpoint(&mut self) {
        self.checkpoint = Checkpoint {
            positions: self.queues.positions(),
            model: self.model.clone(),
            physical_offset: self.next_physical_offset,
        };
        // Appends between the record and the flush end up in files, behind the recorded positions.
        self.append();
        self.queues.flush().unwrap();
    }

    /// Drops the store without a flush and opens it at the last checkpoint, under the trimming done since.
    fn crash(&mut self) {
        let Checkpoint { positions, model, .. } = self.checkpoint.clone();
        self.model = model;
        self.model.values_mut().for_each(|queue| queue.trim(self.log_start));
        self.queues = open(self.dir.path(), self.options, &positions, self.log_start);
        self.check_all();
    }

    fn truncate(&mut self) {
        let q = self.any_queue();
        let Some(queue) = self.model.get_mut(&q) else { return };
        let next = self.rng.random_range(queue.min..=queue.next());
        self.queues.truncate(q, next).unwrap();
        queue.units.truncate((next - queue.start) as usize);
        self.checkpoint();
    }

    fn reset_queue(&mut self) {
        let q = self.any_queue();
        let start = self.rng.random_range(0..1000);
        self.queues.reset_queue(q, start).unwrap();
        self.model.insert(q, ModelQueue { start, units: Vec::new(), min: start });
        self.checkpoint();
    }

    fn remove_topic(&mut self) {
        let topic_id = self.any_queue().topic_id;
        self.queues.remove_topic(topic_id).unwrap();
        self.model.retain(|q, _| q.topic_id != topic_id);
        self.checkpoint();
    }

    fn check_all(&self) {
        self.queues.check();
        let positions: BTreeMap<_, _> = self.queues.positions().iter().map(|p| (p.queue, *p)).collect();
        assert_eq!(positions.keys().collect::<Vec<_>>(), self.model.keys().collect::<Vec<_>>());
        for (&q, queue) in &self.model {
            let position =
                Position { queue: q, min_queue_offset: queue.min, next_queue_offset: queue.next() };
            assert_eq!(positions[&q], position);
            assert_eq!(read_all(&self.queues, q), queue.get(queue.min..queue.next()));
            self.queues.verify(q).unwrap();
        }
    }
}

/// Whatever is done in whatever order, and wherever it crashes between two checkpoints, the queues are what
/// the model says. A failing seed prints itself.
#[test]
fn random_operations_agree_with_the_model() {
    for seed in 0..12 {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..600 {
                world.step();
            }
            world.check_all();
            world.checkpoint();
            world.crash();
        });
        assert!(run.is_ok(), "seed {seed} fails");
    }
}
