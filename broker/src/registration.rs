//! Tells every name server who we are: at start, on every change of role or topics, and now and then.
//!
//! The leader registers as broker 0, a follower under its own number; the term is the version of what is
//! told, so that a stale leader cannot come back. Each name server has a task of its own: one that is
//! down delays nobody.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use trireme_raft::node::{Leadership, Role};
use trireme_remoting::body::{RegisterBrokerBody, TopicConfigSerializeWrapper};
use trireme_remoting::headers::RegisterBrokerRequest;
use trireme_remoting::{Frame, RequestCode, response};

use crate::features::topics;
use crate::replica::Shared;

/// RocketMQ's own interval (`registerNameServerPeriod`).
const EVERY: Duration = Duration::from_secs(30);
/// After a failure; a name server that comes back shall not wait long for its routes.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// For one registration.
const WITHIN: Duration = Duration::from_secs(3);
/// Tells our name servers that this broker's last leader stays listed until the next one registers.
const RAFT_GROUP: &str = "raftGroup";

/// Keeps all name servers informed, until it is aborted.
pub async fn run(shared: Arc<Shared>) {
    let (changed, _) = watch::channel(0u64);
    let mut tasks = tokio::task::JoinSet::new();
    for namesrv in shared.config.namesrv.clone() {
        tasks.spawn(keep_informed(shared.clone(), namesrv, changed.subscribe()));
    }
    loop {
        shared.topics_changed.notified().await;
        changed.send_modify(|version| *version += 1);
    }
}

async fn keep_informed(shared: Arc<Shared>, namesrv: String, mut topics_changed: watch::Receiver<u64>) {
    let mut leadership = shared.node.leadership();
    let mut failing = false;
    loop {
        let now = leadership.borrow_and_update().clone();
        topics_changed.borrow_and_update();
        let next = match register(&shared, &namesrv, &now).await {
            Ok(()) => {
                if failing {
                    tracing::info!(%namesrv, "registered with the name server again");
                }
                failing = false;
                EVERY
            }
            Err(reason) => {
                if !failing {
                    tracing::warn!(%namesrv, %reason, "cannot register with the name server; trying again");
                }
                failing = true;
                RETRY_EVERY
            }
        };
        tokio::select! {
            changed = leadership.changed() => if changed.is_err() { return },
            changed = topics_changed.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(next) => {}
        }
    }
}

async fn register(shared: &Shared, namesrv: &str, now: &Leadership) -> Result<(), String> {
    // Between leaders there is nothing to say: who led last stays listed. A follower says who it is.
    let is_leader = now.role == Role::Leader;
    // Who learns has nothing for clients yet.
    if (is_leader && !now.ready) || now.role == Role::Learner {
        return Ok(());
    }
    let addr = shared.config.broker_addr().to_string();
    let broker_id = if is_leader { 0 } else { i64::try_from(shared.config.node).unwrap_or(i64::MAX) };
    let header = RegisterBrokerRequest {
        broker_name: &shared.config.group,
        broker_addr: &addr,
        cluster_name: &shared.config.cluster,
        ha_server_addr: "",
        broker_id,
        heartbeat_timeout_millis: None,
        enable_acting_master: None,
        compressed: Some(false),
        body_crc32: Some(0),
    };
    let wrapper: TopicConfigSerializeWrapper = topics::config_json(shared, now.term);
    let body =
        RegisterBrokerBody { topic_config_serialize_wrapper: wrapper, ..RegisterBrokerBody::default() };
    let mut request =
        Frame::request(RequestCode::RegisterBroker).with_ext(header.to_ext()).with_body(body.encode());
    request.ext.set(RAFT_GROUP, true);
    let answer = shared.remote.invoke(namesrv, request, WITHIN).await.map_err(|error| error.to_string())?;
    if answer.code == response::SUCCESS {
        return Ok(());
    }
    Err(format!("code {}: {}", answer.code, answer.remark.unwrap_or_default()))
}
