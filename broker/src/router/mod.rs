//! Which handler a request goes to, and on which replica.
//!
//! Every live replica takes every request. What only the leader may do is passed on to it by whoever
//! gets it ([`forwarding`]), so that clients with an old route notice little of a failover; the answer
//! names the leader, and a client that understands goes there from then on.

pub mod contact;
pub mod forwarding;
mod refusal;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::time::Instant;
use trireme_planted::{self as planted, Defect};
use trireme_remoting::{Connection, Frame, RequestCode, RequestHandler, Responder, response};

pub use forwarding::{born_host, is_forwarded};
pub use refusal::{Refusal, answer_when, refuse};

use crate::features::{
    clients, groups, leadership, locks, members, offsets, pull, query, retention, retry, runtime, scrub,
    send, topics,
};
use crate::replica::Shared;

/// The handler of everything that arrives at the client port.
pub struct Router {
    shared: Arc<Shared>,
}

/// Who may answer a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Whoever gets it.
    Anywhere,
    /// The leader only.
    Leader,
}

impl Router {
    /// Routes to the features of one replica.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Hands a request on that turned out to be another replica's.
    pub fn reroute(shared: &Arc<Shared>, request: Frame, responder: Responder) {
        forwarding::forward(shared.clone(), request, responder, true);
    }
}

impl RequestHandler for Router {
    fn on_request(&self, request: Frame, responder: Responder) {
        let code = match request.request_code() {
            Ok(code) => code,
            Err(_) => return unsupported(&request, responder),
        };
        if place(code) == Place::Leader && !self.shared.node.leads() {
            return forwarding::forward(self.shared.clone(), request, responder, false);
        }
        dispatch(&self.shared, code, request, responder);
    }

    fn on_close(&self, connection: &Connection) {
        clients::closed(&self.shared, connection);
    }

    fn was_cut_off_since(&self, heard: Instant) -> bool {
        self.shared.contact.was_lost_since(heard)
    }
}

fn place(code: RequestCode) -> Place {
    match code {
        RequestCode::GetMaxOffset if planted::is(Defect::EndsFromAnybody) => Place::Anywhere,
        RequestCode::GetTopicConfig if planted::is(Defect::ConfigFromAnybody) => Place::Anywhere,
        RequestCode::SendMessage
        | RequestCode::SendMessageV2
        | RequestCode::SendBatchMessage
        | RequestCode::ConsumerSendMsgBack
        | RequestCode::QueryConsumerOffset
        | RequestCode::UpdateConsumerOffset
        | RequestCode::GetMaxOffset
        | RequestCode::GetConsumerListByGroup
        | RequestCode::LockBatchMq
        | RequestCode::UnlockBatchMq
        | RequestCode::UpdateAndCreateTopic
        | RequestCode::DeleteTopicInBroker
        | RequestCode::GetTopicConfig
        | RequestCode::GetAllTopicConfig
        | RequestCode::UpdateAndCreateSubscriptionGroup
        | RequestCode::GetSubscriptionGroupConfig
        | RequestCode::GetAllSubscriptionGroupConfig
        | RequestCode::DeleteSubscriptionGroup
        | RequestCode::ControllerElectMaster
        | RequestCode::ChangeReplicas => Place::Leader,
        // Reads of what is applied, and heartbeats, which each replica needs for its own pulls.
        _ => Place::Anywhere,
    }
}

fn dispatch(shared: &Arc<Shared>, code: RequestCode, request: Frame, responder: Responder) {
    match code {
        RequestCode::SendMessage | RequestCode::SendMessageV2 | RequestCode::SendBatchMessage => {
            send::send(shared, request, responder);
        }
        RequestCode::PullMessage | RequestCode::LitePullMessage => pull::pull(shared, request, responder),
        RequestCode::QueryMessage => query::by_key(shared, &request, responder),
        RequestCode::ViewMessageById => query::by_offset(shared, &request, responder),
        RequestCode::QueryConsumerOffset => offsets::query(shared, request, responder),
        RequestCode::UpdateConsumerOffset => offsets::commit(shared, request, responder),
        RequestCode::SearchOffsetByTimestamp => offsets::search_by_time(shared, &request, responder),
        RequestCode::GetMaxOffset => offsets::max_offset(shared, &request, responder),
        RequestCode::GetMinOffset => offsets::min_offset(shared, &request, responder),
        RequestCode::GetEarliestMsgStoreTime => offsets::earliest_store_time(shared, &request, responder),
        RequestCode::HeartBeat => clients::heartbeat(shared, request, responder),
        RequestCode::UnregisterClient => clients::unregister(shared, request, responder),
        RequestCode::GetConsumerListByGroup => clients::consumers_of(shared, &request, responder),
        RequestCode::CheckClientConfig => clients::check_config(&request, responder),
        RequestCode::ConsumerSendMsgBack => retry::send_back(shared, request, responder),
        RequestCode::LockBatchMq => locks::lock(shared, request, responder),
        RequestCode::UnlockBatchMq => locks::unlock(shared, request, responder),
        RequestCode::UpdateAndCreateTopic => topics::put(shared, request, responder),
        RequestCode::DeleteTopicInBroker => topics::delete(shared, request, responder),
        RequestCode::GetTopicConfig => topics::get_one(shared, &request, responder),
        RequestCode::GetAllTopicConfig => topics::get_all(shared, responder),
        RequestCode::UpdateAndCreateSubscriptionGroup => groups::put(shared, request, responder),
        RequestCode::DeleteSubscriptionGroup => groups::delete(shared, request, responder),
        RequestCode::GetSubscriptionGroupConfig => groups::get_one(shared, &request, responder),
        RequestCode::GetAllSubscriptionGroupConfig => groups::get_all(shared, responder),
        RequestCode::DeleteExpiredCommitLog | RequestCode::CleanExpiredConsumeQueue => {
            retention::trim(shared, &request, responder);
        }
        RequestCode::ControllerElectMaster => leadership::elect(shared, &request, responder),
        RequestCode::ReadLog => scrub::read_log(shared, &request, responder),
        RequestCode::ChangeReplicas => members::change(shared, request, responder),
        RequestCode::ControllerGetMetadataInfo => leadership::controller(shared, responder),
        RequestCode::GetBrokerRuntimeInfo => runtime::runtime_info(shared, responder),
        _ => unsupported(&request, responder),
    }
}

fn unsupported(request: &Frame, responder: Responder) {
    let reason = match request.request_code() {
        Ok(code) => format!("this broker does not support {code}"),
        Err(_) => format!("request code {} is not known", request.code),
    };
    Refusal::new(response::REQUEST_CODE_NOT_SUPPORTED, reason).reply(responder);
}

/// An address as RocketMQ's clients expect it: IPv4 even when it came in over an IPv6 socket.
fn plain(addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(v4.into(), addr.port()),
            None => addr,
        },
        IpAddr::V4(_) => addr,
    }
}
