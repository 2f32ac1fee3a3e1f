//! When to stop.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

/// Resolves when whoever holds the other end of standard input is gone.
pub async fn stdin_closed() {
    // What is written there means nothing; an error is as good as the end.
    let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await;
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
