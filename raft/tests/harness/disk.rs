//! A directory of files whose disk can be made slow, full or broken.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use trireme_commitlog::{DiskDir, LogDir, SegmentIo};

/// What is wrong with a disk; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Trouble(Arc<Knobs>);

#[derive(Debug, Default)]
struct Knobs {
    full: AtomicBool,
    broken: AtomicBool,
    delay_ms: AtomicU64,
    held: Mutex<bool>,
    released: Condvar,
}

impl Trouble {
    /// There is no space for another file.
    pub fn set_full(&self, full: bool) {
        self.0.full.store(full, Ordering::Release);
    }

    /// Syncs fail.
    pub fn set_broken(&self, broken: bool) {
        self.0.broken.store(broken, Ordering::Release);
    }

    /// Each sync takes so much longer.
    pub fn set_delay(&self, delay: Duration) {
        self.0.delay_ms.store(delay.as_millis() as u64, Ordering::Release);
    }

    /// Syncs do not return while held.
    pub fn hold(&self, held: bool) {
        *self.0.held.lock() = held;
        self.0.released.notify_all();
    }

    /// A real directory with this trouble.
    pub fn on_disk(&self, path: &std::path::Path) -> Arc<dyn LogDir> {
        self.on(Arc::new(DiskDir::open(path).unwrap()))
    }

    /// `dir` with this trouble.
    pub fn on(&self, dir: Arc<dyn LogDir>) -> Arc<dyn LogDir> {
        Arc::new(Dir { inner: dir, trouble: self.clone() })
    }

    fn sync(&self) -> io::Result<()> {
        std::thread::sleep(Duration::from_millis(self.0.delay_ms.load(Ordering::Acquire)));
        let mut held = self.0.held.lock();
        while *held {
            self.0.released.wait(&mut held);
        }
        if self.0.broken.load(Ordering::Acquire) {
            return Err(io::Error::other("the disk is broken"));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Dir {
    inner: Arc<dyn LogDir>,
    trouble: Trouble,
}

impl Dir {
    fn file(&self, name: &str, inner: Arc<dyn SegmentIo>) -> Arc<dyn SegmentIo> {
        // Only segments: the mark is small enough to find room, and a failing mark is another test.
        if !name.ends_with(".log") {
            return inner;
        }
        Arc::new(File { inner, trouble: self.trouble.clone() })
    }
}

impl LogDir for Dir {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn SegmentIo>> {
        Ok(self.file(name, self.inner.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn SegmentIo>> {
        Ok(self.file(name, self.inner.open(name)?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.inner.sync_dir()
    }

    fn path_of(&self, name: &str) -> String {
        self.inner.path_of(name)
    }
}

#[derive(Debug)]
struct File {
    inner: Arc<dyn SegmentIo>,
    trouble: Trouble,
}

impl SegmentIo for File {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn write_at(&self, pos: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(pos, bytes)
    }

    fn read_at(&self, pos: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(pos, buf)
    }

    fn slice(&self, pos: u64, len: u64) -> io::Result<Bytes> {
        self.inner.slice(pos, len)
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        if self.trouble.0.full.load(Ordering::Acquire) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inner.preallocate(len)
    }

    fn zero_range(&self, pos: u64, len: u64) -> io::Result<()> {
        self.inner.zero_range(pos, len)
    }

    fn prewrite(&self, pos: u64, len: u64) -> io::Result<()> {
        self.inner.prewrite(pos, len)
    }

    fn sync_prewritten(&self) -> io::Result<()> {
        self.trouble.sync()?;
        self.inner.sync_prewritten()
    }

    fn next_data(&self, pos: u64) -> io::Result<Option<u64>> {
        self.inner.next_data(pos)
    }

    fn sync(&self) -> io::Result<()> {
        self.trouble.sync()?;
        self.inner.sync()
    }

    fn release(&self) {
        self.inner.release();
    }
}
