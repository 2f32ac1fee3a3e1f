//! Single requests to single replicas, without a client's help.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
pub use trireme_chaos::wire::{pull_request, send_header, send_request};
use trireme_client::MessageQueue;
use trireme_remoting::headers::{PULL_SUBSCRIPTION, PULL_SUSPEND, PullResponse};
use trireme_remoting::{Client, Frame, InvokeError, response};

/// More than a replica keeps a request that waits for a leader.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Longer than a test waits for anything.
pub const LONG_POLL: Duration = Duration::from_secs(60);

/// What queues hold: per queue its messages, from offset 0 on.
pub type Contents = BTreeMap<MessageQueue, Vec<Bytes>>;

/// As [`pull_request`], but it waits so long for messages.
pub fn waiting_pull_request(queue: &MessageQueue, offset: i64, wait: Duration) -> Frame {
    let mut request = pull_request(queue, offset);
    request.ext.set("sysFlag", PULL_SUBSCRIPTION | PULL_SUSPEND);
    request.ext.set("suspendTimeoutMillis", wait.as_millis());
    request
}

/// Asks one replica.
pub async fn ask(client: &Client, addr: SocketAddr, request: Frame) -> Result<Frame, InvokeError> {
    client.invoke(&addr.to_string(), request, PATIENCE).await
}

/// Pulls queues from offset 0 to their end, from one replica. Each message must say itself that it lies where it was
/// found.
pub async fn pull_all(client: &Client, addr: SocketAddr, queues: &[MessageQueue]) -> Contents {
    let mut contents = Contents::new();
    for queue in queues {
        contents.insert(queue.clone(), pull_from(client, addr, queue, 0).await);
    }
    contents
}

/// As [`pull_all`], for one queue from `from` on.
pub async fn pull_from(client: &Client, addr: SocketAddr, queue: &MessageQueue, from: i64) -> Vec<Bytes> {
    let given = trireme_chaos::wire::pull_from(client, addr, queue, from).await.unwrap();
    given.into_iter().map(|given| given.body).collect()
}

/// Where a pull from offset 0 is sent, when the queue starts later.
pub async fn moved_to(client: &Client, addr: SocketAddr, queue: &MessageQueue) -> Option<i64> {
    let answer = ask(client, addr, pull_request(queue, 0)).await.unwrap();
    let header = PullResponse::from_ext(&answer.ext);
    (answer.code == response::PULL_OFFSET_MOVED).then(|| header.unwrap().next_begin_offset)
}
