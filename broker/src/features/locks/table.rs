//! Who holds which queue, as the leader knows it. Synchronous; time comes in with each call.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::LockState;

/// RocketMQ `REBALANCE_LOCK_MAX_LIVE_TIME`.
const EXPIRES_AFTER: Duration = Duration::from_secs(60);
/// Locks held at a replica. Above it those that are over are forgotten, and then no new ones are given.
const MAX_LOCKS: usize = 1_000_000;

/// Topic and queue.
pub type Place = (String, i32);

/// The locks of a leader.
pub struct Locks {
    held: Mutex<Held>,
    max: usize,
}

/// The locks in one term.
#[derive(Default)]
pub struct Held {
    term: u64,
    groups: HashMap<String, BTreeMap<Place, Owner>>,
    max: usize,
}

struct Owner {
    client_id: String,
    renewed: Instant,
}

impl Default for Locks {
    fn default() -> Self {
        Self { held: Mutex::default(), max: MAX_LOCKS }
    }
}

impl Locks {
    /// Nothing is locked.
    pub fn new() -> Self {
        Self::default()
    }

    /// The locks as they are in `term`, for as long as the guard lives. A term that begins takes over what is replicated, as
    /// if it had just been renewed. `None`: a later one has begun.
    ///
    /// Whoever holds the state's lock must not call this: `replicated` takes it.
    pub fn in_term(
        &self,
        term: u64,
        now: Instant,
        replicated: impl FnOnce() -> LockState,
    ) -> Option<MutexGuard<'_, Held>> {
        let mut held = self.held.lock();
        if held.term < term {
            *held = Held { term, groups: HashMap::new(), max: self.max };
            for (group, topic, queue_id, client_id) in replicated().iter() {
                let owner = Owner { client_id: client_id.to_owned(), renewed: now };
                let owners = held.groups.entry(group.to_owned()).or_default();
                owners.insert((topic.to_owned(), queue_id), owner);
            }
        }
        (held.term == term).then_some(held)
    }
}

impl Held {
    /// Locks what is free or the client's own already; returns what it holds of `places` then.
    pub fn lock(&mut self, group: &str, client_id: &str, places: &[Place], now: Instant) -> Vec<Place> {
        let mut room = self.room();
        if room < places.len() {
            self.groups.retain(|_, owners| {
                owners.retain(|_, owner| !owner.is_over(now));
                !owners.is_empty()
            });
            room = self.room();
        }
        let owners = self.groups.entry(group.to_owned()).or_default();
        let mut locked = Vec::new();
        for place in places {
            let free =
                owners.get(place).is_none_or(|owner| owner.is_over(now) || owner.client_id == client_id);
            let known = owners.contains_key(place);
            if !free || (!known && room == 0) {
                continue;
            }
            room -= usize::from(!known);
            owners.insert(place.clone(), Owner { client_id: client_id.to_owned(), renewed: now });
            locked.push(place.clone());
        }
        if owners.is_empty() {
            self.groups.remove(group);
        }
        locked
    }

    /// Whether anybody of the group holds a queue: then it consumes in order.
    pub fn holds(&self, group: &str, now: Instant) -> bool {
        self.groups.get(group).is_some_and(|owners| owners.values().any(|owner| !owner.is_over(now)))
    }

    /// Frees what the client holds of `places`, and says what that was.
    pub fn unlock(&mut self, group: &str, client_id: &str, places: &[Place]) -> Vec<Place> {
        let Some(owners) = self.groups.get_mut(group) else { return Vec::new() };
        let mut freed = places.to_vec();
        freed.retain(|place| owners.get(place).is_some_and(|owner| owner.client_id == client_id));
        freed.iter().for_each(|place| drop(owners.remove(place)));
        if owners.is_empty() {
            self.groups.remove(group);
        }
        freed
    }

    /// How many locks may still be given.
    fn room(&self) -> usize {
        self.max.saturating_sub(self.groups.values().map(BTreeMap::len).sum())
    }
}

impl Owner {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.renewed) >= EXPIRES_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::super::Locking;
    use super::*;

    fn places(ids: &[i32]) -> Vec<Place> {
        ids.iter().map(|id| ("t".to_owned(), *id)).collect()
    }

    fn in_term(locks: &Locks, term: u64, now: Instant) -> MutexGuard<'_, Held> {
        locks.in_term(term, now, LockState::default).expect("no later one")
    }

    #[test]
    fn one_owner_at_a_time() {
        let (locks, now) = (Locks::new(), Instant::now());
        let mut held = in_term(&locks, 1, now);
        assert_eq!(held.lock("g", "c1", &places(&[0, 1]), now), places(&[0, 1]));
        assert_eq!(held.lock("g", "c2", &places(&[1, 2]), now), places(&[2]));
        assert_eq!(held.lock("h", "c2", &places(&[1]), now), places(&[1]), "another group has its own");
        assert_eq!(held.unlock("g", "c2", &places(&[1])), [], "only the owner unlocks");
        assert_eq!(held.lock("g", "c2", &places(&[1]), now), places(&[]));
        assert_eq!(held.unlock("g", "c1", &places(&[1, 7])), places(&[1]));
        assert_eq!(held.lock("g", "c2", &places(&[1]), now), places(&[1]));
    }

    #[test]
    fn locks_that_are_over_make_room() {
        let locks = Locks { max: 2, ..Locks::new() };
        let start = Instant::now();
        let mut held = in_term(&locks, 1, start);
        assert_eq!(held.lock("g", "c1", &places(&[0, 1, 2]), start), places(&[0, 1]));
        assert_eq!(held.lock("h", "c2", &places(&[0]), start), places(&[]), "no room");
        assert_eq!(held.lock("h", "c2", &places(&[0]), start + EXPIRES_AFTER), places(&[0]));
    }

    #[test]
    fn an_owner_that_does_not_renew_is_forgotten() {
        let (locks, start) = (Locks::new(), Instant::now());
        let mut held = in_term(&locks, 1, start);
        held.lock("g", "c1", &places(&[0]), start);
        let renewed = start + Duration::from_secs(59);
        assert_eq!(held.lock("g", "c1", &places(&[0]), renewed), places(&[0]));
        assert_eq!(held.lock("g", "c2", &places(&[0]), start + Duration::from_secs(61)), places(&[]));
        assert_eq!(held.lock("g", "c2", &places(&[0]), renewed + EXPIRES_AFTER), places(&[0]));
    }

    #[test]
    fn a_new_leader_knows_the_owners_and_gives_them_time() {
        let (locks, start) = (Locks::new(), Instant::now());
        in_term(&locks, 1, start).lock("g", "forgotten", &places(&[1]), start);
        let mut state = LockState::default();
        let queues = [("t".to_owned(), vec![0])].into();
        state.lock(&Locking { group: "g".into(), client_id: "c1".into(), queues });
        let later = start + EXPIRES_AFTER;
        let mut held = locks.in_term(2, later, || state).expect("no later one");
        assert_eq!(held.lock("g", "c2", &places(&[0, 1]), later), places(&[1]));
        assert_eq!(held.lock("g", "c2", &places(&[0]), later + EXPIRES_AFTER), places(&[0]));
        drop(held);
        assert!(locks.in_term(1, later, LockState::default).is_none(), "an earlier term is over");
    }
}
