//! Request codes 12 and 33.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use trireme_remoting::headers::{QueryMessageRequest, QueryMessageResponse, ViewMessageRequest};
use trireme_remoting::message::{StoredMessage, property};
use trireme_remoting::{Body, Frame, Responder, response};

use crate::features::pull;
use crate::indexer;
use crate::names;
use crate::replica::Shared;
use crate::router::Refusal;

/// Messages of one answer.
const MAX_FOUND: usize = 64;
/// Bytes of one answer; one message is returned however large.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// How long a query waits for the index to contain everything that is applied.
const INDEX_WITHIN: Duration = Duration::from_secs(1);

/// Code 33.
pub fn by_offset(shared: &Arc<Shared>, request: &Frame, responder: Responder) {
    let header = match ViewMessageRequest::from_ext(&request.ext) {
        Ok(header) => header,
        Err(error) => return Refusal::from(error).reply(responder),
    };
    let (asked, offset) = (shared.clone(), header.offset);
    shared.readers.answer(responder, move |responder| match pull::message_at(&asked, offset) {
        Some(message) => responder.reply(Frame::response(response::SUCCESS).with_body(message)),
        None => {
            let reason = format!("there is no message at physical offset {offset}");
            Refusal::new(response::SYSTEM_ERROR, reason).reply(responder);
        }
    });
}

struct Query {
    topic: String,
    key: String,
    max: usize,
    begin: i64,
    end: i64,
    unique: bool,
}

/// Code 12.
pub fn by_key(shared: &Arc<Shared>, request: &Frame, responder: Responder) {
    let query = QueryMessageRequest::from_ext(&request.ext).map_err(Refusal::from).and_then(|header| {
        names::check_topic(header.topic)?;
        Ok(Query {
            topic: header.topic.to_owned(),
            key: header.key.to_owned(),
            max: usize::try_from(header.max_num).unwrap_or(0).clamp(1, MAX_FOUND),
            begin: header.begin_timestamp,
            end: header.end_timestamp,
            unique: header.unique_key.unwrap_or(false),
        })
    });
    let query = match query {
        Ok(query) => query,
        Err(refusal) => return refusal.reply(responder),
    };
    let shared = shared.clone();
    tokio::spawn(async move {
        indexer::caught_up(&shared, INDEX_WITHIN).await;
        let looking = trireme_runtime::blocking(move || find(&shared, &query));
        match looking.await.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(frame) => responder.reply(frame),
            Err(reason) => {
                tracing::error!(%reason, "a query by key failed");
                Refusal::new(response::SYSTEM_ERROR, reason).reply(responder);
            }
        }
    });
}

fn find(shared: &Shared, query: &Query) -> Result<Frame, String> {
    // Hashes may collide, so more candidates are asked for than are wanted.
    let candidates = shared
        .keys
        .query(&query.topic, &query.key, query.begin, query.end, query.max * 2)
        .inspect_err(|error| shared.index_damage.report(error))
        .map_err(|error| error.to_string())?;
    let mut found: Vec<Bytes> = Vec::new();
    let mut bytes = 0;
    for physical_offset in candidates {
        let offset = i64::try_from(physical_offset).map_err(|error| error.to_string())?;
        let Some(message) = pull::message_at(shared, offset).filter(|message| matches(message, query)) else {
            continue;
        };
        if found.len() == query.max || (!found.is_empty() && bytes + message.len() > MAX_BYTES) {
            break;
        }
        bytes += message.len();
        found.push(message);
    }
    let last = shared.keys.last_indexed();
    let header = QueryMessageResponse {
        index_last_update_timestamp: last.as_ref().map_or(0, |last| last.store_time_ms),
        index_last_update_phyoffset: last
            .map_or(0, |last| i64::try_from(last.physical_offset).unwrap_or(i64::MAX)),
    };
    if found.is_empty() {
        let reason = format!("no message with key {:?} in {}", query.key, query.topic);
        return Ok(Frame::response(response::QUERY_NOT_FOUND).with_ext(header.to_ext()).with_remark(reason));
    }
    Ok(Frame::response(response::SUCCESS).with_ext(header.to_ext()).with_body(Body::Many(found)))
}

fn matches(bytes: &[u8], query: &Query) -> bool {
    let Ok(message) = StoredMessage::parse(bytes) else { return false };
    let unique = message.property(property::UNIQ_KEY) == Some(query.key.as_str());
    let keyed = || {
        let keys = message.property(property::KEYS).unwrap_or_default();
        keys.split(' ').any(|key| key == query.key)
    };
    message.topic == query.topic && (unique || (!query.unique && keyed()))
}
