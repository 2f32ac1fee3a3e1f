//! A group of one replica in this process, with a clock that can be set.

#![allow(dead_code, reason = "each test program uses what it needs")]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use trireme_broker::clock::Clock;
use trireme_broker::config::{BrokerConfig, NEWEST_VERSION, ReplicaAddr};
use trireme_broker::replica::Broker;
use trireme_remoting::headers::{GetMaxOffsetRequest, OffsetResponse, SendHeader, TrimResponse};
use trireme_remoting::{Client, ClientOptions, Frame, RequestCode, response};

pub const SEGMENT: u64 = 1280 << 10;
pub const WITHIN: Duration = Duration::from_secs(30);
pub const HOUR: Duration = Duration::from_secs(60 * 60);

/// A group of one replica that keeps messages for `retention`.
pub fn config(dir: &Path, retention: Duration) -> BrokerConfig {
    let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [broker, peer] = ports.map(|port| port.local_addr().unwrap());
    BrokerConfig {
        joins: false,
        scrub_bytes_per_second: 8 << 20,
        cluster: "DefaultCluster".into(),
        group: "broker-a".into(),
        node: 1,
        replicas: BTreeMap::from([(1, ReplicaAddr { broker, peer: peer.to_string() })]),
        listen: broker,
        peer_listen: peer,
        store: dir.to_owned(),
        namesrv: Vec::new(),
        segment_bytes: SEGMENT,
        log_cache_bytes: 64 << 20,
        format_version: NEWEST_VERSION,
        timing: Default::default(),
        auto_create_topic: true,
        auto_create_group: true,
        default_topic_queues: 1,
        max_message_bytes: 128 << 10,
        permission: 6,
        vip_port: false,
        retention,
        retention_bytes: None,
        disk_trim_bytes: 0,
        disk_reserve_bytes: 0,
    }
}

/// The system's clock, set wrong by so many milliseconds.
pub fn clock(wrong_ms: &Arc<AtomicI64>) -> Clock {
    let (system, wrong_ms) = (Clock::system(), wrong_ms.clone());
    Clock::new(move || system.now_ms() + wrong_ms.load(Ordering::SeqCst))
}

pub struct Running {
    pub broker: Broker,
    client: Client,
    addr: String,
}

impl Running {
    pub async fn start(config: BrokerConfig, clock: Clock) -> Self {
        let addr = config.listen.to_string();
        let broker = Broker::start(config, clock, 7).await.unwrap();
        let mut leadership = broker.node().leadership();
        tokio::time::timeout(WITHIN, leadership.wait_for(|now| now.ready)).await.unwrap().unwrap();
        Self { broker, client: Client::new(ClientOptions::default(), None), addr }
    }

    pub async fn fill(&self, segments: u64) {
        let end = self.log_end() + segments * SEGMENT;
        while self.log_end() < end {
            self.send("Aging", "", vec![1; 100_000]).await;
        }
    }

    /// Sends a message to a topic, which it makes if need be, with these properties.
    pub async fn send(&self, topic: &str, properties: &str, body: Vec<u8>) {
        let header = SendHeader {
            producer_group: "producers",
            topic,
            default_topic: "TBW102",
            default_topic_queue_nums: 1,
            properties: Some(properties),
            ..SendHeader::default()
        };
        let request = Frame::request(RequestCode::SendMessageV2).with_ext(header.to_ext_v2()).with_body(body);
        let answer = self.client.invoke(&self.addr, request, WITHIN).await.unwrap();
        assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    }

    /// How many messages the only queue of a topic has had.
    pub async fn count(&self, topic: &str) -> i64 {
        let header = GetMaxOffsetRequest { topic, queue_id: 0, committed: None };
        let request = Frame::request(RequestCode::GetMaxOffset).with_ext(header.to_ext());
        let answer = self.client.invoke(&self.addr, request, WITHIN).await.unwrap();
        OffsetResponse::from_ext(&answer.ext).map_or(0, |header| header.offset)
    }

    /// What `mqadmin deleteExpiredCommitLog` does. Returns where the log starts, and what keeps it there.
    pub async fn trim_expired(&self) -> (i64, Option<i64>) {
        let request = Frame::request(RequestCode::DeleteExpiredCommitLog);
        let answer = self.client.invoke(&self.addr, request, WITHIN).await.unwrap();
        assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
        let header = TrimResponse::from_ext(&answer.ext).unwrap();
        (header.starts_at, header.held_by)
    }

    pub fn log_start(&self) -> u64 {
        self.broker.node().log().min_physical_offset()
    }

    pub fn log_end(&self) -> u64 {
        self.broker.node().log().next_physical_offset()
    }

    pub async fn stop(self) {
        self.client.shutdown();
        self.broker.shutdown().await;
    }
}

pub async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < WITHIN, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
