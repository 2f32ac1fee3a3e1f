//! Request codes 34, 35, 38, 46.

use std::sync::Arc;
use std::time::{Duration, Instant};

use trireme_remoting::body::{CheckClientRequestBody, ConsumerIdList, HeartbeatData};
use trireme_remoting::headers::{ConsumerGroupRequest, HeartbeatResponse, UnregisterClientRequest};
use trireme_remoting::{Connection, Frame, RequestCode, Responder, response};

use super::{Change, Origin};
use crate::features::groups;
use crate::features::topics::{self, perm};
use crate::names;
use crate::replica::Shared;
use crate::router::{Refusal, forwarding, is_forwarded};

/// Groups that one client may be in.
const MAX_GROUPS: usize = 1024;
/// A heartbeat that is passed on need not be: the next one is 30 s away.
const PASS_ON_WITHIN: Duration = Duration::from_secs(3);

/// Code 34.
pub fn heartbeat(shared: &Arc<Shared>, request: Frame, responder: Responder) {
    let data = HeartbeatData::decode(request.body.as_slice())
        .map_err(|error| Refusal::new(response::SYSTEM_ERROR, format!("the heartbeat: {error}")))
        .and_then(|data| check(&data).map(|()| data));
    let data = match data {
        Ok(data) => data,
        Err(refusal) => return refusal.reply(responder),
    };
    let forwarded = is_forwarded(&request);
    let origin = if forwarded { Origin::Forwarded } else { Origin::Direct(responder.connection().clone()) };
    let (changes, resend) = shared.clients.heartbeat(&data, &origin, Instant::now());
    let header = HeartbeatResponse { supports_v2: Some(true), subscription_changed: Some(resend) };
    responder.reply(Frame::response(response::SUCCESS).with_ext(header.to_ext()));
    if shared.node.leadership().borrow().ready {
        for consumer in &data.consumer_data_set {
            make_group(shared, &consumer.group_name);
        }
        notify(shared, &changes);
    } else if !forwarded {
        pass_on(shared, request);
    }
}

fn check(data: &HeartbeatData) -> Result<(), Refusal> {
    let invalid = |reason: String| Err(Refusal::new(response::INVALID_PARAMETER, reason));
    if data.client_id.is_empty() || data.client_id.len() > 1024 {
        return invalid(format!("the client id has {} bytes, allowed are 1 to 1024", data.client_id.len()));
    }
    if data.consumer_data_set.len() + data.producer_data_set.len() > MAX_GROUPS {
        return invalid(format!("a client may be in at most {MAX_GROUPS} groups"));
    }
    let consumers = data.consumer_data_set.iter().map(|consumer| consumer.group_name.as_str());
    let producers = data.producer_data_set.iter().map(|producer| producer.group_name.as_str());
    consumers.chain(producers).try_for_each(|group| names::check_group(group).map_err(Refusal::from))
}

/// A group of consumers needs its settings and its retry topic.
fn make_group(shared: &Arc<Shared>, group: &str) {
    let (known, retry_queues, has_topic) = {
        let state = shared.state.read();
        let known = state.groups.get(group);
        let topic = state.topics.get(&names::retry_topic(group)).is_some();
        (known.is_some(), known.map_or(1, |group| group.retry_queues), topic)
    };
    if !known {
        groups::auto_create(shared, group);
    }
    if has_topic || retry_queues == 0 || !(known || shared.config.auto_create_group) {
        return;
    }
    let (shared, topic) = (shared.clone(), names::retry_topic(group));
    tokio::spawn(async move {
        let made = topics::auto_create(&shared, &topic, retry_queues, perm::READ | perm::WRITE).await;
        if let Err(error) = made {
            tracing::info!(%topic, %error, "a retry topic was not made; the next heartbeat tries again");
        }
    });
}

/// Code 35.
pub fn unregister(shared: &Arc<Shared>, request: Frame, responder: Responder) {
    let forwarded = is_forwarded(&request);
    let changes = match UnregisterClientRequest::from_ext(&request.ext) {
        Ok(header) => shared.clients.unregister(
            header.client_id,
            header.producer_group,
            header.consumer_group,
            forwarded,
        ),
        Err(error) => return Refusal::from(error).reply(responder),
    };
    responder.reply(Frame::response(response::SUCCESS));
    if shared.node.leadership().borrow().ready {
        notify(shared, &changes);
    } else if !forwarded {
        pass_on(shared, request);
    }
}

/// Code 38.
pub fn consumers_of(shared: &Arc<Shared>, request: &Frame, responder: Responder) {
    let header = match ConsumerGroupRequest::from_ext(&request.ext) {
        Ok(header) => header,
        Err(error) => return Refusal::from(error).reply(responder),
    };
    let consumer_id_list = shared.clients.members(header.consumer_group);
    if consumer_id_list.is_empty() {
        let reason = format!("the group {} has no consumer here", header.consumer_group);
        return Refusal::new(response::SYSTEM_ERROR, reason).reply(responder);
    }
    let body = ConsumerIdList { consumer_id_list }.encode();
    responder.reply(Frame::response(response::SUCCESS).with_body(body));
}

/// Code 46: sent only for subscriptions that are not by tag.
pub fn check_config(request: &Frame, responder: Responder) {
    let checked = CheckClientRequestBody::decode(request.body.as_slice())
        .map_err(|error| Refusal::new(response::SUBSCRIPTION_PARSE_FAILED, error.to_string()));
    match checked {
        Ok(body) if body.subscription_data.is_tag() => responder.reply(Frame::response(response::SUCCESS)),
        Ok(_) => {
            Refusal::new(response::SYSTEM_ERROR, "this broker filters by tag only, not by SQL92 expressions")
                .reply(responder)
        }
        Err(refusal) => refusal.reply(responder),
    }
}

/// A client's connection closed.
pub fn closed(shared: &Arc<Shared>, connection: &Connection) {
    let (changes, gone) = shared.clients.closed(connection.id());
    if shared.node.leadership().borrow().ready {
        return notify(shared, &changes);
    }
    for (client_id, is_consumer, group) in gone {
        let header = UnregisterClientRequest {
            client_id: &client_id,
            producer_group: (!is_consumer).then_some(group.as_str()),
            consumer_group: is_consumer.then_some(group.as_str()),
        };
        pass_on(shared, Frame::request(RequestCode::UnregisterClient).with_ext(header.to_ext()));
    }
}

/// Tells the members of changed groups to share out the queues anew.
pub fn notify(shared: &Shared, changes: &[Change]) {
    for Change { group } in changes {
        let wanted = shared.state.read().groups.get(group).is_none_or(|group| group.notify_changes);
        if !wanted {
            continue;
        }
        for connection in shared.clients.connections(group) {
            let header = ConsumerGroupRequest { consumer_group: group };
            let frame = Frame::request(RequestCode::NotifyConsumerIdsChanged).with_ext(header.to_ext());
            if let Err(error) = connection.oneway(frame) {
                tracing::debug!(peer = %connection.peer_addr(), %error, "a group member was not notified");
            }
        }
    }
}

/// Passes a heartbeat or a departure on to the leader, if there is one; nobody waits for it.
fn pass_on(shared: &Arc<Shared>, request: Frame) {
    let Some(leader) = forwarding::leader(shared) else { return };
    let shared = shared.clone();
    tokio::spawn(async move {
        let request = forwarding::marked(request, None);
        let passed = shared.remote.invoke(&leader, request, PASS_ON_WITHIN).await;
        if let Err(error) = passed {
            tracing::debug!(%error, "a client's news were not passed on to the leader");
        }
    });
}
