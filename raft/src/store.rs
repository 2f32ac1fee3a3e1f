//! Opening what a replica has on disk, and why that may fail.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use trireme_commitlog::{CommitLog, DiskDir, LogDir, Options};

use crate::config::ReplicaConfig;
use crate::hard_state::{HardState, HardStateError};
use crate::mend::Mend;
use crate::peers::Peers;

/// Why a replica does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A directory or file of the store cannot be used.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The identity or the vote.
    #[error(transparent)]
    HardState(#[from] HardStateError),
    /// The commit log.
    #[error("commit log in {path}: {source}")]
    Log {
        /// The directory.
        path: PathBuf,
        /// What recovery found.
        source: trireme_commitlog::OpenError,
    },
    /// The peer listener.
    #[error("cannot listen for peers on {addr}: {source}")]
    Listen {
        /// The address.
        addr: std::net::SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// Raft itself.
    #[error("raft: {0}")]
    Raft(String),
}

/// A store that is in use is waited for so long: a process that was killed holds it until all of its memory is given back.
const IN_USE_FOR: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

fn open_dir(path: &Path) -> io::Result<DiskDir> {
    let since = Instant::now();
    loop {
        match DiskDir::open(path) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && since.elapsed() < IN_USE_FOR => {
                std::thread::sleep(LOOK_AGAIN);
            }
            done => return done,
        }
    }
}

/// An opened store: what a broker needs to rebuild its state before the node starts.
pub struct Store {
    pub(crate) config: ReplicaConfig,
    /// The commit log, for reading.
    pub log: Arc<CommitLog>,
    /// Identity, vote and the broker's saved metadata.
    pub hard: HardState,
    /// What is known of the other replicas; whoever restores the replicated state tells it here.
    pub peers: Arc<Peers>,
    /// Who mends the log; with nobody, a replica that reads a damaged entry stops.
    pub mender: Option<Arc<dyn Mend>>,
}

impl Store {
    /// Opens the store of a replica, or makes it. Recovers the commit log. Blocks on the disk.
    ///
    /// `store_id` is a random number, used if the store is new.
    pub fn open(config: &ReplicaConfig, store_id: u128) -> Result<Self, StartError> {
        let path = config.store.join("commitlog");
        let files = open_dir(&path).map_err(|source| StartError::Io {
            what: "cannot open",
            path: path.clone(),
            source,
        })?;
        Self::open_with(config, store_id, Arc::new(files.with_cache(config.log_cache_bytes)))
    }

    /// As [`Store::open`], with the commit log's files in `dir`: for a disk that is not an ordinary one.
    pub fn open_with(
        config: &ReplicaConfig,
        store_id: u128,
        dir: Arc<dyn LogDir>,
    ) -> Result<Self, StartError> {
        let path = config.store.join("commitlog");
        let files = dir.list().map_err(|source| StartError::Io {
            what: "cannot list",
            path: path.clone(),
            source,
        })?;
        // The identity is durable before the log's first file is made, so a log without one lost it.
        let hard_path = config.store.join("hardstate");
        let hard = HardState::open(&hard_path, config.node, &config.settings, !files.is_empty(), store_id)?;
        hard.check_version(config.format_version)?;
        let options = Options { segment_bytes: config.settings.segment_bytes };
        let log =
            CommitLog::open(dir, options).map(Arc::new).map_err(|source| StartError::Log { path, source })?;
        let peers = Arc::new(Peers::new(config.node, config.format_version, Some(log.clone())));
        Ok(Self { config: config.clone(), log, hard, peers, mender: None })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// As after a kill -9 and a restart at once.
    #[test]
    fn who_is_about_to_end_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let held = DiskDir::open(dir.path()).unwrap();
        let told = DiskDir::open(dir.path()).err().unwrap();
        assert!(told.to_string().contains("in use by another process"), "{told}");
        std::thread::scope(|scope| {
            let next = scope.spawn(|| open_dir(dir.path()).map(drop));
            // It cannot have opened it by now, however slow the machine is.
            std::thread::sleep(Duration::from_millis(50));
            assert!(!next.is_finished());
            drop(held);
            next.join().unwrap().unwrap();
        });
    }
}
