//! A running name server.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};
use trireme_remoting::server::BindError;
use trireme_remoting::{Server, ServerOptions};

use crate::config::Changeable;
use crate::handler::{Handler, now};
use crate::kv::{KvConfig, KvError};
use crate::options::{BadOption, NameServerOptions};
use crate::routes::{Limits, RouteTable};

/// Bodies of requests that are being answered, over all connections: four of the largest frames.
const MAX_INBOUND_BYTES: usize = 64 << 20;

/// A running name server. Dropping it closes everything at once; [`shutdown`](Self::shutdown) does so in order.
///
/// ```
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use trireme_namesrv::{NameServer, NameServerOptions};
///
/// let options = NameServerOptions { listen: "127.0.0.1:0".parse()?, ..NameServerOptions::default() };
/// let name_server = NameServer::start(options)?;
/// println!("brokers and clients find it at {}", name_server.local_addr());
/// name_server.shutdown().await;
/// # Ok(())
/// # }
/// # tokio::runtime::Runtime::new().expect("a runtime").block_on(run()).expect("a name server");
/// ```
pub struct NameServer {
    server: Server,
    handler: Arc<Handler>,
    /// Looks for silent brokers; ends with this.
    tasks: JoinSet<()>,
}

/// Why a name server did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A setting is outside its range.
    #[error(transparent)]
    Option(#[from] BadOption),
    /// The KV configuration cannot be read.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// The address cannot be listened at.
    #[error(transparent)]
    Bind(#[from] BindError),
}

impl NameServer {
    /// Starts a name server, which answers when this returns. Its routes are empty until brokers register.
    ///
    /// Needs a Tokio runtime with time and I/O. Reads the KV configuration's file, if one is set.
    pub fn start(options: NameServerOptions) -> Result<Self, StartError> {
        options.validate()?;
        let limits = Limits {
            max_brokers: options.max_brokers,
            max_topics: options.max_topics,
            broker_expiry: options.broker_expiry,
        };
        let handler = Arc::new(Handler {
            routes: Mutex::new(RouteTable::new(limits)),
            kv: KvConfig::open(options.kv_path.clone())?,
            changeable: watch::Sender::new(Changeable::of(&options)),
            options: options.clone(),
            listen: OnceLock::new(),
        });
        let server_options = ServerOptions {
            max_connections: options.max_connections,
            // Clients may all come through one gateway.
            max_connections_per_ip: options.max_connections,
            max_inbound_bytes: MAX_INBOUND_BYTES,
            ..ServerOptions::default()
        };
        let server = Server::bind(options.listen, server_options, handler.clone())?;
        handler.listen.get_or_init(|| server.local_addr());
        let mut tasks = JoinSet::new();
        tasks.spawn(expire_brokers(handler.clone()));
        info!(listen = %server.local_addr(), "name server started");
        Ok(Self { server, handler, tasks })
    }

    /// Where it listens, with the port that it got.
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Accepts nothing more, waits until what is under way is answered, for at most
    /// [`drain`](NameServerOptions::drain), and closes all connections.
    pub async fn shutdown(self) {
        let Self { server, handler, mut tasks } = self;
        tasks.abort_all();
        server.shutdown(handler.options.drain).await;
        info!("name server stopped");
    }
}

async fn expire_brokers(handler: Arc<Handler>) {
    let mut changeable = handler.changeable.subscribe();
    loop {
        let every = changeable.borrow_and_update().scan_every;
        if let Ok(changed) = tokio::time::timeout(every, changeable.changed()).await {
            // The sender is the handler's, which this task holds.
            changed.expect("the settings live as long as the handler");
            continue;
        }
        for expired in handler.routes.lock().expire(now()) {
            warn!(broker = %expired.broker_name, address = expired.address, "silent broker taken off the routes");
        }
    }
}
