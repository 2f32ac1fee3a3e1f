//! [`LogDir`] on a real directory: positioned writes, `fdatasync`, reads through maps.

#[cfg(test)]
mod bound_test;
mod cache;
mod leaving;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::fs::{Advice, FallocateFlags, SeekFrom};
use rustix::io::Errno;
use trireme_planted::{self as planted, Defect};

use self::cache::{Cache, GRANULE, Granules, PIECE, READ_AHEAD, pieces};
use self::leaving::{Leaving, Life};
use crate::dir::{LogDir, PAGE, SegmentIo};
use crate::mmap::Map;

/// Zeros to write, again and again: few enough to stay in the processor's nearest cache.
static ZEROS: [u8; 16 << 10] = [0; 16 << 10];

/// A directory on a local file system, locked for this process while it lives.
#[derive(Debug)]
pub struct DiskDir {
    path: PathBuf,
    /// Holds the lock; also what `sync_dir` syncs.
    handle: File,
    /// Files are opened for writing too.
    writable: bool,
    /// How much memory they may take; `None`: as much as the kernel gives.
    cache: Option<Arc<Cache>>,
    leaving: Leaving,
    loading: Arc<Mutex<()>>,
}

impl DiskDir {
    /// Opens `path`, creating it (and its parents) if it is missing, and locks it.
    ///
    /// `WouldBlock` if another process, or another `DiskDir`, holds it: two writers would destroy each other's log.
    pub fn open(path: impl AsRef<Path>) -> io::Result<DiskDir> {
        let path = path.as_ref().to_path_buf();
        fs::create_dir_all(&path)?;
        let handle = File::open(&path)?;
        handle.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::WouldBlock, "it is in use by another process")
            }
            TryLockError::Error(error) => error,
        })?;
        Ok(DiskDir {
            path,
            handle,
            writable: true,
            cache: None,
            leaving: Leaving::new(),
            loading: Arc::default(),
        })
    }

    /// Opens an existing `path` without locking it: for [`crate::inspect`], which changes nothing, beside whoever holds
    /// the lock. Its files are opened for reading only, so the right to read is enough. A log must not be opened in it.
    pub fn open_to_inspect(path: impl AsRef<Path>) -> io::Result<DiskDir> {
        let path = path.as_ref().to_path_buf();
        let handle = File::open(&path)?;
        Ok(DiskDir {
            path,
            handle,
            writable: false,
            cache: None,
            leaving: Leaving::new(),
            loading: Arc::default(),
        })
    }

    /// Files that are opened from now on take about `bytes` of memory in the page cache, all together, instead of as
    /// much as the kernel gives. What was used last stays. Whoever owns the log calls
    /// [`LogDir::shrink_cache`](LogDir::shrink_cache) now and then; in between it may be more.
    pub fn with_cache(mut self, bytes: u64) -> DiskDir {
        self.cache = Some(Arc::new(Cache::new(bytes)));
        self
    }

    fn file(&self, name: &str, files: Option<Files>) -> Arc<dyn SegmentIo> {
        Arc::new_cyclic(|this| DiskSegment {
            path: self.path.join(name),
            writable: self.writable,
            open: Mutex::new(Open { files: files.map(Arc::new), map: None }),
            life: self.leaving.begin(name),
            cached: self.cache.clone().map(|cache| Cached {
                cache,
                this: this.clone(),
                granules: OnceLock::new(),
            }),
            loading: Arc::clone(&self.loading),
        })
    }
}

