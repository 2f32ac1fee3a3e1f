//! Making connections, one attempt per address at a time.

use std::io;
use std::sync::{Arc, Weak};

use tokio::sync::watch;
use trireme_runtime::net::{OwnedReadHalf, OwnedWriteHalf, TcpStream};

use super::Shared;
use crate::connection::{self, CloseReason, Connection, InvokeError, Socket};

/// What a client has for an address.
pub(super) enum Slot {
    Open(Connection),
    Dialling(Attempt),
}

/// An attempt under way; runs to its end although nobody may wait for it any more.
#[derive(Clone)]
pub(super) struct Attempt {
    outcome: watch::Receiver<Option<Result<Connection, InvokeError>>>,
}

impl Attempt {
    pub(super) async fn outcome(&mut self, addr: &str) -> Result<Connection, InvokeError> {
        let cut_off = || InvokeError::Closed { addr: addr.to_owned(), reason: CloseReason::Local };
        // The sender goes away without an outcome only if the runtime is shutting down.
        let outcome = self.outcome.wait_for(Option::is_some).await.map_err(|_| cut_off())?;
        outcome.clone().unwrap_or_else(|| Err(cut_off()))
    }
}

pub(super) fn start(client: &Arc<Shared>, addr: &str) -> Attempt {
    let (sender, outcome) = watch::channel(None);
    let client = Arc::downgrade(client);
    let addr = addr.to_owned();
    tokio::spawn(async move {
        let dialled = dial(&client, &addr).await;
        sender.send_replace(Some(dialled));
    });
    Attempt { outcome }
}

/// Connects and enters the connection for its address; leaves the address empty on failure.
async fn dial(client: &Weak<Shared>, addr: &str) -> Result<Connection, InvokeError> {
    let cut_off = || InvokeError::Closed { addr: addr.to_owned(), reason: CloseReason::Local };
    let timeout = client.upgrade().ok_or_else(cut_off)?.options.connect_timeout;
    let connected = match tokio::time::timeout(timeout, connect(addr)).await {
        Ok(connected) => connected,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("not connected within {timeout:?}"))),
    };
    let client = client.upgrade().ok_or_else(cut_off)?;
    let mut table = client.table.lock();
    let ours = matches!(table.slots.get(addr), Some(Slot::Dialling(_)));
    if table.stopped || !ours {
        table.slots.remove(addr);
        return Err(cut_off());
    }
    match connected {
        Ok(socket) => {
            let connection = connection::spawn(
                socket,
                client.options.connection,
                client.inbound.clone(),
                client.handler.clone(),
                |_| {},
            );
            table.slots.insert(addr.to_owned(), Slot::Open(connection.clone()));
            Ok(connection)
        }
        Err(source) => {
            table.slots.remove(addr);
            Err(InvokeError::Connect { addr: addr.to_owned(), source: Arc::new(source) })
        }
    }
}

type TcpSocket = Socket<OwnedReadHalf, OwnedWriteHalf>;

async fn connect(addr: &str) -> io::Result<TcpSocket> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let (peer, local) = (stream.peer_addr()?, stream.local_addr()?);
    let (reader, writer) = stream.into_split();
    Ok(Socket { reader, writer, peer, local })
}
