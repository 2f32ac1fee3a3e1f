//! `trireme admin cluster`.

use std::collections::BTreeMap;

use anyhow::bail;
use trireme_client::Admin;
use trireme_remoting::body::{ClusterInfo, KvTable};
use trireme_remoting::{Frame, RequestCode};

use super::remote::Remote;
use crate::cmd::table::Table;

/// A replica as the name server lists it.
pub struct Listed {
    pub cluster: String,
    pub group: String,
    pub id: i64,
    pub addr: String,
}

pub async fn run(admin: &Admin) -> anyhow::Result<String> {
    let listed = listed(&admin.cluster_info().await?);
    if listed.is_empty() {
        bail!("no broker is registered with the name server");
    }
    let remote = Remote::new();
    let asked = listed.into_iter().map(|replica| {
        let remote = remote.clone();
        tokio::spawn(async move {
            let status = ask(&remote, &replica.addr).await;
            (replica, status)
        })
    });
    // All at once: one that is gone must not hold up the others.
    let asked: Vec<_> = asked.collect();
    let mut table = Table::new([
        "CLUSTER",
        "GROUP",
        "NODE",
        "ADDRESS",
        "ROLE",
        "TERM",
        "LEADER",
        "LAST LOG",
        "COMMITTED",
        "APPLIED",
        "VERSION",
    ]);
    for task in asked {
        let (replica, status) = task.await?;
        table.row(row(replica, status));
    }
    remote.close();
    Ok(table.to_string())
}

/// All replicas, by cluster, group and id.
pub fn listed(info: &ClusterInfo) -> Vec<Listed> {
    let mut found = Vec::new();
    for (cluster, groups) in &info.cluster_addr_table {
        for group in groups {
            let addrs = info.broker_addr_table.get(group).map(|broker| &broker.broker_addrs);
            found.extend(addrs.into_iter().flatten().map(|(id, addr)| Listed {
                cluster: cluster.clone(),
                group: group.clone(),
                id: *id,
                addr: addr.clone(),
            }));
        }
    }
    found
}

/// Request code 28. Errors: why there is no answer, in words.
async fn ask(remote: &Remote, addr: &str) -> Result<BTreeMap<String, String>, String> {
    let answer = remote.ask(addr, Frame::request(RequestCode::GetBrokerRuntimeInfo)).await?;
    let table = KvTable::decode(answer.body.as_slice()).map_err(|error| error.to_string())?;
    Ok(table.table)
}

fn row(replica: Listed, status: Result<BTreeMap<String, String>, String>) -> [String; 11] {
    let Listed { cluster, group, id, addr } = replica;
    let status = match status {
        Ok(status) => status,
        Err(reason) => {
            let mut cells = std::array::from_fn(|_| "-".to_owned());
            [cells[0], cells[1], cells[3], cells[4], cells[10]] =
                [cluster, group, addr, "no answer".to_owned(), reason];
            return cells;
        }
    };
    let value = |key: &str| status.get(key).cloned().unwrap_or_else(|| "-".to_owned());
    // A broker of RocketMQ's own has no Raft; its id tells its role.
    let role = match (status.get("raftRole"), status.get("raftReady").map(String::as_str)) {
        (Some(role), Some("false")) if role == "leader" => "leader, not ready".to_owned(),
        (Some(role), _) => role.clone(),
        (None, _) if id == 0 => "master".to_owned(),
        (None, _) => "slave".to_owned(),
    };
    [
        cluster,
        group,
        value("raftNode"),
        addr,
        role,
        value("raftTerm"),
        value("raftLeader"),
        value("raftLastLog"),
        value("raftCommitted"),
        value("raftApplied"),
        value("brokerVersionDesc"),
    ]
}
