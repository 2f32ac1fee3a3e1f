//! Request codes 306 and 329.

use std::sync::Arc;

use trireme_remoting::headers::{TrimRequest, TrimResponse};
use trireme_remoting::{Body, Frame, Responder, response};

use super::policy::Order;
use super::task;
use crate::replica::Shared;
use crate::router::Refusal;

/// Codes 306 and 329: what RocketMQ's requests, which have no fields, mean is what is too old already. Of queues that
/// is the same as of the log.
pub fn trim(shared: &Arc<Shared>, request: &Frame, responder: Responder) {
    let order = TrimRequest::from_ext(&request.ext).map_err(Refusal::from).and_then(|header| {
        let keep_bytes = header.keep_bytes.map(u64::try_from).transpose();
        let keep_bytes = keep_bytes
            .map_err(|_| Refusal::new(response::INVALID_PARAMETER, "keepBytes must not be negative"))?;
        Ok(Order { before_ms: header.before_timestamp, keep_bytes })
    });
    let order = match order {
        Ok(order) => order,
        Err(refusal) => return refusal.reply(responder),
    };
    let shared = shared.clone();
    tokio::spawn(async move {
        match task::order(&shared, order).await {
            Ok(trimmed) => {
                let signed = |offset: u64| i64::try_from(offset).unwrap_or(i64::MAX);
                let header = TrimResponse {
                    started_at: signed(trimmed.from),
                    starts_at: signed(trimmed.to),
                    held_by: trimmed.held_by.map(signed),
                };
                responder.reply_header(response::SUCCESS, &header, Body::Empty);
            }
            Err(reason) => Refusal::new(response::SYSTEM_ERROR, reason).reply(responder),
        }
    });
}
