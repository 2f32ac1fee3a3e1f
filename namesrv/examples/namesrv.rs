//! A name server on its own, for trying one out: `cargo run -p trireme-namesrv --example namesrv -- [ADDR [KV_FILE]]`.
//!
//! Logs what brokers do (`RUST_LOG=debug` also what is refused), ends with Ctrl-C.

use std::error::Error;

use tracing_subscriber::EnvFilter;
use trireme_namesrv::{NameServer, NameServerOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).init();

    let mut args = std::env::args().skip(1);
    let options = NameServerOptions {
        listen: args.next().as_deref().unwrap_or("127.0.0.1:9876").parse()?,
        kv_path: args.next().map(Into::into),
        ..NameServerOptions::default()
    };
    let name_server = NameServer::start(options)?;
    println!("{}", name_server.local_addr());
    tokio::signal::ctrl_c().await?;
    name_server.shutdown().await;
    Ok(())
}
