//! What a replica must remember before it answers: who it is, and whom it voted for. In sled.
//!
//! The same database keeps the broker's replicated metadata together with the log id that it belongs
//! to, written as one batch. sled 0.34 is given but no longer developed; its successor changes this
//! file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use trireme_commitlog::LogId;
use trireme_planted::{self as planted, Defect};

use crate::codec::{self, DecodeError, WireLogId, WireStoredMembership, WireVote};
use crate::config::ClusterSettings;
use crate::peers::OLDEST_VERSION;
use crate::types::{NodeId, StoredMembership, Vote};

/// How long a database that was just closed is waited for.
const RELEASE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// sled's log, in its directory.
const LOG: &str = "db";

const IDENTITY: &[u8] = b"identity";
const VOTE: &[u8] = b"vote";
const COMMITTED: &[u8] = b"committed";
const MEMBERSHIP: &[u8] = b"membership";
const STATE_LOG_ID: &[u8] = b"\0log_id";

/// Whose store this is. Written once, when the store is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The format version that the group writes, as far as is known: a release that does not read it refuses the store.
    pub version: u32,
    /// Random; tells this store from any other that ever had the same node number.
    pub store_id: u128,
    /// The replica's number in its group.
    pub node: NodeId,
    /// The cluster-wide settings that the store was made with.
    pub settings: ClusterSettings,
}

/// The broker's replicated metadata as of one log id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredState {
    /// The last entry whose effect is contained; `None` for "nothing applied yet".
    pub log_id: Option<LogId>,
    /// One encoded value per feature.
    pub parts: BTreeMap<String, Vec<u8>>,
}

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HardStateError {
    /// The database failed.
    #[error("hard state in {path}: {source}")]
    Database {
        /// The directory.
        path: PathBuf,
        /// sled's error.
        source: sled::Error,
    },
    /// A value does not decode: the store must not vote.
    #[error("hard state in {path} is damaged: {source}; replace this replica by a new one with a new id")]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What did not decode.
        source: DecodeError,
    },
    /// The store is somebody else's.
    #[error("the store in {path} belongs to another replica: {difference}")]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// In words.
        difference: String,
    },
    /// A file of it failed.
    #[error("hard state in {path}: {source}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is a log but no identity: the hard state was lost, so this store may not vote.
    #[error(
        "the store in {path} has a log but its hard state is gone; a store that forgot its vote must not \
         vote: move it away and add a replica with a new id"
    )]
    Lost {
        /// The directory.
        path: PathBuf,
    },
}

/// The hard state of one replica.
#[derive(Clone)]
pub struct HardState {
    path: PathBuf,
    database: Closing<sled::Db>,
    /// sled's log. Of it sled syncs ranges alone (`sync_file_range`), which makes neither the file's length nor new blocks
    /// durable, nor empties the disk's own cache: what must last is synced here.
    file: Arc<File>,
    hard: Closing<sled::Tree>,
    state: Closing<sled::Tree>,
    identity: Identity,
}

/// What keeps the database open. Whichever is dropped last closes it: sled then syncs, and panics where that fails, as on a disk
/// that has failed before. That is told already, and nothing is lost by it.
#[derive(Clone)]
struct Closing<T>(Option<T>);

impl<T> Deref for Closing<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("taken when it is dropped only")
    }
}

impl<T> Drop for Closing<T> {
    fn drop(&mut self) {
        let last = self.0.take();
        if catch_unwind(AssertUnwindSafe(|| drop(last))).is_err() {
            tracing::warn!("the hard state was closed on a disk that fails");
        }
    }
}

impl HardStateError {
    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

impl HardState {
    /// Opens the hard state below `path`, or makes it if the replica is new. `has_log` says that the
    /// directory already holds log segments, which a new replica cannot have. Blocks on the disk.
    ///
    /// The caller holds the lock of the replica's log directory, so that nobody else has the database open.
    pub fn open(
        path: &Path,
        node: NodeId,
        settings: &ClusterSettings,
        has_log: bool,
        new_store_id: u128,
    ) -> Result<Self, HardStateError> {
        let found = match path.join(LOG).try_exists().map_err(|source| HardStateError::io(path, source))? {
            true => Self::of(path, open_unlocked(path))?,
            false => None,
        };
        let this = match found {
            Some(this) => this,
            None if has_log => return Err(HardStateError::Lost { path: path.to_owned() }),
            None => {
                let settings = settings.clone();
                create(path, &Identity { version: OLDEST_VERSION, store_id: new_store_id, node, settings })?;
                let made = Self::of(path, open_unlocked(path))?;
                made.ok_or_else(|| HardStateError::Lost { path: path.to_owned() })?
            }
        };
        check_identity(path, &this.identity, node, settings)?;
        Ok(this)
    }

