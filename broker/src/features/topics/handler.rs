//! Request codes 17, 215, 351, 21, and topics made by their first message.

use std::collections::BTreeMap;
use std::sync::Arc;

use trireme_remoting::body::{DataVersion, TopicConfig, TopicConfigSerializeWrapper, TopicFilterType};
use trireme_remoting::headers::{CreateTopicRequest, SendHeader, TopicRequest};
use trireme_remoting::{Frame, Responder, response};

use super::{DeleteTopic, PutTopic, Topic, perm};
use crate::command::Command;
use crate::names;
use crate::replica::Shared;
use crate::router::{Refusal, answer_when};
use crate::sequencer::SubmitError;
use crate::state::State;

/// Queues of one topic.
const MAX_QUEUES: u32 = 16_384;
/// Bytes of one topic's attributes: they are in the log, in each checkpoint and at each name server.
const MAX_ATTRIBUTE_BYTES: usize = 8 * 1024;

/// Makes a topic and waits until it is applied; name servers are told.
pub async fn make(shared: &Arc<Shared>, put: PutTopic) -> Result<(), SubmitError> {
    shared.sequencer.propose(vec![Command::PutTopic(put)]).await?;
    shared.topics_changed.notify_one();
    Ok(())
}

/// Makes a topic of the broker's own choosing if it is missing: retry and dead-letter topics.
pub async fn auto_create(
    shared: &Arc<Shared>,
    name: &str,
    queues: u32,
    perm: u32,
) -> Result<(), SubmitError> {
    if shared.state.read().topics.get(name).is_some() {
        return Ok(());
    }
    make(shared, plain(name, queues, perm)).await
}

/// What a topic is that its first message makes: the settings of the topic that the producer names
/// as default. Retry and dead-letter topics are made in any case.
pub fn inherited(
    shared: &Shared,
    state: &State,
    name: &str,
    header: &SendHeader<'_>,
) -> Result<PutTopic, Refusal> {
    if name.starts_with(names::RETRY_PREFIX) || name.starts_with(names::DLQ_PREFIX) {
        return Ok(plain(name, 1, perm::READ | perm::WRITE));
    }
    let missing = |why: String| {
        Err(Refusal::new(response::TOPIC_NOT_EXIST, format!("the topic {name} does not exist, {why}")))
    };
    if !shared.config.auto_create_topic {
        return missing("and topics are not made by their first message here: create it first".into());
    }
    let Some(default) = state.topics.get(header.default_topic) else {
        return missing(format!("nor does its default topic {:?}", header.default_topic));
    };
    if default.perm & perm::INHERIT == 0 {
        return missing(format!(
            "and its default topic {:?} may not be inherited from",
            header.default_topic
        ));
    }
    let asked = u32::try_from(header.default_topic_queue_nums).unwrap_or(1).max(1);
    let queues = asked.min(offered(shared, default));
    Ok(PutTopic { sys_flag: default.sys_flag, ..plain(name, queues, default.perm & !perm::INHERIT) })
}

/// The queues that a topic offers to one that is made after it. How many `TBW102` offers is set by each
/// broker; the name servers are told the same number, for a producer picks one of so many queues before the
/// topic is there.
fn offered(shared: &Shared, default: &Topic) -> u32 {
    if &*default.name == names::AUTO_CREATE_TOPIC {
        shared.config.default_topic_queues.clamp(1, MAX_QUEUES)
    } else {
        default.write_queues
    }
}

/// Code 17.
pub fn put(shared: &Arc<Shared>, request: Frame, responder: Responder) {
    match requested(shared, &request) {
        Ok(put) => {
            let task = shared.clone();
            answer_when(shared, request, responder, async move { make(&task, put).await });
        }
        Err(refusal) => refusal.reply(responder),
    }
}

fn requested(shared: &Shared, request: &Frame) -> Result<PutTopic, Refusal> {
    let header = CreateTopicRequest::from_ext(&request.ext)?;
    names::check_topic(header.topic)?;
    let invalid = |reason: String| Err(Refusal::new(response::INVALID_PARAMETER, reason));
    if names::is_system_topic(header.topic, &shared.config.cluster, &shared.config.group) {
        return invalid(format!("the topic {} is the broker's own and cannot be changed", header.topic));
    }
    let queues = |what: &str, n: i32| match u32::try_from(n) {
        Ok(n) if (1..=MAX_QUEUES).contains(&n) => Ok(n),
        _ => Err(Refusal::new(
            response::INVALID_PARAMETER,
            format!("{what} is {n}, allowed are 1 to {MAX_QUEUES}"),
        )),
    };
    let perm = match u32::try_from(header.perm) {
        Ok(perm) if perm <= perm::INHERIT | perm::WRITE | perm::READ => perm,
        _ => return invalid(format!("perm is {}, allowed are 0 to 7", header.perm)),
    };
    let known = shared.state.read().topics.get(header.topic).map(|topic| topic.attributes.clone());
    Ok(PutTopic {
        name: header.topic.to_owned(),
        read_queues: queues("readQueueNums", header.read_queue_nums)?,
        write_queues: queues("writeQueueNums", header.write_queue_nums)?,
        perm,
        sys_flag: header.topic_sys_flag.unwrap_or(0),
        order: header.order,
        multi_tag: header.topic_filter_type == TopicFilterType::MultiTag.name(),
        attributes: changed(known.unwrap_or_default(), header.attributes.unwrap_or_default())?,
        only_if_missing: false,
    })
}

