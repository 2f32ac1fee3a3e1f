//! Who holds which queue, as the leader knows it. Synchronous; time comes in with each call.

use std::collections::HashMap;
use std::collections::btree_map::{BTreeMap, Entry};
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
    grants: u64,
}

/// What a client was given, and has not given back.
struct Owner {
    client_id: String,
    renewed: Instant,
    /// Which grant this is: of one client's grants of a queue, too, each has another.
    grant: u64,
    /// Whether it is known to be in the log, and not only under way.
    is_written: bool,
    /// How often it is under way.
    writing: u32,
}

/// What a client has been given, and may be told once it is written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// Of what it asked for, all that it holds now.
    pub held: Vec<Place>,
    /// What of it is to be written before.
    pub to_write: Vec<Place>,
    /// The grants of `to_write`.
    grants: Vec<u64>,
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
            *held = Held { term, max: self.max, ..Held::default() };
            for (group, topic, queue_id, client_id) in replicated().iter() {
                let owner = Owner { is_written: true, ..Owner::new(client_id, now, 0) };
                let owners = held.groups.entry(group.to_owned()).or_default();
                owners.insert((topic.to_owned(), queue_id), owner);
            }
        }
        (held.term == term).then_some(held)
    }
}

impl Held {
    /// Locks what is free or the client's own already.
    ///
    /// `replicated` is what the log says so far. A lock that it does not have, or that is not known to be the last word, is to
    /// be written, and [`Held::is_written`] or [`Held::is_refused`] to be called with what is returned. `None`: nothing is
    /// written yet.
    pub fn lock(
        &mut self,
        group: &str,
        client_id: &str,
        places: &[Place],
        now: Instant,
        replicated: Option<&LockState>,
    ) -> Granted {
        let mut room = self.room();
        if room < places.len() {
            self.groups.retain(|_, owners| {
                owners.retain(|_, owner| !owner.is_over(now));
                !owners.is_empty()
            });
            room = self.room();
        }
        let owners = self.groups.entry(group.to_owned()).or_default();
        let mut granted = Granted::default();
        for place in places {
            let owner = match owners.entry(place.clone()) {
                Entry::Vacant(_) if room == 0 => continue,
                Entry::Vacant(free) => {
                    room -= 1;
                    self.grants += 1;
                    free.insert(Owner::new(client_id, now, self.grants))
                }
                Entry::Occupied(held) if held.get().client_id == client_id => held.into_mut(),
                Entry::Occupied(mut over) if over.get().is_over(now) => {
                    self.grants += 1;
                    over.insert(Owner::new(client_id, now, self.grants));
                    over.into_mut()
                }
                Entry::Occupied(_) => continue,
            };
            owner.renewed = now;
            granted.held.push(place.clone());
            let is_there = |state: &LockState| state.owner(group, &place.0, place.1) == Some(client_id);
            if replicated.is_some_and(|state| !owner.is_written || !is_there(state)) {
                owner.writing += 1;
                granted.to_write.push(place.clone());
                granted.grants.push(owner.grant);
            }
        }
        if owners.is_empty() {
            self.groups.remove(group);
        }
        granted
    }

    /// What was to be written is applied.
    pub fn is_written(&mut self, group: &str, granted: &Granted) {
        let Some(owners) = self.groups.get_mut(group) else { return };
        for (place, grant) in granted.to_write.iter().zip(&granted.grants) {
            if let Some(owner) = owners.get_mut(place).filter(|owner| owner.grant == *grant) {
                owner.writing -= 1;
                owner.is_written = true;
            }
        }
    }

