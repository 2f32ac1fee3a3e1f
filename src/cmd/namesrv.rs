//! `trireme namesrv`.

use std::net::SocketAddr;

use anyhow::Context;
use trireme_namesrv::{NameServer, NameServerOptions};

#[derive(clap::Args)]
pub struct Args {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:9876")]
    listen: SocketAddr,
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    let options = NameServerOptions { listen: args.listen, ..NameServerOptions::default() };
    let server = NameServer::start(options).context("the name server does not start")?;
    println!("name server on {}", server.local_addr());
    super::signal::stop().await?;
    server.shutdown().await;
    Ok(())
}
