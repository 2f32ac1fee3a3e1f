//! `trireme admin message`.

use std::fmt::Write as _;

use anyhow::bail;
use trireme_client::{Admin, ReceivedMessage};
use trireme_remoting::message::property;

use crate::cmd::client::{one_line, utc};

/// Messages shown of one key.
const MAX_FOUND: u32 = 32;

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub struct Args {
    /// The broker's id, which says where the message lies; `send` prints it.
    #[arg(long, value_name = "OFFSET_MSG_ID")]
    id: Option<String>,
    /// The producer's id.
    #[arg(long, num_args = 2, value_names = ["TOPIC", "MSG_ID"])]
    msg_id: Option<Vec<String>>,
    /// One of the message's keys; the 32 latest messages with it are shown.
    #[arg(long, num_args = 2, value_names = ["TOPIC", "KEY"])]
    key: Option<Vec<String>>,
}

pub async fn run(args: Args, admin: &Admin) -> anyhow::Result<String> {
    let found = match (args.id, args.msg_id.as_deref(), args.key.as_deref()) {
        (Some(id), ..) => vec![admin.message_by_id(&id).await?],
        (None, Some([topic, id]), _) => admin.query_by_msg_id(topic, id).await?,
        (None, None, Some([topic, key])) => admin.query_by_key(topic, key, MAX_FOUND, 0, i64::MAX).await?,
        _ => unreachable!("clap demands one of them, with two values"),
    };
    if found.is_empty() {
        bail!("there is no such message");
    }
    Ok(found.iter().map(show).collect::<Vec<_>>().join("\n"))
}

fn show(message: &ReceivedMessage) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        writeln!(out, "{name:<14}{value}").expect("writing to a string cannot fail");
    };
    line("topic", message.topic());
    line("queue", &format!("{}:{}", message.queue.broker_name, message.queue.queue_id));
    line("queue offset", &message.queue_offset.to_string());
    line("message id", &message.msg_id());
    line("offset id", &message.offset_msg_id());
    line("stored", &format!("{} at {}", utc(message.store_timestamp), message.store_host));
    line("born", &format!("{} at {}", utc(message.born_timestamp), message.born_host));
    if message.reconsume_times > 0 {
        line("failed", &format!("{} times", message.reconsume_times));
    }
    for (name, value) in message.properties().filter(|(name, _)| *name != property::UNIQ_KEY) {
        line("property", &format!("{}={}", one_line(name.as_bytes()), one_line(value.as_bytes())));
    }
    line("body", &format!("{} B: {}", message.body.len(), one_line(&message.body)));
    out
}
