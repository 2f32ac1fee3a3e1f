//! A cluster over real sockets that does as it is told: a name server, and one or more broker groups whose
//! replicas share their messages and can be killed, frozen, or made to refuse.
//!
//! It is as small as the client's tests allow: queues are vectors, offsets a map, everybody is a follower but
//! one.
#![allow(clippy::unwrap_used, dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use trireme_remoting::body::{
    BrokerData, ConsumerIdList, HeartbeatData, LockBatchBody, LockBatchResponse, QueueData, TopicRouteData,
};
use trireme_remoting::headers::{
    ConsumerGroupRequest, ConsumerSendMsgBackRequest, OffsetResponse, PULL_SUSPEND, PullRequest,
    PullResponse, QueryConsumerOffsetRequest, RouteInfoRequest, SendHeader, SendResponse,
    UpdateConsumerOffsetRequest,
};
use trireme_remoting::message::{OffsetMsgId, StoredMessageFields, body_crc};
use trireme_remoting::{
    Connection, Frame, RequestCode, RequestHandler, Responder, Server, ServerOptions, response,
};

/// What replicas of one group share.
#[derive(Default)]
pub struct Group {
    pub name: String,
    /// Stored messages by topic and queue.
    queues: Mutex<BTreeMap<(String, i32), Vec<Bytes>>>,
    /// Committed offsets by group, topic and queue.
    pub offsets: Mutex<BTreeMap<(String, String, i32), i64>>,
    members: Mutex<BTreeMap<String, BTreeSet<String>>>,
    pub locks: Mutex<BTreeMap<(String, String, i32), String>>,
    /// The leader's address; none during an election.
    pub leader: Mutex<Option<String>>,
    /// What sends to retry topics and give-backs said: topic or group, and failures.
    pub given_back: Mutex<Vec<(String, i32)>>,
    arrival: Notify,
}

/// How a replica behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Normal,
    /// It reads and never answers.
    Frozen,
    /// It reads requests of this code and never answers them.
    FrozenFor(i32),
    /// It answers every request with this code.
    Refusing(i32),
    /// It answers requests of the first code with the second.
    RefusingOnly(i32, i32),
    /// It believes that every queue ends at offset 0.
    Behind,
}

pub struct Replica {
    pub addr: String,
    pub server: Option<Server>,
    shared: Arc<ReplicaShared>,
}

struct ReplicaShared {
    group: Arc<Group>,
    addr: Mutex<String>,
    mode: Mutex<Mode>,
    seen: Mutex<Vec<i32>>,
    unanswered: Mutex<Vec<(Frame, Responder)>>,
    asked: Notify,
}

impl Replica {
    async fn start(group: &Arc<Group>) -> Self {
        let shared = Arc::new(ReplicaShared {
            group: group.clone(),
            addr: Mutex::default(),
            mode: Mutex::new(Mode::Normal),
            seen: Mutex::default(),
            unanswered: Mutex::default(),
            asked: Notify::new(),
        });
        let handler = Arc::new(ReplicaHandler(shared.clone()));
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), ServerOptions::default(), handler).unwrap();
        let addr = server.local_addr().to_string();
        *shared.addr.lock() = addr.clone();
        Self { addr, server: Some(server), shared }
    }

    pub fn set(&self, mode: Mode) {
        *self.shared.mode.lock() = mode;
    }

    /// Goes on as normal, and answers what it has not answered.
    pub fn thaw(&self) {
        self.set(Mode::Normal);
        let unanswered = std::mem::take(&mut *self.shared.unanswered.lock());
        for (request, responder) in unanswered {
            responder.reply(self.shared.answer(request.request_code().unwrap(), &request));
        }
    }

    /// Closes all connections and the port.
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// How many requests of this code it has had.
    pub fn seen(&self, code: RequestCode) -> usize {
        self.shared.seen.lock().iter().filter(|seen| **seen == code.code()).count()
    }

    /// Waits until it has had so many requests of this code.
    pub async fn asked(&self, code: RequestCode, times: usize) {
        let asked = async {
            loop {
                let asked = self.shared.asked.notified();
                tokio::pin!(asked);
                asked.as_mut().enable();
                if self.seen(code) >= times {
                    return;
                }
                asked.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), asked).await.expect("the request comes in time");
    }

    /// A connection that a client has made.
    pub fn connection(&self) -> Connection {
        self.server.as_ref().unwrap().connections().remove(0)
    }
}

