//! What a consumer does when its brokers are not well, and when they ask something of it.
#![allow(clippy::unwrap_used)]

mod fake;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fake::{Cluster, Mode};
use tokio::sync::{Notify, mpsc, watch};
use trireme_client::{
    Client, ClientConfig, ClientError, ConsumeFrom, ConsumeOutcome, MessageBatch, OrderOutcome,
    PullConsumerConfig, PullStatus, PushConsumer, PushConsumerConfig,
};
use trireme_remoting::body::{
    ConsumeMessageDirectlyResult, ConsumerRunningInfo, ConsumerStatusBody, MessageQueue, ResetOffsetBody,
};
use trireme_remoting::headers::{
    ConsumeMessageDirectlyRequest, ConsumerGroupRequest, ConsumerRunningInfoRequest, ConsumerStatusRequest,
    ResetOffsetPush,
};
use trireme_remoting::{Frame, RequestCode, response};

const PULL: RequestCode = RequestCode::PullMessage;

fn client(cluster: &Cluster) -> Client {
    Client::new(ClientConfig::new(&cluster.addr())).unwrap()
}

fn config() -> PushConsumerConfig {
    PushConsumerConfig {
        consume_from: ConsumeFrom::First,
        commit_interval: Duration::from_millis(100),
        ..PushConsumerConfig::new("group").subscribe("T", "*")
    }
}

type Bodies = mpsc::UnboundedReceiver<String>;

async fn consume(client: &Client, config: PushConsumerConfig) -> (PushConsumer, Bodies) {
    let (tell, told) = mpsc::unbounded_channel();
    let listener = move |messages: MessageBatch| {
        let tell = tell.clone();
        async move {
            for message in messages.iter() {
                tell.send(String::from_utf8(message.body.to_vec()).unwrap()).unwrap();
            }
            ConsumeOutcome::Commit
        }
    };
    (client.consume(config, listener).await.unwrap(), told)
}

async fn next(told: &mut Bodies) -> String {
    tokio::time::timeout(Duration::from_secs(10), told.recv())
        .await
        .expect("a message comes in time")
        .unwrap()
}

async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect(what);
}

#[tokio::test]
async fn consuming_goes_on_at_another_replica_when_the_leader_dies() {
    let mut cluster = Cluster::start(&[("g", 3)]).await;
    let (consumer, mut told) = consume(&client(&cluster), config()).await;
    cluster.group(0).put("T", 0, b"one");
    assert_eq!(next(&mut told).await, "one");
    cluster.kill(0, 0);
    cluster.elect(0, Some(2));
    let started = Instant::now();
    cluster.group(0).put("T", 0, b"two");
    assert_eq!(next(&mut told).await, "two");
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    eventually("the new leader has the offset", || cluster.group(0).committed("group", "T", 0) == Some(2))
        .await;
    consumer.shutdown().await;
}

#[tokio::test]
async fn a_pull_that_a_frozen_leader_holds_is_left() {
    let cluster = Cluster::start(&[("g", 2)]).await;
    let config =
        ClientConfig { request_timeout: Duration::from_millis(900), ..ClientConfig::new(&cluster.addr()) };
    let (consumer, mut told) = consume(&Client::new(config).unwrap(), self::config()).await;
    cluster.replica(0, 0).asked(PULL, 2).await;
    cluster.replica(0, 0).set(Mode::Frozen);
    cluster.elect(0, Some(1));
    let started = Instant::now();
    cluster.group(0).put("T", 1, b"two");
    // The next commit finds out that the leader is silent, long before the 15 s of the pull are over.
    assert_eq!(next(&mut told).await, "two");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    consumer.shutdown().await;
}

