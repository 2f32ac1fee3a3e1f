//! `trireme admin replica`.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep};
use trireme_client::Admin;
use trireme_remoting::body::{BrokerData, GroupReplicas};
use trireme_remoting::headers::{ChangeReplicasRequest, ChangeReplicasResponse};
use trireme_remoting::{Frame, RequestCode, response};

use super::remote::{Remote, refusal};
use crate::cmd::table::Table;

/// A step has this long: a new replica is asked who it is, and the members change.
const ANSWER_WITHIN: Duration = Duration::from_secs(6);
/// Between two questions whether it is done.
const ASK_EVERY: Duration = Duration::from_millis(300);
/// Between two lines about how far a new replica is.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// Elections end within this, and so does who cannot be asked.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(clap::Subcommand)]
pub enum Command {
    /// Which replicas belong to a broker group.
    List {
        /// The broker group.
        group: String,
    },
    /// Add a replica. It must run, with an empty store and with --join; when it has what the others have, it votes.
    Add {
        /// The broker group.
        group: String,
        #[command(flatten)]
        new: New,
    },
    /// Remove a replica. It stops by itself when it hears of it; it never belongs to the group again.
    Remove {
        /// The broker group.
        group: String,
        /// Its number.
        #[arg(long, value_name = "NODE", value_parser = clap::value_parser!(i64).range(1..))]
        node: i64,
    },
    /// Replace a replica, dead or alive, by a new one: first that has everything, then they change places in one step.
    Replace {
        /// The broker group.
        group: String,
        /// The number of the one that goes.
        #[arg(long, value_name = "NODE", value_parser = clap::value_parser!(i64).range(1..))]
        old: i64,
        #[command(flatten)]
        new: New,
    },
}

#[derive(clap::Args)]
pub struct New {
    /// The number of the new replica, which no other has.
    #[arg(long, value_name = "NODE", value_parser = clap::value_parser!(i64).range(1..))]
    node: i64,
    /// Where clients and where peers reach it, as in `replica`: 10.0.0.4:10911/10.0.0.4:10916.
    #[arg(long, value_name = "CLIENTS/PEERS")]
    addr: String,
}

/// What shall be.
struct Wanted {
    group: String,
    add: Option<New>,
    remove: Option<i64>,
}

pub async fn run(command: Command, admin: &Admin) -> anyhow::Result<String> {
    let wanted = match command {
        Command::List { group } => Wanted { group, add: None, remove: None },
        Command::Add { group, new } => Wanted { group, add: Some(new), remove: None },
        Command::Remove { group, node } => Wanted { group, add: None, remove: Some(node) },
        Command::Replace { group, old, new } => Wanted { group, add: Some(new), remove: Some(old) },
    };
    let info = admin.cluster_info().await?;
    let Some(replicas) = info.broker_addr_table.get(&wanted.group) else {
        bail!("no replica of broker group {} is registered with the name server", wanted.group);
    };
    let remote = Remote::new();
    let told = until_done(&remote, replicas, &wanted).await;
    remote.close();
    let mut table = Table::new(["NODE", "ROLE", "CLIENTS", "PEERS"]);
    for replica in told?.replicas {
        table.row([replica.broker_id.to_string(), replica.role, replica.addr, replica.peer_addr]);
    }
    Ok(table.to_string())
}

/// Asks for what shall be until it is. Each time says what shall be as a whole, so whoever leads goes on from where another
/// got to.
async fn until_done(remote: &Remote, group: &BrokerData, wanted: &Wanted) -> anyhow::Result<GroupReplicas> {
    let request = || {
        let header = ChangeReplicasRequest {
            broker_name: Some(&wanted.group),
            add: wanted.add.as_ref().map(|new| new.node),
            add_addr: wanted.add.as_ref().map(|new| &*new.addr),
            remove: wanted.remove,
        };
        Frame::request(RequestCode::ChangeReplicas).with_ext(header.to_ext())
    };
    let mut last_step = Instant::now();
    let mut last_told: Option<Instant> = None;
    loop {
        let unclear = match remote.ask_group_within(ANSWER_WITHIN, group, request).await {
            Ok(answer) if answer.code == response::SUCCESS => {
                last_step = Instant::now();
                let header =
                    ChangeReplicasResponse::from_ext(&answer.ext).context("the answer is not understood")?;
                if header.is_done {
                    return GroupReplicas::decode(answer.body.as_slice())
                        .context("the answer is not understood");
                }
                if last_told.is_none_or(|last| last.elapsed() >= TELL_EVERY) {
                    last_told = Some(Instant::now());
                    tell(wanted, &header);
                }
                None
            }
            Ok(answer) if answer.code == response::INVALID_PARAMETER => bail!("{}", refusal(&answer)),
            // No leader just now, or one that is not heard of: the next one goes on.
            Ok(answer) => Some(refusal(&answer)),
            Err(error) => Some(format!("{error:#}")),
        };
        if let Some(reason) = unclear
            && last_step.elapsed() > PATIENCE
        {
            bail!("{reason}; asking for the same again goes on from there");
        }
        sleep(ASK_EVERY).await;
    }
}

fn tell(wanted: &Wanted, header: &ChangeReplicasResponse) {
    match (&wanted.add, header.learned_bytes, header.log_bytes) {
        (Some(new), Some(has), Some(of)) => {
            let mib = |bytes: i64| bytes as f64 / f64::from(1 << 20);
            eprintln!("replica {} has {:.1} of {:.1} MiB", new.node, mib(has), mib(of));
        }
        _ => eprintln!("the lead is handed over first"),
    }
}
