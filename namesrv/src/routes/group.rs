//! One broker group: who is reachable under which id, and since when.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use trireme_remoting::body::{BrokerData, DataVersion};

use super::registration::Registration;

/// The id of a group's master; the leader of a Raft group registers under it.
pub(super) const MASTER_ID: i64 = 0;

/// The replicas of one `brokerName`.
#[derive(Debug)]
pub(super) struct Group {
    name: String,
    pub(super) cluster: String,
    zone: Option<String>,
    acting_master: bool,
    members: BTreeMap<i64, Member>,
    /// What clients are shown; see [`relist`](Self::relist).
    pub(super) listing: BrokerData,
}

/// One listed replica.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) address: String,
    pub(super) ha_address: String,
    pub(super) version: DataVersion,
    raft: bool,
    /// When it was last heard of.
    seen: Instant,
    /// After which silence it goes.
    timeout: Duration,
    /// The connection that it registered on; none once that is closed, which only a Raft leader outlives.
    connection: Option<u64>,
    /// The id under which a Raft group's last leader has registered since, while nobody has taken id 0.
    follower_id: Option<i64>,
    /// A Raft group's last leader has unregistered, and stays for its clients' sake only.
    left: bool,
}

impl Group {
    pub(super) fn new(name: &str, cluster: &str) -> Self {
        Self {
            name: name.to_owned(),
            cluster: cluster.to_owned(),
            zone: None,
            acting_master: false,
            members: BTreeMap::new(),
            listing: BrokerData::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn contains(&self, id: i64) -> bool {
        self.members.contains_key(&id)
    }

    pub(super) fn lowest_id(&self) -> Option<i64> {
        self.members.keys().next().copied()
    }

    pub(super) fn master(&self) -> Option<&Member> {
        self.members.get(&MASTER_ID)
    }

    pub(super) fn member(&self, address: &str) -> Option<&Member> {
        self.id_of(address).and_then(|id| self.members.get(&id))
    }

    fn id_of(&self, address: &str) -> Option<i64> {
        self.members.iter().find(|(_, member)| member.address == address).map(|(id, _)| *id)
    }

    /// Whether a member other than `address` is connected now.
    pub(super) fn others_connected(&self, address: &str) -> bool {
        self.members.values().any(|member| member.address != address && member.connection.is_some())
    }

    /// The `stateVersion` of a later holder of the id that is asked for; the registration is to be ignored.
    ///
    /// Versions of one address are not compared: a broker that lost its disk starts again from nothing. Nor are
    /// those of holders that are gone: a group whose disks were all replaced would stay locked out by its own past.
    pub(super) fn overruled_by(&self, registration: &Registration) -> Option<i64> {
        let holder = self.members.get(&registration.broker_id)?;
        let later = holder.version.state_version;
        (holder.address != registration.address && later > registration.version.state_version)
            .then_some(later)
    }

    /// Lists the sender under its id. An address belongs to one id only, so it leaves any other.
    ///
    /// Exception: a Raft group's leader that re-registers as a follower stays under id 0 until the next leader
    /// takes it, since a route without id 0 costs some clients their next 30 s.
    ///
    /// Returns whether it says what it said before: same address, id and version.
    pub(super) fn place(&mut self, registration: &Registration, timeout: Duration, now: Instant) -> bool {
        self.zone = registration.zone.clone();
        self.acting_master = registration.acting_master == Some(true);

        let id = registration.broker_id;
        let previous = self.id_of(&registration.address);
        if previous == Some(MASTER_ID) && id != MASTER_ID && registration.raft_group {
            let leader = self.members.get_mut(&MASTER_ID).expect("its address was found under this id");
            leader.follower_id = Some(id);
            leader.left = false;
            leader.seen = now;
            leader.timeout = timeout;
            leader.connection = Some(registration.connection);
            return true;
        }

        let before = previous.and_then(|previous| self.members.remove(&previous));
        let unchanged = previous == Some(id)
            && before.as_ref().is_some_and(|member| member.version == registration.version);
        let displaced = self.members.insert(id, Member::new(registration, timeout, now));

        // A deposed leader moves to the id that it asked for, unless it is gone by now.
        if let Some(mut deposed) = displaced
            && let Some(own_id) = deposed.follower_id.take()
            && deposed.connection.is_some()
        {
            self.members.entry(own_id).or_insert(deposed);
        }
        unchanged
    }

    /// Notes that the member at `address` is alive; returns its version.
    pub(super) fn touch(&mut self, address: &str, now: Instant) -> Option<DataVersion> {
        let id = self.id_of(address)?;
        let member = self.members.get_mut(&id)?;
        member.seen = now;
        Some(member.version)
    }

    /// Takes the member at `address` off, because it said so.
    ///
    /// A Raft group's leader stays listed, marked, while others of the group are there: one of them is about to
    /// take its place. With the last of them it goes too.
    pub(super) fn unregister(&mut self, address: &str) -> bool {
        let Some(id) = self.id_of(address) else { return false };
        match self.members.get_mut(&id) {
            Some(leader) if leader.raft && id == MASTER_ID => {
                leader.left = true;
                leader.connection = None;
            }
            _ => {
                self.members.remove(&id);
            }
        }
        self.drop_if_all_left();
        true
    }

    /// Takes off who registered on `connection`, except a Raft group's leader: that one stays until the next
    /// leader registers or its time is up. Returns whether there was anyone.
    pub(super) fn connection_closed(&mut self, connection: u64) -> bool {
        let mut found = false;
        self.members.retain(|id, member| {
            if member.connection != Some(connection) {
                return true;
            }
            found = true;
            member.connection = None;
            member.raft && *id == MASTER_ID
        });
        self.drop_if_all_left();
        found
    }

    fn drop_if_all_left(&mut self) {
        if self.members.values().all(|member| member.left) {
            self.members.clear();
        }
    }

    /// Takes off whoever was silent for too long; returns their addresses.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<String> {
        let silent = |member: &Member| now.saturating_duration_since(member.seen) > member.timeout;
        self.members.extract_if(.., |_, member| silent(member)).map(|(_, member)| member.address).collect()
    }

    /// Whether the topics of the group have to be made read-only: nobody is left who takes writes, and the
    /// replicas run in RocketMQ's acting-master mode.
    pub(super) fn lacks_acting_master(&self) -> bool {
        self.acting_master && !self.contains(MASTER_ID)
    }

    /// Brings [`listing`](Self::listing) up to date; returns whether it changed.
    pub(super) fn relist(&mut self) -> bool {
        let listing = BrokerData {
            broker_addrs: self.members.iter().map(|(id, member)| (*id, member.address.clone())).collect(),
            broker_name: self.name.clone(),
            cluster: self.cluster.clone(),
            enable_acting_master: self.acting_master,
            zone_name: self.zone.clone(),
        };
        let changed = listing != self.listing;
        self.listing = listing;
        changed
    }

    /// Asserts what must hold between two events.
    #[cfg(test)]
    pub(super) fn check(&self) {
        assert!(!self.members.is_empty(), "a group without members is removed");
        for (id, member) in &self.members {
            assert_eq!(self.id_of(&member.address), Some(*id), "an address belongs to one id only");
            assert!(*id == MASTER_ID || (!member.left && member.follower_id.is_none()));
            assert_eq!(
                self.listing.broker_addrs.get(id),
                Some(&member.address),
                "clients are shown all members"
            );
        }
    }
}

impl Member {
    fn new(registration: &Registration, timeout: Duration, now: Instant) -> Self {
        Self {
            address: registration.address.clone(),
            ha_address: registration.ha_address.clone(),
            version: registration.version,
            raft: registration.raft_group,
            seen: now,
            timeout,
            connection: Some(registration.connection),
            follower_id: None,
            left: false,
        }
    }
}
