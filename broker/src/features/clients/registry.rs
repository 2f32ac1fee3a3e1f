//! The table of connected clients. Synchronous; time comes in with each call.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use trireme_remoting::Connection;
use trireme_remoting::body::{ConsumeFromWhere, ConsumeType, HeartbeatData, MessageModel, SubscriptionData};

/// A client that sends no heartbeat for so long is gone (RocketMQ `CHANNEL_EXPIRED_TIMEOUT`).
const EXPIRES_AFTER: Duration = Duration::from_secs(120);

/// How a client is known here.
#[derive(Clone)]
pub enum Origin {
    /// By a connection of its own.
    Direct(Connection),
    /// Through another replica.
    Forwarded,
}

impl Origin {
    fn connection_id(&self) -> Option<u64> {
        match self {
            Self::Direct(connection) => Some(connection.id()),
            Self::Forwarded => None,
        }
    }
}

/// A group whose members or subscriptions changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The consumer group.
    pub group: String,
}

/// The connected clients. All methods take a short lock.
#[derive(Default)]
pub struct Clients {
    registry: Mutex<Registry>,
}

#[derive(Default)]
struct Registry {
    consumers: BTreeMap<String, ConsumerGroup>,
    producers: BTreeMap<String, BTreeMap<String, Member>>,
    /// Groups per connection, so that a closed one costs what it was in.
    connections: HashMap<u64, BTreeSet<(Role, String)>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Consumer,
    Producer,
}

struct ConsumerGroup {
    members: BTreeMap<String, Member>,
    subscriptions: BTreeMap<String, SubscriptionData>,
    consume_type: ConsumeType,
    message_model: MessageModel,
    from_where: ConsumeFromWhere,
}

struct Member {
    origin: Origin,
    last_seen: Instant,
    /// Of its last full heartbeat; 0 before one.
    fingerprint: i32,
}

impl Clients {
    /// Nobody is connected.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a heartbeat. Returns the groups that changed by it; and whether the client's subscriptions
    /// differ from what an abbreviated heartbeat (V2) said is known, so that it must send them in full.
    pub fn heartbeat(&self, data: &HeartbeatData, origin: &Origin, now: Instant) -> (Vec<Change>, bool) {
        let mut registry = self.registry.lock();
        let mut changes = Vec::new();
        let mut unknown = false;
        for consumer in &data.consumer_data_set {
            let group =
                registry.consumers.entry(consumer.group_name.clone()).or_insert_with(|| ConsumerGroup {
                    members: BTreeMap::new(),
                    subscriptions: BTreeMap::new(),
                    consume_type: consumer.consume_type,
                    message_model: consumer.message_model,
                    from_where: consumer.consume_from_where,
                });
            let mut changed = meet(&mut group.members, &data.client_id, origin, now);
            if data.without_sub {
                unknown |= group.fingerprint(&data.client_id) != data.heartbeat_fingerprint;
            } else {
                group.consume_type = consumer.consume_type;
                group.message_model = consumer.message_model;
                group.from_where = consumer.consume_from_where;
                changed |= group.subscribe(&consumer.subscription_data_set);
                group.set_fingerprint(&data.client_id, data.heartbeat_fingerprint);
            }
            if changed {
                changes.push(Change { group: consumer.group_name.clone() });
            }
            registry.remember(origin, Role::Consumer, &consumer.group_name);
        }
        for producer in &data.producer_data_set {
            let members = registry.producers.entry(producer.group_name.clone()).or_default();
            meet(members, &data.client_id, origin, now);
            registry.remember(origin, Role::Producer, &producer.group_name);
        }
        (changes, unknown)
    }

    /// A client says that it leaves. `forwarded`: through another replica, so a member with a connection
    /// of its own stays.
    pub fn unregister(
        &self,
        client_id: &str,
        producer_group: Option<&str>,
        consumer_group: Option<&str>,
        forwarded: bool,
    ) -> Vec<Change> {
        let mut registry = self.registry.lock();
        let stays = |member: &Member| forwarded && member.origin.connection_id().is_some();
        if let Some(members) = producer_group.and_then(|group| registry.producers.get_mut(group))
            && members.get(client_id).is_some_and(|member| !stays(member))
        {
            members.remove(client_id);
        }
        let mut changes = Vec::new();
        if let Some(name) = consumer_group
            && let Some(group) = registry.consumers.get_mut(name)
            && group.members.get(client_id).is_some_and(|member| !stays(member))
        {
            group.members.remove(client_id);
            changes.push(Change { group: name.to_owned() });
        }
        registry.sweep();
        changes
    }

