//! What a replica knows of the others, beside what Raft does: which formats they read
//! (`docs/decisions/0017-versions.md`), and how much of the log each once had on its disk
//! (`docs/decisions/0018-old-stores.md`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use openraft::async_runtime::watch::WatchReceiver;
use openraft::metrics::RaftDataMetrics;
use openraft::type_config::alias::WatchReceiverOf;
use parking_lot::Mutex;
use tokio::sync::watch;
use trireme_commitlog::{CommitLog, LogId};
use trireme_planted::{self as planted, Defect};

use crate::types::{NodeId, TypeConfig, from_raft};

/// The format version that every group begins with.
pub const OLDEST_VERSION: u32 = 1;
/// The newest format version that this program reads and writes.
pub const NEWEST_VERSION: u32 = 3;

/// What a replica had on its disk, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witnessed {
    /// The store that it had then; nothing is known of another one under the same number.
    pub store_id: u128,
    /// A committed entry. What is behind it in the log may lawfully be gone.
    pub last: LogId,
}

/// What a replica knows of the others.
pub struct Peers {
    us: NodeId,
    /// What we announce.
    version: u32,
    log: Option<Arc<CommitLog>>,
    /// What the group writes.
    group_version: AtomicU32,
    /// What others announced, the last time.
    versions: Mutex<BTreeMap<NodeId, u32>>,
    witnessed: Mutex<BTreeMap<NodeId, Witnessed>>,
    /// What the others have told this one while it leads.
    matched: OnceLock<WatchReceiverOf<TypeConfig, RaftDataMetrics<TypeConfig>>>,
    /// Why a peer takes our own store for an older copy.
    outdated: watch::Sender<Option<String>>,
}

impl Default for Peers {
    fn default() -> Self {
        Self::new(0, NEWEST_VERSION, None)
    }
}

impl Peers {
    /// Of the replica `us`, which announces `version` and has `log`.
    pub(crate) fn new(us: NodeId, version: u32, log: Option<Arc<CommitLog>>) -> Self {
        Self {
            us,
            version,
            log,
            group_version: AtomicU32::new(OLDEST_VERSION),
            versions: Mutex::default(),
            witnessed: Mutex::default(),
            matched: OnceLock::new(),
            outdated: watch::channel(None).0,
        }
    }

    pub(crate) fn watch(&self, metrics: WatchReceiverOf<TypeConfig, RaftDataMetrics<TypeConfig>>) {
        let is_first = self.matched.set(metrics).is_ok();
        debug_assert!(is_first, "a replica has one Raft");
    }

    /// The format version that this replica announces.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The format version that the group writes, as far as this replica has applied the log.
    pub fn group_version(&self) -> u32 {
        self.group_version.load(Ordering::Relaxed)
    }

    /// Takes over what the replicated state says.
    pub fn learn(&self, group_version: u32, witnessed: BTreeMap<NodeId, Witnessed>) {
        self.group_version.store(group_version, Ordering::Relaxed);
        *self.witnessed.lock() = witnessed;
    }

    /// What a replica announced, the last time that it was connected; our own.
    pub fn version_of(&self, node: NodeId) -> Option<u32> {
        if node == self.us { Some(self.version) } else { self.versions.lock().get(&node).copied() }
    }

    /// Why a peer takes this replica's store for an older copy of itself, once one does.
    pub fn outdated(&self) -> watch::Receiver<Option<String>> {
        self.outdated.subscribe()
    }

    /// A peer has announced what it reads.
    pub(crate) fn announced(&self, node: NodeId, version: u32) {
        self.versions.lock().insert(node, version);
    }

    /// Why a peer that announces `version` cannot belong to this group.
    pub(crate) fn too_old(&self, node: NodeId, version: u32) -> Option<String> {
        let ours = self.group_version();
        (version < ours).then(|| {
            format!(
                "the group writes formats of version {ours}, and node {node} reads those up to {version}: start a newer \
                 release there, or take its setting format-version out"
            )
        })
    }

    /// What we had on our own disk, as far as the replicated state says.
    pub fn witnessed(&self) -> Option<LogId> {
        self.witnessed.lock().get(&self.us).map(|seen| seen.last)
    }

