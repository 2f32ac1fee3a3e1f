//! `trireme broker`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use trireme_broker::clock::Clock;
use trireme_broker::config::BrokerConfig;
use trireme_broker::replica::Broker;

use crate::config;

#[derive(clap::Args)]
pub struct Args {
    /// A file of settings: TOML, or RocketMQ's properties if its name ends with .conf or .properties. The variable
    /// TRIREME_CONFIG may name it as well.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the settings as they are in effect, with what they mean, and end.
    #[arg(long)]
    print_config: bool,
    /// Stop when standard input closes: how `trireme dev` takes its replicas along, however it ends.
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
    #[command(flatten)]
    flags: config::Flags<BrokerConfig>,
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    let Some(config) = super::settings::load(args.config, args.flags, args.print_config)? else {
        return Ok(());
    };
    let (group, node) = (config.group.clone(), config.node);
    let broker = Broker::start(config, Clock::system(), rand::random())
        .await
        .with_context(|| format!("replica {node} of {group} does not start"))?;
    println!("replica {node} of {group} serves clients on {}", broker.local_addr());
    tokio::select! {
        stop = super::signal::stop() => stop?,
        () = super::signal::stdin_closed(), if args.stop_with_stdin => {}
        () = broker.stopped() => {
            broker.shutdown().await;
            bail!("replica {node} of {group} stopped by itself; the log above says why");
        }
    }
    broker.shutdown().await;
    Ok(())
}
