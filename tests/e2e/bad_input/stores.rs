//! Stores and ports that are somebody else's: the process says what is wrong, and ends.

use std::net::TcpListener;
use std::path::Path;

use tempfile::TempDir;

use crate::harness::{Cluster, Process, free_port};

/// A replica's arguments with one of them changed.
fn changed(args: &[String], flag: &str, value: &str) -> Vec<String> {
    let mut args = args.to_vec();
    match args.iter().position(|arg| arg == flag) {
        Some(at) => args[at + 1] = value.to_owned(),
        None => args.extend([flag.to_owned(), value.to_owned()]),
    }
    args
}

/// Starts a process that must end at once, and returns what it said.
async fn refusal(args: Vec<String>, dir: &Path) -> String {
    let mut process = Process::new(args, dir.join("refused.log"));
    process.start();
    let status = process.ended().await;
    let output = process.output();
    std::fs::remove_file(process.log()).unwrap();
    assert!(!status.success(), "it ended well: {output}");
    assert!(!output.contains("panicked"), "{output}");
    output
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_store_is_refused() {
    let mut cluster = Cluster::start().await;
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let args = cluster.replicas[0].process.args().to_vec();
    let store = cluster.replicas[0].store.display().to_string();

    let said = refusal(args.clone(), dir.path()).await;
    assert!(
        said.contains(&store) || said.contains(&cluster.replicas[0].addr.port().to_string()),
        "a store in use: {said}"
    );

    cluster.kill(0).await;
    for (flag, value, difference) in [
        ("--cluster", "Other", "cluster name is Other here and DefaultCluster at the store"),
        ("--group", "broker-z", "group name is broker-z here and broker-a at the store"),
        ("--node", "2", "it is node 1, this replica is configured as node 2"),
        ("--segment-bytes", "8388608", "segment size is 8388608 here and 16777216 at the store"),
    ] {
        let mut args = changed(&args, flag, value);
        if flag == "--node" {
            // The running replica 2 has its ports; only the store is to be wrong.
            args = changed(
                &args,
                "--replica",
                &format!("1=127.0.0.1:{}/127.0.0.1:{}", free_port(), free_port()),
            );
            let own = args.iter().position(|arg| arg.starts_with("2=")).unwrap();
            args[own] = format!("2=127.0.0.1:{}/127.0.0.1:{}", free_port(), free_port());
        }
        let said = refusal(args, dir.path()).await;
        assert!(said.contains(&store), "{flag}: the path is not named: {said}");
        assert!(said.contains(difference), "{flag}: {said}");
    }
    // None of these has harmed it.
    cluster.restart(0);
    cluster.caught_up(0).await;
    cluster.assert_healthy();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_named() {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let taken = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let free = || format!("127.0.0.1:{}", free_port());
    let store = dir.path().join("store").display().to_string();
    let broker = |clients: &str, peers: &str| {
        let replica = format!("1={clients}/{peers}");
        ["broker", "--node", "1", "--replica", &replica, "--store", &store].map(str::to_owned).to_vec()
    };
    for (what, args) in [
        ("clients", broker(&taken, &free())),
        ("peers", broker(&free(), &taken)),
        ("name server", ["namesrv", "--listen", &taken].map(str::to_owned).to_vec()),
    ] {
        let said = refusal(args, dir.path()).await;
        assert!(said.contains(&taken), "{what}: the address is not named: {said}");
        assert!(said.contains("in use"), "{what}: {said}");
    }
}
