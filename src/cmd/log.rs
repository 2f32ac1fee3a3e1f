//! Logging to standard error; `TRIREME_LOG` says what (for example `debug` or `trireme_raft=trace`).

use tracing_subscriber::EnvFilter;

/// Starts logging. openraft tells of every retry as an error; its own view of things is shown only when
/// asked for, ours says what an operator must know.
pub fn start() {
    let filter =
        EnvFilter::try_from_env("TRIREME_LOG").unwrap_or_else(|_| EnvFilter::new("info,openraft=off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
}
