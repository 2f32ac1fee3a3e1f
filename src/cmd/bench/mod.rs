//! `trireme bench`: how many messages a cluster takes, how long each one waits, and whether all of them arrive.
//!
//! Works against Trireme and Apache RocketMQ alike. Every body has a number and a checksum: consumers check each message,
//! and at the end whatever was acknowledged must have been received.

mod body;
mod consumers;
mod errors;
mod meter;
mod pace;
mod producers;
mod report;
mod sequences;
mod topic;

use std::fmt::Display;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::task::JoinSet;
use trireme_client::{Client, ClientConfig, ConsumeFrom, ProducerConfig, PushConsumer, SerializeType};

use consumers::{Consuming, Receipts};
use meter::{Meter, Window};
use pace::Pace;
use producers::{Load, Sending};
use report::{Phase, Received, Second, Summary};
use sequences::Sequences;
use topic::Topic;

/// The largest body: RocketMQ's `maxMessageSize`.
const MAX_BYTES: u64 = 4 << 20;

#[derive(clap::Args)]
pub struct Args {
    /// Name servers, separated by semicolons.
    #[arg(long, default_value = "127.0.0.1:9876")]
    namesrv: String,
    /// The topic; made if it is not there. Without a name one is made for this run, and deleted when it ends.
    #[arg(long)]
    topic: Option<String>,
    /// Queues at each broker group, of a topic that is made.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=16_384))]
    queues: u16,
    /// Producers. None: only read what is in the topic, from its beginning.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    producers: u32,
    /// Sends under way at each producer.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    in_flight: u32,
    /// Connections to each broker that the producers share.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Bytes of a body.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(body::MIN_BYTES as u64..=MAX_BYTES))]
    size: u64,
    /// Messages of a send; more than one goes as RocketMQ's batch message.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// Consumers, each with a connection of its own, all of one group.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1000))]
    consumers: u32,
    /// Messages that a consumer asks for at once.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pull_batch: u32,
    /// Messages per second, over all producers. Latencies then count from when a send should have begun. Without it, as
    /// many as there is room for.
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
    /// How long to measure.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// How long to send before that.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=3600))]
    warmup: u64,
    /// How long a send is tried, in milliseconds.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    send_timeout: u64,
    /// Headers in JSON, as most clients write them, instead of RocketMQ's binary notation.
    #[arg(long)]
    json_headers: bool,
    /// One JSON object per line: one for each second, then the summary.
    #[arg(long)]
    json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.001..=1e8).contains(&rate) => Ok(rate),
        _ => Err("expected messages per second, more than none".to_owned()),
    }
}

/// Runs the benchmark. Errors: it could not be run, nothing was acknowledged, or messages were lost or damaged.
pub async fn run(args: Args) -> anyhow::Result<()> {
    ensure!(args.producers + args.consumers > 0, "neither producers nor consumers");
    ensure!(args.producers > 0 || args.topic.is_some(), "without producers, --topic must say what to read");
    let bench = Bench::prepare(&args).await?;
    let measured = tokio::select! {
        measured = bench.measure() => measured,
        stop = super::signal::stop() => stop.and_then(|()| Err(anyhow!("interrupted"))),
    };
    bench.clean_up().await;
    let summary = measured?;
    bench.put(&summary)?;
    if args.producers > 0 && summary.send.messages == 0 {
        bail!("no message was acknowledged");
    }
    match &summary.received {
        Some(received) if received.lost + received.damaged > 0 => {
            bail!("{} messages were lost and {} damaged", received.lost, received.damaged)
        }
        _ => Ok(()),
    }
}

/// A run: what was prepared for it.
struct Bench<'a> {
    args: &'a Args,
    run: u64,
    topic: Topic,
    group: String,
    /// For administration, and the producers' connections.
    clients: Vec<Client>,
    /// Each with one consumer.
    readers: Vec<Client>,
}