    /// `None` if nobody is named in it.
    fn of(path: &Path, database: sled::Result<sled::Db>) -> Result<Option<Self>, HardStateError> {
        let failed = |source| HardStateError::Database { path: path.to_owned(), source };
        let database = database.map_err(failed)?;
        let hard = database.open_tree("hard").map_err(failed)?;
        let state = database.open_tree("state").map_err(failed)?;
        let Some(bytes) = hard.get(IDENTITY).map_err(failed)? else { return Ok(None) };
        let identity = codec::decode("identity", &bytes)
            .map_err(|source| HardStateError::Damaged { path: path.to_owned(), source })?;
        let file = File::open(path.join(LOG)).map_err(|source| HardStateError::io(path, source))?;
        let (database, hard, state) = (Closing(Some(database)), Closing(Some(hard)), Closing(Some(state)));
        Ok(Some(Self { path: path.to_owned(), database, file: Arc::new(file), hard, state, identity }))
    }

    /// Opens an existing hard state to look at it, whoever it belongs to: see [`crate::inspect`].
    ///
    /// `path` must be a copy. sled locks and tidies what it opens, and takes some damage for a reason to panic.
    pub fn inspect(path: &Path) -> Result<Self, HardStateError> {
        let lost = || HardStateError::Lost { path: path.to_owned() };
        Self::of(path, config(path).open())?.ok_or_else(lost)
    }

    /// Whose store this is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Refuses a store whose group writes newer formats than `newest`.
    pub(crate) fn check_version(&self, newest: u32) -> Result<(), HardStateError> {
        let written = self.identity.version;
        if written <= newest {
            return Ok(());
        }
        let difference = format!(
            "its group writes formats of version {written}, and this replica reads those up to {newest}: start the newer \
             release again, or take its setting format-version out"
        );
        Err(HardStateError::Foreign { path: self.path.clone(), difference })
    }

    /// The group writes formats of this version, from now on. Durable when it returns. Blocks on the disk.
    pub fn raise_version(&self, version: u32) -> Result<(), HardStateError> {
        let known = self.read::<Identity>(IDENTITY, "identity")?.map_or(0, |identity| identity.version);
        if version <= known {
            return Ok(());
        }
        self.write(IDENTITY, &Identity { version, ..self.identity.clone() })?;
        self.flush()
    }

    pub(crate) fn vote(&self) -> Result<Option<Vote>, HardStateError> {
        if planted::is(Defect::VoteForgotten) {
            return Ok(None);
        }
        Ok(self.read::<WireVote>(VOTE, "vote")?.map(Vote::from))
    }

    /// Durable when it returns. The caller has flushed the log before (`io_ordering`, openraft).
    pub(crate) fn save_vote(&self, vote: &Vote) -> Result<(), HardStateError> {
        self.write(VOTE, &WireVote::from(vote))?;
        self.flush()
    }

    /// The commit mark that was last saved. It may trail what was promised: it only shortens a restart.
    pub fn committed(&self) -> Result<Option<LogId>, HardStateError> {
        let id: Option<WireLogId> = self.read(COMMITTED, "commit mark")?;
        Ok(id.flatten().map(|(term, index)| LogId { term, index }))
    }

    /// Not durable by itself: the next flush of anything takes it along.
    pub(crate) fn save_committed(&self, id: Option<LogId>) -> Result<(), HardStateError> {
        self.write::<WireLogId>(COMMITTED, &id.map(|id| (id.term, id.index)))
    }

    pub(crate) fn membership(&self) -> Result<StoredMembership, HardStateError> {
        match self.read::<WireStoredMembership>(MEMBERSHIP, "membership")? {
            None => Ok(StoredMembership::default()),
            Some(wire) => StoredMembership::try_from(wire)
                .map_err(|source| HardStateError::Damaged { path: self.path.clone(), source }),
        }
    }

    /// Durable when it returns.
    pub(crate) fn save_membership(&self, membership: &StoredMembership) -> Result<(), HardStateError> {
        self.write(MEMBERSHIP, &WireStoredMembership::from(membership))?;
        self.flush()
    }

