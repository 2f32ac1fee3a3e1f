//! `trireme send`.

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use trireme_client::{Message, Producer, ProducerConfig, SendStatus};

use super::client::{Cluster, Printed, print};

/// The producer group that brokers see.
const GROUP: &str = "trireme-send";

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: Cluster,
    /// The topic.
    #[arg(long)]
    topic: String,
    /// The messages' tag.
    #[arg(long)]
    tag: Option<String>,
    /// A key of the messages; may be repeated.
    #[arg(long = "key")]
    keys: Vec<String>,
    /// A property of the messages; may be repeated.
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
    /// Deliver later: 1 is 1 s, 18 is 2 h.
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(1..=18))]
    delay: Option<u8>,
    /// Send every message so many times.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// The body. Without it every line of standard input that is not empty is one.
    body: Option<String>,
}

fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    let client = args.cluster.client()?;
    let producer = client.producer(ProducerConfig::new(GROUP))?;
    let mut sender = Sending { args, producer: producer.clone(), sent: 0 };
    let outcome = sender.run().await;
    producer.shutdown().await;
    client.shutdown();
    match sender.sent {
        0 => outcome,
        sent => outcome.with_context(|| format!("after {sent} messages that were sent")),
    }
}

struct Sending {
    args: Args,
    producer: Producer,
    sent: u64,
}

impl Sending {
    async fn run(&mut self) -> anyhow::Result<()> {
        if let Some(body) = self.args.body.take() {
            return self.send(body.into_bytes()).await.map(drop);
        }
        let mut lines = BufReader::new(tokio::io::stdin()).split(b'\n');
        while let Some(mut line) = lines.next_segment().await.context("cannot read standard input")? {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            if !line.is_empty() && self.send(line).await? == Printed::NobodyReads {
                break;
            }
        }
        Ok(())
    }

    /// Sends a message as often as was asked for, one after the other: each is acknowledged before the next.
    async fn send(&mut self, body: Vec<u8>) -> anyhow::Result<Printed> {
        let message = self.message(body);
        for _ in 0..self.args.count {
            let result = self.producer.send(message.clone()).await?;
            if result.status != SendStatus::Ok {
                bail!(
                    "{} was stored at {} {}, but {:?}",
                    result.msg_id,
                    result.queue,
                    result.queue_offset,
                    result.status
                );
            }
            self.sent += 1;
            let (queue, offset) = (&result.queue, result.queue_offset);
            let ids = (&result.msg_id, &result.offset_msg_id);
            let printed = print(|out| writeln!(out, "{queue}\t{offset}\t{}\t{}", ids.0, ids.1))?;
            if printed == Printed::NobodyReads {
                return Ok(printed);
            }
        }
        Ok(Printed::Yes)
    }

    fn message(&self, body: Vec<u8>) -> Message {
        let Args { topic, tag, keys, properties, delay, .. } = &self.args;
        let mut message = Message::new(topic.as_str(), body);
        if let Some(tag) = tag {
            message = message.with_tag(tag);
        }
        if !keys.is_empty() {
            message = message.with_keys(keys);
        }
        if let Some(level) = delay {
            message = message.with_delay_level(*level);
        }
        properties.iter().fold(message, |message, (name, value)| message.with_property(name, value))
    }
}
