//! The answer to a send.

use std::net::SocketAddr;
use std::sync::Arc;

use trireme_remoting::headers::SendResponse;
use trireme_remoting::message::{IdText, OffsetMsgId};
use trireme_remoting::{Body, Frame, Responder, response};

use crate::replica::Shared;
use crate::router::refuse;
use crate::sequencer::{Receipt, SubmitError};

/// A producer that waits for its answer.
pub struct ProducerReply {
    /// Where the answer goes.
    pub responder: Responder,
    /// The request, kept so that another replica can be asked if this one loses the lead before it took
    /// the message.
    pub request: Frame,
    /// This replica.
    pub shared: Arc<Shared>,
    /// The queue that the messages go to, as the producer shall see it.
    pub queue_id: i32,
    /// Goes into message ids.
    pub store_host: SocketAddr,
}

impl ProducerReply {
    /// Answers. `messages` are the physical offsets of the request's messages; RocketMQ names all of them
    /// in the answer to a batch.
    pub fn answer(self, result: Result<Receipt, SubmitError>, messages: impl Iterator<Item = u64>) {
        let receipt = match result {
            Ok(receipt) => receipt,
            Err(error) => return refuse(&self.shared, self.request, self.responder, error),
        };
        let id = |physical_offset: u64| {
            let physical_offset = i64::try_from(physical_offset).expect("a log is shorter than 2^63 bytes");
            OffsetMsgId { store_host: self.store_host, physical_offset }.text()
        };
        let mut messages = messages.map(id);
        let first = messages.next();
        let mut ids = String::new();
        for id in messages {
            if ids.is_empty() {
                ids.extend(first.as_ref().map(IdText::as_str));
            }
            ids.push(',');
            ids.push_str(id.as_str());
        }
        let single = first.as_ref().map_or("", IdText::as_str);
        let header = SendResponse {
            msg_id: if ids.is_empty() { single } else { &ids },
            queue_id: self.queue_id,
            queue_offset: i64::try_from(receipt.queue_offset).expect("a queue is shorter than 2^63 messages"),
            transaction_id: None,
            batch_uniq_id: None,
            recall_handle: None,
            region: Some("DefaultRegion"),
            trace_on: Some(true),
        };
        self.responder.reply_header(response::SUCCESS, &header, Body::Empty);
    }
}
