//! A name server, and whoever talks to it.

use std::time::Duration;

use trireme_namesrv::{NameServer, NameServerOptions, RAFT_GROUP};
use trireme_remoting::body::{
    BrokerData, ClusterInfo, DataVersion, RegisterBrokerBody, TopicConfig, TopicConfigSerializeWrapper,
    TopicList, TopicRouteData,
};
use trireme_remoting::headers::{RegisterBrokerRequest, RouteInfoRequest};
use trireme_remoting::{Client, ClientOptions, ExtFields, Frame, RequestCode, response};

/// How long anything may take; what takes so long has failed.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn options() -> NameServerOptions {
    NameServerOptions { listen: "127.0.0.1:0".parse().unwrap(), ..NameServerOptions::default() }
}

pub fn start() -> NameServer {
    NameServer::start(options()).unwrap()
}

/// One process with one connection to one name server.
pub struct Peer {
    client: Client,
    addr: String,
}

impl Peer {
    pub fn of(server: &NameServer) -> Self {
        Self { client: Client::new(ClientOptions::default(), None), addr: server.local_addr().to_string() }
    }

    pub async fn ask(&self, frame: Frame) -> Frame {
        self.client.invoke(&self.addr, frame, PATIENCE).await.unwrap()
    }

    pub async fn tell(&self, frame: Frame) {
        self.client.oneway(&self.addr, frame).await.unwrap();
    }

    /// Asks and expects success.
    pub async fn done(&self, frame: Frame) -> Frame {
        let answer = self.ask(frame).await;
        assert_eq!((answer.code, answer.remark.as_deref()), (response::SUCCESS, None));
        answer
    }

    /// Asks and expects this code; returns the remark.
    pub async fn refused(&self, code: i32, frame: Frame) -> String {
        let answer = self.ask(frame).await;
        assert_eq!(answer.code, code, "{:?}", answer.remark);
        answer.remark.expect("a refusal says why")
    }

    /// The route of a topic, if there is one.
    pub async fn route(&self, topic: &str) -> Option<TopicRouteData> {
        let answer = self.ask(route_request(topic)).await;
        match answer.code {
            response::SUCCESS => Some(TopicRouteData::decode(answer.body.as_slice()).unwrap()),
            response::TOPIC_NOT_EXIST => None,
            code => panic!("route answered {code} {:?}", answer.remark),
        }
    }

    /// Who is listed: `group{id=address ...} ...`.
    pub async fn listed(&self) -> String {
        let answer = self.done(Frame::request(RequestCode::GetBrokerClusterInfo)).await;
        let info = ClusterInfo::decode(answer.body.as_slice()).unwrap();
        info.broker_addr_table.values().map(show).collect::<Vec<_>>().join(" ")
    }

    /// Asks until the listing is this.
    pub async fn await_listed(&self, expect: &str) {
        let listed = async { while self.listed().await != expect {} };
        if tokio::time::timeout(PATIENCE, listed).await.is_err() {
            assert_eq!(self.listed().await, expect);
        }
    }

    pub async fn topics(&self, frame: Frame) -> Vec<String> {
        TopicList::decode(self.done(frame).await.body.as_slice()).unwrap().topic_list
    }

    pub fn hang_up(&self) {
        self.client.disconnect(&self.addr);
    }
}

fn show(group: &BrokerData) -> String {
    let members: Vec<_> = group.broker_addrs.iter().map(|(id, address)| format!("{id}={address}")).collect();
    format!("{}{{{}}}", group.broker_name, members.join(" "))
}

pub fn route_request(topic: &str) -> Frame {
    let header = RouteInfoRequest { topic, accept_standard_json_only: None };
    Frame::request(RequestCode::GetRouteInfoByTopic).with_ext(header.to_ext())
}

pub fn request<'a>(code: RequestCode, ext: impl IntoIterator<Item = (&'a str, &'a str)>) -> Frame {
    Frame::request(code).with_ext(ext.into_iter().collect())
}

/// What a broker registers.
#[derive(Clone)]
pub struct Broker {
    pub name: &'static str,
    pub address: &'static str,
    pub id: i64,
    pub raft_group: bool,
    pub term: i64,
    pub topics: Vec<TopicConfig>,
}

impl Broker {
    /// Group `broker-a`, id 0, topics `T` and `U`.
    pub fn master() -> Self {
        let topic = |name: &str| TopicConfig {
            topic_name: name.to_owned(),
            read_queue_nums: 4,
            write_queue_nums: 4,
            ..TopicConfig::default()
        };
        Self {
            name: "broker-a",
            address: "10.0.0.1:10911",
            id: 0,
            raft_group: false,
            term: 0,
            topics: vec![topic("T"), topic("U")],
        }
    }

    pub fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    pub fn at(self, address: &'static str) -> Self {
        Self { address, ..self }
    }

    pub fn replica(self, id: i64, term: i64) -> Self {
        Self { id, term, raft_group: true, ..self }
    }

    pub fn header(&self) -> ExtFields {
        let header = RegisterBrokerRequest {
            broker_name: self.name,
            broker_addr: self.address,
            cluster_name: "C",
            ha_server_addr: "10.0.0.1:10912",
            broker_id: self.id,
            heartbeat_timeout_millis: None,
            enable_acting_master: None,
            compressed: None,
            body_crc32: None,
        };
        let mut ext = header.to_ext();
        if self.raft_group {
            ext.set(RAFT_GROUP, true);
        }
        ext
    }

    pub fn body(&self) -> RegisterBrokerBody {
        let topics = self.topics.iter().map(|topic| (topic.topic_name.clone(), topic.clone()));
        RegisterBrokerBody {
            filter_server_list: Vec::new(),
            topic_config_serialize_wrapper: TopicConfigSerializeWrapper {
                data_version: DataVersion {
                    counter: 1,
                    state_version: self.term,
                    timestamp: 1_700_000_000_000,
                },
                topic_config_table: topics.collect(),
                ..TopicConfigSerializeWrapper::default()
            },
        }
    }

    /// The request of code 103.
    pub fn register(&self) -> Frame {
        Frame::request(RequestCode::RegisterBroker).with_ext(self.header()).with_body(self.body().encode())
    }
}
