//! Which replica of a broker group to ask: what routes and answers have told of its leader.
//!
//! Pure: addresses and times come in, a replica comes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::replica::Replica;

/// The broker id under which name servers list the leader.
const LEADER_ID: i64 = 0;

/// What is known of one broker group.
///
/// Two sources name the leader: the name server (id 0), and replicas in their answers. A replica's word counts
/// until the name server's changes, which then is the newer one. Neither is believed while the replica that it
/// names does not answer.
#[derive(Debug, Default)]
pub(crate) struct Replicas {
    /// By broker id, as the name server has them.
    members: BTreeMap<i64, Arc<Replica>>,
    /// The leader as a replica named it.
    named: Option<Arc<Replica>>,
}

impl Replicas {
    /// Takes a route's addresses over. Returns whether the leader to be asked is another one than before.
    pub(crate) fn update(&mut self, addrs: &BTreeMap<i64, String>) -> bool {
        let before = self.leader().cloned();
        let known: Vec<Arc<Replica>> = self.all().cloned().collect();
        let listed = self.members.get(&LEADER_ID).map(|replica| &*replica.addr);
        if addrs.get(&LEADER_ID).map(String::as_str) != listed {
            self.named = None;
        }
        let replica = |addr: &String| {
            let known = known.iter().find(|known| *known.addr == **addr);
            known.cloned().unwrap_or_else(|| Arc::new(Replica::new(addr.as_str())))
        };
        self.members = addrs.iter().map(|(id, addr)| (*id, replica(addr))).collect();
        self.leader() != before.as_ref()
    }

    /// A replica has named the leader. Returns whether that is another one than before.
    pub(crate) fn name_leader(&mut self, addr: &str) -> bool {
        if self.leader().is_some_and(|leader| &*leader.addr == addr) {
            return false;
        }
        let known = self.all().find(|replica| &*replica.addr == addr);
        self.named = Some(known.cloned().unwrap_or_else(|| Arc::new(Replica::new(addr))));
        true
    }

    /// The leader, as far as is known.
    pub(crate) fn leader(&self) -> Option<&Arc<Replica>> {
        self.named.as_ref().or_else(|| self.members.get(&LEADER_ID))
    }

    /// Whom to ask next for what only the leader can do, when those of `tried` have been asked in this round.
    ///
    /// The leader first, then the others by id, since each forwards to the leader that it knows; suspects last.
    /// Nothing when all have been asked.
    pub(crate) fn pick(&self, now: u64, tried: &[Arc<Replica>]) -> Option<Arc<Replica>> {
        self.pick_first(self.leader(), now, tried)
    }

    /// Whom to ask next for what any replica can do: the one of this id first.
    pub(crate) fn pick_reader(
        &self,
        preferred: i64,
        now: u64,
        tried: &[Arc<Replica>],
    ) -> Option<Arc<Replica>> {
        let first = if preferred == LEADER_ID { None } else { self.members.get(&preferred) };
        self.pick_first(first.or(self.leader()), now, tried)
    }

    fn pick_first(
        &self,
        first: Option<&Arc<Replica>>,
        now: u64,
        tried: &[Arc<Replica>],
    ) -> Option<Arc<Replica>> {
        let untried = || first.into_iter().chain(self.all()).filter(|replica| !tried.contains(replica));
        untried().find(|replica| !replica.is_suspect(now)).or_else(|| untried().next()).cloned()
    }

    /// Every replica: the name server's by id, and the named leader if it is not among them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Replica>> {
        let unlisted =
            self.named.as_ref().filter(|named| !self.members.values().any(|member| member == *named));
        self.members.values().chain(unlisted)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    const NOW: u64 = 10_000;

    fn replicas(addrs: &[(i64, &str)]) -> Replicas {
        let mut replicas = Replicas::default();
        replicas.update(&table(addrs));
        replicas
    }

    fn table(addrs: &[(i64, &str)]) -> BTreeMap<i64, String> {
        addrs.iter().map(|(id, addr)| (*id, (*addr).to_owned())).collect()
    }

