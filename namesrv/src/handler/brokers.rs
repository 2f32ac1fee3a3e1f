//! What brokers ask: 103, 104, 322, 901, 904, and what tools ask of a broker's topics: 205, 327.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{info, warn};
use trireme_remoting::body::{
    BrokerMemberGroupResponse, DataVersion, KvTable, PERM_INHERIT, PERM_READ, PERM_WRITE, RegisterBrokerBody,
    TopicConfig,
};
use trireme_remoting::headers::{
    AddWritePermResponse, BrokerHeartbeatRequest, BrokerMemberGroupRequest, BrokerNameRequest,
    QueryDataVersionRequest, QueryDataVersionResponse, RegisterBrokerRequest, RegisterBrokerResponse,
    UnregisterBrokerRequest, WipeWritePermResponse,
};
use trireme_remoting::{Connection, Frame};

use super::{Answer, Handler, Refused, now, success, success_with};
use crate::RAFT_GROUP;
use crate::kv::ORDER_TOPIC_CONFIG;
use crate::names;
use crate::routes::{Queues, Registration};

/// The header field with a broker's zone.
const ZONE_NAME: &str = "__ZONE_NAME";

/// The first byte of a zlib stream, and of no JSON. RocketMQ 5.3 with `compressedRegister` sends the compressed form
/// under a header that denies it, which its own name server cannot read.
const ZLIB: u8 = 0x78;

/// The most queues that a topic may be routed with: clients make an object of each.
const MAX_QUEUES: i32 = 65_536;

impl Handler {
    /// Code 103. Answers whom to replicate from and the ordered topics' queues.
    pub(super) fn register_broker(&self, request: &Frame, connection: &Connection) -> Answer {
        let header = RegisterBrokerRequest::from_ext(&request.ext)?;
        let body = register_body(&header, request)?;
        let (mut registration, unfit) = self.registration(&header, request, body, connection)?;
        registration.connection = connection.id();

        let (name, address) = (registration.broker_name.clone(), registration.address.clone());
        let registered = self.routes.lock().register(registration, now()).map_err(|refusal| {
            warn!(broker = %name, %address, %refusal, "registration refused");
            Refused::error(refusal)
        })?;
        if let Some(unfit) = unfit {
            warn!(broker = %name, %address, %unfit, "topics of a registration are not routed");
        }
        if registered.left_out > 0 {
            let max = self.options.max_topics;
            let remark =
                format!("the route table is full ({max} topics): {} not routed", registered.left_out);
            warn!(broker = %name, %address, remark, "registration taken in part");
            return Err(Refused::error(remark));
        }

        let master = registered.master.as_ref();
        let answer = RegisterBrokerResponse {
            ha_server_addr: master.map(|(_, ha)| ha.as_str()),
            master_addr: master.map(|(address, _)| address.as_str()),
        };
        let mut answer = success().with_ext(answer.to_ext());
        if let Some(table) = self.kv.namespace(ORDER_TOPIC_CONFIG) {
            answer = answer.with_body(KvTable { table }.encode());
        }
        Ok(answer)
    }

    /// The registration with its names checked, and what is wrong with those of its topics that were left out.
    ///
    /// A broker is not refused for a topic: the others' routes must not depend on it.
    fn registration(
        &self,
        header: &RegisterBrokerRequest<'_>,
        request: &Frame,
        body: RegisterBrokerBody,
        connection: &Connection,
    ) -> Result<(Registration, Option<String>), Refused> {
        names::broker(header.broker_name)?;
        names::cluster(header.cluster_name)?;
        names::address(header.broker_addr)?;
        if !header.ha_server_addr.is_empty() {
            names::address(header.ha_server_addr)?;
        }
        if header.broker_id < 0 {
            return Err(Refused::error(format!("broker id {} is negative", header.broker_id)));
        }
        let zone = request.ext.get(ZONE_NAME).filter(|zone| !zone.is_empty());
        zone.map(names::zone).transpose()?;
        let raft_group = request.ext.optional::<bool>(RAFT_GROUP)?.unwrap_or(false);
        let timeout =
            header.heartbeat_timeout_millis.and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms > 0);

