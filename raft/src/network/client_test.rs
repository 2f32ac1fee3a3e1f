//! What openraft is told of the replies of a follower.

#![allow(clippy::unwrap_used)]

use bytes::BytesMut;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::super::wire::{Hello, HelloMore, HelloReply, Message, Outgoing};
use super::*;
use crate::config::ClusterSettings;
use crate::types::to_raft;

const PATIENCE: Duration = Duration::from_secs(30);

/// A follower that does as it is told.
struct Follower {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Follower {
    /// Takes the next connection, and says hello.
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().await.unwrap();
        let mut this = Self { stream, buffer: BytesMut::new() };
        let hello = this.next().await;
        let (said, _) = hello.header_and_more::<Hello, HelloMore>("hello").unwrap();
        assert_eq!(said.lane, Lane::Bulk);
        this.say(Kind::Hello, hello.id, &HelloReply { refused: None, store_id: 7, initialized: true }).await;
        this
    }

    async fn next(&mut self) -> Message {
        let message = wire::read_message(&mut self.stream, &mut self.buffer, wire::MAX_MESSAGE);
        message.await.unwrap().unwrap()
    }

    async fn say(&mut self, kind: Kind, id: u64, header: &impl serde::Serialize) {
        let mut parts = Vec::new();
        Outgoing::new(kind, id, header, Vec::new()).slices(&mut parts);
        wire::write_all(&mut self.stream, &parts).await.unwrap();
    }

    /// It has everything up to an entry, says the reply to a request.
    async fn has(&mut self, request: &Message, index: u64) {
        self.say(Kind::Append, request.id, &AppendReply::Flushed(Some((1, index)))).await;
    }
}

fn at(index: u64) -> Option<RaftLogId> {
    Some(to_raft(trireme_commitlog::LogId { term: 1, index }))
}

/// Moves the commit mark behind an entry: a request that reaches no further than the one before it.
fn commit(index: u64) -> AppendEntriesRequest<TypeConfig> {
    AppendEntriesRequest {
        vote: Vote::new_committed(1, 1),
        prev_log_id: at(index),
        entries: Vec::new(),
        leader_commit: at(index),
    }
}

/// The first reply says that the follower has everything that the second request is about; but not that it still followed
/// when that was sent.
#[tokio::test]
async fn a_reply_does_not_stand_for_the_next_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = ClusterSettings { cluster: "c".into(), group: "broker-a".into(), segment_bytes: 1 << 20 };
    let network =
        Network::new(Caller { settings, node: 1, store_id: 42, peers: Arc::default() }, BTreeMap::new(), 2);
    let addr = listener.local_addr().unwrap().to_string();
    let mut client = network.client(2, &Member::new(None, &addr, 7), Lane::Bulk);
    let (requests, input) = mpsc::unbounded_channel();
    let input = stream::unfold(input, |mut input| async move { Some((input.recv().await?, input)) });
    let replies = client.stream_append(Box::pin(input), RPCOption::new(PATIENCE)).await.unwrap();
    let (told, mut hears) = mpsc::unbounded_channel();
    let following = async {
        // The connection is made for the first one.
        requests.send(commit(5)).unwrap();
        let mut follower = Follower::accept(&listener).await;
        // One that reaches further than the reply is not stood for.
        requests.send(commit(6)).unwrap();
        let (first, second) = (follower.next().await, follower.next().await);
        for (asked, reached) in [(first, 5), (second, 6)] {
            follower.has(&asked, reached).await;
            assert_eq!(hears.recv().await, Some(at(reached)));
        }
        requests.send(commit(7)).unwrap();
        requests.send(commit(7)).unwrap();
        let (first, second) = (follower.next().await, follower.next().await);
        follower.has(&first, 7).await;
        // Both are under way, and so would be a third if the first one's reply had been told.
        requests.send(commit(8)).unwrap();
        let third = follower.next().await;
        assert!(hears.try_recv().is_err(), "the second one stands for itself");
        follower.has(&second, 7).await;
        assert_eq!(hears.recv().await, Some(at(7)));
        follower.has(&third, 8).await;
        assert_eq!(hears.recv().await, Some(at(8)));
    };
    let telling = async {
        pin_mut!(replies);
        while let Some(reply) = replies.next().await {
            told.send(reply.unwrap().unwrap()).unwrap();
        }
    };
    pin_mut!(following, telling);
    tokio::time::timeout(PATIENCE, select(following, telling)).await.unwrap();
}
