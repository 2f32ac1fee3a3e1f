//! Who runs on the simulated hosts, but for the clients.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use trireme_broker::clock::Clock;
use trireme_broker::config::{BrokerConfig, NEWEST_VERSION, ReplicaAddr};
use trireme_broker::replica::Broker;
use trireme_chaos::world::GROUP;
use trireme_namesrv::{NameServer, NameServerOptions};
use turmoil::Sim;

use crate::scene::Stage;
use crate::script::REPLICAS;

/// The replicas' names.
pub const HOSTS: [&str; REPLICAS] = ["replica-1", "replica-2", "replica-3"];
/// The name server's.
pub const NAMESRV: &str = "namesrv";
/// Bytes of a segment.
pub const SEGMENT_BYTES: u64 = 1280 << 10;

const CLIENT_PORT: u16 = 10911;
const PEER_PORT: u16 = 10912;
const NAMESRV_PORT: u16 = 9876;

/// Where everybody is.
#[derive(Clone, Copy, Debug)]
pub struct Addrs {
    /// The name server.
    pub namesrv: SocketAddr,
    replicas: [IpAddr; REPLICAS],
}

impl Addrs {
    /// Of the hosts of a simulation.
    pub fn of(sim: &Sim<'_>) -> Self {
        let namesrv = SocketAddr::new(sim.lookup(NAMESRV), NAMESRV_PORT);
        Self { namesrv, replicas: HOSTS.map(|host| sim.lookup(host)) }
    }

    /// Where clients reach the replicas.
    pub fn brokers(&self) -> Vec<SocketAddr> {
        self.replicas.iter().map(|ip| SocketAddr::new(*ip, CLIENT_PORT)).collect()
    }

    /// Where clients and where peers reach a replica, as orders have it.
    pub fn order(&self, at: usize) -> String {
        let ReplicaAddr { broker, peer } = self.replica(at);
        format!("{broker}/{peer}")
    }

    fn replica(&self, at: usize) -> ReplicaAddr {
        let ip = self.replicas[at];
        ReplicaAddr {
            broker: SocketAddr::new(ip, CLIENT_PORT),
            peer: SocketAddr::new(ip, PEER_PORT).to_string(),
        }
    }
}

/// Of the replica with this number in the group, at this place. `keeps`: so many bytes of the log, if not all.
pub fn config(addrs: &Addrs, at: usize, node: u64, store: &Path, keeps: Option<u64>) -> BrokerConfig {
    // Who came in later is told of itself alone.
    let joins = node > REPLICAS as u64;
    let known = (0..REPLICAS).filter(|other| !joins || *other == at);
    let number = |other: usize| if joins { node } else { other as u64 + 1 };
    let listen = |port| SocketAddr::new(addrs.replicas[at], port);
    BrokerConfig {
        joins,
        scrub_bytes_per_second: 1 << 20,
        cluster: "DefaultCluster".into(),
        group: GROUP.into(),
        node,
        replicas: known.map(|other| (number(other), addrs.replica(other))).collect(),
        listen: listen(CLIENT_PORT),
        peer_listen: listen(PEER_PORT),
        store: store.to_owned(),
        namesrv: vec![addrs.namesrv.to_string()],
        segment_bytes: SEGMENT_BYTES,
        log_cache_bytes: 16 << 20,
        format_version: NEWEST_VERSION,
        timing: Default::default(),
        auto_create_topic: true,
        auto_create_group: true,
        default_topic_queues: 8,
        max_message_bytes: 128 << 10,
        permission: 6,
        vip_port: false,
        retention: Duration::from_secs(72 * 60 * 60),
        retention_bytes: keeps,
        disk_trim_bytes: 0,
        disk_reserve_bytes: 8 << 20,
    }
}

/// The system's clock, and so much ahead.
pub fn clock(ahead: &Arc<AtomicI64>) -> Clock {
    let (system, ahead) = (Clock::system(), ahead.clone());
    Clock::new(move || system.now_ms() + ahead.load(Ordering::Relaxed))
}

/// The name server, as long as the host is there.
pub async fn name_server(listen: SocketAddr) -> turmoil::Result {
    let _running = NameServer::start(NameServerOptions { listen, ..NameServerOptions::default() })?;
    std::future::pending().await
}

/// A replica, as long as the host is there. That it ends by itself is a violation, unless its disk fails.
pub async fn replica(at: usize, config: BrokerConfig, clock: Clock, stage: Rc<Stage>) -> turmoil::Result {
    stage.has_ended(at, false);
    let node = config.node;
    let ended = match Broker::start(config, clock, rand::random()).await {
        Ok(broker) => {
            let broker = Rc::new(broker);
            stage.replicas.borrow_mut()[at] = Rc::downgrade(&broker);
            broker.stopped().await;
            "ended by itself".to_owned()
        }
        Err(error) => format!("does not start: {error}"),
    };
    if stage.may_end.get()[at] {
        stage.has_ended(at, true);
    } else {
        stage.violations.borrow_mut().add(format!("I16: replica {node} {ended}"));
    }
    std::future::pending().await
}
