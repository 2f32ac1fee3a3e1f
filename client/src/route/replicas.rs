//! Which replica of a broker group to ask: a small record of what routes, answers and silence have told.
//!
//! Pure: addresses and times come in, an address comes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

/// The broker id under which name servers list the leader.
pub(crate) const LEADER_ID: i64 = 0;

/// What is known of one broker group.
///
/// Two sources name the leader: the name server (id 0), and replicas in their answers. A replica's word counts
/// until the name server's changes, which then is the newer one. Neither is believed while the replica that it
/// names does not answer.
#[derive(Debug, Default)]
pub(crate) struct Replicas {
    /// By broker id, as the name server has them.
    members: BTreeMap<i64, Arc<str>>,
    /// The leader as a replica named it.
    named: Option<Arc<str>>,
    /// Replicas that did not answer, and until when they are asked last.
    suspects: Vec<(Arc<str>, Instant)>,
}

impl Replicas {
    /// Takes a route's addresses over. Returns whether the leader to be asked is another one than before.
    pub(crate) fn update(&mut self, addrs: &BTreeMap<i64, String>) -> bool {
        let before = self.leader().cloned();
        let news =
            addrs.get(&LEADER_ID).map(String::as_str) != self.members.get(&LEADER_ID).map(|addr| &**addr);
        if news {
            self.named = None;
        }
        let mut known: Vec<Arc<str>> = std::mem::take(&mut self.members).into_values().collect();
        known.extend(self.named.clone());
        let reuse = |addr: &String| known.iter().find(|known| ***known == **addr).cloned();
        self.members = addrs
            .iter()
            .map(|(id, addr)| (*id, reuse(addr).unwrap_or_else(|| addr.as_str().into())))
            .collect();
        self.suspects.retain(|(addr, _)| self.members.values().any(|member| member == addr));
        self.leader() != before.as_ref()
    }

    /// A replica has named the leader. Returns whether that is another one than before.
    pub(crate) fn name_leader(&mut self, addr: &str) -> bool {
        if self.leader().is_some_and(|leader| &**leader == addr) {
            return false;
        }
        let member = self.members.values().find(|member| &***member == addr);
        self.named = Some(member.cloned().unwrap_or_else(|| addr.into()));
        true
    }

    /// A replica did not answer: it is asked last until `until`. Returns whether that is new.
    pub(crate) fn suspect(&mut self, addr: &Arc<str>, until: Instant) -> bool {
        match self.suspects.iter_mut().find(|(suspect, _)| suspect == addr) {
            Some(entry) => {
                entry.1 = until;
                false
            }
            None => {
                self.suspects.push((addr.clone(), until));
                true
            }
        }
    }

    /// A replica answered.
    pub(crate) fn trust(&mut self, addr: &str) {
        self.suspects.retain(|(suspect, _)| &**suspect != addr);
    }

