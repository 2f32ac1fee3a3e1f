//! Errors by kind: few words each, without addresses and times, so that they can be counted.

use trireme_client::{ClientError, SendStatus};
use trireme_remoting::{InvokeError, response};

/// The kind of a failed send.
pub fn kind(error: &ClientError) -> String {
    match error {
        ClientError::SendFailed { last, outcome_unknown, .. } => {
            let unknown = if *outcome_unknown { ", outcome unknown" } else { "" };
            format!("{}{unknown}", kind(last))
        }
        ClientError::Refused { code, .. } => match response::name(*code) {
            Some(name) => format!("refused: {code} {name}"),
            None => format!("refused: code {code}"),
        },
        ClientError::NoAnswer { source, .. } | ClientError::NameServer { source, .. } => match source {
            InvokeError::Connect { .. } => "no connection".to_owned(),
            InvokeError::Timeout { .. } => "timeout".to_owned(),
            InvokeError::Closed { .. } => "connection closed".to_owned(),
            InvokeError::Frame(_) => "request too large".to_owned(),
        },
        other => other.to_string(),
    }
}

/// What is worth telling of a message that was stored, but not as safely as was asked for.
pub fn status(status: SendStatus) -> Option<&'static str> {
    match status {
        SendStatus::Ok => None,
        SendStatus::FlushDiskTimeout => Some("stored, flush to disk timed out"),
        SendStatus::FlushSlaveTimeout => Some("stored, replication timed out"),
        SendStatus::SlaveNotAvailable => Some("stored, no slave available"),
    }
}