impl LogDir for DiskDir {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // A name that is not UTF-8 is not one of the log's.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn SegmentIo>> {
        let path = self.path.join(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        let ahead = OpenOptions::new().write(true).open(&path)?;
        Ok(self.file(name, Some(Files { file, ahead: Some(ahead) })))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn SegmentIo>> {
        fs::metadata(self.path.join(name))?;
        Ok(self.file(name, None))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.path.join(name);
        // Without a descriptor it goes at once, which is no worse than slow.
        let file = OpenOptions::new().write(true).open(&path).ok();
        fs::remove_file(path)?;
        self.leaving.end(name, file);
        Ok(())
    }

    fn free_removed(&self) {
        self.leaving.step();
    }

    fn leaving_bytes(&self) -> u64 {
        self.leaving.bytes()
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn path_of(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    fn shrink_cache(&self) {
        if let Some(cache) = &self.cache {
            cache.shrink();
        }
    }
}

/// One file. Its descriptor is opened on first use and let go of by `release`, so that a log of thousands of sealed
/// segments does not hold thousands of descriptors; the map needs none.
#[derive(Debug)]
struct DiskSegment {
    path: PathBuf,
    writable: bool,
    open: Mutex<Open>,
    life: Arc<Life>,
    cached: Option<Cached>,
    /// Held while a piece is read from the disk for somebody who waits: one at a time in the whole directory, so that a
    /// sync has little to wait behind. More at once are hardly faster.
    loading: Arc<Mutex<()>>,
}

#[derive(Debug)]
struct Open {
    files: Option<Arc<Files>>,
    map: Option<Map>,
}

/// One file's descriptors.
#[derive(Debug)]
struct Files {
    file: File,
    /// Opened once more, for [`SegmentIo::prewrite`]; `None` if the file is only read. The kernel tells each open file that
    /// a write was lost, once: what is told here is told to `file` too. Source: fsync(2), on Linux from 4.13.
    ahead: Option<File>,
}

/// A file's part in the directory's bound for memory.
#[derive(Debug)]
struct Cached {
    cache: Arc<Cache>,
    this: Weak<DiskSegment>,
    /// Made at the first use, when the file has its length.
    granules: OnceLock<Granules>,
}

impl DiskSegment {
    fn files(&self) -> io::Result<Arc<Files>> {
        let mut open = self.open.lock();
        if let Some(files) = &open.files {
            return Ok(Arc::clone(files));
        }
        let file = OpenOptions::new().read(true).write(self.writable).open(&self.path)?;
        let ahead = match self.writable {
            true => Some(OpenOptions::new().write(true).open(&self.path)?),
            false => None,
        };
        let files = Arc::new(Files { file, ahead });
        open.files = Some(Arc::clone(&files));
        Ok(files)
    }

    /// The map of the whole file, made at first use. The log maps a file only after `preallocate` or the last write
    /// that extends it, so the map never needs to grow. It keeps no descriptor open.
    fn map(&self) -> io::Result<Map> {
        let mut open = self.open.lock();
        if let Some(map) = &open.map {
            return Ok(map.clone());
        }
        let map = self.life.map(|| {
            let map = match &open.files {
                Some(files) => Map::of(&files.file)?,
                None => Map::of(&File::open(&self.path)?)?,
            };
            let weak = map.downgrade();
            Ok((map, weak))
        })?;
        if self.cached.is_some() {
            map.read_only_what_is_asked_for();
        }
        open.map = Some(map.clone());
        Ok(map)
    }

    /// The range was written just now.
    fn written(&self, pos: u64, len: u64) {
        self.used(pos, len);
        if let Some(granules) = self.granules() {
            granules.keep_ahead(pos + len);
        }
    }

    /// Reads what is not in memory of the range, and waits for it.
    fn load_pieces(&self, map: &Map, pos: u64, asked: u64) -> io::Result<()> {
        self.used(pos, asked);
        let is_loaded = |at| self.granules().is_some_and(|granules| granules.is_loaded(at));
        for at in pieces(pos, asked) {
            if is_loaded(at) {
                continue;
            }
            let _one = self.loading.lock();
            if !is_loaded(at) {
                let len = PIECE.min(map.bytes.len() as u64 - at);
                // In one request; the pages one by one would be many.
                let _ = map.read_ahead(at, len);
                if map.load(at, len).is_err() {
                    // What cannot be read may be what nobody asked for.
                    let (from, to) = (pos.max(at) / PAGE * PAGE, (pos + asked).min(at + len));
                    map.load(from, to - from)?;
                    continue;
                }
                let follows = PIECE <= at && is_loaded(at - PIECE);
                if follows {
                    // What is needed next comes while this is sent.
                    let end = (at + READ_AHEAD).min(map.bytes.len() as u64);
                    let _ = map.read_ahead(at + len, end - at - len);
                }
                if let Some(granules) = self.granules() {
                    granules.is_loaded_now(at);
                }
            }
        }
        Ok(())
    }

    /// Accounts for the granules of a range.
    fn used(&self, pos: u64, len: u64) {
        let Some(cached) = &self.cached else {
            return;
        };
        let granules = cached
            .granules
            .get_or_init(|| Granules::of_file(fs::metadata(&self.path).map_or(0, |file| file.len())));
        let mut at = pos / GRANULE * GRANULE;
        while at < pos + len {
            if granules.touch(at) {
                cached.cache.enter(&cached.this, at);
            }
            at += GRANULE;
        }
    }

    fn granules(&self) -> Option<&Granules> {
        self.cached.as_ref()?.granules.get()
    }

    /// The granule at `pos` leaves the page cache: what of it is on the disk, and nobody else has mapped. It is for
    /// memory only, so nothing depends on success.
    fn evict(&self, pos: u64) {
        let (files, map) = {
            let open = self.open.lock();
            (open.files.clone(), open.map.clone())
        };
        if let Some(map) = map {
            let end = (map.bytes.len() as u64).min(pos + GRANULE);
            let _ = map.unload(pos, end.saturating_sub(pos));
        }
        if let Some(granules) = self.granules() {
            granules.gone(pos);
        }
        let len = NonZeroU64::new(GRANULE);
        let _ = match files {
            Some(files) => rustix::fs::fadvise(&files.file, pos, len, Advice::DontNeed),
            None => match File::open(&self.path) {
                Ok(file) => rustix::fs::fadvise(&file, pos, len, Advice::DontNeed),
                Err(_) => Ok(()),
            },
        };
    }
}

impl SegmentIo for DiskSegment {
    fn len(&self) -> io::Result<u64> {
        Ok(fs::metadata(&self.path)?.len())
    }

    fn write_at(&self, pos: u64, bytes: &[u8]) -> io::Result<()> {
        self.files()?.file.write_all_at(bytes, pos)?;
        self.written(pos, bytes.len() as u64);
        Ok(())
    }

    fn read_at(&self, pos: u64, buf: &mut [u8]) -> io::Result<usize> {
        let files = self.files()?;
        let mut read = 0;
        while read < buf.len() {
            match files.file.read_at(&mut buf[read..], pos + read as u64) {
                Ok(0) => break,
                Ok(n) => read += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn slice(&self, pos: u64, len: u64) -> io::Result<Bytes> {
        if !self.writable {
            // Whoever owns the directory may shorten the file at any time.
            let mut bytes = vec![0; len as usize];
            return match self.read_at(pos, &mut bytes)? {
                read if read < bytes.len() => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Ok(bytes.into()),
            };
        }
        let map = self.map()?;
        match pos.checked_add(len) {
            Some(end) if end <= map.bytes.len() as u64 => {
                self.used(pos, len);
                Ok(map.bytes.slice(pos as usize..end as usize))
            }
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn load(&self, pos: u64, len: u64) -> io::Result<()> {
        let map = self.map()?;
        match pos.checked_add(len) {
            Some(end) if end <= map.bytes.len() as u64 => self.load_pieces(&map, pos, len),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        let file = &self.files()?.file;
        match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, len) {
            // A file system that cannot reserve still makes the file long: writing may then meet a full disk, which is
            // an error there as well, and reading unwritten ranges through the map gives zeros.
            Err(Errno::OPNOTSUPP) => file.set_len(len.max(file.metadata()?.len())),
            result => Ok(result?),
        }
    }

    fn zero_range(&self, pos: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            // Which `fallocate` calls invalid.
            return Ok(());
        }
        let file = &self.files()?.file;
        match rustix::fs::fallocate(file, FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE, pos, len) {
            Err(Errno::OPNOTSUPP) => write_zeros(file, pos, pos + len),
            result => Ok(result?),
        }
    }

    fn prewrite(&self, pos: u64, len: u64) -> io::Result<()> {
        let files = self.files()?;
        let ahead = files.ahead.as_ref().ok_or(io::ErrorKind::PermissionDenied)?;
        write_zeros(ahead, pos, pos + len)?;
        self.written(pos, len);
        Ok(())
    }

    fn sync_prewritten(&self) -> io::Result<()> {
        let files = self.files()?;
        files.ahead.as_ref().ok_or(io::ErrorKind::PermissionDenied)?.sync_data()
    }

    fn next_data(&self, pos: u64) -> io::Result<Option<u64>> {
        let file = &self.files()?.file;
        // Preallocated blocks that were only ever read are in the page cache as zeros, and are then reported as data.
        // Letting go of clean pages makes them holes again; dirty ones stay, and are data. It is a hint: without it the
        // answer is still right, and slow.
        let _ = rustix::fs::fadvise(file, pos, None, Advice::DontNeed);
        match rustix::fs::seek(file, SeekFrom::Data(pos)) {
            Ok(data) => Ok(Some(data)),
            Err(Errno::NXIO) => Ok(None),
            // Not every file system can tell; then all of it may be data.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok((pos < file.metadata()?.len()).then_some(pos)),
            Err(error) => Err(error.into()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        if planted::is(Defect::LogNotSynced) {
            return Ok(());
        }
        let synced = self.files()?.file.sync_data();
        if planted::is(Defect::SyncErrorIgnored) {
            return Ok(());
        }
        synced
    }

    fn release(&self) {
        self.open.lock().files = None;
    }
}

fn write_zeros(file: &File, mut pos: u64, end: u64) -> io::Result<()> {
    while pos < end {
        let mut left = (end - pos) as usize;
        let slices: [IoSlice<'_>; 32] = std::array::from_fn(|_| {
            let n = left.min(ZEROS.len());
            left -= n;
            IoSlice::new(&ZEROS[..n])
        });
        match rustix::io::pwritev(file, &slices, pos) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => pos += written as u64,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