impl<'a> Bench<'a> {
    async fn prepare(args: &'a Args) -> anyhow::Result<Self> {
        let run: u64 = rand::random();
        let client = || {
            let serialize = if args.json_headers { SerializeType::Json } else { SerializeType::RocketMq };
            Client::new(ClientConfig { serialize, ..ClientConfig::new(&args.namesrv) })
        };
        let clients: Vec<_> = (0..args.connections).map(|_| client()).collect::<Result<_, _>>()?;
        let readers: Vec<_> = (0..args.consumers).map(|_| client()).collect::<Result<_, _>>()?;
        let admin = clients[0].admin();
        let topic = topic::prepare(&admin, args.topic.as_deref(), format!("bench-{run:016x}"), args.queues)
            .await
            .context("the topic")?;
        Ok(Self { args, run, topic, group: format!("bench-{run:016x}"), clients, readers })
    }

    async fn measure(&self) -> anyhow::Result<Summary> {
        let args = self.args;
        let load_begin = load_average();
        // What times in bodies count from. The run itself begins when the consumers are ready.
        let epoch = Instant::now();
        let receipts =
            Arc::new(Receipts::new((args.producers > 0).then_some(self.run), epoch, args.producers));
        let consumers = self.consumers(&receipts).await?;
        let begins = Instant::now();
        let measured = begins + Duration::from_secs(args.warmup);
        let window = Window { begins: measured, ends: measured + Duration::from_secs(args.seconds) };
        receipts.meter.measure(window);
        let load = Arc::new(Load {
            run: self.run,
            epoch,
            topic: self.topic.name.as_str().into(),
            batch: args.batch,
            bodies: body::Maker::new(args.size as usize),
            body_bytes: args.size,
            meter: Meter::new(),
        });
        load.meter.measure(window);
        let mut sending = self.sending(&load, begins, window)?;
        let lost = {
            let work = async {
                sending.finish(window).await?;
                anyhow::Ok(if consumers.is_empty() {
                    0
                } else {
                    consumers::drain(&receipts, &sending.acknowledged).await
                })
            };
            self.report_seconds(work, begins, window, &load.meter, &receipts.meter).await?
        };
        for consumer in &consumers {
            consumer.shutdown().await;
        }
        let received = (!consumers.is_empty()).then(|| Received {
            end_to_end: receipts.meter.total(),
            messages: receipts.received.load(Ordering::Relaxed),
            twice: receipts.twice.load(Ordering::Relaxed),
            damaged: receipts.damaged.load(Ordering::Relaxed),
            foreign: receipts.foreign.load(Ordering::Relaxed),
            lost,
        });
        Ok(Summary {
            namesrv: args.namesrv.clone(),
            topic: self.topic.name.clone(),
            queues: self.topic.queues,
            producers: args.producers,
            in_flight: args.in_flight,
            connections: args.connections,
            consumers: args.consumers,
            size: args.size,
            batch: args.batch,
            rate: args.rate,
            json_headers: args.json_headers,
            seconds: args.seconds as f64,
            send: load.meter.total(),
            late: sending.paces.iter().map(Pace::late).sum(),
            received,
            load_begin,
            load_end: load_average(),
        })
    }

    async fn consumers(&self, receipts: &Arc<Receipts>) -> anyhow::Result<Vec<PushConsumer>> {
        if self.readers.is_empty() {
            return Ok(Vec::new());
        }
        // In somebody else's topic only what this run sends matters.
        let all = self.topic.ours || self.args.producers == 0;
        let consuming = Consuming {
            topic: &self.topic.name,
            group: &self.group,
            from: if all { ConsumeFrom::First } else { ConsumeFrom::Last },
            pull_batch: self.args.pull_batch as usize,
        };
        consumers::start(&self.readers, &consuming, self.topic.queues, receipts).await
    }

