//! Who holds which queue. Synchronous; time comes in with each call.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use trireme_remoting::body::MessageQueue;

/// RocketMQ `REBALANCE_LOCK_MAX_LIVE_TIME`.
const EXPIRES_AFTER: Duration = Duration::from_secs(60);
/// Locks held at a replica. Above it those that are over are forgotten, and then no new ones are given.
const MAX_LOCKS: usize = 1_000_000;

/// The locks of a replica.
pub struct Locks {
    groups: Mutex<Groups>,
    max: usize,
}

type Groups = HashMap<String, BTreeMap<MessageQueue, Owner>>;

struct Owner {
    client_id: String,
    renewed: Instant,
}

impl Default for Locks {
    fn default() -> Self {
        Self { groups: Mutex::default(), max: MAX_LOCKS }
    }
}

impl Locks {
    /// Nothing is locked.
    pub fn new() -> Self {
        Self::default()
    }

    /// Locks what is free or the client's own already; returns what it holds of `queues` then.
    pub fn lock(
        &self,
        group: &str,
        client_id: &str,
        queues: &BTreeSet<MessageQueue>,
        now: Instant,
    ) -> BTreeSet<MessageQueue> {
        let mut groups = self.groups.lock();
        let mut room = self.room(&groups);
        if room < queues.len() {
            groups.retain(|_, owners| {
                owners.retain(|_, owner| !owner.is_over(now));
                !owners.is_empty()
            });
            room = self.room(&groups);
        }
        let owners = groups.entry(group.to_owned()).or_default();
        let mut locked = BTreeSet::new();
        for queue in queues {
            let free =
                owners.get(queue).is_none_or(|owner| owner.is_over(now) || owner.client_id == client_id);
            let known = owners.contains_key(queue);
            if !free || (!known && room == 0) {
                continue;
            }
            room -= usize::from(!known);
            owners.insert(queue.clone(), Owner { client_id: client_id.to_owned(), renewed: now });
            locked.insert(queue.clone());
        }
        if owners.is_empty() {
            groups.remove(group);
        }
        locked
    }

    /// Whether anybody of the group holds a queue: then it consumes in order.
    pub fn holds(&self, group: &str, now: Instant) -> bool {
        let groups = self.groups.lock();
        groups.get(group).is_some_and(|owners| owners.values().any(|owner| !owner.is_over(now)))
    }

    /// Frees what the client holds of `queues`.
    pub fn unlock(&self, group: &str, client_id: &str, queues: &BTreeSet<MessageQueue>) {
        let mut groups = self.groups.lock();
        let Some(owners) = groups.get_mut(group) else { return };
        owners.retain(|queue, owner| owner.client_id != client_id || !queues.contains(queue));
        if owners.is_empty() {
            groups.remove(group);
        }
    }

    /// How many locks may still be given.
    fn room(&self, groups: &Groups) -> usize {
        self.max.saturating_sub(groups.values().map(BTreeMap::len).sum())
    }
}

impl Owner {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.renewed) >= EXPIRES_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(ids: &[i32]) -> BTreeSet<MessageQueue> {
        ids.iter()
            .map(|id| MessageQueue { topic: "t".into(), broker_name: "b".into(), queue_id: *id })
            .collect()
    }

    #[test]
    fn one_owner_at_a_time() {
        let locks = Locks::new();
        let now = Instant::now();
        assert_eq!(locks.lock("g", "c1", &queues(&[0, 1]), now), queues(&[0, 1]));
        assert_eq!(locks.lock("g", "c2", &queues(&[1, 2]), now), queues(&[2]));
        assert_eq!(locks.lock("h", "c2", &queues(&[1]), now), queues(&[1]), "another group has its own");
        locks.unlock("g", "c2", &queues(&[1]));
        assert_eq!(locks.lock("g", "c2", &queues(&[1]), now), queues(&[]), "only the owner unlocks");
        locks.unlock("g", "c1", &queues(&[1]));
        assert_eq!(locks.lock("g", "c2", &queues(&[1]), now), queues(&[1]));
    }

    #[test]
    fn locks_that_are_over_make_room() {
        let locks = Locks { max: 2, ..Locks::new() };
        let start = Instant::now();
        assert_eq!(locks.lock("g", "c1", &queues(&[0, 1, 2]), start), queues(&[0, 1]));
        assert_eq!(locks.lock("h", "c2", &queues(&[0]), start), queues(&[]), "no room");
        assert_eq!(locks.lock("h", "c2", &queues(&[0]), start + EXPIRES_AFTER), queues(&[0]));
    }

    #[test]
    fn an_owner_that_does_not_renew_is_forgotten() {
        let locks = Locks::new();
        let start = Instant::now();
        locks.lock("g", "c1", &queues(&[0]), start);
        let renewed = start + Duration::from_secs(59);
        assert_eq!(locks.lock("g", "c1", &queues(&[0]), renewed), queues(&[0]));
        assert_eq!(locks.lock("g", "c2", &queues(&[0]), start + Duration::from_secs(61)), queues(&[]));
        assert_eq!(locks.lock("g", "c2", &queues(&[0]), renewed + EXPIRES_AFTER), queues(&[0]));
    }
}
