//! A route table with a clock, told and shown in short words.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use trireme_remoting::body::{BrokerData, DataVersion, PERM_READ, PERM_WRITE, QueueData, TopicRouteData};

use super::registration::{Queues, Refusal, Registered, Registration};
use super::{Limits, RouteTable};

/// A table and what time it is; after every step the table is checked.
pub(super) struct Stage {
    pub(super) table: RouteTable,
    now: Instant,
}

pub(super) const LIMITS: Limits =
    Limits { max_brokers: 100, max_topics: 1000, broker_expiry: Duration::from_secs(120) };

impl Stage {
    pub(super) fn new() -> Self {
        Self::with(LIMITS)
    }

    pub(super) fn with(limits: Limits) -> Self {
        Self { table: RouteTable::new(limits), now: Instant::now() }
    }

    pub(super) fn register(&mut self, registration: Registration) -> Result<Registered, Refusal> {
        let outcome = self.table.register(registration, self.now);
        self.table.check();
        outcome
    }

    pub(super) fn heartbeat(&mut self, broker: &str, address: &str) -> Option<DataVersion> {
        self.table.heartbeat(broker, address, self.now)
    }

    pub(super) fn unregister(&mut self, broker: &str, address: &str) -> bool {
        let was_listed = self.table.unregister(broker, address);
        self.table.check();
        was_listed
    }

    pub(super) fn close(&mut self, connection: u64) {
        self.table.connection_closed(connection);
        self.table.check();
    }

    /// Lets time pass; returns the addresses that expired.
    pub(super) fn pass(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        let expired = self.table.expire(self.now).into_iter().map(|expired| expired.address).collect();
        self.table.check();
        expired
    }

    /// A topic's route: `group{id=address ...} group:perm read/write`, or `none`.
    pub(super) fn route(&mut self, topic: &str) -> String {
        match self.table.route(topic, None) {
            Some(encoded) => show(&TopicRouteData::decode(&encoded).unwrap()),
            None => "none".to_owned(),
        }
    }

    /// Who is listed: `group{id=address ...} ...`.
    pub(super) fn listed(&self) -> String {
        let groups: Vec<_> = self.table.cluster_info().broker_addr_table.values().map(show_group).collect();
        groups.join(" ")
    }
}

fn show(route: &TopicRouteData) -> String {
    let groups = route.broker_datas.iter().map(show_group);
    groups.chain(route.queue_datas.iter().map(show_queues)).collect::<Vec<_>>().join(" ")
}

fn show_group(group: &BrokerData) -> String {
    let members: Vec<_> = group.broker_addrs.iter().map(|(id, address)| format!("{id}={address}")).collect();
    format!("{}{{{}}}", group.broker_name, members.join(" "))
}

fn show_queues(queues: &QueueData) -> String {
    let perm = match queues.perm {
        4 => "r",
        6 => "rw",
        7 => "rwi",
        _ => "?",
    };
    format!("{}:{perm} {}/{}", queues.broker_name, queues.read_queue_nums, queues.write_queue_nums)
}

/// A registration of RocketMQ 4.9: group `a`, id 0 at `h0:1`, topics `T` and `U` of 4 queues, connection 1.
pub(super) fn broker() -> Registration {
    Registration {
        cluster: "C".to_owned(),
        broker_name: "a".to_owned(),
        address: "h0:1".to_owned(),
        broker_id: 0,
        ha_address: "h0:2".to_owned(),
        zone: None,
        timeout: None,
        acting_master: None,
        raft_group: false,
        version: DataVersion { counter: 1, state_version: 0, timestamp: 0 },
        topics: ["T", "U"].map(|topic| (topic.to_owned(), RW4)).into(),
        complete: false,
        connection: 1,
    }
}

/// A registration of a Raft group's replica `n`: its own id is `n`, its connection too.
pub(super) fn replica(n: u64) -> Registration {
    Registration { raft_group: true, ..broker() }.at(&format!("h{n}:1")).on(n).id(n as i64)
}

pub(super) const RW4: Queues = Queues { read: 4, write: 4, perm: PERM_READ | PERM_WRITE, sys_flag: 0 };

impl Registration {
    pub(super) fn named(self, name: &str) -> Self {
        Self { broker_name: name.to_owned(), ..self }
    }

    pub(super) fn cluster(self, cluster: &str) -> Self {
        Self { cluster: cluster.to_owned(), ..self }
    }

    pub(super) fn at(self, address: &str) -> Self {
        Self { ha_address: format!("{address}0"), address: address.to_owned(), ..self }
    }

    pub(super) fn id(self, broker_id: i64) -> Self {
        Self { broker_id, ..self }
    }

    pub(super) fn on(self, connection: u64) -> Self {
        Self { connection, ..self }
    }

    /// As leader in `term`.
    pub(super) fn leads(self, term: i64) -> Self {
        self.id(0).term(term)
    }

    pub(super) fn term(mut self, term: i64) -> Self {
        self.version.state_version = term;
        self
    }

    pub(super) fn counter(mut self, counter: i64) -> Self {
        self.version.counter = counter;
        self
    }

    pub(super) fn topics<const N: usize>(self, topics: [&str; N]) -> Self {
        Self { topics: topics.map(|topic| (topic.to_owned(), RW4)).into(), ..self }
    }

    pub(super) fn queues(mut self, topic: &str, queues: i32) -> Self {
        self.topics.insert(topic.to_owned(), Queues { read: queues, write: queues, ..RW4 });
        self
    }

    /// Of RocketMQ 5, with or without `enableActingMaster`.
    pub(super) fn acting(self, acting: bool) -> Self {
        Self { acting_master: Some(acting), ..self }
    }
}

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
