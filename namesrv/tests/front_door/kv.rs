//! The KV configuration: 100, 101, 102, 219, and what ordered topics make of it.

use trireme_namesrv::{NameServer, NameServerOptions};
use trireme_remoting::body::KvTable;
use trireme_remoting::{Frame, RequestCode, response};

use crate::peer::{Broker, Peer, options, request, start};

const ORDER: &str = "ORDER_TOPIC_CONFIG";

fn put(namespace: &str, key: &str, value: &str) -> Frame {
    request(RequestCode::PutKvConfig, [("namespace", namespace), ("key", key), ("value", value)])
}

fn key(code: RequestCode, namespace: &str, key: &str) -> Frame {
    request(code, [("namespace", namespace), ("key", key)])
}

fn list(namespace: &str) -> Frame {
    request(RequestCode::GetKvListByNamespace, [("namespace", namespace)])
}

#[tokio::test]
async fn values_are_put_read_and_deleted() {
    let server = start();
    let peer = Peer::of(&server);
    peer.refused(response::QUERY_NOT_FOUND, key(RequestCode::GetKvConfig, "N", "K")).await;
    peer.refused(response::QUERY_NOT_FOUND, list("N")).await;
    peer.done(put("N", "K", "v1")).await;
    peer.done(put("N", "K", "v2")).await;
    let answer = peer.done(key(RequestCode::GetKvConfig, "N", "K")).await;
    assert_eq!(answer.ext.get("value"), Some("v2"));
    let answer = peer.done(list("N")).await;
    let table = KvTable::decode(answer.body.as_slice()).unwrap().table;
    assert_eq!(table.into_iter().collect::<Vec<_>>(), [("K".to_owned(), "v2".to_owned())]);
    peer.done(key(RequestCode::DeleteKvConfig, "N", "K")).await;
    peer.done(key(RequestCode::DeleteKvConfig, "N", "K")).await;
    peer.refused(response::QUERY_NOT_FOUND, key(RequestCode::GetKvConfig, "N", "K")).await;
    server.shutdown().await;
}

#[tokio::test]
async fn bad_changes_are_refused() {
    let server = start();
    let peer = Peer::of(&server);
    for bad in [
        put("", "K", "v"),
        put("N", "K\n", "v"),
        put("N", &"k".repeat(256), "v"),
        put("N", "K", &"v".repeat(32 * 1024 + 1)),
        key(RequestCode::PutKvConfig, "N", "K"),
        list("N"),
    ] {
        let code = if bad.code == 219 { response::QUERY_NOT_FOUND } else { response::SYSTEM_ERROR };
        peer.refused(code, bad).await;
    }
    server.shutdown().await;
}

#[tokio::test]
async fn what_was_answered_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = NameServerOptions { kv_path: Some(folder.path().join("kvConfig.json")), ..options() };
    let server = NameServer::start(options.clone()).unwrap();
    Peer::of(&server).done(put("N", "K", "value")).await;
    drop(server);
    let server = NameServer::start(options).unwrap();
    let answer = Peer::of(&server).done(key(RequestCode::GetKvConfig, "N", "K")).await;
    assert_eq!(answer.ext.get("value"), Some("value"));
    server.shutdown().await;
}

#[tokio::test]
async fn ordered_topics_are_told_to_brokers_and_if_enabled_to_clients() {
    let server = start();
    let peer = Peer::of(&server);
    peer.done(put(ORDER, "T", "broker-a:4")).await;
    let answer = peer.done(Broker::master().register()).await;
    let table = KvTable::decode(answer.body.as_slice()).unwrap().table;
    assert_eq!(table.get("T").map(String::as_str), Some("broker-a:4"));

    assert_eq!(peer.route("T").await.unwrap().order_topic_conf, None);
    peer.done(
        Frame::request(RequestCode::UpdateNamesrvConfig).with_body(b"orderMessageEnable=true".to_vec()),
    )
    .await;
    assert_eq!(peer.route("T").await.unwrap().order_topic_conf.as_deref(), Some("broker-a:4"));
    assert_eq!(peer.route("U").await.unwrap().order_topic_conf, None);
    server.shutdown().await;
}