    /// Whether some replica is under suspicion, or was and nobody has asked since.
    pub(crate) fn has_suspects(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// Whether this replica is under suspicion.
    pub(crate) fn is_suspect(&self, addr: &str, now: Instant) -> bool {
        self.suspects.iter().any(|(suspect, until)| &**suspect == addr && now < *until)
    }

    /// The leader, as far as is known.
    pub(crate) fn leader(&self) -> Option<&Arc<str>> {
        self.named.as_ref().or_else(|| self.members.get(&LEADER_ID))
    }

    /// Whom to ask next for what only the leader can do, when those of `tried` have been asked in this round.
    ///
    /// The leader first, then the others by id, since each forwards to the leader that it knows; suspects last.
    /// Nothing when all have been asked.
    pub(crate) fn pick(&self, now: Instant, tried: &[Arc<str>]) -> Option<Arc<str>> {
        self.pick_first(self.leader(), now, tried)
    }

    /// Whom to ask next for what any replica can do: the one of this id first.
    pub(crate) fn pick_reader(&self, preferred: i64, now: Instant, tried: &[Arc<str>]) -> Option<Arc<str>> {
        let first = if preferred == LEADER_ID { None } else { self.members.get(&preferred) };
        self.pick_first(first.or(self.leader()), now, tried)
    }

    fn pick_first(&self, first: Option<&Arc<str>>, now: Instant, tried: &[Arc<str>]) -> Option<Arc<str>> {
        let untried = || first.into_iter().chain(self.addrs()).filter(|addr| !tried.contains(addr));
        let trusted = untried().find(|addr| !self.is_suspect(addr, now));
        trusted.or_else(|| untried().next()).cloned()
    }

    /// Every address: the name server's by id, and the named leader's if it is not among them.
    pub(crate) fn addrs(&self) -> impl Iterator<Item = &Arc<str>> {
        let unlisted = self.named.as_ref().filter(|named| !self.members.values().any(|addr| addr == *named));
        self.members.values().chain(unlisted)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    fn replicas(addrs: &[(i64, &str)]) -> Replicas {
        let mut replicas = Replicas::default();
        replicas.update(&table(addrs));
        replicas
    }

    fn table(addrs: &[(i64, &str)]) -> BTreeMap<i64, String> {
        addrs.iter().map(|(id, addr)| (*id, (*addr).to_owned())).collect()
    }

    /// The order in which all are asked.
    fn order(replicas: &Replicas, now: Instant) -> String {
        let mut tried = Vec::new();
        while let Some(addr) = replicas.pick(now, &tried) {
            tried.push(addr);
        }
        tried.join(" ")
    }

    #[test]
    fn order_of_asking() {
        let now = Instant::now();
        let later = now + Duration::from_secs(3);
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
            for suspect in &suspects {
                assert!(replicas.suspect(&Arc::from(*suspect), later));
            }
            assert_eq!(order(&replicas, now), expected, "named {named:?}, suspects {suspects:?}");
            let trusting = named.unwrap_or("a");
            assert!(order(&replicas, later).starts_with(trusting), "suspicion ends");
        }
    }

    #[test]
    fn a_replicas_word_counts_until_the_name_servers_changes() {
        let mut replicas = replicas(&[(0, "a"), (1, "b"), (2, "c")]);
        assert!(replicas.name_leader("b"));
        assert!(!replicas.name_leader("b"));
        assert!(!replicas.update(&table(&[(0, "a"), (1, "b")])), "the same id 0 is old news");
        assert_eq!(replicas.leader().unwrap().as_ref(), "b");
        assert!(replicas.update(&table(&[(0, "c"), (1, "b"), (2, "a")])));
        assert_eq!(replicas.leader().unwrap().as_ref(), "c");
        assert!(!replicas.update(&table(&[(0, "c"), (1, "b")])));
    }

    #[test]
    fn the_name_server_confirming_a_replicas_word_changes_nothing() {
        let mut replicas = replicas(&[(0, "a"), (1, "b")]);
        replicas.name_leader("b");
        assert!(!replicas.update(&table(&[(0, "b"), (1, "a")])));
        assert_eq!(replicas.leader().unwrap().as_ref(), "b");
    }

    #[test]
    fn without_a_master_any_replica_is_asked() {
        let replicas = replicas(&[(1, "b"), (2, "c")]);
        assert_eq!(order(&replicas, Instant::now()), "b c");
    }

    #[test]
    fn readers_start_at_the_suggested_replica() {
        let now = Instant::now();
        let mut replicas = replicas(&[(0, "a"), (1, "b")]);
        for (preferred, expected) in [(0, "a"), (1, "b"), (7, "a")] {
            assert_eq!(replicas.pick_reader(preferred, now, &[]).unwrap().as_ref(), expected);
        }
        replicas.name_leader("b");
        assert_eq!(replicas.pick_reader(0, now, &[]).unwrap().as_ref(), "b");
        replicas.suspect(&Arc::from("b"), now + Duration::from_secs(1));
        assert_eq!(replicas.pick_reader(0, now, &[]).unwrap().as_ref(), "a");
    }

    #[test]
    fn an_answer_ends_suspicion() {
        let now = Instant::now();
        let mut replicas = replicas(&[(0, "a"), (1, "b")]);
        replicas.suspect(&Arc::from("a"), now + Duration::from_secs(1));
        assert!(replicas.is_suspect("a", now));
        replicas.trust("a");
        assert!(!replicas.has_suspects());
        replicas.suspect(&Arc::from("a"), now + Duration::from_secs(1));
        replicas.update(&table(&[(0, "b")]));
        assert!(!replicas.has_suspects(), "gone from the route");
    }
}