    /// A connection closed: its clients are gone. Returns the changed groups, and who was on it:
    /// `(client id, is a consumer, group)`.
    pub fn closed(&self, connection: u64) -> (Vec<Change>, Vec<(String, bool, String)>) {
        let mut registry = self.registry.lock();
        let mut changes = Vec::new();
        let mut gone = Vec::new();
        for (role, group) in registry.connections.remove(&connection).unwrap_or_default() {
            let members = match role {
                Role::Consumer => registry.consumers.get_mut(&group).map(|group| &mut group.members),
                Role::Producer => registry.producers.get_mut(&group),
            };
            let Some(members) = members else { continue };
            let before = members.len();
            members.retain(|client_id, member| {
                let stays = member.origin.connection_id() != Some(connection);
                if !stays {
                    gone.push((client_id.clone(), role == Role::Consumer, group.clone()));
                }
                stays
            });
            if role == Role::Consumer && members.len() < before {
                changes.push(Change { group });
            }
        }
        registry.sweep();
        (changes, gone)
    }

    /// Forgets clients that were silent for too long.
    pub fn expire(&self, now: Instant) -> Vec<Change> {
        let mut registry = self.registry.lock();
        let alive = |member: &Member| now.saturating_duration_since(member.last_seen) < EXPIRES_AFTER;
        let mut changes = Vec::new();
        for (name, group) in &mut registry.consumers {
            let before = group.members.len();
            group.members.retain(|_, member| alive(member));
            if group.members.len() < before {
                changes.push(Change { group: name.clone() });
            }
        }
        for members in registry.producers.values_mut() {
            members.retain(|_, member| alive(member));
        }
        registry.sweep();
        changes
    }

    /// The ids of a group's members, sorted.
    pub fn members(&self, group: &str) -> Vec<String> {
        let registry = self.registry.lock();
        registry.consumers.get(group).map(|group| group.members.keys().cloned().collect()).unwrap_or_default()
    }

    /// The connections of a group's members that have one here.
    pub fn connections(&self, group: &str) -> Vec<Connection> {
        let registry = self.registry.lock();
        let members = registry.consumers.get(group).into_iter().flat_map(|group| group.members.values());
        members
            .filter_map(|member| match &member.origin {
                Origin::Direct(connection) => Some(connection.clone()),
                Origin::Forwarded => None,
            })
            .collect()
    }

    /// What a group's members subscribed to in a topic.
    pub fn subscription(&self, group: &str, topic: &str) -> Option<SubscriptionData> {
        self.registry.lock().consumers.get(group)?.subscriptions.get(topic).cloned()
    }

    /// The topics that a group subscribed to.
    pub fn subscribed_topics(&self, group: &str) -> Vec<String> {
        let registry = self.registry.lock();
        registry
            .consumers
            .get(group)
            .map(|group| group.subscriptions.keys().cloned().collect())
            .unwrap_or_default()
    }
}

impl Registry {
    fn remember(&mut self, origin: &Origin, role: Role, group: &str) {
        if let Some(id) = origin.connection_id() {
            self.connections.entry(id).or_default().insert((role, group.to_owned()));
        }
    }

    /// Empty groups go: their subscriptions are told anew by whoever comes next.
    fn sweep(&mut self) {
        self.consumers.retain(|_, group| !group.members.is_empty());
        self.producers.retain(|_, members| !members.is_empty());
    }
}

impl ConsumerGroup {
    fn fingerprint(&self, client_id: &str) -> i32 {
        self.members.get(client_id).map_or(0, |member| member.fingerprint)
    }

    fn set_fingerprint(&mut self, client_id: &str, fingerprint: i32) {
        if let Some(member) = self.members.get_mut(client_id) {
            member.fingerprint = fingerprint;
        }
    }

    /// Replaces the subscriptions; of two for one topic the newer one counts.
    fn subscribe(&mut self, told: &[SubscriptionData]) -> bool {
        let mut changed = false;
        for subscription in told {
            match self.subscriptions.get(&subscription.topic) {
                Some(known) if known.sub_version >= subscription.sub_version => {}
                known => {
                    changed |= known.is_none_or(|known| known.sub_string != subscription.sub_string);
                    self.subscriptions.insert(subscription.topic.clone(), subscription.clone());
                }
            }
        }
        let before = self.subscriptions.len();
        self.subscriptions.retain(|topic, _| told.iter().any(|subscription| subscription.topic == *topic));
        changed || self.subscriptions.len() < before
    }
}

/// Whether the member is new. A connection of its own is not replaced by word of mouth.
fn meet(members: &mut BTreeMap<String, Member>, client_id: &str, origin: &Origin, now: Instant) -> bool {
    match members.get_mut(client_id) {
        Some(member) => {
            member.last_seen = now;
            if origin.connection_id().is_some() || member.origin.connection_id().is_none() {
                member.origin = origin.clone();
            }
            false
        }
        None => {
            let member = Member { origin: origin.clone(), last_seen: now, fingerprint: 0 };
            members.insert(client_id.to_owned(), member);
            true
        }
    }
}