    /// Replaces the broker's metadata as one batch; durable when it returns. Blocks on the disk.
    pub fn save_state(&self, state: &StoredState) -> Result<(), HardStateError> {
        let mut batch = sled::Batch::default();
        for key in self.state.iter().keys() {
            let key = key.map_err(|source| self.failed(source))?;
            if key.as_ref() != STATE_LOG_ID && !state.parts.contains_key(&*String::from_utf8_lossy(&key)) {
                batch.remove(key);
            }
        }
        let id: WireLogId = state.log_id.map(|id| (id.term, id.index));
        batch.insert(STATE_LOG_ID, codec::encode(&id));
        for (name, bytes) in &state.parts {
            batch.insert(name.as_bytes(), bytes.as_slice());
        }
        self.state.apply_batch(batch).map_err(|source| self.failed(source))?;
        self.flush()
    }

    /// The metadata as last saved.
    pub fn load_state(&self) -> Result<StoredState, HardStateError> {
        let mut loaded = StoredState::default();
        for pair in self.state.iter() {
            let (key, value) = pair.map_err(|source| self.failed(source))?;
            if key.as_ref() == STATE_LOG_ID {
                let id: WireLogId = codec::decode("state's log id", &value)
                    .map_err(|source| HardStateError::Damaged { path: self.path.clone(), source })?;
                loaded.log_id = id.map(|(term, index)| LogId { term, index });
            } else {
                loaded.parts.insert(String::from_utf8_lossy(&key).into_owned(), value.to_vec());
            }
        }
        Ok(loaded)
    }

    fn read<T: serde::de::DeserializeOwned>(
        &self,
        key: &[u8],
        what: &'static str,
    ) -> Result<Option<T>, HardStateError> {
        let Some(bytes) = self.hard.get(key).map_err(|source| self.failed(source))? else { return Ok(None) };
        codec::decode(what, &bytes)
            .map(Some)
            .map_err(|source| HardStateError::Damaged { path: self.path.clone(), source })
    }

    fn write<T: Serialize>(&self, key: &[u8], value: &T) -> Result<(), HardStateError> {
        self.hard.insert(key, codec::encode(value)).map_err(|source| self.failed(source))?;
        Ok(())
    }

    fn flush(&self) -> Result<(), HardStateError> {
        self.database.flush().map_err(|source| self.failed(source))?;
        if planted::is(Defect::HardStateNotSynced) {
            return Ok(());
        }
        self.file.sync_data().map_err(|source| HardStateError::io(&self.path, source))
    }

    fn failed(&self, source: sled::Error) -> HardStateError {
        HardStateError::Database { path: self.path.clone(), source }
    }
}

fn config(path: &Path) -> sled::Config {
    sled::Config::new()
        .path(path)
        .cache_capacity(8 * 1024 * 1024)
        .flush_every_ms(None)
        .mode(sled::Mode::HighThroughput)
}

/// Makes a hard state that is there as a whole or not at all: sled does not sync all of the files that it cannot be opened
/// without.
fn create(path: &Path, identity: &Identity) -> Result<(), HardStateError> {
    let new = path.with_extension("new");
    let failed = |source| HardStateError::Database { path: new.clone(), source };
    let io = |source| HardStateError::io(&new, source);
    // What was begun and never used: a store that names nobody has promised nothing.
    for begun in [&*new, path] {
        match fs::remove_dir_all(begun) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
    }
    {
        let database = config(&new).open().map_err(failed)?;
        let hard = database.open_tree("hard").map_err(failed)?;
        hard.insert(IDENTITY, codec::encode(identity)).map_err(failed)?;
        database.flush().map_err(failed)?;
    }
    // Until sled's threads have let go of it, they may write to it still.
    drop(open_unlocked(&new).map_err(failed)?);
    if !planted::is(Defect::NewStoreNotSynced) {
        sync_all(&new).map_err(io)?;
    }
    fs::rename(&new, path).map_err(io)?;
    path.parent().map_or(Ok(()), sync_dir).map_err(io)
}

/// Syncs a directory and all that is in it.
fn sync_all(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => sync_all(&entry.path())?,
            false => File::open(entry.path())?.sync_all()?,
        }
    }
    sync_dir(dir)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Opens the database, and waits for one that is being let go.
///
/// Dropping a `sled::Db` does not release its lock: work in sled's own threads holds it a little longer
/// (spacejam/sled#1234). Since the store's lock is ours, whoever has this one is on its way out.
fn open_unlocked(path: &Path) -> sled::Result<sled::Db> {
    let since = Instant::now();
    while is_locked(&path.join(LOG)) && since.elapsed() < RELEASE {
        std::thread::sleep(LOOK_AGAIN);
    }
    config(path).open()
}

