//! `trireme admin`: topics, groups, how the cluster is, and room on its disks.

mod cluster;
mod group;
mod message;
mod offsets;
mod remote;
mod replica;
mod topic;
mod transfer;
mod trim;

use clap::Subcommand;

use super::client::{Cluster, print};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: Cluster,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create, change, delete, list topics; show where one is.
    #[command(subcommand)]
    Topic(topic::Command),
    /// Create, change, delete consumer groups.
    #[command(subcommand)]
    Group(group::Command),
    /// Clusters, broker groups and their replicas: who leads, how far each is.
    Cluster,
    /// How far a consumer group is in a topic.
    Offsets(offsets::Args),
    /// Let another replica lead a broker group.
    Transfer(transfer::Args),
    /// Which replicas belong to a broker group; add, remove and replace them, while it works.
    #[command(subcommand)]
    Replica(replica::Command),
    /// Make room by hand: the oldest messages of a broker group go, at every replica.
    Trim(trim::Args),
    /// A single message, by where it lies or by its key.
    Message(message::Args),
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    let client = args.cluster.client()?;
    let admin = client.admin();
    let text = match args.command {
        Command::Topic(command) => topic::run(command, &admin).await,
        Command::Group(command) => group::run(command, &admin).await,
        Command::Cluster => cluster::run(&admin).await,
        Command::Offsets(args) => offsets::run(args, &admin).await,
        Command::Transfer(args) => transfer::run(args, &admin).await,
        Command::Replica(command) => replica::run(command, &admin).await,
        Command::Trim(args) => trim::run(args, &admin).await,
        Command::Message(args) => message::run(args, &admin).await,
    };
    client.shutdown();
    let text = text?;
    print(|out| out.write_all(text.as_bytes())).map(drop)
}
