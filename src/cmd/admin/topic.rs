//! `trireme admin topic`.

use std::collections::BTreeSet;

use anyhow::bail;
use clap::ValueEnum;
use trireme_broker::names;
use trireme_client::{Admin, TopicSpec};
use trireme_remoting::body::{ClusterInfo, PERM_READ, PERM_WRITE};

use crate::cmd::table::Table;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Create a topic, or change it.
    Create(Create),
    /// Delete a topic with all its messages, in all clusters.
    Delete {
        /// Its name.
        topic: String,
    },
    /// List the topics.
    List {
        /// Also those that brokers make for themselves: retry, dead letters, templates.
        #[arg(long)]
        all: bool,
    },
    /// Show which broker groups have a topic, with how many queues, and where they are.
    Route {
        /// Its name.
        topic: String,
    },
}

#[derive(clap::Args)]
pub struct Create {
    /// Its name.
    topic: String,
    /// Queues at each broker group.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(i32).range(1..=16_384))]
    queues: i32,
    /// What clients may do with it.
    #[arg(long, value_enum, default_value_t = Permission::Both)]
    perm: Permission,
    /// Mark it as a topic of ordered messages.
    #[arg(long)]
    order: bool,
    /// Only at the broker groups of this cluster.
    #[arg(long)]
    cluster: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Permission {
    /// Receive.
    #[value(name = "r")]
    Read,
    /// Send.
    #[value(name = "w")]
    Write,
    /// Both.
    #[value(name = "rw")]
    Both,
}

pub async fn run(command: Command, admin: &Admin) -> anyhow::Result<String> {
    match command {
        Command::Create(args) => create(args, admin).await,
        Command::Delete { topic } => delete(&topic, admin).await,
        Command::List { all } => list(all, admin).await,
        Command::Route { topic } => route(&topic, admin).await,
    }
}

async fn create(args: Create, admin: &Admin) -> anyhow::Result<String> {
    let Create { topic, queues, perm, order, cluster } = args;
    let perm = match perm {
        Permission::Read => PERM_READ,
        Permission::Write => PERM_WRITE,
        Permission::Both => PERM_READ | PERM_WRITE,
    };
    let done = if admin.topic_route(&topic).await?.is_some() { "changed" } else { "created" };
    let spec = TopicSpec {
        read_queues: queues,
        write_queues: queues,
        perm,
        order,
        ..TopicSpec::new(topic.as_str())
    };
    admin.create_topic(&spec, cluster.as_deref()).await?;
    let groups = groups(&admin.cluster_info().await?, cluster.as_deref());
    Ok(format!("{done} topic {topic}: {queues} queues at {}\n", groups.join(", ")))
}

async fn delete(topic: &str, admin: &Admin) -> anyhow::Result<String> {
    if admin.topic_route(topic).await?.is_none() {
        bail!("topic {topic} does not exist");
    }
    admin.delete_topic(topic).await?;
    Ok(format!("deleted topic {topic}\n"))
}

async fn list(all: bool, admin: &Admin) -> anyhow::Result<String> {
    let info = admin.cluster_info().await?;
    let topics: BTreeSet<String> = admin.topics().await?.into_iter().collect();
    let lines = topics.iter().filter(|topic| all || !is_own(topic, &info)).map(|topic| format!("{topic}\n"));
    Ok(lines.collect())
}

/// Whether brokers made the topic for themselves.
fn is_own(topic: &str, info: &ClusterInfo) -> bool {
    topic.starts_with(names::RETRY_PREFIX)
        || topic.starts_with(names::DLQ_PREFIX)
        || info
            .cluster_addr_table
            .iter()
            .any(|(cluster, groups)| groups.iter().any(|group| names::is_system_topic(topic, cluster, group)))
}

async fn route(topic: &str, admin: &Admin) -> anyhow::Result<String> {
    let Some(route) = admin.topic_route(topic).await? else { bail!("topic {topic} does not exist") };
    let mut table = Table::new(["BROKER GROUP", "READ QUEUES", "WRITE QUEUES", "PERM", "MASTER", "OTHERS"]);
    for queues in &route.queue_datas {
        let addrs = route.broker_datas.iter().find(|broker| broker.broker_name == queues.broker_name);
        let (master, others): (Vec<_>, Vec<_>) =
            addrs.into_iter().flat_map(|broker| &broker.broker_addrs).partition(|(id, _)| **id == 0);
        let shown = |addrs: Vec<(&i64, &String)>| match addrs.as_slice() {
            [] => "-".to_owned(),
            addrs => addrs.iter().map(|(_, addr)| addr.as_str()).collect::<Vec<_>>().join(" "),
        };
        table.row([
            queues.broker_name.clone(),
            queues.read_queue_nums.to_string(),
            queues.write_queue_nums.to_string(),
            permission(queues.perm),
            shown(master),
            shown(others),
        ]);
    }
    Ok(table.to_string())
}

fn permission(perm: i32) -> String {
    let letters = [(PERM_READ, 'r'), (PERM_WRITE, 'w')].into_iter().filter(|(bit, _)| perm & bit != 0);
    let letters: String = letters.map(|(_, letter)| letter).collect();
    if letters.is_empty() { "-".to_owned() } else { letters }
}

/// The broker groups of a cluster, or all.
pub fn groups(info: &ClusterInfo, cluster: Option<&str>) -> Vec<String> {
    let chosen = info.cluster_addr_table.iter().filter(|(name, _)| cluster.is_none_or(|only| only == *name));
    let groups: BTreeSet<&String> = chosen.flat_map(|(_, groups)| groups).collect();
    groups.into_iter().cloned().collect()
}
