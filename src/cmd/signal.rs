//! When to stop.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

/// Resolves when whoever holds the other end of standard input is gone.
pub async fn stdin_closed() {
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    // A thread of its own: one of the runtime's keeps a process that was told to stop from ending while it reads.
    std::thread::spawn(move || {
        // What is written there means nothing; an error is as good as the end.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        drop(tell);
    });
    // Nothing is sent; the sender's end is the message.
    let _ = told.await;
}

/// Resolves on Ctrl-C or SIGTERM.
pub async fn stop() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