/// A name server and its broker groups, `T` with two queues at each.
pub struct Cluster {
    pub name_server: Server,
    pub routes: Arc<Routes>,
    pub groups: Vec<(Arc<Group>, Vec<Replica>)>,
}

#[derive(Default)]
pub struct Routes {
    /// Replicas' addresses by group and broker id.
    pub brokers: Mutex<BTreeMap<String, BTreeMap<i64, String>>>,
    pub asked: Mutex<usize>,
}

impl Cluster {
    /// With these groups of so many replicas; each group's first one leads.
    pub async fn start(groups: &[(&str, usize)]) -> Self {
        let routes = Arc::new(Routes::default());
        let handler = Arc::new(NameServer(routes.clone()));
        let name_server =
            Server::bind("127.0.0.1:0".parse().unwrap(), ServerOptions::default(), handler).unwrap();
        let mut started = Vec::new();
        for (name, count) in groups {
            let group = Arc::new(Group { name: (*name).to_owned(), ..Group::default() });
            let mut replicas = Vec::new();
            for _ in 0..*count {
                replicas.push(Replica::start(&group).await);
            }
            let addrs =
                replicas.iter().enumerate().map(|(id, replica)| (id as i64, replica.addr.clone())).collect();
            routes.brokers.lock().insert((*name).to_owned(), addrs);
            *group.leader.lock() = Some(replicas[0].addr.clone());
            started.push((group, replicas));
        }
        Self { name_server, routes, groups: started }
    }

    pub fn addr(&self) -> String {
        self.name_server.local_addr().to_string()
    }

    pub fn group(&self, at: usize) -> &Arc<Group> {
        &self.groups[at].0
    }

    pub fn replica(&self, group: usize, at: usize) -> &Replica {
        &self.groups[group].1[at]
    }

    pub fn kill(&mut self, group: usize, at: usize) {
        self.groups[group].1[at].kill();
    }

    /// Makes another replica the group's leader; the name server does not hear of it.
    pub fn elect(&self, group: usize, leader: Option<usize>) {
        let addr = leader.map(|at| self.replica(group, at).addr.clone());
        *self.groups[group].0.leader.lock() = addr;
    }
}

impl Group {
    /// How many messages the topic has.
    pub fn stored(&self, topic: &str) -> usize {
        self.queues.lock().iter().filter(|((of, _), _)| of == topic).map(|(_, messages)| messages.len()).sum()
    }

    /// Stores a message as a producer's send would.
    pub fn put(&self, topic: &str, queue_id: i32, body: &[u8]) -> i64 {
        self.store(topic, queue_id, body, "", 0)
    }

    /// Loses a queue's last message, and tells those that wait for the next one.
    pub fn lose(&self, topic: &str, queue_id: i32) {
        self.queues.lock().get_mut(&(topic.to_owned(), queue_id)).unwrap().pop();
        self.arrival.notify_waiters();
    }

    /// A stored message's bytes.
    pub fn message(&self, topic: &str, queue_id: i32, offset: i64) -> Bytes {
        self.read(topic, queue_id, offset).1.remove(0)
    }

    pub fn committed(&self, consumer: &str, topic: &str, queue_id: i32) -> Option<i64> {
        self.offsets.lock().get(&(consumer.to_owned(), topic.to_owned(), queue_id)).copied()
    }

    fn store(&self, topic: &str, queue_id: i32, body: &[u8], properties: &str, sys_flag: i32) -> i64 {
        let mut queues = self.queues.lock();
        let queue = queues.entry((topic.to_owned(), queue_id)).or_default();
        let queue_offset = queue.len() as i64;
        let host: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let mut bytes = Vec::new();
        StoredMessageFields {
            body_crc: body_crc(body),
            queue_id,
            flag: 0,
            queue_offset,
            physical_offset: queue_offset * 1000,
            sys_flag,
            born_timestamp: 1,
            born_host: host,
            store_timestamp: 1,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            topic,
            properties,
        }
        .encode_into(&mut bytes)
        .unwrap();
        queue.push(bytes.into());
        drop(queues);
        self.arrival.notify_waiters();
        queue_offset
    }

