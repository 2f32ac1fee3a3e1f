//! The limits of a connection.

use std::time::Duration;

use crate::frame::{MAX_FRAME_BYTES, MAX_HEADER_BYTES};

/// Limits of one connection. `Default` is a server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// The largest frame in bytes, read or written. Default 16 MiB.
    pub max_frame: usize,
    /// The largest header in bytes that is read. Default 64 KiB.
    pub max_header: usize,
    /// How soon the first whole frame has to be there. Default 5 s; a client, which may never be asked
    /// anything, has none.
    pub first_frame: Option<Duration>,
    /// How soon a frame has to be whole after its first byte was read. Default 30 s.
    pub frame_completion: Duration,
    /// After how long without a byte read or written the connection is closed. Default 120 s.
    pub idle: Duration,
    /// Above so many unsent bytes requests are no longer read, until half of them have gone. Default 4 MiB.
    pub outbound_pause: usize,
    /// Above so many unsent bytes the connection is closed. Default 64 MiB.
    pub outbound_close: usize,
    /// So many requests may wait for their answer before reading stops. Default 16384.
    pub max_in_flight: usize,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            max_frame: MAX_FRAME_BYTES,
            max_header: MAX_HEADER_BYTES,
            first_frame: Some(Duration::from_secs(5)),
            frame_completion: Duration::from_secs(30),
            idle: Duration::from_secs(120),
            outbound_pause: 4 << 20,
            outbound_close: 64 << 20,
            max_in_flight: 16384,
        }
    }
}
