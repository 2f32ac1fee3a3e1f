//! What a try at sending came to, and what to do next. Pure.

use trireme_remoting::{InvokeError, response};

use crate::message::SendStatus;

/// What to do after one try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The message is stored.
    Stored(SendStatus),
    /// No request reached a broker: try another replica at once. Not counted as a try.
    NotReached,
    /// A request was sent, and what became of it will not be known: try another replica.
    Unknown,
    /// The replica knows no leader, or the leader could not finish: try again after a pause. Not counted, since an
    /// election ends by itself and only the timeout should end the waiting.
    NoLeader,
    /// The broker is overloaded: try again after a pause.
    Busy,
    /// The broker refuses, but another group may take the message.
    Elsewhere,
    /// Nobody will take the message.
    Final,
}

/// Judges an answer's code, or its absence. Source: the protocol's retry matrix of a synchronous send.
pub(super) fn judge(answer: Result<i32, &InvokeError>) -> Verdict {
    match answer {
        Ok(response::SUCCESS) => Verdict::Stored(SendStatus::Ok),
        Ok(response::FLUSH_DISK_TIMEOUT) => Verdict::Stored(SendStatus::FlushDiskTimeout),
        Ok(response::FLUSH_SLAVE_TIMEOUT) => Verdict::Stored(SendStatus::FlushSlaveTimeout),
        Ok(response::SLAVE_NOT_AVAILABLE) => Verdict::Stored(SendStatus::SlaveNotAvailable),
        Ok(response::SYSTEM_BUSY) => Verdict::Busy,
        Ok(
            response::SYSTEM_ERROR
            | response::SERVICE_NOT_AVAILABLE
            | response::NOT_LEADER_FOR_QUEUE
            | response::GO_AWAY,
        ) => Verdict::NoLeader,
        Ok(
            response::NO_PERMISSION
            | response::TOPIC_NOT_EXIST
            | response::NO_BUYER_ID
            | response::NOT_IN_CURRENT_UNIT,
        ) => Verdict::Elsewhere,
        Ok(_) => Verdict::Final,
        Err(InvokeError::Connect { .. }) => Verdict::NotReached,
        Err(InvokeError::Timeout { .. } | InvokeError::Closed { .. }) => Verdict::Unknown,
        Err(InvokeError::Frame(_)) => Verdict::Final,
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::time::Duration;

    use trireme_remoting::{CloseReason, FrameError};

    use super::*;

    #[test]
    fn every_kind_of_answer() {
        use Verdict::*;
        for (code, verdict) in [
            (0, Stored(SendStatus::Ok)),
            (10, Stored(SendStatus::FlushDiskTimeout)),
            (11, Stored(SendStatus::SlaveNotAvailable)),
            (12, Stored(SendStatus::FlushSlaveTimeout)),
            (1, NoLeader),
            (14, NoLeader),
            (501, NoLeader),
            (1500, NoLeader),
            (2, Busy),
            (16, Elsewhere),
            (17, Elsewhere),
            (204, Elsewhere),
            (205, Elsewhere),
            (3, Final),
            (13, Final),
            (29, Final),
            (4711, Final),
        ] {
            assert_eq!(judge(Ok(code)), verdict, "code {code}");
        }
    }

    #[test]
    fn every_kind_of_silence() {
        let addr = || "a:1".to_owned();
        let source = Arc::new(io::Error::from(io::ErrorKind::ConnectionRefused));
        for (error, verdict) in [
            (InvokeError::Connect { addr: addr(), source }, Verdict::NotReached),
            (InvokeError::Timeout { addr: addr(), code: 310, after: Duration::ZERO }, Verdict::Unknown),
            (InvokeError::Closed { addr: addr(), reason: CloseReason::Peer }, Verdict::Unknown),
            (InvokeError::Frame(FrameError::Tls), Verdict::Final),
        ] {
            assert_eq!(judge(Err(&error)), verdict, "{error}");
        }
    }
}
