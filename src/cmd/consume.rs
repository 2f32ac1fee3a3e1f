//! `trireme consume`.

use std::time::Duration;

use clap::ValueEnum;
use tokio::sync::{mpsc, oneshot};
use trireme_client::{
    ConsumeFrom, MessageBatch, OrderOutcome, OrderedListener, PushConsumerConfig, ReceivedMessage,
};

use super::client::{Cluster, Printed, one_line, print};

/// Longer than a shutdown takes.
const FOR_GOOD: Duration = Duration::from_secs(3600);

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    cluster: Cluster,
    /// The topic.
    #[arg(long)]
    topic: String,
    /// The consumer group. What is printed is consumed for the whole group.
    #[arg(long)]
    group: String,
    /// Where a group starts that has consumed nothing of the topic yet.
    #[arg(long, value_enum, default_value_t = From::Last)]
    from: From,
    /// The tags wanted: `*`, or `a || b`.
    #[arg(long, default_value = "*")]
    tag: String,
    /// End after so many messages; without it, when interrupted.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum From {
    /// At the first message that is still there.
    First,
    /// With what is sent from now on.
    Last,
}

/// A message, and whom to tell that it was printed.
type Arrived = (MessageBatch, oneshot::Sender<()>);

pub async fn run(args: Args) -> anyhow::Result<()> {
    let client = args.cluster.client()?;
    let config = PushConsumerConfig {
        consume_from: match args.from {
            From::First => ConsumeFrom::First,
            From::Last => ConsumeFrom::Last,
        },
        concurrency: 1,
        ..PushConsumerConfig::new(args.group).subscribe(args.topic, args.tag)
    };
    let (arrived, mut messages) = mpsc::channel(1);
    // In order, since a message that is not printed any more can then stay where it is: given back, it would
    // count as a failure and come late.
    let consumer = client.consume_ordered(config, listener(arrived)).await?;
    let outcome = tokio::select! {
        outcome = print_all(&mut messages, args.count) => outcome,
        stop = super::signal::stop() => stop,
    };
    drop(messages);
    consumer.shutdown().await;
    client.shutdown();
    outcome
}

/// Hands messages over, and commits what was printed.
fn listener(arrived: mpsc::Sender<Arrived>) -> impl OrderedListener {
    move |batch: MessageBatch| {
        let arrived = arrived.clone();
        async move {
            let (printed, is_printed) = oneshot::channel();
            // Either fails once nothing is printed any more. The first gives back what it could not send, and
            // with it the sender that the second would wait for.
            let taken = arrived.send((batch, printed)).await.is_ok();
            if taken && is_printed.await.is_ok() {
                OrderOutcome::Commit
            } else {
                OrderOutcome::Suspend(FOR_GOOD)
            }
        }
    }
}

async fn print_all(messages: &mut mpsc::Receiver<Arrived>, count: Option<u64>) -> anyhow::Result<()> {
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0
        && let Some((batch, printed)) = messages.recv().await
    {
        // Of one message each: the configuration's default.
        for message in batch.iter() {
            if print(|out| writeln!(out, "{}", line(message)))? == Printed::NobodyReads {
                return Ok(());
            }
        }
        left = left.saturating_sub(batch.len() as u64);
        // The listener is gone if it took too long; then the message comes again.
        let _ = printed.send(());
    }
    Ok(())
}

/// Queue, offset, tag, keys and body, separated by tabs.
fn line(message: &ReceivedMessage) -> String {
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { one_line(text.as_bytes()) };
    let keys = message.keys().collect::<Vec<_>>().join(" ");
    let (tag, body) = (or_dash(message.tag().unwrap_or_default()), one_line(&message.body));
    format!("{}\t{}\t{tag}\t{}\t{body}", message.queue, message.queue_offset, or_dash(&keys))
}
