//! Brokers leave: they say so, their connection closes, or nothing is heard of them. Topics leave.

use std::sync::Arc;
use std::time::Instant;

use trireme_remoting::body::{PERM_READ, PERM_WRITE};

use super::RouteTable;
use super::group::Group;

/// A broker that was silent for too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// Its group.
    pub broker_name: Arc<str>,
    /// Where it was.
    pub address: String,
}

impl RouteTable {
    /// Takes a broker off at its own wish; returns whether it was listed.
    ///
    /// A Raft group's leader stays listed until another registers as leader, its time is up, or the last of its
    /// group has unregistered too.
    pub fn unregister(&mut self, broker_name: &str, address: &str) -> bool {
        let Some(group) = self.groups.get_mut(broker_name) else { return false };
        let was_listed = group.unregister(address);
        self.departed(broker_name);
        was_listed
    }

    /// Takes off at once whoever registered on a connection that is now closed, except the leader of a Raft group,
    /// which stays until another registers as leader or its time is up. Returns the groups that it touched.
    pub fn connection_closed(&mut self, connection: u64) -> Vec<Arc<str>> {
        if !self.registrants.remove(&connection) {
            return Vec::new();
        }
        let touched = |(name, group): (&Arc<str>, &mut Group)| {
            group.connection_closed(connection).then(|| name.clone())
        };
        let names: Vec<_> = self.groups.iter_mut().filter_map(touched).collect();
        names.iter().for_each(|name| self.departed(name));
        names
    }

    /// Takes off whoever was silent for longer than its expiry.
    pub fn expire(&mut self, now: Instant) -> Vec<Expired> {
        let mut expired = Vec::new();
        for (name, group) in &mut self.groups {
            let silent = group.expire(now).into_iter();
            expired.extend(silent.map(|address| Expired { broker_name: name.clone(), address }));
        }
        expired.iter().for_each(|one| self.departed(&one.broker_name));
        expired
    }

    fn departed(&mut self, broker_name: &str) {
        self.settle(broker_name);
        if self.groups.get(broker_name).is_some_and(|group| group.lacks_acting_master()) {
            self.topics.set_perm(broker_name, |perm| perm & !PERM_WRITE);
        }
    }

    /// Takes a topic off the routes; with a cluster, only its brokers' queues of it.
    ///
    /// A broker that still has the topic brings it back when next it registers a change.
    pub fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) {
        let groups = &self.groups;
        let is_of = |broker: &str| groups.get(broker).is_some_and(|group| cluster == Some(&*group.cluster));
        self.topics.remove(topic, |broker| cluster.is_none() || is_of(broker));
    }

    /// Makes all topics of a broker unwritable; returns how many it has. Lasts until the broker registers a change.
    pub fn wipe_write_perm(&mut self, broker_name: &str) -> usize {
        self.topics.set_perm(broker_name, |perm| perm & !PERM_WRITE)
    }

    /// Makes all topics of a broker readable and writable; returns how many it has.
    pub fn add_write_perm(&mut self, broker_name: &str) -> usize {
        self.topics.set_perm(broker_name, |_| PERM_READ | PERM_WRITE)
    }
}