    /// The end of a queue, and what there is from `offset` on.
    fn read(&self, topic: &str, queue_id: i32, offset: i64) -> (i64, Vec<Bytes>) {
        let queues = self.queues.lock();
        let empty = Vec::new();
        let queue = queues.get(&(topic.to_owned(), queue_id)).unwrap_or(&empty);
        let from = usize::try_from(offset).unwrap_or(0).min(queue.len());
        (queue.len() as i64, queue[from..].iter().take(32).cloned().collect())
    }
}

struct NameServer(Arc<Routes>);

impl RequestHandler for NameServer {
    fn on_request(&self, request: Frame, responder: Responder) {
        *self.0.asked.lock() += 1;
        let topic = RouteInfoRequest::from_ext(&request.ext).unwrap().topic.to_owned();
        if topic != "T" && !topic.starts_with("%RETRY%") {
            return responder.refuse(response::TOPIC_NOT_EXIST, "no such topic");
        }
        let brokers = self.0.brokers.lock();
        let queues = if topic == "T" { 2 } else { 1 };
        let route = TopicRouteData {
            broker_datas: brokers
                .iter()
                .map(|(name, addrs)| BrokerData {
                    broker_name: name.clone(),
                    broker_addrs: addrs.clone(),
                    ..BrokerData::default()
                })
                .collect(),
            queue_datas: brokers
                .keys()
                .map(|name| QueueData {
                    broker_name: name.clone(),
                    perm: 6,
                    read_queue_nums: queues,
                    write_queue_nums: queues,
                    topic_sys_flag: 0,
                })
                .collect(),
            ..TopicRouteData::default()
        };
        responder.reply(Frame::response(response::SUCCESS).with_body(route.encode()));
    }
}

struct ReplicaHandler(Arc<ReplicaShared>);

impl RequestHandler for ReplicaHandler {
    fn on_request(&self, request: Frame, responder: Responder) {
        let shared = &self.0;
        shared.seen.lock().push(request.code);
        shared.asked.notify_waiters();
        let mode = *shared.mode.lock();
        match mode {
            Mode::Frozen => return shared.unanswered.lock().push((request, responder)),
            Mode::FrozenFor(code) if code == request.code => {
                return shared.unanswered.lock().push((request, responder));
            }
            Mode::Refusing(code) => return responder.refuse(code, "told to"),
            Mode::RefusingOnly(only, code) if only == request.code => {
                return responder.refuse(code, "told to");
            }
            _ => {}
        }
        let code = request.request_code().unwrap();
        if code == RequestCode::PullMessage {
            tokio::spawn(pull(Arc::downgrade(shared), request, responder));
            return;
        }
        let leader = shared.group.leader.lock().clone();
        let Some(leader) = leader else {
            return responder.refuse(response::SERVICE_NOT_AVAILABLE, "no leader");
        };
        let mut answer = shared.answer(code, &request);
        if leader != *shared.addr.lock() {
            answer.ext.set("LEADER_ADDR", &leader);
        }
        responder.reply(answer);
    }
}

