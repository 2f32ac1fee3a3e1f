//! Retention by age, with a clock that can be set.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use trireme_broker::clock::Clock;
use trireme_broker::config::{BrokerConfig, NEWEST_VERSION, ReplicaAddr};
use trireme_broker::replica::Broker;
use trireme_remoting::headers::{SendHeader, TrimResponse};
use trireme_remoting::{Client, ClientOptions, Frame, RequestCode, response};

const SEGMENT: u64 = 1280 << 10;
const WITHIN: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// A group of one replica that keeps messages for `retention`.
fn config(dir: &Path, retention: Duration) -> BrokerConfig {
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
fn clock(wrong_ms: &Arc<AtomicI64>) -> Clock {
    let (system, wrong_ms) = (Clock::system(), wrong_ms.clone());
    Clock::new(move || system.now_ms() + wrong_ms.load(Ordering::SeqCst))
}

struct Running {
    broker: Broker,
    client: Client,
    addr: String,
}

impl Running {
    async fn start(config: BrokerConfig, clock: Clock) -> Self {
        let addr = config.listen.to_string();
        let broker = Broker::start(config, clock, 7).await.unwrap();
        let mut leadership = broker.node().leadership();
        tokio::time::timeout(WITHIN, leadership.wait_for(|now| now.ready)).await.unwrap().unwrap();
        Self { broker, client: Client::new(ClientOptions::default(), None), addr }
    }

    async fn fill(&self, segments: u64) {
        let end = self.log_end() + segments * SEGMENT;
        while self.log_end() < end {
            let header = SendHeader {
                producer_group: "producers",
                topic: "Aging",
                default_topic: "TBW102",
                default_topic_queue_nums: 1,
                properties: Some(""),
                ..SendHeader::default()
            };
            let request = Frame::request(RequestCode::SendMessageV2)
                .with_ext(header.to_ext_v2())
                .with_body(vec![1; 100_000]);
            let answer = self.client.invoke(&self.addr, request, WITHIN).await.unwrap();
            assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
        }
    }

    /// What `mqadmin deleteExpiredCommitLog` does. Returns where the log starts, and what keeps it there.
    async fn trim_expired(&self) -> (i64, Option<i64>) {
        let request = Frame::request(RequestCode::DeleteExpiredCommitLog);
        let answer = self.client.invoke(&self.addr, request, WITHIN).await.unwrap();
        assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
        let header = TrimResponse::from_ext(&answer.ext).unwrap();
        (header.starts_at, header.held_by)
    }

    fn log_start(&self) -> u64 {
        self.broker.node().log().min_physical_offset()
    }

    fn log_end(&self) -> u64 {
        self.broker.node().log().next_physical_offset()
    }

    async fn stop(self) {
        self.client.shutdown();
        self.broker.shutdown().await;
    }
}

async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < WITHIN, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_goes_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let right = Arc::default();
    let running = Running::start(config(dir.path(), Duration::from_secs(2)), clock(&right)).await;
    running.fill(3).await;
    let last_segment = running.log_end() / SEGMENT * SEGMENT;
    eventually("all segments but the last are too old", || running.log_start() == last_segment).await;
    running.fill(1).await;
    running.stop().await;
}

/// Neither while it runs nor by a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_ahead_expires_nothing_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let wrong_ms = Arc::new(AtomicI64::new(0));
    let config = config(dir.path(), HOUR);
    let running = Running::start(config.clone(), clock(&wrong_ms)).await;
    running.fill(3).await;
    assert_eq!(running.trim_expired().await, (0, None));
    wrong_ms.store(i64::try_from(1000 * HOUR.as_millis()).unwrap(), Ordering::SeqCst);
    assert_eq!(running.trim_expired().await, (0, None));
    running.stop().await;

    let running = Running::start(config, clock(&wrong_ms)).await;
    assert_eq!(running.trim_expired().await, (0, None));
    assert_eq!(running.log_start(), 0);
    running.stop().await;
}

/// Time that has passed while nobody ran is made up for at twice the speed, not never.
#[tokio::test(flavor = "multi_thread")]
async fn what_became_old_meanwhile_goes_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let wrong_ms = Arc::new(AtomicI64::new(0));
    let config = config(dir.path(), Duration::from_secs(4));
    let running = Running::start(config.clone(), clock(&wrong_ms)).await;
    running.fill(3).await;
    running.stop().await;
    wrong_ms.store(i64::try_from(HOUR.as_millis()).unwrap(), Ordering::SeqCst);
    let running = Running::start(config, clock(&wrong_ms)).await;
    let last_segment = running.log_end() / SEGMENT * SEGMENT;
    eventually("all segments but the last are too old", || running.log_start() == last_segment).await;
    running.stop().await;
}

/// Its neighbours tell as much.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_checkpoints_keep_no_other_segments() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(config(dir.path(), Duration::from_secs(5)), clock(&Arc::default())).await;
    running.fill(6).await;
    let last_segment = running.log_end() / SEGMENT * SEGMENT;
    let path_of = |start: u64| dir.path().join("checkpoints").join(format!("{start:020}.checkpoint"));
    eventually("the last checkpoint is written", || path_of(last_segment).exists()).await;
    let damage = |start: u64| {
        let path = path_of(start);
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    for start in [SEGMENT, 3 * SEGMENT, last_segment] {
        damage(start);
    }
    eventually("all that ends at a sound checkpoint is too old", || {
        running.log_start() == last_segment - SEGMENT
    })
    .await;
    running.fill(1).await;
    eventually("the next sound checkpoint lets go what the damaged one kept", || {
        last_segment < running.log_start()
    })
    .await;
    running.stop().await;
}
