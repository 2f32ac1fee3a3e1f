//! Broker groups and what this client knows of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use tracing::info;

use super::replica::{Replica, clock_ms};
use super::replicas::Replicas;

/// How long other groups are preferred after one had no leader or did not answer: a little more than an election
/// takes. Sends that come back too early wait at a follower for the rest of it.
const PENALTY_MS: u64 = 1000;

/// One broker group.
#[derive(Debug)]
pub(crate) struct Broker {
    /// Its name.
    pub(crate) name: Arc<str>,
    replicas: Mutex<Replicas>,
    /// There is one replica only.
    is_alone: AtomicBool,
    /// Until when producers with a choice go elsewhere.
    penalty_until: AtomicU64,
}

/// What an answer or a route told of a group's leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leadership {
    /// Nothing new.
    Same,
    /// Another replica leads than was thought.
    Changed,
}

impl Broker {
    fn new(name: Arc<str>) -> Self {
        Self {
            name,
            replicas: Mutex::default(),
            is_alone: AtomicBool::new(true),
            penalty_until: AtomicU64::new(0),
        }
    }

    /// Whom to ask next for what only the leader can do; see [`Replicas::pick`].
    pub(crate) fn pick(&self, tried: &[Arc<Replica>]) -> Option<Arc<Replica>> {
        self.replicas.lock().pick(clock_ms(), tried)
    }

    /// Whom to ask next for what any replica can do; see [`Replicas::pick_reader`].
    pub(crate) fn pick_reader(&self, preferred: i64, tried: &[Arc<Replica>]) -> Option<Arc<Replica>> {
        self.replicas.lock().pick_reader(preferred, clock_ms(), tried)
    }

    /// The leader, as far as is known.
    pub(crate) fn leader(&self) -> Option<Arc<Replica>> {
        self.replicas.lock().leader().cloned()
    }

    /// Every replica.
    pub(crate) fn replicas(&self) -> Vec<Arc<Replica>> {
        self.replicas.lock().all().cloned().collect()
    }

    /// Whether there is no second replica to turn to, so that waiting for the one is all that can be done.
    pub(crate) fn is_alone(&self) -> bool {
        self.is_alone.load(Ordering::Relaxed)
    }

    /// A replica named the leader in its answer: `host:port`.
    pub(crate) fn leads(&self, addr: &str) -> Leadership {
        {
            let mut replicas = self.replicas.lock();
            if !addr.contains(':') || !replicas.name_leader(addr) {
                return Leadership::Same;
            }
            self.is_alone.store(replicas.all().count() < 2, Ordering::Relaxed);
        }
        info!(broker = %self.name, leader = addr, "leader changed");
        Leadership::Changed
    }

    /// The group has no leader, or did not answer: for a while producers with a choice go elsewhere.
    pub(crate) fn penalize(&self) {
        self.penalty_until.store(clock_ms() + PENALTY_MS, Ordering::Relaxed);
    }

    /// Whether producers with a choice should go elsewhere.
    pub(crate) fn is_penalized(&self) -> bool {
        let until = self.penalty_until.load(Ordering::Relaxed);
        until != 0 && clock_ms() < until
    }

    fn update(&self, addrs: &BTreeMap<i64, String>) -> Leadership {
        let mut replicas = self.replicas.lock();
        let changed = replicas.update(addrs);
        self.is_alone.store(replicas.all().count() < 2, Ordering::Relaxed);
        if changed { Leadership::Changed } else { Leadership::Same }
    }
}

/// The broker groups of all routes.
#[derive(Debug, Default)]
pub(crate) struct Brokers {
    table: RwLock<HashMap<Arc<str>, Arc<Broker>>>,
}

impl Brokers {
    /// The group of that name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Broker>> {
        self.table.read().get(name).cloned()
    }

    /// All groups, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Broker>> {
        self.table.read().values().cloned().collect()
    }

    /// Takes a route's addresses over, and returns the group with whether its leader is another one than before.
    pub(crate) fn update(&self, name: &str, addrs: &BTreeMap<i64, String>) -> (Arc<Broker>, Leadership) {
        let broker = self.get(name).unwrap_or_else(|| {
            let name: Arc<str> = name.into();
            self.table.write().entry(name.clone()).or_insert_with(|| Arc::new(Broker::new(name))).clone()
        });
        let leadership = broker.update(addrs);
        (broker, leadership)
    }

    /// Forgets the groups that `in_use` does not know.
    pub(crate) fn retain(&self, in_use: impl Fn(&str) -> bool) {
        self.table.write().retain(|name, _| in_use(name));
    }
}
