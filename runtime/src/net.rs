//! Sockets.

use std::io;
use std::net::SocketAddr;

#[cfg(not(trireme_sim))]
pub use tokio::net::{
    TcpListener, TcpStream,
    tcp::{OwnedReadHalf, OwnedWriteHalf},
};
#[cfg(trireme_sim)]
pub use turmoil::net::{
    TcpListener, TcpStream,
    tcp::{OwnedReadHalf, OwnedWriteHalf},
};

/// Listens. A server that is started again takes its port back although old connections still linger in the system.
#[cfg(not(trireme_sim))]
pub fn listen(addr: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    use tokio::net::TcpSocket;
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(backlog)
}

/// Listens, at every address of the simulated host.
#[cfg(trireme_sim)]
pub fn listen(addr: SocketAddr, _backlog: u32) -> io::Result<TcpListener> {
    use futures_util::FutureExt;
    let bound = TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, addr.port())).now_or_never();
    bound.unwrap_or_else(|| Err(io::Error::other("a simulated socket is bound at once")))
}

/// Whether the peer has sent its last byte, as far as is known without asking: there may be more to read.
#[cfg(not(trireme_sim))]
pub fn peer_has_ended(reader: &OwnedReadHalf) -> bool {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use tokio::io::Interest;
    // What was told with the last event; nobody waits here.
    let known = pin!(reader.ready(Interest::READABLE)).poll(&mut Context::from_waker(Waker::noop()));
    matches!(known, Poll::Ready(Ok(ready)) if ready.is_read_closed())
}

/// Nobody knows without asking.
#[cfg(trireme_sim)]
pub fn peer_has_ended(_reader: &OwnedReadHalf) -> bool {
    false
}
