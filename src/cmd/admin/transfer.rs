//! `trireme admin transfer`.

use anyhow::{Context, bail};
use trireme_client::Admin;
use trireme_remoting::headers::{ElectMasterRequest, ElectMasterResponse};
use trireme_remoting::{Frame, RequestCode, response};

use super::remote::{Remote, refusal};

#[derive(clap::Args)]
pub struct Args {
    /// The broker group.
    group: String,
    /// The number of the replica that shall lead it.
    #[arg(long, value_name = "NODE", value_parser = clap::value_parser!(i64).range(1..))]
    to: i64,
}

pub async fn run(Args { group, to }: Args, admin: &Admin) -> anyhow::Result<String> {
    let info = admin.cluster_info().await?;
    let Some(replicas) = info.broker_addr_table.get(&group) else {
        bail!("no replica of broker group {group} is registered with the name server");
    };
    let request = || {
        let header =
            ElectMasterRequest { broker_name: Some(&group), broker_id: Some(to), ..Default::default() };
        Frame::request(RequestCode::ControllerElectMaster).with_ext(header.to_ext())
    };
    let remote = Remote::new();
    let answer = remote.ask_group(replicas, request).await;
    remote.close();
    let answer = answer?;
    if answer.code != response::SUCCESS {
        bail!("{}", refusal(&answer));
    }
    let header = ElectMasterResponse::from_ext(&answer.ext).context("the answer is not understood")?;
    let term = header.master_epoch.unwrap_or_default();
    Ok(format!("replica {to} leads {group}, at {}, in term {term}\n", header.master_address.unwrap_or("-")))
}
