//! The calling side: one connection per address, made when it is first needed and again when it was lost.

mod dial;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::connection::{CloseReason, Connection, ConnectionOptions, InboundBudget, InvokeError};
use crate::fields::Header;
use crate::frame::Frame;
use crate::response;
use crate::server::{RequestHandler, Responder};
use dial::Slot;

/// Limits of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientOptions {
    /// Limits of each connection.
    pub connection: ConnectionOptions,
    /// How long making a connection may take. Default 3 s.
    pub connect_timeout: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connection: ConnectionOptions { first_frame: None, ..ConnectionOptions::default() },
            connect_timeout: Duration::from_secs(3),
        }
    }
}

/// Sends requests to any number of addresses. Clones share the connections.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    options: ClientOptions,
    handler: Arc<dyn RequestHandler>,
    inbound: Arc<InboundBudget>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    slots: HashMap<String, Slot>,
    stopped: bool,
}

impl Client {
    /// A client without connections. `handler` answers what servers ask of it; without one they are told
    /// that the code is not supported.
    pub fn new(options: ClientOptions, handler: Option<Arc<dyn RequestHandler>>) -> Self {
        let handler = handler.unwrap_or_else(|| Arc::new(Unsupported));
        // Requests of servers are few and small; their number is bounded per connection.
        let inbound = Arc::new(InboundBudget::new(usize::MAX));
        Self { shared: Arc::new(Shared { options, handler, inbound, table: Mutex::default() }) }
    }

    /// Sends a request to `addr` (`host:port`) and waits for the answer; `timeout` covers connecting too.
    ///
    /// Errors: as [`Connection::invoke`], and [`InvokeError::Connect`]. A lost connection is not retried here:
    /// whether the request may be repeated is the caller's to know.
    pub async fn invoke(
        &self,
        addr: &str,
        mut frame: Frame,
        timeout: Duration,
    ) -> Result<Frame, InvokeError> {
        let ext = std::mem::take(&mut frame.ext);
        self.invoke_with(addr, frame, &ext, timeout).await
    }

    /// As [`invoke`](Self::invoke), with `header`'s fields instead of the frame's.
    pub async fn invoke_with(
        &self,
        addr: &str,
        frame: Frame,
        header: &(impl Header + Sync),
        timeout: Duration,
    ) -> Result<Frame, InvokeError> {
        if let Some(connection) = self.ready(addr) {
            return connection.invoke_with(frame, header, timeout).await;
        }
        let code = frame.code;
        let started = Instant::now();
        match tokio::time::timeout(timeout, self.connection(addr)).await {
            Ok(connection) => {
                let left = timeout.saturating_sub(started.elapsed());
                match connection?.invoke_with(frame, header, left).await {
                    // The caller knows what it allowed, not what connecting left of it.
                    Err(InvokeError::Timeout { addr, code, .. }) => {
                        Err(InvokeError::Timeout { addr, code, after: timeout })
                    }
                    answer => answer,
                }
            }
            Err(_) => Err(InvokeError::Timeout { addr: addr.to_owned(), code, after: timeout }),
        }
    }

    /// Sends a request that is not answered.
    ///
    /// Errors: as [`Connection::oneway`], and [`InvokeError::Connect`].
    pub async fn oneway(&self, addr: &str, frame: Frame) -> Result<(), InvokeError> {
        self.connection(addr).await?.oneway(frame)
    }

    /// The connection to `addr`, made if need be; callers at the same time share one attempt.
    ///
    /// Errors: [`InvokeError::Connect`]; [`InvokeError::Closed`] after [`shutdown`](Self::shutdown).
    pub async fn connection(&self, addr: &str) -> Result<Connection, InvokeError> {
        let mut attempt = {
            let mut table = self.shared.table.lock();
            if table.stopped {
                return Err(InvokeError::Closed { addr: addr.to_owned(), reason: CloseReason::Local });
            }
            match table.slots.get(addr) {
                Some(Slot::Open(connection)) if !connection.is_closed() => return Ok(connection.clone()),
                Some(Slot::Dialling(attempt)) => attempt.clone(),
                _ => {
                    let attempt = dial::start(&self.shared, addr);
                    table.slots.insert(addr.to_owned(), Slot::Dialling(attempt.clone()));
                    attempt
                }
            }
        };
        attempt.outcome(addr).await
    }

    /// The connection to `addr` if there is an open one; makes none.
    pub fn ready(&self, addr: &str) -> Option<Connection> {
        match self.shared.table.lock().slots.get(addr) {
            Some(Slot::Open(connection)) if !connection.is_closed() => Some(connection.clone()),
            _ => None,
        }
    }

    /// Closes the connection to `addr`, if there is one; the next request makes a new one.
    pub fn disconnect(&self, addr: &str) {
        let slot = self.shared.table.lock().slots.remove(addr);
        if let Some(Slot::Open(connection)) = slot {
            connection.close();
        }
    }

    /// Closes the connection to `addr` if nothing has come from there since `then`: who stands still shall see, when it
    /// goes on, that nobody waits any more. Whether it did.
    pub fn disconnect_silent(&self, addr: &str, then: Instant) -> bool {
        let silent = self.ready(addr).filter(|connection| !connection.has_heard_since(then));
        silent.inspect(Connection::close).is_some()
    }

    /// Closes every connection and makes no more; what waits for an answer fails at once.
    pub fn shutdown(&self) {
        let slots = {
            let mut table = self.shared.table.lock();
            table.stopped = true;
            std::mem::take(&mut table.slots)
        };
        for slot in slots.into_values() {
            if let Slot::Open(connection) = slot {
                connection.close();
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for slot in self.table.get_mut().slots.values() {
            if let Slot::Open(connection) = slot {
                connection.close();
            }
        }
    }
}

/// Answers a server's requests when the client has nothing to say to them.
struct Unsupported;

impl RequestHandler for Unsupported {
    fn on_request(&self, request: Frame, responder: Responder) {
        let remark = format!("request code {} is not supported", request.code);
        responder.refuse(response::REQUEST_CODE_NOT_SUPPORTED, remark);
    }
}