        let version = body.data_version();
        let (mut topics, mut unfit) = (BTreeMap::new(), Unfit::default());
        for (name, config) in body.topic_config_serialize_wrapper.topic_config_table {
            match queues_of(&name, &config) {
                Ok(queues) => {
                    topics.insert(name, queues);
                }
                Err(reason) => unfit.note(reason),
            }
        }
        let registration = Registration {
            cluster: header.cluster_name.to_owned(),
            broker_name: header.broker_name.to_owned(),
            address: header.broker_addr.to_owned(),
            broker_id: header.broker_id,
            ha_address: header.ha_server_addr.to_owned(),
            zone: zone.map(str::to_owned),
            timeout: timeout.map(Duration::from_millis),
            acting_master: header.enable_acting_master,
            raft_group,
            version,
            topics,
            complete: self.changeable.borrow().delete_topic_with_broker_registration,
            connection: connection.id(),
        };
        Ok((registration, unfit.told()))
    }

    /// Code 104.
    pub(super) fn unregister_broker(&self, request: &Frame) -> Answer {
        let header = UnregisterBrokerRequest::from_ext(&request.ext)?;
        let (broker, address) = (header.broker_name, header.broker_addr);
        if self.routes.lock().unregister(broker, address) {
            info!(broker, address, "broker unregistered");
        }
        Ok(success())
    }

    /// Code 904, sent one-way.
    pub(super) fn broker_heartbeat(&self, request: &Frame) -> Answer {
        let header = BrokerHeartbeatRequest::from_ext(&request.ext)?;
        self.routes.lock().heartbeat(header.broker_name, header.broker_addr, now());
        Ok(success())
    }

    /// Code 322. Answers whether the broker has to register, and the version that it registered last; counts as a
    /// sign of life.
    pub(super) fn query_data_version(&self, request: &Frame) -> Answer {
        let header = QueryDataVersionRequest::from_ext(&request.ext)?;
        let asked = DataVersion::decode(request.body.as_slice()).map_err(Refused::error)?;
        let known = self.routes.lock().heartbeat(header.broker_name, header.broker_addr, now());
        let answer = success().with_ext(QueryDataVersionResponse { changed: known != Some(asked) }.to_ext());
        Ok(match known {
            Some(known) => answer.with_body(known.encode()),
            None => answer,
        })
    }

    /// Code 901.
    pub(super) fn broker_member_group(&self, request: &Frame) -> Answer {
        let header = BrokerMemberGroupRequest::from_ext(&request.ext)?;
        let group = self.routes.lock().member_group(header.cluster_name, header.broker_name);
        Ok(success_with(BrokerMemberGroupResponse { broker_member_group: Some(group) }.encode()))
    }

    /// Code 205.
    pub(super) fn wipe_write_perm(&self, request: &Frame) -> Answer {
        let header = BrokerNameRequest::from_ext(&request.ext)?;
        let count = self.routes.lock().wipe_write_perm(header.broker_name);
        info!(broker = header.broker_name, count, "write permission wiped");
        Ok(success().with_ext(WipeWritePermResponse { wipe_topic_count: as_i32(count) }.to_ext()))
    }

    /// Code 327.
    pub(super) fn add_write_perm(&self, request: &Frame) -> Answer {
        let header = BrokerNameRequest::from_ext(&request.ext)?;
        let count = self.routes.lock().add_write_perm(header.broker_name);
        info!(broker = header.broker_name, count, "write permission added");
        Ok(success().with_ext(AddWritePermResponse { add_topic_count: as_i32(count) }.to_ext()))
    }
}

/// Decodes the body, which the header may give a checksum of.
fn register_body(header: &RegisterBrokerRequest<'_>, request: &Frame) -> Result<RegisterBrokerBody, Refused> {
    let bytes = request.body.as_slice();
    let expected = header.body_crc32.unwrap_or(0);
    // Java keeps the sum in a signed number and drops the sign.
    let actual = (crc32fast::hash(bytes) & 0x7fff_ffff) as i32;
    if expected != 0 && expected != actual {
        return Err(Refused::error(format!("body checksum is {actual}, the header says {expected}")));
    }
    if bytes.is_empty() {
        Ok(RegisterBrokerBody::default())
    } else if header.compressed == Some(true) || bytes[0] == ZLIB {
        RegisterBrokerBody::decode_compressed(bytes, request.version).map_err(Refused::error)
    } else {
        RegisterBrokerBody::decode(bytes).map_err(Refused::error)
    }
}

fn queues_of(name: &str, config: &TopicConfig) -> Result<Queues, String> {
    names::topic(name).map_err(|bad| bad.to_string())?;
    let queues = Queues {
        read: config.read_queue_nums,
        write: config.write_queue_nums,
        perm: config.perm,
        sys_flag: config.topic_sys_flag,
    };
    check_queues(name, queues)
}

/// Numbers that clients could not bear.
pub(super) fn check_queues(topic: &str, queues: Queues) -> Result<Queues, String> {
    let counts = 0..=MAX_QUEUES;
    if !counts.contains(&queues.read) || !counts.contains(&queues.write) {
        return Err(format!("topic {topic} has more than {MAX_QUEUES} queues or less than none"));
    }
    if queues.perm & !(PERM_INHERIT | PERM_READ | PERM_WRITE) != 0 {
        return Err(format!("topic {topic} has permission {}", queues.perm));
    }
    Ok(queues)
}

/// Topics that were left out: how many, and what is wrong with the first.
#[derive(Default)]
struct Unfit {
    count: usize,
    first: Option<String>,
}

impl Unfit {
    fn note(&mut self, reason: String) {
        self.count += 1;
        self.first.get_or_insert(reason);
    }

    fn told(self) -> Option<String> {
        self.first.map(|first| format!("{first} ({} in all)", self.count))
    }
}

fn as_i32(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
