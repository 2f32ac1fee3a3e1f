//! Logging to standard error; `TRIREME_LOG` says what (for example `debug` or `trireme_raft=trace`).

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging from `level` on. openraft tells of every retry as an error; its own view of things is
/// shown only when asked for, ours says what an operator must know.
pub fn start(level: &str) {
    let chosen = EnvFilter::try_from_env("TRIREME_LOG");
    let filter = chosen.unwrap_or_else(|_| EnvFilter::new(format!("{level},openraft=off")));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
}
