//! `trireme namesrv`.

use std::path::PathBuf;

use anyhow::Context;
use trireme_namesrv::{NameServer, NameServerOptions};

use crate::config;

#[derive(clap::Args)]
pub struct Args {
    /// A file of settings: TOML, or RocketMQ's properties if its name ends with .conf or .properties. The variable
    /// TRIREME_NAMESRV_CONFIG may name it as well.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the settings as they are in effect, with what they mean, and end.
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    flags: config::Flags<NameServerOptions>,
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    let Some(options) = super::settings::load(args.config, args.flags, args.print_config)? else {
        return Ok(());
    };
    let server = NameServer::start(options).context("the name server does not start")?;
    println!("name server on {}", server.local_addr());
    super::signal::stop().await?;
    server.shutdown().await;
    Ok(())
}