impl ReplicaShared {
    fn answer(&self, code: RequestCode, request: &Frame) -> Frame {
        let group = &self.group;
        let ok = || Frame::response(response::SUCCESS);
        match code {
            RequestCode::SendMessageV2 => {
                let header = SendHeader::from_ext(&request.ext).unwrap();
                if let Some(failures) = header.reconsume_times {
                    group.given_back.lock().push((header.topic.to_owned(), failures));
                }
                let properties = header.properties.unwrap_or_default();
                let body = request.body.to_bytes();
                // What goes to a retry topic is delayed, here for ever.
                let delayed = format!("delayed {}", header.topic);
                let topic = if header.reconsume_times.is_some() { &*delayed } else { header.topic };
                let queue_offset = group.store(topic, header.queue_id, &body, properties, header.sys_flag);
                let id = OffsetMsgId {
                    store_host: self.addr.lock().parse().unwrap(),
                    physical_offset: queue_offset * 1000,
                };
                let response = SendResponse {
                    msg_id: &id.to_string(),
                    queue_id: header.queue_id,
                    queue_offset,
                    transaction_id: None,
                    batch_uniq_id: None,
                    recall_handle: None,
                    region: None,
                    trace_on: None,
                };
                ok().with_ext(response.to_ext())
            }
            RequestCode::HeartBeat => {
                let data = HeartbeatData::decode(request.body.as_slice()).unwrap();
                for consumer in data.consumer_data_set {
                    let mut members = group.members.lock();
                    members.entry(consumer.group_name).or_default().insert(data.client_id.clone());
                }
                ok()
            }
            RequestCode::GetConsumerListByGroup => {
                let header = ConsumerGroupRequest::from_ext(&request.ext).unwrap();
                let members = group.members.lock().get(header.consumer_group).cloned().unwrap_or_default();
                ok().with_body(ConsumerIdList { consumer_id_list: members.into_iter().collect() }.encode())
            }
            RequestCode::QueryConsumerOffset => {
                let header = QueryConsumerOffsetRequest::from_ext(&request.ext).unwrap();
                match group.committed(header.consumer_group, header.topic, header.queue_id) {
                    Some(offset) => ok().with_ext(OffsetResponse { offset }.to_ext()),
                    None => Frame::response(response::QUERY_NOT_FOUND),
                }
            }
            RequestCode::UpdateConsumerOffset => {
                let header = UpdateConsumerOffsetRequest::from_ext(&request.ext).unwrap();
                let key = (header.consumer_group.to_owned(), header.topic.to_owned(), header.queue_id);
                group.offsets.lock().insert(key, header.commit_offset);
                ok()
            }
            RequestCode::ConsumerSendMsgBack => {
                let header = ConsumerSendMsgBackRequest::from_ext(&request.ext).unwrap();
                group.given_back.lock().push((header.group.to_owned(), header.delay_level));
                ok()
            }
            RequestCode::LockBatchMq | RequestCode::UnlockBatchMq => {
                let body = LockBatchBody::decode(request.body.as_slice()).unwrap();
                let mut locks = group.locks.lock();
                let mut held = BTreeSet::new();
                for queue in body.mq_set {
                    let key = (body.consumer_group.clone(), queue.topic.clone(), queue.queue_id);
                    if code == RequestCode::UnlockBatchMq {
                        locks.remove(&key);
                    } else if *locks.entry(key).or_insert_with(|| body.client_id.clone()) == body.client_id {
                        held.insert(queue);
                    }
                }
                ok().with_body(LockBatchResponse { lock_ok_mq_set: held }.encode())
            }
            RequestCode::UnregisterClient => ok(),
            other => Frame::response(response::REQUEST_CODE_NOT_SUPPORTED).with_remark(other.name()),
        }
    }
}

/// Answers a pull, after holding it while there is nothing if it may be held.
async fn pull(shared: Weak<ReplicaShared>, request: Frame, responder: Responder) {
    let header = PullRequest::from_ext(&request.ext).unwrap();
    let Some(group) = shared.upgrade().map(|shared| shared.group.clone()) else { return };
    let behind = shared.upgrade().is_some_and(|shared| *shared.mode.lock() == Mode::Behind);
    let held = Duration::from_millis(header.suspend_timeout_millis as u64);
    let deadline = tokio::time::Instant::now() + held;
    loop {
        let arrival = group.arrival.notified();
        tokio::pin!(arrival);
        arrival.as_mut().enable();
        let (end, messages) = if behind {
            (0, Vec::new())
        } else {
            group.read(header.topic, header.queue_id, header.queue_offset)
        };
        let code = if !messages.is_empty() {
            response::SUCCESS
        } else if header.queue_offset > end {
            response::PULL_OFFSET_MOVED
        } else if header.sys_flag & PULL_SUSPEND != 0
            && tokio::time::timeout_at(deadline, arrival).await.is_ok()
        {
            continue;
        } else {
            response::PULL_NOT_FOUND
        };
        // Frozen meanwhile: what it held is not answered either.
        let frozen = shared.upgrade().filter(|shared| *shared.mode.lock() == Mode::Frozen);
        if let Some(shared) = frozen {
            return shared.unanswered.lock().push((request, responder));
        }
        let next = if code == response::PULL_OFFSET_MOVED {
            end
        } else {
            header.queue_offset + messages.len() as i64
        };
        let answer = PullResponse {
            suggest_which_broker_id: 0,
            next_begin_offset: next,
            min_offset: 0,
            max_offset: end,
            offset_delta: None,
            topic_sys_flag: None,
            group_sys_flag: None,
            forbidden_type: None,
        };
        return responder.reply(Frame::response(code).with_ext(answer.to_ext()).with_body(messages));
    }
}
