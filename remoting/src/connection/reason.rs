//! Why connections close and requests fail.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::frame::FrameError;

/// Why a connection was closed.
#[derive(Debug, Clone, Error)]
pub enum CloseReason {
    /// This side asked for it.
    #[error("closed by this side")]
    Local,
    /// This side is shutting down; what was in flight has been answered.
    #[error("closed for shutdown")]
    Shutdown,
    /// The peer closed, between two frames.
    #[error("closed by the peer")]
    Peer,
    /// The peer closed inside a frame.
    #[error("closed by the peer with {missing} bytes of a frame missing")]
    Truncated {
        /// What the frame still lacked.
        missing: usize,
    },
    /// The peer sent what is no frame.
    #[error("malformed frame: {0}")]
    Malformed(FrameError),
    /// The socket failed.
    #[error("socket failed: {0}")]
    Io(Arc<io::Error>),
    /// Nothing was read or written for this long.
    #[error("idle for {0:?}")]
    Idle(Duration),
    /// No whole frame within this time after the connection was made.
    #[error("no first frame within {0:?}")]
    FirstFrame(Duration),
    /// A frame was begun and not finished within this time.
    #[error("frame not finished within {0:?}")]
    FrameCompletion(Duration),
    /// The peer does not read what it asked for.
    #[error("peer leaves {queued} bytes unread")]
    Overflow {
        /// Bytes that waited for it.
        queued: usize,
    },
    /// A handler panicked; the connection's order of requests is lost.
    #[error("request handler panicked")]
    Panicked,
}

impl CloseReason {
    /// Whether the peer can be expected to take what is still queued for it.
    pub(super) fn lets_flush(&self) -> bool {
        match self {
            Self::Local | Self::Shutdown | Self::Peer | Self::Malformed(_) => true,
            Self::Truncated { .. }
            | Self::Io(_)
            | Self::Idle(_)
            | Self::FirstFrame(_)
            | Self::FrameCompletion(_)
            | Self::Overflow { .. }
            | Self::Panicked => false,
        }
    }

    /// Whether it is of the everyday kind, not worth a warning.
    pub(super) fn is_ordinary(&self) -> bool {
        matches!(self, Self::Local | Self::Shutdown | Self::Peer | Self::Idle(_) | Self::Io(_))
    }
}

/// Why a request got no answer.
#[derive(Debug, Clone, Error)]
pub enum InvokeError {
    /// No connection could be made. The request was not sent.
    #[error("connecting to {addr}: {source}")]
    Connect {
        /// Where to.
        addr: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// No answer in time. The request may have been carried out.
    #[error("no answer from {addr} to code {code} within {after:?}")]
    Timeout {
        /// Whom.
        addr: String,
        /// The request code.
        code: i32,
        /// How long.
        after: Duration,
    },
    /// The connection closed before the answer came. The request may have been carried out.
    #[error("connection to {addr} is closed: {reason}")]
    Closed {
        /// Whose.
        addr: String,
        /// Why.
        reason: CloseReason,
    },
    /// The request cannot be encoded, being too large. It was not sent.
    #[error(transparent)]
    Frame(#[from] FrameError),
}