/// Whether somebody holds the lock that sled takes.
fn is_locked(log: &Path) -> bool {
    let tried = File::open(log).map(|file| file.try_lock());
    matches!(tried, Ok(Err(fs::TryLockError::WouldBlock)))
}

fn check_identity(
    path: &Path,
    found: &Identity,
    node: NodeId,
    settings: &ClusterSettings,
) -> Result<(), HardStateError> {
    let mut differences = Vec::new();
    if found.node != node {
        differences.push(format!("it is node {}, this replica is configured as node {node}", found.node));
    }
    differences.extend(
        settings.differences(&found.settings).into_iter().map(|d| d.replace("the peer", "the store")),
    );
    if differences.is_empty() {
        return Ok(());
    }
    Err(HardStateError::Foreign { path: path.to_owned(), difference: differences.join("; ") })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn settings(cluster: &str) -> ClusterSettings {
        ClusterSettings { cluster: cluster.into(), group: "broker-a".into(), segment_bytes: 1 << 20 }
    }

    #[test]
    fn what_was_saved_is_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let vote = Vote::new_committed(3, 2);
        let state = StoredState {
            log_id: Some(LogId { term: 3, index: 17 }),
            parts: [("topics".to_owned(), vec![1, 2, 3])].into(),
        };
        {
            let store = HardState::open(dir.path(), 1, &settings("c"), false, 42).unwrap();
            store.save_vote(&vote).unwrap();
            let old = [("gone".to_owned(), vec![9])].into();
            store.save_state(&StoredState { log_id: None, parts: old }).unwrap();
            store.save_state(&state).unwrap();
        }
        let store = HardState::open(dir.path(), 1, &settings("c"), true, 43).unwrap();
        assert_eq!(store.vote().unwrap(), Some(vote));
        assert_eq!(store.load_state().unwrap(), state);
        assert_eq!(store.identity().store_id, 42, "a store keeps its id");
    }

    #[test]
    fn a_foreign_or_forgetful_store_is_refused_in_words() {
        let dir = tempfile::tempdir().unwrap();
        drop(HardState::open(dir.path(), 1, &settings("blue"), false, 42).unwrap());
        let check = |node, settings: &ClusterSettings, expect: &str| {
            let error = HardState::open(dir.path(), node, settings, true, 1).err().unwrap().to_string();
            assert!(error.contains(expect), "{error}");
        };
        check(1, &settings("red"), "cluster name is red here and blue at the store");
        check(2, &settings("blue"), "it is node 1, this replica is configured as node 2");
        let empty = tempfile::tempdir().unwrap();
        let lost = HardState::open(empty.path(), 1, &settings("blue"), true, 1).err().unwrap();
        assert!(matches!(lost, HardStateError::Lost { .. }));
    }

    #[test]
    fn a_store_of_newer_formats_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let open = || HardState::open(dir.path(), 1, &settings("blue"), true, 42);
        drop(HardState::open(dir.path(), 1, &settings("blue"), false, 42).unwrap());
        open().unwrap().check_version(1).unwrap();
        open().unwrap().raise_version(2).unwrap();
        open().unwrap().raise_version(1).unwrap();
        let store = open().unwrap();
        let refused = store.check_version(1).unwrap_err().to_string();
        assert!(refused.contains("version 2") && refused.contains("up to 1"), "{refused}");
        store.check_version(2).unwrap();
    }

    /// The power was cut while the store was made: whatever is there of it, it is made again.
    #[test]
    fn what_was_begun_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hardstate");
        let new = path.with_extension("new");
        for begun in [&path, &new] {
            fs::create_dir(begun).unwrap();
            fs::write(begun.join("conf"), "").unwrap();
        }
        let made = HardState::open(&path, 1, &settings("blue"), false, 42).unwrap();
        assert_eq!(made.identity().store_id, 42);
        assert!(!new.exists());
    }

    /// sled lets go of its lock some time after it was dropped; a restart must not fail for that.
    #[test]
    fn a_database_that_is_being_let_go_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let open = || HardState::open(dir.path(), 1, &settings("blue"), false, 42);
        let held = open().unwrap();
        assert!(is_locked(&dir.path().join(LOG)) && sled::open(dir.path()).is_err());
        std::thread::scope(|scope| {
            let next = scope.spawn(open);
            // It cannot have opened by now, however slow the machine is: it is locked.
            std::thread::sleep(Duration::from_millis(50));
            assert!(!next.is_finished());
            drop(held);
            assert_eq!(next.join().unwrap().unwrap().identity().store_id, 42);
        });
    }
}
