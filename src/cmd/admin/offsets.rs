//! `trireme admin offsets`.

use anyhow::{Context, bail};
use trireme_client::Admin;
use trireme_remoting::body::BrokerData;
use trireme_remoting::headers::{
    GetMaxOffsetRequest, OffsetResponse, QueryConsumerOffsetRequest, QueueRequest,
};
use trireme_remoting::{ExtFields, Frame, RequestCode, response};

use super::remote::{Remote, refusal};
use crate::cmd::table::Table;

#[derive(clap::Args)]
pub struct Args {
    /// The consumer group.
    group: String,
    /// The topic.
    topic: String,
}

pub async fn run(Args { group, topic }: Args, admin: &Admin) -> anyhow::Result<String> {
    let Some(route) = admin.topic_route(&topic).await? else { bail!("topic {topic} does not exist") };
    let remote = Remote::new();
    let mut table = Table::new(["BROKER GROUP", "QUEUE", "FIRST", "COMMITTED", "END", "LAG"]);
    let mut total_lag = None;
    for queues in &route.queue_datas {
        let Some(broker) = route.broker_datas.iter().find(|broker| broker.broker_name == queues.broker_name)
        else {
            continue;
        };
        for queue_id in 0..queues.read_queue_nums {
            let queue = Queue { remote: &remote, broker, topic: &topic, queue_id };
            let (first, end) = (queue.first().await?, queue.end().await?);
            let committed = queue.committed(&group).await?;
            // What was trimmed waits for nobody.
            let lag = committed.map(|committed| end.saturating_sub(committed.max(first)).max(0));
            total_lag = lag.map_or(total_lag, |lag| Some(total_lag.unwrap_or(0) + lag));
            let or_dash = |offset: Option<i64>| offset.map_or("-".to_owned(), |offset| offset.to_string());
            table.row([
                queues.broker_name.clone(),
                queue_id.to_string(),
                first.to_string(),
                or_dash(committed),
                end.to_string(),
                or_dash(lag),
            ]);
        }
    }
    remote.close();
    match total_lag {
        Some(lag) => Ok(format!("{table}{lag} messages of {topic} wait for {group}\n")),
        None => bail!("group {group} has committed nothing in topic {topic}"),
    }
}

/// A queue whose offsets are asked for.
struct Queue<'a> {
    remote: &'a Remote,
    broker: &'a BrokerData,
    topic: &'a str,
    queue_id: i32,
}

impl Queue<'_> {
    async fn first(&self) -> anyhow::Result<i64> {
        let header = QueueRequest { topic: self.topic, queue_id: self.queue_id };
        self.ask(RequestCode::GetMinOffset, header.to_ext()).await?.context("the queue has no first offset")
    }

    /// Exclusive.
    async fn end(&self) -> anyhow::Result<i64> {
        let header = GetMaxOffsetRequest { topic: self.topic, queue_id: self.queue_id, committed: None };
        self.ask(RequestCode::GetMaxOffset, header.to_ext()).await?.context("the queue has no end")
    }

    /// What the group consumes next, if it ever committed anything.
    async fn committed(&self, group: &str) -> anyhow::Result<Option<i64>> {
        let header = QueryConsumerOffsetRequest {
            consumer_group: group,
            topic: self.topic,
            queue_id: self.queue_id,
            set_zero_if_not_found: Some(false),
        };
        self.ask(RequestCode::QueryConsumerOffset, header.to_ext()).await
    }

    async fn ask(&self, code: RequestCode, ext: ExtFields) -> anyhow::Result<Option<i64>> {
        let request = || Frame::request(code).with_ext(ext.clone());
        let answer = self.remote.ask_group(self.broker, request).await?;
        let (name, queue_id) = (&self.broker.broker_name, self.queue_id);
        match answer.code {
            response::SUCCESS => Ok(Some(OffsetResponse::from_ext(&answer.ext)?.offset)),
            response::QUERY_NOT_FOUND => Ok(None),
            _ => bail!("{} of queue {queue_id} refused by {name}: {}", code.name(), refusal(&answer)),
        }
    }
}