    /// What the replica `node` with that store had on its disk, as far as is known here.
    pub(crate) fn had(&self, node: NodeId, store_id: u128) -> Option<LogId> {
        let witnessed = self.witnessed.lock().get(&node).copied();
        let witnessed = witnessed.filter(|seen| seen.store_id == store_id).map(|seen| seen.last);
        witnessed.max(self.matched(node))
    }

    /// Whether our own store is what it was: `peer` says that `had` was on its disk. Says why it is not; then this replica
    /// must stop, and whoever waits for [`Peers::outdated`] hears of it.
    ///
    /// It is for each to judge himself: what he had when somebody else looked, he has still.
    pub(crate) fn judge(&self, peer: NodeId, had: Option<LogId>) -> Result<(), String> {
        let Some(log) = self.log.as_ref() else { return Ok(()) };
        let has = log.flushed().max(log.trimmed());
        if had <= has || planted::is(Defect::OldStoreUsed) {
            return Ok(());
        }
        let shown = |id: Option<LogId>| id.map_or("nothing".to_owned(), |id| id.to_string());
        let (us, had, has) = (self.us, shown(had), shown(has));
        let reason = format!(
            "the log of node {us} ends with {has}, and {had} was on its disk before, says node {peer}: its store is an older \
             copy, or its disk has lost what it had synced. It has forgotten what it acknowledged and whom it voted for, so \
             it must not go on: start a new replica in its place (trireme admin replica replace)"
        );
        self.outdated.send_if_modified(|told| {
            let is_news = told.is_none();
            if is_news {
                tracing::error!(%reason, "this replica stops");
                *told = Some(reason.clone());
            }
            is_news
        });
        Err(reason)
    }

    /// The last committed entry that a member has told us, who lead, to be on its disk. What is not committed may lawfully
    /// be gone.
    pub(crate) fn matched(&self, node: NodeId) -> Option<LogId> {
        let metrics = self.matched.get()?.borrow_watched().clone();
        let replication = metrics.replication?;
        let matched = match node == self.us {
            true => self.log.as_ref()?.flushed(),
            false => replication.get(&node)?.as_ref().map(from_raft),
        };
        matched.min(metrics.local_committed.as_ref().map(from_raft))
    }
}

#[cfg(test)]
mod tests {
    use trireme_commitlog::faulty::FaultyDisk;
    use trireme_commitlog::{FrameBuf, Options};

    use super::*;

    fn id(term: u64, index: u64) -> LogId {
        LogId { term, index }
    }

    #[test]
    fn another_store_had_nothing() {
        let peers = Peers::default();
        assert_eq!(peers.had(2, 7), None);
        peers.learn(2, [(2, Witnessed { store_id: 7, last: id(3, 9) })].into());
        assert_eq!(peers.had(2, 7), Some(id(3, 9)));
        assert_eq!(peers.had(2, 8), None);
        assert_eq!(peers.had(3, 7), None);
    }

    #[test]
    fn who_has_less_than_it_had_is_outdated() {
        let log =
            CommitLog::open(FaultyDisk::new().handle(), Options { segment_bytes: 64 * 1024 }).expect("opens");
        for index in 0..4 {
            log.append(id(2, index), FrameBuf::new(1), |_, _| {}).expect("there is room");
        }
        log.flush().expect("the disk works");
        let peers = Peers::new(1, NEWEST_VERSION, Some(Arc::new(log)));
        for had in [None, Some(id(1, 9)), Some(id(2, 2)), Some(id(2, 3))] {
            assert_eq!(peers.judge(2, had), Ok(()), "{had:?}");
        }
        assert_eq!(*peers.outdated().borrow(), None);
        for had in [id(2, 4), id(3, 1)] {
            let reason = peers.judge(3, Some(had)).expect_err("it had more");
            assert!(reason.contains("node 3") && reason.contains(&had.to_string()), "{reason}");
        }
        assert!(
            peers.outdated().borrow().as_ref().is_some_and(|reason| reason.contains(&id(2, 4).to_string()))
        );
    }

    #[test]
    fn who_reads_less_than_is_written_is_told_so() {
        let peers = Peers::default();
        assert_eq!(peers.too_old(2, 1), None);
        peers.learn(2, BTreeMap::new());
        let told = peers.too_old(2, 1).expect("the group writes 2");
        assert!(told.contains("version 2") && told.contains("node 2"), "{told}");
        assert_eq!(peers.too_old(2, 2), None);
    }
}
