//! `trireme broker`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, bail};
use trireme_broker::clock::Clock;
use trireme_broker::config::{BrokerConfig, ReplicaAddr};
use trireme_broker::replica::Broker;

#[derive(clap::Args)]
pub struct Args {
    /// The cluster (brokerClusterName).
    #[arg(long, default_value = "DefaultCluster")]
    cluster: String,
    /// The broker group (brokerName).
    #[arg(long, default_value = "broker-a")]
    group: String,
    /// This replica's number in its group, from 1.
    #[arg(long, default_value_t = 1)]
    node: u64,
    /// A replica of the group: NODE=CLIENT_ADDRESS/PEER_ADDRESS. Give it once per replica, this one included.
    #[arg(long = "replica", required = true)]
    replicas: Vec<String>,
    /// The directory that holds everything this replica knows.
    #[arg(long)]
    store: PathBuf,
    /// Name servers, separated by semicolons.
    #[arg(long, default_value = "127.0.0.1:9876")]
    namesrv: String,
    /// Bytes of a commit log segment.
    #[arg(long, default_value_t = 1 << 30)]
    segment_bytes: u64,
    /// Stop when standard input closes: how `trireme dev` takes its replicas along, however it ends.
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    let stop_with_stdin = args.stop_with_stdin;
    let config = config(args)?;
    let (group, node) = (config.group.clone(), config.node);
    let broker = Broker::start(config, Clock::system(), rand::random())
        .await
        .with_context(|| format!("replica {node} of {group} does not start"))?;
    println!("replica {node} of {group} serves clients on {}", broker.local_addr());
    tokio::select! {
        stop = super::signal::stop() => stop?,
        () = super::signal::stdin_closed(), if stop_with_stdin => {}
        () = broker.stopped() => {
            broker.shutdown().await;
            bail!("replica {node} of {group} stopped by itself; the log above says why");
        }
    }
    broker.shutdown().await;
    Ok(())
}

fn config(args: Args) -> anyhow::Result<BrokerConfig> {
    let mut replicas = BTreeMap::new();
    for text in &args.replicas {
        let (node, addr) = replica(text).with_context(|| format!("--replica {text}"))?;
        replicas.insert(node, addr);
    }
    let Some(own) = replicas.get(&args.node) else {
        bail!("--node is {}, but no --replica is given for it", args.node);
    };
    let peer: SocketAddr = own.peer.parse().with_context(|| format!("peer address {}", own.peer))?;
    Ok(BrokerConfig {
        cluster: args.cluster,
        group: args.group,
        node: args.node,
        listen: own.broker,
        peer_listen: peer,
        replicas,
        store: args.store,
        namesrv: args
            .namesrv
            .split(';')
            .map(|addr| addr.trim().to_owned())
            .filter(|addr| !addr.is_empty())
            .collect(),
        segment_bytes: args.segment_bytes,
        timing: Default::default(),
        auto_create_topic: true,
        auto_create_group: true,
        default_topic_queues: 8,
        max_message_bytes: 4 * 1024 * 1024,
        permission: 6,
        vip_port: false,
        disk_reserve_bytes: 256 * 1024 * 1024,
    })
}

fn replica(text: &str) -> anyhow::Result<(u64, ReplicaAddr)> {
    let (node, addrs) = text.split_once('=').context("expected NODE=CLIENT_ADDRESS/PEER_ADDRESS")?;
    let (broker, peer) = addrs.split_once('/').context("expected CLIENT_ADDRESS/PEER_ADDRESS")?;
    let broker = broker.parse().with_context(|| format!("client address {broker:?} is not IP:PORT"))?;
    Ok((node.parse().context("the node number")?, ReplicaAddr { peer: peer.to_owned(), broker }))
}