/// Applies `+key=value,-key` to a topic's attributes.
fn changed(
    mut attributes: BTreeMap<String, String>,
    changes: &str,
) -> Result<BTreeMap<String, String>, Refusal> {
    for change in changes.split(',').map(str::trim).filter(|change| !change.is_empty()) {
        let added = change.strip_prefix('+').and_then(|change| change.split_once('='));
        match (added, change.strip_prefix('-')) {
            (Some((key, value)), _) => drop(attributes.insert(key.trim().into(), value.trim().into())),
            (None, Some(key)) => drop(attributes.remove(key.trim())),
            (None, None) => {
                return Err(Refusal::new(
                    response::INVALID_PARAMETER,
                    format!("the attribute change {change:?} is neither +key=value nor -key"),
                ));
            }
        }
    }
    let bytes: usize = attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > MAX_ATTRIBUTE_BYTES {
        let reason = format!("the attributes have {bytes} bytes, at most {MAX_ATTRIBUTE_BYTES} are allowed");
        return Err(Refusal::new(response::INVALID_PARAMETER, reason));
    }
    Ok(attributes)
}

/// Code 215.
pub fn delete(shared: &Arc<Shared>, request: Frame, responder: Responder) {
    let checked = TopicRequest::from_ext(&request.ext).map_err(Refusal::from).and_then(|header| {
        names::check_topic(header.topic)?;
        if names::is_system_topic(header.topic, &shared.config.cluster, &shared.config.group) {
            let reason = format!("the topic {} is the broker's own and cannot be deleted", header.topic);
            return Err(Refusal::new(response::INVALID_PARAMETER, reason));
        }
        Ok(header.topic.to_owned())
    });
    match checked {
        Ok(name) => {
            let task = shared.clone();
            answer_when(shared, request, responder, async move {
                task.sequencer.propose(vec![Command::DeleteTopic(DeleteTopic { name })]).await?;
                task.topics_changed.notify_one();
                Ok(())
            });
        }
        Err(refusal) => refusal.reply(responder),
    }
}

/// Code 351.
pub fn get_one(shared: &Arc<Shared>, request: &Frame, responder: Responder) {
    let header = match TopicRequest::from_ext(&request.ext) {
        Ok(header) => header,
        Err(error) => return Refusal::from(error).reply(responder),
    };
    let found = shared.state.read().topics.get(header.topic).map(|topic| shown(shared, topic));
    match found {
        Some(config) => responder.reply(Frame::response(response::SUCCESS).with_body(config.encode())),
        None => {
            let reason = format!("the topic {} does not exist", header.topic);
            Refusal::new(response::TOPIC_NOT_EXIST, reason).reply(responder);
        }
    }
}

/// Code 21.
pub fn get_all(shared: &Arc<Shared>, responder: Responder) {
    let body = config_json(shared, shared.node.leadership().borrow().term).encode();
    responder.reply(Frame::response(response::SUCCESS).with_body(body));
}

/// All topics, as brokers tell name servers: `TBW102` only if topics may be made after it, for a route to it is
/// what makes clients try. The term is the version that a stale leader cannot have.
pub fn config_json(shared: &Shared, term: u64) -> TopicConfigSerializeWrapper {
    let state = shared.state.read();
    TopicConfigSerializeWrapper {
        data_version: DataVersion {
            counter: i64::try_from(state.topics.changes()).unwrap_or(i64::MAX),
            state_version: i64::try_from(term).unwrap_or(i64::MAX),
            timestamp: state.general.last_store_timestamp,
        },
        topic_config_table: state
            .topics
            .iter()
            .filter(|topic| shared.config.auto_create_topic || &*topic.name != names::AUTO_CREATE_TOPIC)
            .map(|topic| (topic.name.to_string(), shown(shared, topic)))
            .collect(),
        ..TopicConfigSerializeWrapper::default()
    }
}

fn shown(shared: &Shared, topic: &Topic) -> TopicConfig {
    let mut shown = config(topic);
    if &*topic.name == names::AUTO_CREATE_TOPIC {
        let queues = i32::try_from(offered(shared, topic)).unwrap_or(i32::MAX);
        (shown.read_queue_nums, shown.write_queue_nums) = (queues, queues);
    }
    shown
}

fn config(topic: &Topic) -> TopicConfig {
    let signed = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    TopicConfig {
        attributes: topic.attributes.clone(),
        order: topic.order,
        perm: signed(topic.perm),
        read_queue_nums: signed(topic.read_queues),
        topic_filter_type: if topic.multi_tag {
            TopicFilterType::MultiTag
        } else {
            TopicFilterType::SingleTag
        },
        topic_name: topic.name.to_string(),
        topic_sys_flag: topic.sys_flag,
        write_queue_nums: signed(topic.write_queues),
    }
}

fn plain(name: &str, queues: u32, perm: u32) -> PutTopic {
    PutTopic {
        name: name.to_owned(),
        read_queues: queues,
        write_queues: queues,
        perm,
        sys_flag: 0,
        order: false,
        multi_tag: false,
        attributes: BTreeMap::new(),
        only_if_missing: true,
    }
}
