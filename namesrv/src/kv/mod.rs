//! The KV configuration: text by namespace and key, which administrators put and clients read.
//!
//! RocketMQ keeps in it the queues of ordered topics (`ORDER_TOPIC_CONFIG`). Reads are from memory. Changes are
//! made by one thread, one after the other, and are in the file before they are answered or can be read. Name
//! servers do not share it: a tool puts a value at every one of them.

mod file;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use parking_lot::RwLock;
use thiserror::Error;
use trireme_remoting::json::JsonError;

/// The namespace of ordered topics: key topic, value `brokerName:queues;...`.
pub const ORDER_TOPIC_CONFIG: &str = "ORDER_TOPIC_CONFIG";

const MAX_NAMESPACE_BYTES: usize = 127;
const MAX_KEY_BYTES: usize = 255;
/// A value travels in a header, which has 64 KiB in all.
const MAX_VALUE_BYTES: usize = 32 * 1024;
/// All of it, so that the file stays quick to rewrite and a namespace fits one answer.
const MAX_TOTAL_BYTES: usize = 8 * 1024 * 1024;
/// What an entry counts for besides its text: its places in the maps.
const ENTRY_BYTES: usize = 64;
/// Changes that wait for the thread.
const MAX_WAITING: usize = 128;

/// Values by key, by namespace. No namespace is empty.
type Table = BTreeMap<String, BTreeMap<String, String>>;

/// A handle to the configuration.
#[derive(Debug)]
pub struct KvConfig {
    table: Arc<RwLock<Arc<Table>>>,
    changes: SyncSender<Job>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Sets a value, in place of an earlier one.
    Put {
        /// Where.
        namespace: String,
        /// Under which name.
        key: String,
        /// To what.
        value: String,
    },
    /// Removes a value, if there is one.
    Delete {
        /// Where.
        namespace: String,
        /// Under which name.
        key: String,
    },
}

/// Why the configuration cannot be read, or was not changed.
#[derive(Debug, Error)]
pub enum KvError {
    /// The file is there and cannot be read.
    #[error("kv configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("kv configuration {path} is malformed: {source}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where.
        source: JsonError,
    },
    /// The change could not be made durable, and cannot be read. It may still be there after a restart.
    #[error("kv configuration {path} cannot be written: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A namespace, key or value is empty, too long, or holds control characters.
    #[error("{what} must have 1 to {max} bytes and no control characters")]
    Bad {
        /// Which of them.
        what: &'static str,
        /// Its longest.
        max: usize,
    },
    /// There is no room for the value.
    #[error("the kv configuration is full: {max} bytes")]
    Full {
        /// What it takes in all.
        max: usize,
    },
    /// Too many changes wait; the disk does not keep up.
    #[error("{max} changes of the kv configuration wait already")]
    Busy {
        /// How many may.
        max: usize,
    },
    /// The thread that makes changes could not be started.
    #[error("starting the thread of the kv configuration: {0}")]
    Thread(io::Error),
}

struct Job {
    change: Change,
    done: Box<dyn FnOnce(Result<(), KvError>) + Send>,
}

impl KvConfig {
    /// Reads the file, which may be missing, and starts the thread that changes it; without a path everything is
    /// in memory alone. The thread ends with the handle.
    pub fn open(path: Option<PathBuf>) -> Result<Self, KvError> {
        let table = match &path {
            Some(path) => file::read(path)?,
            None => Table::new(),
        };
        let table = Arc::new(RwLock::new(Arc::new(table)));
        let (changes, waiting) = sync_channel(MAX_WAITING);
        let shared = table.clone();
        std::thread::Builder::new()
            .name("namesrv-kv".to_owned())
            .spawn(move || make_changes(&waiting, &shared, path.as_deref()))
            .map_err(KvError::Thread)?;
        Ok(Self { table, changes })
    }

    /// The value of a key.
    pub fn get(&self, namespace: &str, key: &str) -> Option<String> {
        self.table.read().get(namespace)?.get(key).cloned()
    }

    /// All of a namespace; none if it has no values.
    pub fn namespace(&self, namespace: &str) -> Option<BTreeMap<String, String>> {
        self.table.read().get(namespace).cloned()
    }

    /// Makes a change and then calls `done`, on another thread; at once, and here, if the change is refused.
    ///
    /// The change is durable when `done` is called with success. Changes are made in the order of the calls.
    pub fn change(&self, change: Change, done: impl FnOnce(Result<(), KvError>) + Send + 'static) {
        if let Err(refusal) = change.check() {
            return done(Err(refusal));
        }
        match self.changes.try_send(Job { change, done: Box::new(done) }) {
            Ok(()) => {}
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
                (job.done)(Err(KvError::Busy { max: MAX_WAITING }));
            }
        }
    }
}

fn make_changes(waiting: &Receiver<Job>, shared: &RwLock<Arc<Table>>, path: Option<&std::path::Path>) {
    while let Ok(Job { change, done }) = waiting.recv() {
        let mut table = Table::clone(&shared.read());
        let made =
            change.make(&mut table).and_then(|()| path.map_or(Ok(()), |path| file::write(path, &table)));
        if made.is_ok() {
            *shared.write() = Arc::new(table);
        }
        done(made);
    }
}

impl Change {
    fn check(&self) -> Result<(), KvError> {
        let (Change::Put { namespace, key, .. } | Change::Delete { namespace, key }) = self;
        check("namespace", namespace, MAX_NAMESPACE_BYTES)?;
        check("key", key, MAX_KEY_BYTES)?;
        match self {
            Change::Put { value, .. } => check("value", value, MAX_VALUE_BYTES),
            Change::Delete { .. } => Ok(()),
        }
    }

    fn make(self, table: &mut Table) -> Result<(), KvError> {
        match self {
            Change::Put { namespace, key, value } => {
                table.entry(namespace).or_default().insert(key, value);
                let bytes = |(key, value): (&String, &String)| key.len() + value.len() + ENTRY_BYTES;
                let total: usize = table.values().flatten().map(bytes).sum();
                if total > MAX_TOTAL_BYTES {
                    return Err(KvError::Full { max: MAX_TOTAL_BYTES });
                }
            }
            Change::Delete { namespace, key } => {
                if let Some(values) = table.get_mut(&namespace) {
                    values.remove(&key);
                    if values.is_empty() {
                        table.remove(&namespace);
                    }
                }
            }
        }
        Ok(())
    }
}

fn check(what: &'static str, text: &str, max: usize) -> Result<(), KvError> {
    let good = (1..=max).contains(&text.len()) && !text.chars().any(char::is_control);
    if good { Ok(()) } else { Err(KvError::Bad { what, max }) }
}

#[cfg(test)]
mod tests;