#[tokio::test]
async fn only_the_leader_is_believed_about_the_end_of_a_queue() {
    let mut cluster = Cluster::start(&[("g", 2)]).await;
    for body in ["one", "two"] {
        cluster.group(0).put("T", 0, body.as_bytes());
    }
    let (consumer, mut told) = consume(&client(&cluster), config()).await;
    assert_eq!((next(&mut told).await, next(&mut told).await), ("one".to_owned(), "two".to_owned()));
    cluster.replica(0, 1).set(Mode::Behind);
    cluster.elect(0, None);
    cluster.kill(0, 0);
    let before = cluster.replica(0, 1).seen(PULL);
    cluster.replica(0, 1).asked(PULL, before + 3).await;
    // It catches up and leads: consuming goes on where it was, not at the beginning.
    cluster.replica(0, 1).set(Mode::Normal);
    cluster.elect(0, Some(1));
    cluster.group(0).put("T", 0, b"three");
    assert_eq!(next(&mut told).await, "three");
    consumer.shutdown().await;
}

#[tokio::test]
async fn an_offset_out_of_range_is_put_right_by_the_leader() {
    let cluster = Cluster::start(&[("g", 1)]).await;
    cluster.group(0).offsets.lock().insert(("group".to_owned(), "T".to_owned(), 0), 50);
    let (consumer, mut told) = consume(&client(&cluster), config()).await;
    cluster.replica(0, 0).asked(PULL, 3).await;
    cluster.group(0).put("T", 0, b"one");
    assert_eq!(next(&mut told).await, "one");
    consumer.shutdown().await;
    assert_eq!(cluster.group(0).committed("group", "T", 0), Some(1));
}

#[tokio::test]
async fn an_offset_that_one_replica_cannot_commit_is_committed_at_another() {
    let cluster = Cluster::start(&[("g", 2)]).await;
    let code = RequestCode::UpdateConsumerOffset.code();
    cluster.replica(0, 0).set(Mode::RefusingOnly(code, response::SYSTEM_ERROR));
    let (consumer, mut told) = consume(&client(&cluster), config()).await;
    cluster.group(0).put("T", 0, b"one");
    next(&mut told).await;
    eventually("it is committed", || cluster.group(0).committed("group", "T", 0) == Some(1)).await;
    consumer.shutdown().await;
}

#[tokio::test]
async fn failed_messages_are_given_back() {
    let cluster = Cluster::start(&[("g", 1)]).await;
    let listener = |_: MessageBatch| async { ConsumeOutcome::RetryAtLevel(5) };
    let consumer = client(&cluster).consume(config(), listener).await.unwrap();
    cluster.group(0).put("T", 0, b"one");
    eventually("it is given back", || *cluster.group(0).given_back.lock() == [("group".to_owned(), 5)]).await;
    eventually("and done with", || cluster.group(0).committed("group", "T", 0) == Some(1)).await;
    consumer.shutdown().await;
}

#[tokio::test]
async fn a_copy_is_sent_when_a_message_cannot_be_given_back() {
    let cluster = Cluster::start(&[("g", 1)]).await;
    let code = RequestCode::ConsumerSendMsgBack.code();
    cluster.replica(0, 0).set(Mode::RefusingOnly(code, response::SYSTEM_ERROR));
    let panics = |_: MessageBatch| async { panic!("the listener's own fault") };
    let consumer = client(&cluster).consume(config(), panics).await.unwrap();
    cluster.group(0).put("T", 0, b"one");
    let expected = [("%RETRY%group".to_owned(), 1)];
    eventually("a copy is sent", || *cluster.group(0).given_back.lock() == expected).await;
    assert_eq!(cluster.group(0).stored("delayed %RETRY%group"), 1);
    eventually("and done with", || cluster.group(0).committed("group", "T", 0) == Some(1)).await;
    consumer.shutdown().await;
}

