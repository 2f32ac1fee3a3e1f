//! Broker groups and what this client knows of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info};

use super::replicas::Replicas;

/// How long other groups are preferred after one had no leader or did not answer. About an election.
const PENALTY: Duration = Duration::from_millis(500);

/// One broker group.
#[derive(Debug)]
pub(crate) struct Broker {
    /// Its name.
    pub(crate) name: Arc<str>,
    replicas: Mutex<Replicas>,
    /// Spares the lock on every answer while all is well.
    has_suspects: AtomicBool,
    /// There is one replica only.
    is_alone: AtomicBool,
    /// Until when producers with a choice go elsewhere.
    penalty: Mutex<Option<Instant>>,
    has_penalty: AtomicBool,
    /// Counts changes of leader and of suspicion, for those who wait at a replica that might be gone.
    changes: watch::Sender<u64>,
}

/// What an answer told of its group's leader.
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
            has_suspects: AtomicBool::new(false),
            is_alone: AtomicBool::new(true),
            penalty: Mutex::new(None),
            has_penalty: AtomicBool::new(false),
            changes: watch::Sender::new(0),
        }
    }

    /// Whom to ask next for what only the leader can do; see [`Replicas::pick`].
    pub(crate) fn pick(&self, tried: &[Arc<str>]) -> Option<Arc<str>> {
        self.replicas.lock().pick(Instant::now(), tried)
    }

    /// Whom to ask next for what any replica can do; see [`Replicas::pick_reader`].
    pub(crate) fn pick_reader(&self, preferred: i64, tried: &[Arc<str>]) -> Option<Arc<str>> {
        self.replicas.lock().pick_reader(preferred, Instant::now(), tried)
    }

    /// The leader, as far as is known.
    pub(crate) fn leader(&self) -> Option<Arc<str>> {
        self.replicas.lock().leader().cloned()
    }

    /// Every replica's address.
    pub(crate) fn addrs(&self) -> Vec<Arc<str>> {
        self.replicas.lock().addrs().cloned().collect()
    }

    /// Whether there is no second replica to turn to, so that waiting for the one is all that can be done.
    pub(crate) fn is_alone(&self) -> bool {
        self.is_alone.load(Ordering::Relaxed)
    }

    /// Whether this replica did not answer lately.
    pub(crate) fn is_suspect(&self, addr: &str) -> bool {
        self.has_suspects.load(Ordering::Relaxed) && self.replicas.lock().is_suspect(addr, Instant::now())
    }

    /// A replica answered; `leader` is the address that it named as the leader's, if it did.
    pub(crate) fn answered(&self, addr: &Arc<str>, leader: Option<&str>) -> Leadership {
        if self.has_suspects.load(Ordering::Relaxed) {
            let mut replicas = self.replicas.lock();
            replicas.trust(addr);
            self.has_suspects.store(replicas.has_suspects(), Ordering::Relaxed);
        }
        match leader {
            Some(leader) if leader.contains(':') => self.leads(leader),
            _ => Leadership::Same,
        }
    }

    /// This replica leads.
    pub(crate) fn leads(&self, addr: &str) -> Leadership {
        {
            let mut replicas = self.replicas.lock();
            if !replicas.name_leader(addr) {
                return Leadership::Same;
            }
            self.is_alone.store(replicas.addrs().count() < 2, Ordering::Relaxed);
        }
        info!(broker = %self.name, leader = addr, "leader changed");
        self.bump();
        Leadership::Changed
    }

    /// A replica did not answer.
    pub(crate) fn suspect(&self, addr: &Arc<str>, interval: Duration) {
        let new = {
            let mut replicas = self.replicas.lock();
            let new = replicas.suspect(addr, Instant::now() + interval);
            self.has_suspects.store(true, Ordering::Relaxed);
            new
        };
        if new {
            debug!(broker = %self.name, %addr, "replica does not answer");
        }
        self.bump();
    }

    /// The group has no leader, or did not answer: for a while producers with a choice go elsewhere.
    pub(crate) fn penalize(&self) {
        *self.penalty.lock() = Some(Instant::now() + PENALTY);
        self.has_penalty.store(true, Ordering::Relaxed);
    }

    /// Whether producers with a choice should go elsewhere.
    pub(crate) fn is_penalized(&self) -> bool {
        if !self.has_penalty.load(Ordering::Relaxed) {
            return false;
        }
        let mut penalty = self.penalty.lock();
        let holds = penalty.is_some_and(|until| Instant::now() < until);
        if !holds {
            *penalty = None;
            self.has_penalty.store(false, Ordering::Relaxed);
        }
        holds
    }

    /// Follows changes of leader and of suspicion.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn update(&self, addrs: &BTreeMap<i64, String>) -> Leadership {
        let changed = {
            let mut replicas = self.replicas.lock();
            let changed = replicas.update(addrs);
            self.has_suspects.store(replicas.has_suspects(), Ordering::Relaxed);
            self.is_alone.store(replicas.addrs().count() < 2, Ordering::Relaxed);
            changed
        };
        if changed {
            self.bump();
            Leadership::Changed
        } else {
            Leadership::Same
        }
    }

    fn bump(&self) {
        self.changes.send_modify(|count| *count += 1);
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
