//! Request code 20002.

use std::sync::Arc;

use trireme_commitlog::ReadError;
use trireme_remoting::headers::ReadLogRequest;
use trireme_remoting::{Frame, Responder, response};

use crate::replica::Shared;
use crate::router::Refusal;

/// Code 20002: the frame of the commit log that begins at a physical offset, if its entry is applied here and it is whole.
pub fn read_log(shared: &Arc<Shared>, request: &Frame, responder: Responder) {
    let at = match wanted(shared, request) {
        Ok(at) => at,
        Err(refusal) => return refusal.reply(responder),
    };
    let shared = shared.clone();
    shared.clone().readers.answer(responder, move |responder| match frame_at(&shared, at) {
        Ok(Some(frame)) => responder.reply(Frame::response(response::SUCCESS).with_body(frame)),
        Ok(None) => {
            let reason = format!("no applied entry begins at physical offset {at}");
            Refusal::new(response::QUERY_NOT_FOUND, reason).reply(responder);
        }
        Err(error) => {
            shared.scrub.report(&error);
            Refusal::new(response::SYSTEM_ERROR, error.to_string()).reply(responder);
        }
    });
}

fn wanted(shared: &Shared, request: &Frame) -> Result<u64, Refusal> {
    let header = ReadLogRequest::from_ext(&request.ext)?;
    Refusal::unless_of(shared, header.broker_name)?;
    let invalid = |_| Refusal::new(response::INVALID_PARAMETER, "physical offsets begin at 0");
    u64::try_from(header.physical_offset).map_err(invalid)
}

fn frame_at(shared: &Shared, at: u64) -> Result<Option<bytes::Bytes>, ReadError> {
    let log = shared.node.log();
    let Some(index) = log.index_at(at)? else { return Ok(None) };
    let applied = shared.node.applied().borrow().is_some_and(|applied| index <= applied.index);
    if !applied {
        return Ok(None);
    }
    let frame = log.read(index, index + 1, 0)?.pop();
    Ok(frame.filter(|frame| frame.physical_offset == at).map(|frame| frame.frame))
}
