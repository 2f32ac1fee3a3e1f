//! The topic that is measured with.

use std::time::{Duration, Instant};

use anyhow::bail;
use trireme_client::{Admin, TopicSpec};

/// A topic that was made is known to the name server by then.
const KNOWN_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A topic that is there.
pub struct Topic {
    pub name: String,
    /// Queues that can be read, over all broker groups.
    pub queues: usize,
    /// It was made for this run.
    pub ours: bool,
}

/// Finds the topic, or makes it with `queues` queues at every broker group.
pub async fn prepare(admin: &Admin, name: Option<&str>, fresh: String, queues: u16) -> anyhow::Result<Topic> {
    if let Some(name) = name
        && let Some(found) = readable(admin, name).await?
    {
        return Ok(Topic { name: name.to_owned(), queues: found.queues, ours: false });
    }
    let (ours, name) = (name.is_none(), name.map_or(fresh, str::to_owned));
    let groups = admin.cluster_info().await?.broker_addr_table.len();
    if groups == 0 {
        bail!("the name server knows no broker");
    }
    let spec = TopicSpec {
        read_queues: queues.into(),
        write_queues: queues.into(),
        ..TopicSpec::new(name.as_str())
    };
    admin.create_topic(&spec, None).await?;
    let deadline = Instant::now() + KNOWN_WITHIN;
    loop {
        if let Some(found) = readable(admin, &name).await?
            && found.groups == groups
        {
            return Ok(Topic { name, queues: found.queues, ours });
        }
        if deadline < Instant::now() {
            bail!("after {KNOWN_WITHIN:?} the name server does not know topic {name} of all broker groups");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

struct Found {
    groups: usize,
    queues: usize,
}

async fn readable(admin: &Admin, topic: &str) -> anyhow::Result<Option<Found>> {
    Ok(admin.topic_route(topic).await?.map(|route| Found {
        groups: route.queue_datas.len(),
        queues: route.queue_datas.iter().map(|data| usize::try_from(data.read_queue_nums).unwrap_or(0)).sum(),
    }))
}