#[tokio::test]
async fn messages_that_are_not_consumed_hold_the_offset_back() {
    let cluster = Cluster::start(&[("g", 1)]).await;
    let gate = Arc::new(Notify::new());
    let (tell, mut told) = mpsc::unbounded_channel();
    let listener = {
        let gate = gate.clone();
        move |messages: MessageBatch| {
            let (gate, tell) = (gate.clone(), tell.clone());
            async move {
                if messages[0].queue_offset == 1 {
                    gate.notified().await;
                }
                tell.send(messages[0].queue_offset).unwrap();
                ConsumeOutcome::Commit
            }
        }
    };
    for body in ["0", "1", "2", "3"] {
        cluster.group(0).put("T", 0, body.as_bytes());
    }
    let consumer = client(&cluster).consume(config(), listener).await.unwrap();
    for _ in 0..3 {
        told.recv().await.unwrap();
    }
    consumer.commit().await;
    assert_eq!(cluster.group(0).committed("group", "T", 0), Some(1));
    gate.notify_one();
    told.recv().await.unwrap();
    eventually("all is committed", || cluster.group(0).committed("group", "T", 0) == Some(4)).await;
    consumer.shutdown().await;
}

#[tokio::test]
async fn a_full_window_stops_the_pulling() {
    let cluster = Cluster::start(&[("g", 1)]).await;
    for _ in 0..100 {
        cluster.group(0).put("T", 0, b"x");
    }
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let (tell, mut told) = mpsc::unbounded_channel();
    let listener = {
        let gate = gate.clone();
        move |_: MessageBatch| {
            let (gate, tell) = (gate.clone(), tell.clone());
            async move {
                gate.acquire().await.unwrap().forget();
                tell.send(()).unwrap();
                ConsumeOutcome::Commit
            }
        }
    };
    let config = PushConsumerConfig { queue_max_messages: 10, ..config() };
    let consumer = client(&cluster).consume(config, listener).await.unwrap();
    // A page of 32 of this queue and no second; the other queue's and the retry topic's pulls are held.
    cluster.replica(0, 0).asked(PULL, 3).await;
    consumer.commit().await;
    gate.add_permits(22);
    for _ in 0..22 {
        told.recv().await.unwrap();
    }
    assert_eq!(cluster.replica(0, 0).seen(PULL), 3, "ten still wait");
    gate.add_permits(1);
    cluster.replica(0, 0).asked(PULL, 4).await;
    gate.add_permits(100);
    consumer.shutdown().await;
}