    /// Starts the producers.
    fn sending(&self, load: &Arc<Load>, begins: Instant, window: Window) -> anyhow::Result<Producers> {
        let args = self.args;
        let config = ProducerConfig {
            send_timeout: Duration::from_millis(args.send_timeout),
            ..ProducerConfig::new(self.group.as_str())
        };
        let shared = self.clients.iter().map(|client| client.producer(config.clone()));
        let shared = shared.collect::<Result<Vec<_>, _>>()?;
        let mut producers =
            Producers { tasks: JoinSet::new(), paces: Vec::new(), acknowledged: Vec::new(), shared };
        for number in 0..args.producers {
            let pace = match args.rate {
                Some(rate) => {
                    let sends = rate / f64::from(args.batch) / f64::from(args.producers);
                    Pace::rate(begins, window.ends, Duration::from_secs_f64(1.0 / sends))
                }
                None => Pace::Room { ends: window.ends },
            };
            let acknowledged = Arc::default();
            producers.paces.push(pace.clone());
            producers.acknowledged.push(Arc::clone(&acknowledged));
            let producer = producers.shared[number as usize % producers.shared.len()].clone();
            let load = load.clone();
            let lanes = args.in_flight;
            producers.tasks.spawn(Sending { load, number, producer, pace, lanes, acknowledged }.run());
        }
        Ok(producers)
    }

    /// Waits for `work` and says every second how it goes.
    async fn report_seconds<T>(
        &self,
        work: impl Future<Output = anyhow::Result<T>>,
        begins: Instant,
        window: Window,
        sends: &Meter,
        receipts: &Meter,
    ) -> anyhow::Result<T> {
        let second = Duration::from_secs(1);
        let mut ticks = tokio::time::interval_at((begins + second).into(), second);
        let (mut sent, mut received) = (Meter::spare(), Meter::spare());
        let mut last = begins;
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = ticks.tick() => {}
            }
            let now = Instant::now();
            let seconds = now.duration_since(last).as_secs_f64();
            last = now;
            let errors = sends.take_second(&mut sent);
            receipts.take_second(&mut received);
            let phase = match now.checked_duration_since(window.begins) {
                None => Phase::WarmUp,
                Some(_) if now < window.ends + second / 2 => Phase::Measured,
                Some(_) => Phase::Draining,
            };
            self.put(&Second {
                at: now.duration_since(begins).as_secs_f64(),
                phase,
                sent: sent.messages as f64 / seconds,
                sent_mib: sent.bytes as f64 / seconds / f64::from(1 << 20),
                send: sent.latency(),
                errors,
                received: received.messages as f64 / seconds,
                end_to_end: received.latency(),
            })?;
        }
    }

    fn put(&self, line: &(impl Serialize + Display)) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        let text = if self.args.json { serde_json::to_string(line)? } else { line.to_string() };
        writeln!(out, "{text}").and_then(|()| out.flush()).context("cannot write the results")
    }

    /// Removes what was made for this run. What remains is told: it costs the cluster little.
    async fn clean_up(&self) {
        let admin = self.clients[0].admin();
        if self.topic.ours
            && let Err(error) = admin.delete_topic(&self.topic.name).await
        {
            tracing::warn!(topic = self.topic.name, %error, "the topic was not deleted");
        }
        if !self.readers.is_empty()
            && let Err(error) = admin.delete_group(&self.group).await
        {
            tracing::warn!(group = self.group, %error, "the consumer group was not deleted");
        }
        for client in self.clients.iter().chain(&self.readers) {
            client.shutdown();
        }
    }
}

/// Running producers.
struct Producers {
    tasks: JoinSet<()>,
    paces: Vec<Pace>,
    acknowledged: Vec<Arc<Mutex<Sequences>>>,
    /// One for each connection.
    shared: Vec<trireme_client::Producer>,
}

impl Producers {
    /// Waits until the run is over and no send is under way.
    async fn finish(&mut self, window: Window) -> anyhow::Result<()> {
        tokio::time::sleep_until(window.ends.into()).await;
        while let Some(done) = self.tasks.join_next().await {
            done.context("a producer ended by itself")?;
        }
        for producer in &self.shared {
            producer.shutdown().await;
        }
        Ok(())
    }
}

/// The machine's load over the last minute.
fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}
