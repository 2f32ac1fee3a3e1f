//! `trireme admin group`.

use trireme_client::{Admin, GroupSpec};

use super::topic::groups;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Create a consumer group, or change it.
    Create(Create),
    /// Delete a consumer group with its offsets, retry and dead-letter topics, in all clusters.
    Delete {
        /// Its name.
        group: String,
    },
}

#[derive(clap::Args)]
pub struct Create {
    /// Its name.
    group: String,
    /// After how many failures a message becomes a dead letter.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(i32).range(0..))]
    max_retries: i32,
    /// Queues of its retry topic at each broker group.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=16_384))]
    retry_queues: i32,
    /// It consumes in order.
    #[arg(long)]
    order: bool,
    /// It may not consume now.
    #[arg(long)]
    disabled: bool,
    /// Only at the broker groups of this cluster.
    #[arg(long)]
    cluster: Option<String>,
}

pub async fn run(command: Command, admin: &Admin) -> anyhow::Result<String> {
    match command {
        Command::Create(Create { group, max_retries, retry_queues, order, disabled, cluster }) => {
            let spec = GroupSpec {
                retry_max_times: max_retries,
                retry_queues,
                consume_enable: !disabled,
                ordered: order,
                ..GroupSpec::new(group.as_str())
            };
            admin.create_group(&spec, cluster.as_deref()).await?;
            let brokers = groups(&admin.cluster_info().await?, cluster.as_deref());
            Ok(format!("group {group} is set up at {}\n", brokers.join(", ")))
        }
        Command::Delete { group } => {
            admin.delete_group(&group).await?;
            Ok(format!("deleted group {group}\n"))
        }
    }
}
