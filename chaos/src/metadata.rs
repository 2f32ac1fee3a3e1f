//! Clients that change and read the configuration of topics, at whichever replica: I14.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;
use trireme_remoting::body::TopicConfig;
use trireme_remoting::headers::{CreateTopicRequest, TopicRequest};
use trireme_remoting::{Client, Frame, InvokeError, RequestCode, response};

use crate::check::Violations;
use crate::check::linear::{Operation, Verdict, What, judge};

/// Who does so at the same time.
pub const CLIENTS: u64 = 3;
/// Topics that are changed.
const TOPICS: usize = 3;
/// Between two operations of one of them, on average.
const PAUSE: Duration = Duration::from_millis(150);
/// More than a replica keeps a request that waits for a leader.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// The value of a topic is how many queues it has to read, of which there can be so many.
const MOST: u32 = 16_384;

/// What was done to each topic.
#[derive(Default)]
pub struct Metadata {
    topics: [Mutex<Vec<Operation>>; TOPICS],
    /// The value that each was given last.
    last: [AtomicU32; TOPICS],
}

impl Metadata {
    /// One client, until it is aborted or `is_over`.
    pub async fn run(
        self: Arc<Self>,
        remote: Client,
        addrs: Vec<SocketAddr>,
        seed: u64,
        is_over: impl Fn() -> bool,
    ) {
        let mut random = StdRng::seed_from_u64(seed);
        while !is_over() {
            sleep(PAUSE.mul_f64(random.random_range(0.0..2.0))).await;
            let topic = random.random_range(0..TOPICS);
            let addr = addrs[random.random_range(0..addrs.len())].to_string();
            let value = match random.random_ratio(1, 3) {
                true => {
                    Some(self.last[topic].fetch_add(1, Ordering::Relaxed) + 1).filter(|value| *value <= MOST)
                }
                false => None,
            };
            let called = Instant::now();
            let done = match value {
                Some(value) => Some(write(&remote, &addr, topic, value).await),
                None => read(&remote, &addr, topic).await.map(|value| (What::Read(value), true)),
            };
            // What was refused, or read from nobody, was not done.
            let Some((what, is_known)) = done else { continue };
            let returned = is_known.then(Instant::now);
            self.topics[topic].lock().push(Operation { called, returned, what });
        }
    }

    /// How often something was done.
    pub fn count(&self) -> usize {
        self.topics.iter().map(|operations| operations.lock().len()).sum()
    }

    /// That all of it can have been so.
    pub fn check(&self, violations: &mut Violations) {
        for (topic, operations) in self.topics.iter().enumerate() {
            let operations = std::mem::take(&mut *operations.lock());
            let count = operations.len();
            let name = name(topic);
            match judge(operations, 0) {
                Verdict::Possible => {}
                Verdict::Impossible(what) => violations.add(format!(
                    "I14: of {count} operations on the topic {name}, {what:?} fits into no order of them all"
                )),
                Verdict::Undecided => {
                    violations
                        .add(format!("I14: {count} operations on the topic {name} are too many to judge"));
                }
            }
        }
    }
}

fn name(topic: usize) -> String {
    format!("chaos-meta-{topic}")
}

/// What was written, and whether it certainly was.
async fn write(remote: &Client, addr: &str, topic: usize, value: u32) -> (What, bool) {
    let name = name(topic);
    let header = CreateTopicRequest {
        topic: &name,
        default_topic: "TBW102",
        read_queue_nums: i32::try_from(value).unwrap_or_default(),
        write_queue_nums: 1,
        perm: 6,
        topic_filter_type: "SINGLE_TAG",
        topic_sys_flag: Some(0),
        order: false,
        attributes: None,
        force: None,
    };
    let request = Frame::request(RequestCode::UpdateAndCreateTopic).with_ext(header.to_ext());
    let answer = remote.invoke(addr, request, ANSWER_WITHIN).await;
    (What::Wrote(value), answer.is_ok_and(|answer| answer.code == response::SUCCESS))
}

/// What was read; `None` if nothing was.
async fn read(remote: &Client, addr: &str, topic: usize) -> Option<u32> {
    let name = name(topic);
    let header = TopicRequest { topic: &name };
    let request = Frame::request(RequestCode::GetTopicConfig).with_ext(header.to_ext());
    let answer: Result<Frame, InvokeError> = remote.invoke(addr, request, ANSWER_WITHIN).await;
    let answer = answer.ok()?;
    match answer.code {
        response::SUCCESS => {
            let config = TopicConfig::decode(answer.body.as_slice()).ok()?;
            u32::try_from(config.read_queue_nums).ok()
        }
        response::TOPIC_NOT_EXIST => Some(0),
        _ => None,
    }
}
