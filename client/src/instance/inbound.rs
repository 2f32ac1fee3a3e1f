//! What brokers ask of their clients.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use tracing::{debug, warn};
use trireme_remoting::body::ResetOffsetBody;
use trireme_remoting::headers::{
    ConsumeMessageDirectlyRequest, ConsumerGroupRequest, ConsumerRunningInfoRequest, ConsumerStatusRequest,
    ResetOffsetPush,
};
use trireme_remoting::message::StoredMessage;
use trireme_remoting::{Connection, FieldError, Frame, RequestCode, RequestHandler, Responder, response};

use super::{ConsumerLink, Instance, MemberEvent};
use crate::message::ReceivedMessage;

/// Hands brokers' requests to the consumer that they are for.
pub(super) struct Inbound {
    /// Weak, since the instance owns the connections that own this.
    instance: Weak<Instance>,
}

/// Why a request was not handed over: a code and words.
struct Refusal(i32, String);

impl From<FieldError> for Refusal {
    fn from(error: FieldError) -> Self {
        Self(response::SYSTEM_ERROR, error.to_string())
    }
}

impl Inbound {
    pub(super) fn new(instance: Weak<Instance>) -> Self {
        Self { instance }
    }

    /// The event that a request is, and whom it is for. The responder is used up only if there is an event.
    fn event(
        &self,
        request: &Frame,
        responder: &mut Option<Responder>,
    ) -> Result<Option<(Arc<ConsumerLink>, MemberEvent)>, Refusal> {
        let unsupported = || {
            let remark = format!("request code {} is not supported", request.code);
            Refusal(response::REQUEST_CODE_NOT_SUPPORTED, remark)
        };
        let code = request.request_code().map_err(|_| unsupported())?;
        let mut take = || responder.take().expect("one event answers one request");
        match code {
            RequestCode::NotifyConsumerIdsChanged => {
                let header = ConsumerGroupRequest::from_ext(&request.ext)?;
                self.link(header.consumer_group)?.rebalance.notify_one();
                Ok(None)
            }
            RequestCode::ResetConsumerClientOffset => {
                let header = ResetOffsetPush::from_ext(&request.ext)?;
                let body = ResetOffsetBody::decode(request.body.as_slice())
                    .map_err(|error| Refusal(response::SYSTEM_ERROR, error.to_string()))?;
                let offsets =
                    body.offset_table.into_iter().map(|(queue, offset)| (queue.into(), offset)).collect();
                let event = MemberEvent::ResetOffsets { topic: header.topic.to_owned(), offsets };
                Ok(Some((self.link(header.group)?, event)))
            }
            RequestCode::GetConsumerStatusFromClient => {
                let header = ConsumerStatusRequest::from_ext(&request.ext)?;
                let link = self.link(header.group)?;
                Ok(Some((link, MemberEvent::Offsets { topic: header.topic.to_owned(), responder: take() })))
            }
            RequestCode::GetConsumerRunningInfo => {
                let header = ConsumerRunningInfoRequest::from_ext(&request.ext)?;
                let link = self.link(header.consumer_group)?;
                Ok(Some((link, MemberEvent::RunningInfo { responder: take() })))
            }
            RequestCode::ConsumeMessageDirectly => {
                let header = ConsumeMessageDirectlyRequest::from_ext(&request.ext)?;
                let link = self.link(header.consumer_group)?;
                let message = message(&request.body.to_bytes(), header.broker_name.unwrap_or_default())?;
                Ok(Some((
                    link,
                    MemberEvent::ConsumeDirectly { message: Box::new(message), responder: take() },
                )))
            }
            _ => Err(unsupported()),
        }
    }

    fn link(&self, group: &str) -> Result<Arc<ConsumerLink>, Refusal> {
        let link = self.instance.upgrade().and_then(|instance| instance.members.consumer(group));
        link.ok_or_else(|| Refusal(response::SYSTEM_ERROR, format!("no consumer of group {group} is here")))
    }
}

fn message(body: &Bytes, broker: &str) -> Result<ReceivedMessage, Refusal> {
    let malformed = |reason: String| Refusal(response::SYSTEM_ERROR, format!("message: {reason}"));
    let topic = StoredMessage::parse(body).map_err(|error| malformed(error.to_string()))?.topic;
    let messages = ReceivedMessage::decode_all(body, &topic.into(), &broker.into());
    let mut messages = messages.map_err(|error| malformed(error.to_string()))?;
    let mut message = messages.pop().ok_or_else(|| malformed("none".to_owned()))?;
    message.restore_topic();
    Ok(message)
}

impl RequestHandler for Inbound {
    fn on_request(&self, request: Frame, responder: Responder) {
        let mut responder = Some(responder);
        let refusal = match self.event(&request, &mut responder) {
            Ok(None) => None,
            Ok(Some((link, event))) => match link.events.as_ref().map(|events| events.try_send(event)) {
                Some(Ok(())) => None,
                _ => Some(Refusal(
                    response::SYSTEM_BUSY,
                    format!("the consumer takes no code {}", request.code),
                )),
            },
            Err(refusal) => Some(refusal),
        };
        match (refusal, responder) {
            (Some(Refusal(code, remark)), Some(responder)) => {
                debug!(peer = %responder.connection().peer_addr(), code = request.code, remark, "request refused");
                responder.refuse(code, remark);
            }
            (Some(Refusal(_, remark)), None) => warn!(code = request.code, remark, "request dropped"),
            (None, Some(responder)) => responder.reply(Frame::response(response::SUCCESS)),
            (None, None) => {}
        }
    }

    /// The broker forgets us with the connection, and may be gone: tell it anew, and ask where things are now.
    fn on_close(&self, _: &Connection) {
        if let Some(instance) = self.instance.upgrade() {
            instance.heartbeat_soon();
            instance.refresh_soon();
        }
    }
}
