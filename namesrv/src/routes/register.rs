//! Brokers arrive, and say that they are still there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};
use trireme_remoting::body::{DataVersion, PERM_WRITE};

use super::RouteTable;
use super::group::{Group, MASTER_ID};
use super::registration::{Refusal, Registered, Registration};

/// What a broker may ask for as its own expiry: below, every scheduling hiccup would unlist it; above, it would
/// never go.
const BROKER_TIMEOUT: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

impl RouteTable {
    /// Takes a registration.
    ///
    /// The sender is listed under its id and under no other. A registration whose `state_version` is below that
    /// of another address under the id is ignored: it comes from a master of an earlier term. Only a master's
    /// topics are taken; before RocketMQ 5.0 that is id 0 alone, since then also the smallest id, whose topics
    /// are made read-only. Topics are taken when something changed since the sender's last registration.
    ///
    /// Of a Raft group only id 0 brings topics, and it brings all of them: those that it does not name leave the
    /// route. A new leader takes id 0 from the last one.
    ///
    /// Errors: [`Refusal`]; the table is then as it was.
    pub fn register(&mut self, mut registration: Registration, now: Instant) -> Result<Registered, Refusal> {
        self.admit(&registration)?;
        self.registrants.insert(registration.connection);

        let name: Arc<str> = match self.groups.get_key_value(&*registration.broker_name) {
            Some((name, _)) => name.clone(),
            None => Arc::from(&*registration.broker_name),
        };
        let group =
            self.groups.entry(name.clone()).or_insert_with(|| Group::new(&name, &registration.cluster));
        if let Some(later) = group.overruled_by(&registration) {
            let (address, broker_id) = (&registration.address, registration.broker_id);
            let version = registration.version.state_version;
            warn!(broker = %name, broker_id, %address, version, later, "registration of an earlier master ignored");
            return Ok(Registered { master: master_of(group), left_out: 0 });
        }
        group.cluster.clone_from(&registration.cluster);
        let timeout = match registration.timeout {
            Some(asked) => asked.clamp(*BROKER_TIMEOUT.start(), *BROKER_TIMEOUT.end()),
            None => self.limits.broker_expiry,
        };
        let unchanged = group.place(&registration, timeout, now);

        let is_master = registration.broker_id == MASTER_ID;
        let is_acting = !registration.raft_group
            && registration.acting_master.is_some()
            && group.lowest_id() == Some(registration.broker_id);
        let master = if is_master { None } else { master_of(group) };
        let listing_changed = self.settle(&name);

        let mut left_out = 0;
        if is_master || is_acting {
            if !is_master {
                registration.topics.values_mut().for_each(|queues| queues.perm &= !PERM_WRITE);
            }
            if registration.raft_group || registration.complete {
                self.topics.remove_broker(&name, |topic| registration.topics.contains_key(topic));
            }
            left_out = self.topics.merge(&name, registration.topics, unchanged);
        }
        if listing_changed {
            let (address, broker_id) = (&registration.address, registration.broker_id);
            let version = registration.version.state_version;
            info!(broker = %name, broker_id, %address, version, "broker registered");
        }
        Ok(Registered { master, left_out })
    }

    fn admit(&self, registration: &Registration) -> Result<(), Refusal> {
        let group = self.groups.get(&*registration.broker_name);
        if let Some(group) = group
            && group.cluster != registration.cluster
            && group.others_connected(&registration.address)
        {
            let (name, cluster) = (registration.broker_name.clone(), group.cluster.clone());
            return Err(Refusal::OtherCluster { name, cluster });
        }
        // A Raft group's registrations are always complete, so one topic may well be all that it has.
        let is_listed = group.is_some_and(|group| group.contains(registration.broker_id));
        if !is_listed && !registration.raft_group && registration.topics.len() == 1 {
            return Err(Refusal::HalfStarted(registration.broker_name.clone()));
        }
        let adds_one = group.is_none_or(|group| {
            !group.contains(registration.broker_id) && group.member(&registration.address).is_none()
        });
        let max = self.limits.max_brokers;
        if adds_one && self.groups.values().map(Group::len).sum::<usize>() >= max {
            return Err(Refusal::TooManyBrokers { max });
        }
        Ok(())
    }

    /// Notes that a broker is alive, without a registration. Returns its version as it registered it; none if it
    /// is not listed.
    pub fn heartbeat(&mut self, broker_name: &str, address: &str, now: Instant) -> Option<DataVersion> {
        self.groups.get_mut(broker_name)?.touch(address, now)
    }
}

fn master_of(group: &Group) -> Option<(String, String)> {
    group.master().map(|master| (master.address.clone(), master.ha_address.clone()))
}
