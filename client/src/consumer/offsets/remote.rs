//! Offsets that brokers keep, and offsets of queues.

use trireme_remoting::headers::{
    GetMaxOffsetRequest, OffsetResponse, QueryConsumerOffsetRequest, QueueRequest, SearchOffsetRequest,
    UpdateConsumerOffsetRequest,
};
use trireme_remoting::{ExtFields, RequestCode, response};

use crate::error::ClientError;
use crate::instance::{Answer, Instance};
use crate::message::MessageQueue;

/// The offset that a group has committed; nothing if it has none and has to choose where to start.
pub(in crate::consumer) async fn committed(
    instance: &Instance,
    group: &str,
    queue: &MessageQueue,
) -> Result<Option<i64>, ClientError> {
    let header = QueryConsumerOffsetRequest {
        consumer_group: group,
        topic: &queue.topic,
        queue_id: queue.queue_id,
        set_zero_if_not_found: None,
    };
    let answer = ask(instance, queue, RequestCode::QueryConsumerOffset, header.to_ext()).await?;
    match answer.frame.code {
        response::QUERY_NOT_FOUND => Ok(None),
        _ => offset(answer).map(Some),
    }
}

/// Makes `offset` the group's next one to consume in a queue. Returns when the broker has acknowledged it.
pub(in crate::consumer) async fn commit(
    instance: &Instance,
    group: &str,
    queue: &MessageQueue,
    offset: i64,
) -> Result<(), ClientError> {
    let header = UpdateConsumerOffsetRequest {
        consumer_group: group,
        topic: &queue.topic,
        queue_id: queue.queue_id,
        commit_offset: offset,
    };
    ask(instance, queue, RequestCode::UpdateConsumerOffset, header.to_ext()).await?.success().map(drop)
}

/// The end of a queue, exclusive.
pub(in crate::consumer) async fn max_offset(
    instance: &Instance,
    queue: &MessageQueue,
) -> Result<i64, ClientError> {
    let header = GetMaxOffsetRequest { topic: &queue.topic, queue_id: queue.queue_id, committed: None };
    offset(ask(instance, queue, RequestCode::GetMaxOffset, header.to_ext()).await?)
}

/// The first offset of a queue.
pub(in crate::consumer) async fn min_offset(
    instance: &Instance,
    queue: &MessageQueue,
) -> Result<i64, ClientError> {
    let header = QueueRequest { topic: &queue.topic, queue_id: queue.queue_id };
    offset(ask(instance, queue, RequestCode::GetMinOffset, header.to_ext()).await?)
}

/// The offset of the first message stored at or after `timestamp`, in ms since the epoch.
pub(in crate::consumer) async fn search_offset(
    instance: &Instance,
    queue: &MessageQueue,
    timestamp: i64,
) -> Result<i64, ClientError> {
    let header =
        SearchOffsetRequest { topic: &queue.topic, queue_id: queue.queue_id, timestamp, boundary_type: None };
    offset(ask(instance, queue, RequestCode::SearchOffsetByTimestamp, header.to_ext()).await?)
}

async fn ask(
    instance: &Instance,
    queue: &MessageQueue,
    code: RequestCode,
    ext: ExtFields,
) -> Result<Answer, ClientError> {
    let broker = instance.broker_of(queue).await?;
    let request = instance.request(code).with_ext(ext);
    instance.ask_leader(&broker, code, request, instance.config.request_timeout).await
}

fn offset(answer: Answer) -> Result<i64, ClientError> {
    if answer.frame.code != response::SUCCESS {
        return Err(answer.refusal());
    }
    let header = OffsetResponse::from_ext(&answer.frame.ext);
    header.map(|header| header.offset).map_err(|error| answer.malformed(error))
}
