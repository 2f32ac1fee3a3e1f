//! Accepting connections, and letting them go in order.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tracing::warn;
use trireme_runtime::net::{self, TcpListener, TcpStream};

use super::RequestHandler;
use crate::connection::{self, CloseReason, Connection, ConnectionOptions, InboundBudget, Socket};
use crate::stall;

/// Connections that the system completes before they are accepted.
const BACKLOG: u32 = 1024;

/// How long accepting rests after the system refused, e.g. for want of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// How long connections may take to end after they were told to.
const END: Duration = Duration::from_secs(5);

/// Limits of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerOptions {
    /// Limits of each connection.
    pub connection: ConnectionOptions,
    /// Connections in all; further ones are closed at once. Default 65536.
    pub max_connections: usize,
    /// Connections of one IP address. Default 16384.
    pub max_connections_per_ip: usize,
    /// Bytes of unanswered requests' bodies in all; above it no connection is read from. Default 512 MiB.
    pub max_inbound_bytes: usize,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            connection: ConnectionOptions::default(),
            max_connections: 65536,
            max_connections_per_ip: 16384,
            max_inbound_bytes: 512 << 20,
        }
    }
}

/// The address cannot be listened at.
#[derive(Debug, Error)]
#[error("listening at {addr}: {source}")]
pub struct BindError {
    /// The address.
    pub addr: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// A listening server. Dropping it closes the listener and every connection, without a drain.
pub struct Server {
    local_addr: SocketAddr,
    table: Arc<Table>,
    accept: JoinHandle<()>,
}

impl Server {
    /// Listens at `addr` (port 0 lets the system choose) and serves every connection with `handler`.
    ///
    /// Needs a Tokio runtime. Errors: the address is taken or not ours.
    pub fn bind(
        addr: SocketAddr,
        options: ServerOptions,
        handler: Arc<dyn RequestHandler>,
    ) -> Result<Self, BindError> {
        stall::watch();
        let failed = |source| BindError { addr, source };
        let listener = net::listen(addr, BACKLOG).map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let table = Arc::new(Table::default());
        let inbound = Arc::new(InboundBudget::new(options.max_inbound_bytes));
        let accept = tokio::spawn(accept(listener, options, inbound, handler, table.clone()));
        Ok(Self { local_addr, table, accept })
    }

    /// Where it listens, with the port that it got.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The connections that are open now.
    pub fn connections(&self) -> Vec<Connection> {
        self.table.open.lock().connections.values().cloned().collect()
    }

    /// Stops in order: accepts nobody, takes no new request, answers what is in flight and writes it, closes.
    ///
    /// What is not answered within `drain` is cut off. Returns when the last connection has ended and its
    /// handler has heard of it.
    pub async fn shutdown(mut self, drain: Duration) {
        self.accept.abort();
        // Waits until the listener is gone, so that the port is free on return; a cancelled task is an error.
        let _ = (&mut self.accept).await;
        let mut draining = JoinSet::new();
        for connection in self.table.refuse_new() {
            draining.spawn(async move { connection.drain().await });
        }
        let drained = async { while draining.join_next().await.is_some() {} };
        if tokio::time::timeout(drain, drained).await.is_err() {
            warn!(local = %self.local_addr, "requests were left unanswered at shutdown");
        }
        self.table.close_all();
        let ended = self.table.wait_empty();
        if tokio::time::timeout(END, ended).await.is_err() {
            warn!(local = %self.local_addr, "connections were left open at shutdown");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accept.abort();
        self.table.refuse_new();
        self.table.close_all();
    }
}

async fn accept(
    listener: TcpListener,
    options: ServerOptions,
    inbound: Arc<InboundBudget>,
    handler: Arc<dyn RequestHandler>,
    table: Arc<Table>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Err(refusal) = serve(stream, peer, &options, &inbound, &handler, &table) {
                    warn!(%peer, %refusal, "connection refused");
                }
            }
            Err(error) => {
                warn!(%error, "accepting failed");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

/// Why a connection was closed right after it was accepted.
#[derive(Debug, Error)]
enum Refusal {
    #[error("too many connections")]
    Full,
    #[error("too many connections of this address")]
    FullForAddress,
    #[error("shutting down")]
    Stopping,
    #[error("socket failed: {0}")]
    Io(#[from] io::Error),
}

fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    options: &ServerOptions,
    inbound: &Arc<InboundBudget>,
    handler: &Arc<dyn RequestHandler>,
    table: &Arc<Table>,
) -> Result<(), Refusal> {
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    let mut open = table.open.lock();
    open.admit(peer.ip(), options)?;
    let (reader, writer) = stream.into_split();
    let ended = {
        let table = table.clone();
        move |connection: &Connection| table.remove(connection)
    };
    // Under the lock, so that the connection cannot end before it is entered.
    let socket = Socket { reader, writer, peer, local };
    let connection = connection::spawn(socket, options.connection, inbound.clone(), handler.clone(), ended);
    open.connections.insert(connection.id(), connection);
    *open.per_ip.entry(peer.ip()).or_default() += 1;
    Ok(())
}

/// The open connections.
#[derive(Default)]
struct Table {
    open: Mutex<Open>,
    emptied: Notify,
}

#[derive(Default)]
struct Open {
    connections: HashMap<u64, Connection>,
    per_ip: HashMap<IpAddr, usize>,
    stopping: bool,
}

impl Open {
    fn admit(&self, ip: IpAddr, options: &ServerOptions) -> Result<(), Refusal> {
        if self.stopping {
            Err(Refusal::Stopping)
        } else if self.connections.len() >= options.max_connections {
            Err(Refusal::Full)
        } else if self.per_ip.get(&ip).is_some_and(|count| *count >= options.max_connections_per_ip) {
            Err(Refusal::FullForAddress)
        } else {
            Ok(())
        }
    }
}

impl Table {
    /// Admits nobody from now on; returns who is there.
    fn refuse_new(&self) -> Vec<Connection> {
        let mut open = self.open.lock();
        open.stopping = true;
        open.connections.values().cloned().collect()
    }

    fn close_all(&self) {
        let connections: Vec<_> = self.open.lock().connections.values().cloned().collect();
        for connection in connections {
            connection.close_with(CloseReason::Shutdown);
        }
    }

    fn remove(&self, connection: &Connection) {
        let mut open = self.open.lock();
        let ip = connection.peer_addr().ip();
        open.connections.remove(&connection.id());
        if let Some(count) = open.per_ip.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                open.per_ip.remove(&ip);
            }
        }
        if open.connections.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    async fn wait_empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable();
            if self.open.lock().connections.is_empty() {
                return;
            }
            emptied.await;
        }
    }
}
