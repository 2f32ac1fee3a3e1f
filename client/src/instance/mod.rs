//! What all producers and consumers of one [`Client`](crate::Client) share: connections, routes, heartbeats.

mod call;
mod heartbeat;
mod inbound;
mod members;
mod name_servers;
mod routes;
mod tasks;
mod watch;

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use trireme_remoting::message::UniqKeyGenerator;
use trireme_remoting::{ClientOptions, ConnectionOptions, Frame, Language, RequestCode};

use crate::config::ClientConfig;
use crate::error::ClientError;
use crate::route::Brokers;
use inbound::Inbound;
use members::Members;
use name_servers::NameServers;
use routes::Routes;

pub(crate) use call::{Answer, patience, peer};
pub(crate) use heartbeat::Leaving;
pub(crate) use members::{ConsumerLink, MemberEvent};

/// See the module.
pub(crate) struct Instance {
    pub(crate) config: ClientConfig,
    /// `ip@instance`
    pub(crate) client_id: String,
    /// `instance_name` if it was set; two runs of a program have the same.
    pub(crate) stable_name: Option<String>,
    remoting: trireme_remoting::Client,
    name_servers: NameServers,
    pub(crate) brokers: Brokers,
    routes: Routes,
    members: Members,
    ids: UniqKeyGenerator,
    signals: Arc<Signals>,
}

/// What wakes the background tasks; apart from the instance, so that they do not keep it alive.
#[derive(Default)]
struct Signals {
    refresh: Notify,
    heartbeat: Notify,
    stop: Notify,
    stopped: AtomicBool,
}

impl Signals {
    fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.stop.notify_waiters();
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Waits for [`stop`](Self::stop).
    async fn stopped(&self) {
        let stop = self.stop.notified();
        tokio::pin!(stop);
        stop.as_mut().enable();
        if !self.is_stopped() {
            stop.await;
        }
    }
}

impl Instance {
    /// An instance with its background tasks; connects to nobody yet. Needs a Tokio runtime.
    ///
    /// Errors: a setting cannot be used.
    pub(crate) fn start(config: ClientConfig) -> Result<Arc<Self>, ClientError> {
        config.validate()?;
        let number = next_number();
        let ip = config.local_ip.unwrap_or_else(|| local_ip(&config.namesrv_addrs[0]));
        let name = config.instance_name.clone().unwrap_or_else(|| format!("{}#{number:08x}", process::id()));
        let signals = Arc::new(Signals::default());
        let instance = Arc::new_cyclic(|weak| {
            let options = ClientOptions {
                connect_timeout: config.connect_timeout,
                connection: ConnectionOptions {
                    max_in_flight: 64 * 1024,
                    ..ClientOptions::default().connection
                },
            };
            Self {
                client_id: format!("{ip}@{name}"),
                stable_name: config.instance_name.clone(),
                remoting: trireme_remoting::Client::new(options, Some(Arc::new(Inbound::new(weak.clone())))),
                name_servers: NameServers::new(config.namesrv_addrs.clone()),
                brokers: Brokers::default(),
                routes: Routes::default(),
                members: Members::default(),
                ids: UniqKeyGenerator::new(ip, process::id(), number),
                signals: signals.clone(),
                config,
            }
        });
        tasks::spawn(&instance, signals);
        Ok(instance)
    }

    /// Ends the background tasks and closes all connections; every later request fails with
    /// [`ClientError::Closed`].
    pub(crate) fn close(&self) {
        self.signals.stop();
        self.remoting.shutdown();
    }

    /// Errors: [`ClientError::Closed`].
    pub(crate) fn check_open(&self) -> Result<(), ClientError> {
        if self.signals.is_stopped() { Err(ClientError::Closed) } else { Ok(()) }
    }

    /// A request of ours in the configured notation.
    pub(crate) fn request(&self, code: RequestCode) -> Frame {
        let mut frame = Frame::request(code);
        frame.language = Language::Rust;
        frame.serialize = self.config.serialize;
        frame
    }

    /// A new message id.
    pub(crate) fn next_id(&self) -> String {
        self.ids.next(now_ms())
    }

    /// Asks for new routes soon, because something failed.
    pub(crate) fn refresh_soon(&self) {
        self.signals.refresh.notify_one();
    }

    /// Tells brokers of our groups soon, because one may not know them.
    pub(crate) fn heartbeat_soon(&self) {
        self.signals.heartbeat.notify_one();
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.close();
    }
}

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64)
}

/// Tells instances apart: unique within the process, and most likely among processes with recycled ids.
fn next_number() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    rand::random::<u32>() & 0xffff_ff00 | COUNT.fetch_add(1, Ordering::Relaxed) & 0xff
}

/// The address that the system would reach `peer` from. Sends nothing.
fn local_ip(peer: &str) -> IpAddr {
    UdpSocket::bind("0.0.0.0:0")
        .and_then(|socket| {
            socket.connect(peer)?;
            socket.local_addr()
        })
        .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |addr| addr.ip())
}
