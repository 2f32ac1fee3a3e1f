//! What can go wrong, in words that a person can act on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use trireme_remoting::{Frame, InvokeError, RequestCode, response};

/// Why an operation of the client failed.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A setting cannot be used. Nothing was started.
    #[error("setting {field} is {value:?}, expected {expected}")]
    Config {
        /// Which setting.
        field: &'static str,
        /// What it is.
        value: String,
        /// What it could be.
        expected: &'static str,
    },
    /// A topic or group name is not one. Nothing was sent.
    #[error("{kind} name {name:?} {reason}")]
    Name {
        /// `topic` or `group`.
        kind: &'static str,
        /// The name, cut to 64 characters.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A message cannot be sent as it is. Nothing was sent.
    #[error("message for topic {topic}: {reason}")]
    Message {
        /// Its topic.
        topic: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A message id is not one.
    #[error("message id {0:?} is not an offset message id")]
    MessageId(String),
    /// None of the name servers answered.
    #[error("no name server answers {operation}, asked {asked}: {source}")]
    NameServer {
        /// The request's name.
        operation: &'static str,
        /// The addresses asked, comma-joined.
        asked: String,
        /// Why the last one did not answer.
        source: InvokeError,
    },
    /// The name server knows neither the topic nor a template to create it from.
    #[error("topic {topic} does not exist, and no broker creates topics by itself")]
    TopicNotFound {
        /// The topic.
        topic: String,
    },
    /// The topic has no queue for this use now.
    #[error("topic {topic} has no {kind} queue")]
    NoQueue {
        /// The topic.
        topic: String,
        /// `writable` or `readable`.
        kind: &'static str,
    },
    /// No route names this broker group.
    #[error("no route names broker group {broker}")]
    UnknownBroker {
        /// The broker group.
        broker: String,
    },
    /// The peer answered that it will not.
    #[error("{operation} refused by {peer} with {}: {remark}", CodeName(*code))]
    Refused {
        /// The request's name.
        operation: &'static str,
        /// Who refused: broker group and address.
        peer: String,
        /// RocketMQ's response code, see [`trireme_remoting::response`].
        code: i32,
        /// The peer's own words.
        remark: String,
    },
    /// No replica answered in time. The request may have been carried out.
    #[error("{operation} got no answer from broker group {broker} within {after:?}: {source}")]
    NoAnswer {
        /// The request's name.
        operation: &'static str,
        /// The broker group.
        broker: String,
        /// How long it was tried.
        after: Duration,
        /// Why the last try failed.
        source: InvokeError,
    },
    /// A message was not acknowledged.
    ///
    /// With `outcome_unknown` a copy may have been stored although nobody said so.
    #[error("send to topic {topic} failed after {tries} tries in {after:?}{}: {last}",
        if *outcome_unknown { " (it may have been stored)" } else { "" })]
    SendFailed {
        /// The topic.
        topic: String,
        /// How many requests were sent.
        tries: u32,
        /// How long it was tried.
        after: Duration,
        /// Whether a request was sent whose answer never came.
        outcome_unknown: bool,
        /// Why the last try failed.
        last: Box<ClientError>,
    },
    /// An answer is not what it should be.
    #[error("answer of {peer} to {operation}: {reason}")]
    Answer {
        /// The request's name.
        operation: &'static str,
        /// Who answered.
        peer: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The client has a consumer of this group already; members of a group need a [`Client`](crate::Client) each.
    #[error("this client has a consumer of group {group} already")]
    GroupInUse {
        /// The group.
        group: String,
    },
    /// The producer, consumer or client was shut down.
    #[error("the client is shut down")]
    Closed,
    /// The file with a broadcasting consumer's offsets cannot be used.
    #[error("offset file {path}: {source}")]
    OffsetFile {
        /// Where it is.
        path: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
}

impl ClientError {
    /// The refusal that `answer` is.
    pub(crate) fn refused(operation: RequestCode, peer: impl Into<String>, answer: &Frame) -> Self {
        Self::Refused {
            operation: operation.name(),
            peer: peer.into(),
            code: answer.code,
            remark: answer.remark.clone().unwrap_or_default(),
        }
    }

    /// An answer that does not parse.
    pub(crate) fn answer(operation: RequestCode, peer: &str, reason: impl ToString) -> Self {
        Self::Answer { operation: operation.name(), peer: peer.to_owned(), reason: reason.to_string() }
    }

    /// The response code, if the peer refused.
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::SendFailed { last, .. } => last.code(),
            _ => None,
        }
    }
}

/// `17 TOPIC_NOT_EXIST`, or the bare number of a code without a name.
struct CodeName(i32);

impl std::fmt::Display for CodeName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match response::name(self.0) {
            Some(name) => write!(f, "{} {name}", self.0),
            None => write!(f, "code {}", self.0),
        }
    }
}