#[tokio::test]
async fn a_shutdown_lets_the_listener_finish() {
    let cluster = Cluster::start(&[("g", 1)]).await;
    cluster.group(0).put("T", 0, b"one");
    let (begun, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let finished = Arc::new(AtomicBool::new(false));
    let listener = {
        let (begun, finish, finished) = (begun.clone(), finish.clone(), finished.clone());
        move |_: MessageBatch| {
            let (begun, finish, finished) = (begun.clone(), finish.clone(), finished.clone());
            async move {
                begun.notify_one();
                finish.notified().await;
                finished.store(true, Ordering::SeqCst);
                ConsumeOutcome::Commit
            }
        }
    };
    let config = PushConsumerConfig { commit_interval: Duration::from_secs(60), ..config() };
    let consumer = Arc::new(client(&cluster).consume(config, listener).await.unwrap());
    begun.notified().await;
    let stopping = tokio::spawn({
        let consumer = consumer.clone();
        async move { consumer.shutdown().await }
    });
    tokio::task::yield_now().await;
    finish.notify_one();
    stopping.await.unwrap();
    assert!(finished.load(Ordering::SeqCst));
    assert_eq!(cluster.group(0).committed("group", "T", 0), Some(1));
    assert_eq!(cluster.replica(0, 0).seen(RequestCode::UnregisterClient), 1);
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_ever() {
    let cluster = Cluster::start(&[("g", 1)]).await;
    cluster.group(0).put("T", 0, b"one");
    let begun = Arc::new(Notify::new());
    let listener = {
        let begun = begun.clone();
        move |_: MessageBatch| {
            begun.notify_one();
            std::future::pending()
        }
    };
    let config = PushConsumerConfig { shutdown_timeout: Duration::from_millis(100), ..config() };
    let consumer = client(&cluster).consume(config, listener).await.unwrap();
    begun.notified().await;
    tokio::time::timeout(Duration::from_secs(5), consumer.shutdown()).await.unwrap();
    assert_eq!(cluster.group(0).committed("group", "T", 0), Some(0), "it will come again");
}

#[tokio::test]
async fn a_dropped_consumer_leaves_its_group() {
    let cluster = Cluster::start(&[("g", 1)]).await;
    let client = client(&cluster);
    let (consumer, _told) = consume(&client, config()).await;
    let again = client.consume(config(), |_: MessageBatch| async { ConsumeOutcome::Commit }).await;
    assert!(matches!(again, Err(ClientError::GroupInUse { .. })));
    drop(consumer);
    cluster.replica(0, 0).asked(RequestCode::UnregisterClient, 1).await;
    let (consumer, _told) = consume(&client, config()).await;
    consumer.shutdown().await;
}

#[tokio::test]
async fn an_ordered_queue_is_locked_first_and_given_back_last() {
    let cluster = Cluster::start(&[("g", 1)]).await;
    let queue = |id| ("group".to_owned(), "T".to_owned(), id);
    cluster.group(0).locks.lock().insert(queue(1), "another member".to_owned());
    let (tell, mut told) = mpsc::unbounded_channel();
    let listener = move |messages: MessageBatch| {
        tell.send(messages[0].queue.queue_id).unwrap();
        async { OrderOutcome::Commit }
    };
    cluster.group(0).put("T", 1, b"not mine yet");
    cluster.group(0).put("T", 0, b"mine");
    let client = client(&cluster);
    let consumer = client.consume_ordered(config(), listener).await.unwrap();
    assert_eq!(told.recv().await, Some(0));
    assert_eq!(cluster.group(0).locks.lock()[&queue(0)], client.id());
    cluster.group(0).locks.lock().remove(&queue(1));
    assert_eq!(told.recv().await, Some(1), "tried again soon");
    consumer.shutdown().await;
    assert!(cluster.group(0).locks.lock().is_empty());
}

/// While another replica takes over, nobody can take a lock back; but soon, and else nobody could have the queue for a minute.
#[tokio::test]
async fn locks_are_given_back_when_a_leader_is_there_again() {
    let cluster = Cluster::start(&[("g", 1)]).await;
    let listener = |_: MessageBatch| async { OrderOutcome::Commit };
    let consumer = client(&cluster).consume_ordered(config(), listener).await.unwrap();
    eventually("its queues are locked", || !cluster.group(0).locks.lock().is_empty()).await;
    let unlock = RequestCode::UnlockBatchMq;
    cluster.replica(0, 0).set(Mode::RefusingOnly(unlock.code(), response::SERVICE_NOT_AVAILABLE));
    tokio::join!(consumer.shutdown(), async {
        cluster.replica(0, 0).asked(unlock, 2).await;
        assert!(!cluster.group(0).locks.lock().is_empty());
        cluster.replica(0, 0).set(Mode::Normal);
    });
    assert!(cluster.group(0).locks.lock().is_empty());
}

#[tokio::test]
async fn a_new_leader_hears_of_the_group_and_its_locks_at_once() {
    let cluster = Cluster::start(&[("g", 2)]).await;
    let listener = |_: MessageBatch| async { OrderOutcome::Commit };
    let consumer = client(&cluster).consume_ordered(config(), listener).await.unwrap();
    cluster.replica(0, 0).asked(PULL, 3).await;
    let heartbeats = cluster.replica(0, 1).seen(RequestCode::HeartBeat);
    cluster.elect(0, Some(1));
    // The next commit goes to the old leader, whose answer names the new one.
    cluster.replica(0, 1).asked(RequestCode::LockBatchMq, 1).await;
    cluster.replica(0, 1).asked(RequestCode::HeartBeat, heartbeats + 1).await;
    consumer.shutdown().await;
}

#[tokio::test]
async fn ordered_messages_that_fail_for_good_are_given_up() {
    let cluster = Cluster::start(&[("g", 1)]).await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let listener = move |messages: MessageBatch| {
        tell.send((messages[0].queue_offset, messages[0].reconsume_times)).unwrap();
        let fails = messages[0].queue_offset == 0;
        async move { if fails { OrderOutcome::Suspend(Duration::ZERO) } else { OrderOutcome::Commit } }
    };
    cluster.group(0).put("T", 0, b"fails");
    cluster.group(0).put("T", 0, b"comes after");
    let config = PushConsumerConfig { max_reconsume_times: Some(2), ..config() };
    let consumer = client(&cluster).consume_ordered(config, listener).await.unwrap();
    for expected in [(0, 0), (0, 1), (0, 2), (1, 0)] {
        assert_eq!(told.recv().await, Some(expected));
    }
    assert_eq!(*cluster.group(0).given_back.lock(), [("%RETRY%group".to_owned(), 3)]);
    consumer.shutdown().await;
    assert_eq!(cluster.group(0).committed("group", "T", 0), Some(2));
}

#[tokio::test]
async fn who_is_set_back_leaves_nothing_out() {
    let cluster = Cluster::start(&[("g", 1)]).await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let (consumes, may_consume) = watch::channel(false);
    let listener = move |messages: MessageBatch| {
        let (tell, may_consume) = (tell.clone(), may_consume.clone());
        async move {
            tell.send(messages[0].queue_offset).unwrap();
            match *may_consume.borrow() {
                true => OrderOutcome::Commit,
                false => OrderOutcome::Suspend(Duration::from_millis(10)),
            }
        }
    };
    for _ in 0..3 {
        cluster.group(0).put("T", 0, b"");
    }
    let consumer = client(&cluster).consume_ordered(config(), listener).await.unwrap();
    assert_eq!(told.recv().await, Some(0));
    // All three are pulled, the fourth is waited for, as in queue 1 and in the retry queue.
    cluster.replica(0, 0).asked(PULL, 4).await;
    cluster.group(0).lose("T", 0);
    cluster.replica(0, 0).asked(PULL, 5).await;
    consumes.send(true).unwrap();
    let behind_the_first = async {
        loop {
            match told.recv().await {
                Some(0) => {}
                other => return other,
            }
        }
    };
    let next = tokio::time::timeout(Duration::from_secs(10), behind_the_first).await;
    assert_eq!(next, Ok(Some(1)), "the first has come until it was consumed, then the second");
    consumer.shutdown().await;
    assert_eq!(cluster.group(0).committed("group", "T", 0), Some(2));
}

#[tokio::test]
async fn a_change_of_members_is_reacted_to_at_once() {
    let cluster = Cluster::start(&[("g", 1)]).await;
    let (consumer, _told) = consume(&client(&cluster), config()).await;
    let members = RequestCode::GetConsumerListByGroup;
    cluster.replica(0, 0).asked(PULL, 2).await;
    let before = cluster.replica(0, 0).seen(members);
    let header = ConsumerGroupRequest { consumer_group: "group" };
    let notice = Frame::request(RequestCode::NotifyConsumerIdsChanged).with_ext(header.to_ext());
    cluster.replica(0, 0).connection().oneway(notice).unwrap();
    cluster.replica(0, 0).asked(members, before + 1).await;
    consumer.shutdown().await;
}

#[tokio::test]
async fn administrators_are_answered() {
    let cluster = Cluster::start(&[("g", 1)]).await;
    let client = client(&cluster);
    for body in ["one", "two", "three"] {
        cluster.group(0).put("T", 0, body.as_bytes());
    }
    let (consumer, mut told) = consume(&client, config()).await;
    for _ in 0..3 {
        next(&mut told).await;
    }
    eventually("all is committed", || cluster.group(0).committed("group", "T", 0) == Some(3)).await;
    let connection = cluster.replica(0, 0).connection();
    let ask = |frame: Frame| connection.invoke(frame, Duration::from_secs(5));
    let queue = |queue_id| MessageQueue { broker_name: "g".to_owned(), queue_id, topic: "T".to_owned() };

    let header = ConsumerStatusRequest { topic: "T", group: "group", client_addr: None };
    let request = Frame::request(RequestCode::GetConsumerStatusFromClient).with_ext(header.to_ext());
    let offsets = ConsumerStatusBody::decode(ask(request).await.unwrap().body.as_slice()).unwrap();
    assert_eq!(offsets.message_queue_table, BTreeMap::from([(queue(0), 3), (queue(1), 0)]));

    let header =
        ConsumerRunningInfoRequest { consumer_group: "group", client_id: client.id(), jstack_enable: None };
    let request = Frame::request(RequestCode::GetConsumerRunningInfo).with_ext(header.to_ext());
    let info = ConsumerRunningInfo::decode(ask(request).await.unwrap().body.as_slice()).unwrap();
    assert_eq!(info.mq_table[&queue(0)].commit_offset, 3);
    assert_eq!(info.properties["PROP_CONSUMEORDERLY"], "false");
    assert!(info.status_table["T"].consume_ok_tps > 0.0);

    let header = ConsumeMessageDirectlyRequest {
        consumer_group: "group",
        client_id: Some(client.id()),
        msg_id: None,
        broker_name: Some("g"),
        topic: None,
        topic_sys_flag: None,
        group_sys_flag: None,
    };
    let request = Frame::request(RequestCode::ConsumeMessageDirectly).with_ext(header.to_ext());
    let message = cluster.group(0).message("T", 0, 1);
    let answer = ask(request.clone().with_body(message)).await.unwrap();
    let result = ConsumeMessageDirectlyResult::decode(answer.body.as_slice()).unwrap();
    assert_eq!((result.consume_result.as_str(), result.order), ("CR_SUCCESS", false));
    assert_eq!(next(&mut told).await, "two");
    let garbage = ask(request.with_body(b"garbage".to_vec())).await.unwrap();
    assert_eq!(garbage.code, response::SYSTEM_ERROR);

    let header = ResetOffsetPush { topic: "T", group: "group", timestamp: 0, is_force: true };
    let body = ResetOffsetBody { offset_table: BTreeMap::from([(queue(0), 1), (queue(7), 1)]) };
    let push = Frame::request(RequestCode::ResetConsumerClientOffset).with_ext(header.to_ext());
    connection.oneway(push.with_body(body.encode())).unwrap();
    assert_eq!(next(&mut told).await, "two");
    assert_eq!(next(&mut told).await, "three");
    eventually("and committed again", || cluster.group(0).committed("group", "T", 0) == Some(3)).await;

    let unknown = ask(Frame::request(RequestCode::GetBrokerConfig)).await.unwrap();
    assert_eq!(unknown.code, response::REQUEST_CODE_NOT_SUPPORTED);
    consumer.shutdown().await;
}

#[tokio::test]
async fn a_pull_asks_another_replica() {
    let mut cluster = Cluster::start(&[("g", 3)]).await;
    cluster.group(0).put("T", 0, b"one");
    let config = PullConsumerConfig { long_poll: Duration::ZERO, ..PullConsumerConfig::new("group") };
    let consumer = client(&cluster).pull_consumer(config).unwrap();
    let queue = consumer.queues("T").await.unwrap().remove(0);
    cluster.kill(0, 0);
    cluster.replica(0, 1).set(Mode::Refusing(response::SERVICE_NOT_AVAILABLE));
    let page = consumer.pull(&queue, 0, 8).await.unwrap();
    assert_eq!((page.status, page.messages.len(), page.next_offset), (PullStatus::Found, 1, 1));
    cluster.elect(0, Some(2));
    consumer.commit(&queue, 1).await.unwrap();
    assert_eq!(consumer.committed(&queue).await.unwrap(), Some(1));
    consumer.shutdown().await;
}
