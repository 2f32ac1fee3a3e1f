//! Who is still there: closed connections, silence, heartbeats.

use std::time::{Duration, Instant};

use trireme_namesrv::{NameServer, NameServerOptions};
use trireme_remoting::RequestCode;

use crate::peer::{Broker, Peer, options, request, start};

/// One process with a broker of RocketMQ and a replica of each kind hangs up: all of them go in one step, so that
/// what is listed when the first is gone shows who stays.
#[tokio::test]
async fn of_a_closed_connection_only_a_raft_leader_stays() {
    let server = start();
    let (broker, client) = (Peer::of(&server), Peer::of(&server));
    let follower = Peer::of(&server);
    follower.done(Broker::master().named("led").replica(3, 1).at("10.0.0.3:10911").register()).await;
    broker.done(Broker::master().named("plain").register()).await;
    broker.done(Broker::master().named("led").replica(0, 1).register()).await;
    broker.done(Broker::master().named("followed").replica(2, 1).register()).await;
    let all = "followed{2=10.0.0.1:10911} led{0=10.0.0.1:10911 3=10.0.0.3:10911} plain{0=10.0.0.1:10911}";
    assert_eq!(client.listed().await, all);
    broker.hang_up();
    client.await_listed("led{0=10.0.0.1:10911 3=10.0.0.3:10911}").await;

    follower.hang_up();
    client.await_listed("led{0=10.0.0.1:10911}").await;
    server.shutdown().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_changes_nothing() {
    let server = start();
    let (broker, client) = (Peer::of(&server), Peer::of(&server));
    broker.done(Broker::master().register()).await;
    client.route("T").await.unwrap();
    client.hang_up();
    // A reconnecting client is served after its old connection's end, or before; the route is there either way.
    assert!(client.route("T").await.is_some());
    server.shutdown().await;
}

#[tokio::test]
async fn silence_expires_and_heartbeats_put_it_off() {
    let server = NameServer::start(NameServerOptions {
        broker_expiry: Duration::from_secs(1),
        scan_every: Duration::from_millis(100),
        ..options()
    })
    .unwrap();
    let (silent, alive, client) = (Peer::of(&server), Peer::of(&server), Peer::of(&server));
    let started = Instant::now();
    silent.done(Broker::master().named("led").replica(0, 1).register()).await;
    alive.done(Broker::master().named("alive").register()).await;
    let heartbeat = [("clusterName", "C"), ("brokerName", "alive"), ("brokerAddr", "10.0.0.1:10911")];
    let beating = async {
        loop {
            alive.tell(request(RequestCode::BrokerHeartbeat, heartbeat)).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = beating => unreachable!("it beats until the other has expired"),
        () = client.await_listed("alive{0=10.0.0.1:10911}") => {}
    }
    assert!(started.elapsed() >= Duration::from_secs(1));
    client.await_listed("").await;
    server.shutdown().await;
}