    fn leader(replicas: &Replicas) -> &str {
        &replicas.leader().unwrap().addr
    }

    fn suspect(replicas: &Replicas, addr: &str) {
        let replica = replicas.all().find(|replica| &*replica.addr == addr).unwrap();
        replica.suspect(NOW, Duration::from_secs(3));
    }

    /// The order in which all are asked.
    fn order(replicas: &Replicas, now: u64) -> String {
        let mut tried = Vec::new();
        while let Some(replica) = replicas.pick(now, &tried) {
            tried.push(replica);
        }
        tried.iter().map(|replica| &*replica.addr).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn order_of_asking() {
        for (named, suspects, expected) in [
            (None, vec![], "a b c"),
            (Some("b"), vec![], "b a c"),
            (None, vec!["a"], "b c a"),
            (None, vec!["a", "b"], "c a b"),
            (Some("b"), vec!["b"], "a c b"),
            (Some("b"), vec!["a"], "b c a"),
            (None, vec!["a", "b", "c"], "a b c"),
            // A leader that the name server does not list yet.
            (Some("d"), vec![], "d a b c"),
            (Some("d"), vec!["d"], "a b c d"),
        ] {
            let mut replicas = replicas(&[(0, "a"), (1, "b"), (2, "c")]);
            if let Some(leader) = named {
                replicas.name_leader(leader);
            }
            suspects.iter().for_each(|addr| suspect(&replicas, addr));
            assert_eq!(order(&replicas, NOW), expected, "named {named:?}, suspects {suspects:?}");
            let trusting = named.unwrap_or("a");
            assert!(order(&replicas, NOW + 3000).starts_with(trusting), "suspicion ends");
        }
    }

    #[test]
    fn a_replicas_word_counts_until_the_name_servers_changes() {
        let mut replicas = replicas(&[(0, "a"), (1, "b"), (2, "c")]);
        assert!(replicas.name_leader("b"));
        assert!(!replicas.name_leader("b"));
        assert!(!replicas.update(&table(&[(0, "a"), (1, "b")])), "the same id 0 is old news");
        assert_eq!(leader(&replicas), "b");
        assert!(replicas.update(&table(&[(0, "c"), (1, "b"), (2, "a")])));
        assert_eq!(leader(&replicas), "c");
        assert!(!replicas.update(&table(&[(0, "c"), (1, "b")])));
    }

    #[test]
    fn the_name_server_confirming_a_replicas_word_changes_nothing() {
        let mut replicas = replicas(&[(0, "a"), (1, "b")]);
        replicas.name_leader("b");
        assert!(!replicas.update(&table(&[(0, "b"), (1, "a")])));
        assert_eq!(leader(&replicas), "b");
    }

    #[test]
    fn without_a_master_any_replica_is_asked() {
        assert_eq!(order(&replicas(&[(1, "b"), (2, "c")]), NOW), "b c");
    }

    #[test]
    fn readers_start_at_the_suggested_replica() {
        let mut replicas = replicas(&[(0, "a"), (1, "b")]);
        let first =
            |replicas: &Replicas, preferred| replicas.pick_reader(preferred, NOW, &[]).unwrap().addr.clone();
        for (preferred, expected) in [(0, "a"), (1, "b"), (7, "a")] {
            assert_eq!(&*first(&replicas, preferred), expected);
        }
        replicas.name_leader("b");
        assert_eq!(&*first(&replicas, 0), "b");
        suspect(&replicas, "b");
        assert_eq!(&*first(&replicas, 0), "a");
    }

    #[test]
    fn suspicion_outlives_a_new_route() {
        let mut replicas = replicas(&[(0, "a"), (1, "b")]);
        suspect(&replicas, "a");
        replicas.update(&table(&[(0, "b"), (1, "a"), (2, "c")]));
        assert_eq!(order(&replicas, NOW), "b c a");
    }
}
