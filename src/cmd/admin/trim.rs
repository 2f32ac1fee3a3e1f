//! `trireme admin trim`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use trireme_client::Admin;
use trireme_remoting::headers::{TrimRequest, TrimResponse};
use trireme_remoting::{Frame, RequestCode};

use super::cluster::{Listed, listed};
use super::remote::Remote;
use crate::cmd::table::Table;
use crate::config::{Kind, sized};

/// A replica may have to wait until a follower has what is on its way to it.
const ANSWER_WITHIN: Duration = Duration::from_secs(40);

/// Whole segments go, so somewhat more may be kept; what is delayed and not delivered yet is kept as well.
#[derive(clap::Args)]
pub struct Args {
    /// The broker group.
    group: String,
    /// Messages that are older than so many hours go.
    #[arg(long, value_name = "HOURS", required_unless_present = "keep_bytes")]
    older_than_hours: Option<u32>,
    /// All goes but the last so many bytes of the log; also with a unit, as in 10GiB.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    keep_bytes: Option<i64>,
}

fn bytes(text: &str) -> Result<i64, String> {
    let kind = Kind::Bytes { min: 0, max: i64::MAX.unsigned_abs(), multiple_of: 1 };
    Ok(kind.read(text)?.number().cast_signed())
}

pub async fn run(
    Args { group, older_than_hours, keep_bytes }: Args,
    admin: &Admin,
) -> anyhow::Result<String> {
    let mut replicas = listed(&admin.cluster_info().await?);
    replicas.retain(|replica| replica.group == group);
    if replicas.is_empty() {
        bail!("no replica of broker group {group} is registered with the name server");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
    let hours = |hours: u32| Duration::from_secs(60 * 60 * u64::from(hours));
    let before = older_than_hours.map(|age| now.saturating_sub(hours(age)).as_millis());
    let request = TrimRequest { before_timestamp: before.map(i64::try_from).transpose()?, keep_bytes };
    let remote = Remote::new();
    let asked: Vec<_> = replicas
        .into_iter()
        .map(|replica| {
            let (remote, request) = (remote.clone(), request.clone());
            tokio::spawn(async move {
                let answer = ask(&remote, &replica, &request).await;
                (replica, answer)
            })
        })
        .collect();
    let mut table = Table::new(["ADDRESS", "LOG STARTED AT", "STARTS AT", "FREED", "NOT MORE BECAUSE"]);
    let mut failed = false;
    for task in asked {
        let (replica, answer) = task.await?;
        failed |= answer.is_err();
        table.row(match answer {
            Ok(trimmed) => {
                let freed = trimmed.starts_at.saturating_sub(trimmed.started_at).unsigned_abs();
                let held = match trimmed.held_by {
                    Some(at) => format!("the delayed message at {at} is not delivered yet"),
                    None => "-".to_owned(),
                };
                let [from, to] = [trimmed.started_at, trimmed.starts_at].map(|offset| offset.to_string());
                [replica.addr, from, to, sized(freed), held]
            }
            Err(reason) => {
                let unknown = || "-".to_owned();
                [replica.addr, unknown(), unknown(), unknown(), reason]
            }
        });
    }
    remote.close();
    if failed {
        bail!("not every replica of {group} has trimmed its log\n{table}");
    }
    Ok(table.to_string())
}

async fn ask(remote: &Remote, replica: &Listed, request: &TrimRequest) -> Result<TrimResponse, String> {
    let request = Frame::request(RequestCode::DeleteExpiredCommitLog).with_ext(request.to_ext());
    let answer = remote.ask_within(ANSWER_WITHIN, &replica.addr, request).await?;
    TrimResponse::from_ext(&answer.ext).map_err(|error| error.to_string())
}
