//! What a client's answer says about a message.

use trireme_client::{ClientError, MessageQueue, SendResult};
use trireme_remoting::headers::SendResponse;
use trireme_remoting::message::OffsetMsgId;
use trireme_remoting::{Frame, InvokeError, response};

use crate::history::{Outcome, Place};

/// What our client's producer says. Errors: something that it must not.
pub fn of_producer(sent: Result<SendResult, ClientError>) -> Result<Outcome, String> {
    match sent {
        Ok(sent) => place(sent.queue, sent.queue_offset, &sent.offset_msg_id).map(Outcome::Acked),
        Err(ClientError::SendFailed { outcome_unknown: false, .. }) => Ok(Outcome::Refused),
        // The name servers may be away; whether it was sent before is not said.
        Err(ClientError::SendFailed { .. } | ClientError::NameServer { .. }) => Ok(Outcome::Unknown),
        Err(error) => Err(format!("a producer gave up: {error}")),
    }
}

/// Whether what a single request asked for was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It was.
    Yes,
    /// Nobody knows.
    Perhaps,
    /// It was not, and never will be.
    No,
}

/// What the answer to a single request says. Errors: something that it must not.
pub fn told(answer: &Result<Frame, InvokeError>) -> Result<Told, String> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(InvokeError::Connect { .. }) => return Ok(Told::No),
        Err(_) => return Ok(Told::Perhaps),
    };
    match answer.code {
        response::SUCCESS => Ok(Told::Yes),
        // "Not now": nothing was stored.
        response::SERVICE_NOT_AVAILABLE | response::SYSTEM_BUSY | response::GO_AWAY => Ok(Told::No),
        // "The outcome is unknown".
        response::SYSTEM_ERROR => Ok(Told::Perhaps),
        code => Err(format!("a send was answered with code {code}: {:?}", answer.remark)),
    }
}

/// What the answer to a single request says that was sent to `queue`. Errors: something that it must not.
pub fn of_request(queue: &MessageQueue, answer: Result<Frame, InvokeError>) -> Result<Outcome, String> {
    of_batch(queue, 1, answer)
}

/// The same, of a request with so many messages.
pub fn of_batch(
    queue: &MessageQueue,
    messages: u32,
    answer: Result<Frame, InvokeError>,
) -> Result<Outcome, String> {
    let told = told(&answer)?;
    match (told, answer) {
        (Told::Yes, Ok(answer)) => {
            let header = SendResponse::from_ext(&answer.ext).map_err(|error| error.to_string())?;
            if header.queue_id != queue.queue_id {
                return Err(format!("a send to {queue} was stored in queue {}", header.queue_id));
            }
            let ids: Vec<&str> = header.msg_id.split(',').collect();
            if ids.len() != messages as usize {
                return Err(format!("{messages} messages were acknowledged with {} ids", ids.len()));
            }
            place(queue.clone(), header.queue_offset, ids[0]).map(Outcome::Acked)
        }
        (Told::No, _) => Ok(Outcome::Refused),
        _ => Ok(Outcome::Unknown),
    }
}

fn place(queue: MessageQueue, offset: i64, id: &str) -> Result<Place, String> {
    let id: OffsetMsgId = id.parse().map_err(|_| format!("a send was acknowledged with the id {id:?}"))?;
    let number = |value: i64| {
        u64::try_from(value).map_err(|_| format!("a send was acknowledged at the offset {value}"))
    };
    let (offset, physical_offset) = (number(offset)?, number(id.physical_offset)?);
    Ok(Place { queue, offset, physical_offset, stored_by: id.store_host })
}
