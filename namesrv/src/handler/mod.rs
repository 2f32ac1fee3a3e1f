//! Requests: read them, ask the tables, answer.
//!
//! Everything is answered at once and on the connection's own task, under one short lock; only a change of the
//! KV configuration waits for its file.

mod brokers;
mod config;
mod kv;
mod routes;

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{debug, info};
use trireme_remoting::{Connection, FieldError, Frame, RequestCode, RequestHandler, Responder, response};

use crate::config::Changeable;
use crate::kv::KvConfig;
use crate::names::BadName;
use crate::options::NameServerOptions;
use crate::routes::RouteTable;

/// The answer to a request that is answered at once.
type Answer = Result<Frame, Refused>;

/// A refusal: a response code, and why.
#[derive(Debug)]
struct Refused {
    code: i32,
    remark: String,
}

/// What answers requests: the tables, and the settings that may change.
#[derive(Debug)]
pub(crate) struct Handler {
    pub(crate) routes: Mutex<RouteTable>,
    pub(crate) kv: KvConfig,
    pub(crate) changeable: watch::Sender<Changeable>,
    pub(crate) options: NameServerOptions,
    /// Where the server really listens; known once it does.
    pub(crate) listen: std::sync::OnceLock<SocketAddr>,
}

impl RequestHandler for Handler {
    fn on_request(&self, request: Frame, responder: Responder) {
        let peer = responder.connection().peer_addr();
        let answer = match request.request_code() {
            Ok(RequestCode::PutKvConfig) => return self.put_kv_config(&request, responder),
            Ok(RequestCode::DeleteKvConfig) => return self.delete_kv_config(&request, responder),
            Ok(code) => self.answer(code, &request, responder.connection()),
            Err(unknown) => Err(Refused::unsupported(unknown.to_string())),
        };
        responder.reply(answer.unwrap_or_else(|refused| {
            debug!(%peer, request = request.code, code = refused.code, remark = refused.remark, "request refused");
            Frame::response(refused.code).with_remark(refused.remark)
        }));
    }

    fn on_close(&self, connection: &Connection) {
        let groups = self.routes.lock().connection_closed(connection.id());
        for broker in groups {
            info!(peer = %connection.peer_addr(), %broker, "connection of a broker closed");
        }
    }
}

impl Handler {
    fn answer(&self, code: RequestCode, request: &Frame, connection: &Connection) -> Answer {
        match code {
            RequestCode::RegisterBroker => self.register_broker(request, connection),
            RequestCode::UnregisterBroker => self.unregister_broker(request),
            RequestCode::BrokerHeartbeat => self.broker_heartbeat(request),
            RequestCode::QueryDataVersion => self.query_data_version(request),
            RequestCode::GetBrokerMemberGroup => self.broker_member_group(request),
            RequestCode::WipeWritePermOfBroker => self.wipe_write_perm(request),
            RequestCode::AddWritePermOfBroker => self.add_write_perm(request),

            RequestCode::GetRouteInfoByTopic => self.route_info(request),
            RequestCode::GetBrokerClusterInfo => self.cluster_info(),
            RequestCode::GetAllTopicListFromNameServer => self.all_topics(),
            RequestCode::GetSystemTopicListFromNs => self.system_topics(),
            RequestCode::GetTopicsByCluster => self.topics_by_cluster(request),
            RequestCode::GetUnitTopicList
            | RequestCode::GetHasUnitSubTopicList
            | RequestCode::GetHasUnitSubUnunitTopicList => self.unit_topics(),
            RequestCode::RegisterTopicInNamesrv => self.register_topic(request),
            RequestCode::DeleteTopicInNamesrv => self.delete_topic(request),

            RequestCode::GetKvConfig => self.get_kv_config(request),
            RequestCode::GetKvListByNamespace => self.kv_namespace(request),
            RequestCode::UpdateNamesrvConfig => self.update_config(request),
            RequestCode::GetNamesrvConfig => self.get_config(),

            // No list of what brokers answer: a name server's own codes are all above.
            other => Err(Refused::unsupported(format!("request code {other} is not a name server's"))),
        }
    }
}

/// The time as the route table counts it: monotonic, and that of the runtime.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn success() -> Frame {
    Frame::response(response::SUCCESS)
}

fn success_with(body: Bytes) -> Frame {
    success().with_body(body)
}

impl Refused {
    fn new(code: i32, remark: impl Into<String>) -> Self {
        Self { code, remark: remark.into() }
    }

    fn unsupported(remark: String) -> Self {
        Self::new(response::REQUEST_CODE_NOT_SUPPORTED, remark)
    }

    /// What cannot be read or is out of bounds; upstream answers so when a processor throws.
    fn error(why: impl ToString) -> Self {
        Self::new(response::SYSTEM_ERROR, why.to_string())
    }
}

impl From<FieldError> for Refused {
    fn from(error: FieldError) -> Self {
        Self::error(error)
    }
}

impl From<BadName> for Refused {
    fn from(error: BadName) -> Self {
        Self::error(error)
    }
}