    /// What was to be written is not in the log, and never will be: nobody was told of it, or will be. Unless it was, or may be
    /// yet, because the client has asked more than once.
    pub fn is_refused(&mut self, group: &str, granted: &Granted) {
        let Some(owners) = self.groups.get_mut(group) else { return };
        for (place, grant) in granted.to_write.iter().zip(&granted.grants) {
            let Some(owner) = owners.get_mut(place).filter(|owner| owner.grant == *grant) else { continue };
            owner.writing -= 1;
            if owner.writing == 0 && !owner.is_written {
                owners.remove(place);
            }
        }
        if owners.is_empty() {
            self.groups.remove(group);
        }
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
    fn new(client_id: &str, now: Instant, grant: u64) -> Self {
        Self { client_id: client_id.to_owned(), renewed: now, grant, is_written: false, writing: 0 }
    }

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

    /// Of a leader that does not write them.
    fn lock(held: &mut Held, group: &str, client_id: &str, places: &[Place], now: Instant) -> Vec<Place> {
        held.lock(group, client_id, places, now, None).held
    }

    fn locking(client_id: &str, queues: &[i32]) -> Locking {
        let queues = [("t".to_owned(), queues.to_vec())].into();
        Locking { group: "g".into(), client_id: client_id.into(), queues }
    }

    #[test]
    fn one_owner_at_a_time() {
        let (locks, now) = (Locks::new(), Instant::now());
        let mut held = in_term(&locks, 1, now);
        assert_eq!(lock(&mut held, "g", "c1", &places(&[0, 1]), now), places(&[0, 1]));
        assert_eq!(lock(&mut held, "g", "c2", &places(&[1, 2]), now), places(&[2]));
        assert_eq!(lock(&mut held, "h", "c2", &places(&[1]), now), places(&[1]), "another group has its own");
        assert_eq!(held.unlock("g", "c2", &places(&[1])), [], "only the owner unlocks");
        assert_eq!(lock(&mut held, "g", "c2", &places(&[1]), now), places(&[]));
        assert_eq!(held.unlock("g", "c1", &places(&[1, 7])), places(&[1]));
        assert_eq!(lock(&mut held, "g", "c2", &places(&[1]), now), places(&[1]));
    }

    #[test]
    fn locks_that_are_over_make_room() {
        let locks = Locks { max: 2, ..Locks::new() };
        let start = Instant::now();
        let mut held = in_term(&locks, 1, start);
        assert_eq!(lock(&mut held, "g", "c1", &places(&[0, 1, 2]), start), places(&[0, 1]));
        assert_eq!(lock(&mut held, "h", "c2", &places(&[0]), start), places(&[]), "no room");
        assert_eq!(lock(&mut held, "h", "c2", &places(&[0]), start + EXPIRES_AFTER), places(&[0]));
    }

    #[test]
    fn an_owner_that_does_not_renew_is_forgotten() {
        let (locks, start) = (Locks::new(), Instant::now());
        let mut held = in_term(&locks, 1, start);
        lock(&mut held, "g", "c1", &places(&[0]), start);
        let renewed = start + Duration::from_secs(59);
        assert_eq!(lock(&mut held, "g", "c1", &places(&[0]), renewed), places(&[0]));
        assert_eq!(lock(&mut held, "g", "c2", &places(&[0]), start + Duration::from_secs(61)), places(&[]));
        assert_eq!(lock(&mut held, "g", "c2", &places(&[0]), renewed + EXPIRES_AFTER), places(&[0]));
    }

    #[test]
    fn a_new_leader_knows_the_owners_and_gives_them_time() {
        let (locks, start) = (Locks::new(), Instant::now());
        lock(&mut in_term(&locks, 1, start), "g", "forgotten", &places(&[1]), start);
        let mut state = LockState::default();
        state.lock(&locking("c1", &[0]));
        let later = start + EXPIRES_AFTER;
        let mut held = locks.in_term(2, later, || state).expect("no later one");
        assert_eq!(lock(&mut held, "g", "c2", &places(&[0, 1]), later), places(&[1]));
        assert_eq!(lock(&mut held, "g", "c2", &places(&[0]), later + EXPIRES_AFTER), places(&[0]));
        drop(held);
        assert!(locks.in_term(1, later, LockState::default).is_none(), "an earlier term is over");
    }

    /// One client and one queue.
    struct Asked {
        held: Held,
        state: LockState,
        now: Instant,
    }

    impl Asked {
        fn new() -> Self {
            Self {
                held: Held { max: 10, ..Held::default() },
                state: LockState::default(),
                now: Instant::now(),
            }
        }

        fn lock(&mut self, client_id: &str) -> Granted {
            self.held.lock("g", client_id, &places(&[0]), self.now, Some(&self.state))
        }

        /// The command is applied, and its proposer hears of it.
        fn written(&mut self, client_id: &str, granted: &Granted) {
            self.state.lock(&locking(client_id, &[0]));
            self.held.is_written("g", granted);
        }
    }

    #[test]
    fn a_lock_is_written_once() {
        let mut asked = Asked::new();
        let first = asked.lock("c1");
        assert_eq!((&first.held, &first.to_write), (&places(&[0]), &places(&[0])));
        let again = asked.lock("c1");
        assert_eq!(again.to_write, places(&[0]), "nobody can say yet that it is");
        asked.written("c1", &first);
        let renewal = asked.lock("c1");
        assert_eq!((renewal.held, renewal.to_write), (places(&[0]), places(&[])));
    }

    #[test]
    fn a_lock_that_is_about_to_be_given_back_does_not_count() {
        let mut asked = Asked::new();
        let first = asked.lock("c1");
        asked.written("c1", &first);
        assert_eq!(asked.held.unlock("g", "c1", &places(&[0])), places(&[0]));
        assert_eq!(asked.lock("c1").to_write, places(&[0]), "what is replicated is on its way out");
    }

    #[test]
    fn what_is_replicated_no_more_is_written_again() {
        let mut asked = Asked::new();
        let first = asked.lock("c1");
        asked.written("c1", &first);
        asked.state.forget_topic("t");
        assert_eq!(asked.lock("c1").to_write, places(&[0]));
    }

    #[test]
    fn what_was_refused_is_free() {
        let mut asked = Asked::new();
        let refused = asked.lock("c1");
        assert_eq!(asked.lock("c2"), Granted::default());
        asked.held.is_refused("g", &refused);
        assert_eq!(asked.lock("c2").held, places(&[0]));
    }

    #[test]
    fn a_refusal_takes_back_nothing_else() {
        let mut asked = Asked::new();
        let first = asked.lock("c1");
        let again = asked.lock("c1");
        asked.held.is_refused("g", &again);
        assert_eq!(asked.lock("c2"), Granted::default(), "the first one is on its way");
        asked.written("c1", &first);
        // Given back and taken anew, while an answer is late.
        let late = Granted { held: Vec::new(), ..first };
        asked.held.unlock("g", "c1", &places(&[0]));
        let anew = asked.lock("c1");
        asked.held.is_refused("g", &late);
        asked.held.is_written("g", &late);
        assert_eq!(asked.lock("c2"), Granted::default());
        assert_eq!(asked.lock("c1").to_write, places(&[0]), "the new one is not written yet");
        asked.written("c1", &anew);
        assert_eq!(asked.lock("c1").to_write, places(&[]));
    }
}
