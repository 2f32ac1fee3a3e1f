//! A directory that can be watched.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use trireme_commitlog::{LogDir, SegmentIo};

/// What is about to be done to a file.
#[allow(dead_code, reason = "not every test looks at both")]
pub enum Access<'a> {
    Read(u64),
    Write(u64, &'a [u8]),
    Prewrite(u64),
    /// Zeros were written, and are about to be made durable.
    SyncPrewritten,
    /// That is done, and nobody knows yet how it ended.
    Prewritten,
}

type OnAccess = Arc<dyn Fn(Access<'_>) + Send + Sync>;

/// A directory that calls a closure before each read and write, and after zeros.
pub struct Watched(Arc<dyn LogDir>, OnAccess);

struct WatchedFile(Arc<dyn SegmentIo>, OnAccess);

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for WatchedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Watched {
    pub fn new(dir: Arc<dyn LogDir>, on_access: impl Fn(Access<'_>) + Send + Sync + 'static) -> Arc<Watched> {
        Arc::new(Watched(dir, Arc::new(on_access)))
    }

    fn file(&self, file: Arc<dyn SegmentIo>) -> Arc<dyn SegmentIo> {
        Arc::new(WatchedFile(file, Arc::clone(&self.1)))
    }
}

impl LogDir for Watched {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn SegmentIo>> {
        Ok(self.file(self.0.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn SegmentIo>> {
        Ok(self.file(self.0.open(name)?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.0.sync_dir()
    }

    fn path_of(&self, name: &str) -> String {
        self.0.path_of(name)
    }
}

impl SegmentIo for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn write_at(&self, pos: u64, bytes: &[u8]) -> io::Result<()> {
        (self.1)(Access::Write(pos, bytes));
        self.0.write_at(pos, bytes)
    }

    fn read_at(&self, pos: u64, buf: &mut [u8]) -> io::Result<usize> {
        (self.1)(Access::Read(buf.len() as u64));
        self.0.read_at(pos, buf)
    }

    fn slice(&self, pos: u64, len: u64) -> io::Result<Bytes> {
        (self.1)(Access::Read(len));
        self.0.slice(pos, len)
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.0.preallocate(len)
    }

    fn zero_range(&self, pos: u64, len: u64) -> io::Result<()> {
        self.0.zero_range(pos, len)
    }

    fn prewrite(&self, pos: u64, len: u64) -> io::Result<()> {
        (self.1)(Access::Prewrite(pos));
        self.0.prewrite(pos, len)
    }

    fn sync_prewritten(&self) -> io::Result<()> {
        (self.1)(Access::SyncPrewritten);
        let result = self.0.sync_prewritten();
        (self.1)(Access::Prewritten);
        result
    }

    fn next_data(&self, pos: u64) -> io::Result<Option<u64>> {
        self.0.next_data(pos)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn release(&self) {
        self.0.release();
    }
}
